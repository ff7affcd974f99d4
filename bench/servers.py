"""The servers of the benchmark: provider, proxies, stand-ins, and both apps in the real worker."""

import json
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from bench import recorded
from bench.cores import LOAD_CORE, SERVER_CORE
from bench.deployment import Deployment
from bench.process import PROJECT, Running, running
from bench.stand_ins import connection_string
from local.ports import free_port

FLOOR = PROJECT / "bench" / "floor"
WORKER_PYTHON = PROJECT / ".functions-worker" / "bin" / "python"
"""In the environment of the real worker, which `make` installs."""
BATCH_ENTRIES = 7
_FUNCTIONS = ("metadata_fn", "token_fn", "fhir_proxy_fn")
_CONFIGURATION = PROJECT / "bench" / "configuration"


@asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[Running]:
    """A FHIR server of STU3: nginx with recorded responses, at /fhir, and at /t/N/fhir for the tenant of number N."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    base = f"{origin}/fhir"
    (folder / "recorded").mkdir()
    for name, content in {
        "patient": recorded.patient(base),
        "searchset": recorded.searchset(base),
        "paged": recorded.searchset(base, next_page=f"{origin}/pages/4f1c?after=40"),
        "large": recorded.large(base),
        "batch-response": recorded.batch_response(base, BATCH_ENTRIES),
    }.items():
        (folder / "recorded" / name).write_bytes(content)
    servers = _configuration("provider.conf", folder=folder, port=port)
    async with _nginx(folder, "provider", servers, port, LOAD_CORE) as server:
        yield server


@asynccontextmanager
async def reverse_proxy(folder: Path, provider: Running) -> AsyncIterator[Running]:
    """nginx between client and provider, which looks at nothing."""
    port = free_port()
    servers = _configuration("proxy.conf", port=port, provider=provider.port)
    async with _nginx(folder, "proxy", servers, port, SERVER_CORE) as server:
        yield server


@asynccontextmanager
async def token_proxy(folder: Path, provider: Running, tenant: str, public_key: bytes) -> AsyncIterator[Running]:
    """HAProxy, which verifies the token and chooses the backend by the tenant in it."""
    port = free_port()
    (folder / "key.pem").write_bytes(public_key)
    (folder / "tenants.map").write_text(f"{tenant} hospital\n")
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_configuration("haproxy.cfg", folder=folder, port=port, provider=provider.port))
    async with running(["haproxy", "-db", "-f", str(configuration)], port, core=SERVER_CORE) as server:
        yield server


@asynccontextmanager
async def stand_ins(*options: str) -> AsyncIterator[Running]:
    """The servers of `bench.stand_ins`."""
    port = free_port()
    command = [sys.executable, "-m", "bench.stand_ins", "--port", str(port), *options]
    async with running(command, port, core=LOAD_CORE) as server:
        yield server


@asynccontextmanager
async def large_directory(deployment: Deployment, provider: Running) -> AsyncIterator[Deployment]:
    """The deployment with the tables that know any number of tenants."""
    clients = json.dumps(deployment.client_rows)
    async with stand_ins("--provider", str(provider.port), "--clients", clients) as tables:
        yield deployment.with_tables(connection_string(tables.port))


@asynccontextmanager
async def in_worker(
    root: Path,
    environment: Mapping[str, str] | None = None,
    *,
    more: Iterable[str] = (),
    errors: int | IO[bytes] = DEVNULL,
) -> AsyncIterator[Running]:
    """An app in the real Functions worker, whose process is the one that is measured: its host is with the load.

    `more` are functions besides those that are measured; `errors` is where the host's log goes.
    """
    port = free_port()
    command = [str(WORKER_PYTHON), "-m", "bench.functions_worker", "--port", str(port), "--root", str(root)]
    command += ["--worker-core", str(SERVER_CORE), *_only(root, more)]
    async with running(command, port, core=LOAD_CORE, environment=environment, errors=errors) as host:
        (worker,) = host.process.children()
        yield Running(port, worker)


def _only(root: Path, more: Iterable[str] = ()) -> list[str]:
    return [argument for name in (*_FUNCTIONS, *more) if (root / name).is_dir() for argument in ("--only", name)]


@asynccontextmanager
async def _nginx(folder: Path, name: str, servers: str, port: int, core: int) -> AsyncIterator[Running]:
    configuration = folder / f"{name}.conf"
    configuration.write_text(_configuration("nginx.conf", servers=servers, folder=folder, name=name))
    async with running(["nginx", "-e", "stderr", "-c", str(configuration)], port, core=core) as server:
        yield server


def _configuration(file: str, **values: object) -> str:
    """The text of a file, each `<name>` in it replaced."""
    text = (_CONFIGURATION / file).read_text()
    for name, value in values.items():
        text = text.replace(f"<{name}>", str(value))
    return text
