"""The machine that the figures were measured on."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version

from bench.servers import WORKER_PYTHON

TOOLS = ("nginx", "haproxy", "wrk", "taskset", "setpriv")
_PACKAGES = {"taskset": "util-linux", "setpriv": "util-linux"}
_LIBRARIES = ("aiohttp", "azure-functions", "cryptography", "orjson", "PyJWT")
_WORKER_LIBRARIES = ("azure-functions-runtime-v1", "azure-functions", "grpcio", "protobuf")
_VERSION = re.compile(r"\d+\.\d+[\d.]*")


def missing() -> list[str]:
    """The Debian packages of the tools that are not installed."""
    return sorted({_PACKAGES.get(tool, tool) for tool in TOOLS if shutil.which(tool) is None})


def describe() -> str:
    """The machine and the versions, one line of Markdown each."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    tools = ", ".join(f"{name} {_tool_version(name)}" for name in ("nginx", "haproxy", "wrk"))
    return (
        f"- {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}\n"
        f"- Python {platform.python_version()}, {libraries}\n"
        f"- in the worker {_worker_versions()}\n"
        f"- {tools}\n"
    )


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _worker_versions() -> str:
    code = f"""
import importlib.metadata, platform
print(platform.python_version(), platform.python_compiler(), sep=" of ")
for name in {_WORKER_LIBRARIES}:
    print(name, importlib.metadata.version(name))
"""
    done = subprocess.run([WORKER_PYTHON, "-c", code], capture_output=True, text=True, check=True, timeout=10)
    return "Python " + ", ".join(done.stdout.splitlines())


def _tool_version(name: str) -> str:
    done = subprocess.run([name, "-v"], capture_output=True, text=True, check=False, timeout=10)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"
