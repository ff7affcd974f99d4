"""The whole system on one machine: tables, vault, hospitals and functions, started and stopped together."""

import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiohttp

from local import demo_file, local_settings, ports
from local.azurite.installation import AZURITE_TABLE
from local.azurite.table_service import TableService
from local.child_process import ChildProcess
from local.demo_file import Demo, DemoTenant
from local.seed import TENANT_IDS, hospital_credentials, seed
from local.vault.server import VaultServer
from shared.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
STATE = PROJECT / ".local"
DEMO_FILE = "demo.json"
_SETTINGS_FILE = "local.settings.json"
_CREDENTIALS_FILE = "hospitals.json"
_PORTAL_FUNCTION = "portal_fn"
_CLOSED = (_PORTAL_FUNCTION, "upkeep_fn")
_CORE_TOOLS_PYTHON = "languageWorkers__python__defaultExecutablePath"
_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_SAY_SECONDS = 5.0

Say = Callable[[str], None]


class StackError(Exception):
    """The stack can't start or go on; the message is for the person at the terminal."""


class Host(Enum):
    """The server of the functions: the host of this project, or Azure Functions Core Tools."""

    LOCAL = "local"
    FUNC = "func"


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack."""

    demo: Demo
    _hosts: Sequence[ChildProcess]
    _hospitals: ChildProcess
    _tables: TableService

    def show(self) -> None:
        """From now on, what the functions log goes to standard output."""
        for host in self._hosts:
            host.show()

    async def broken(self) -> StackError:
        """Waits until a part ends, which none does by itself; the error names the part and holds its last output."""
        children = (*self._hosts, self._hospitals, self._tables.process)
        ends = {asyncio.create_task(child.ended()): child.name for child in children}
        try:
            (end, *_), _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return _unexpected_end(ends[end], end.result())
        finally:
            for end in ends:
                end.cancel()


@asynccontextmanager
async def running(folder: Path, port: int, host: Host | None, say: Say) -> AsyncIterator[Stack]:
    """Starts everything, and stops it in the opposite order: functions first, tables last.

    All state is in `folder`. The functions are served on `port` (0: any, and any free ports for the rest), or by nobody
    when `host` is None. Raises StackError, PortTaken, LocalSettingsError, or what a part raises that does not start.
    """
    if host is Host.FUNC and shutil.which("func") is None:
        raise StackError("HOST=func needs Azure Functions Core Tools: npm install -g azure-functions-core-tools@4")
    async with AsyncExitStack() as parts:
        parts.enter_context(_locked(folder))
        chosen = ports.choose(folder / "ports.json", port)
        starting_tables = _begin(parts, _start_tables(folder / "tables", chosen[ports.TABLES], say))
        starting_vault = _begin(parts, _start_vault(folder / "vault", chosen[ports.VAULT], say))
        credentials = hospital_credentials(folder / _CREDENTIALS_FILE)
        starting_hospitals = _begin(parts, _start_hospitals(folder / _CREDENTIALS_FILE, chosen, say))
        tables, vault = await asyncio.gather(starting_tables, starting_vault)

        base_url = f"http://127.0.0.1:{chosen[ports.FUNCTIONS]}"
        values = _values(base_url, tables, vault)
        settings_file = (PROJECT if folder == STATE else folder) / _SETTINGS_FILE
        others = local_settings.write(settings_file, values, chosen[ports.FUNCTIONS])
        # A setting of the environment wins over the file's, as in Core Tools; only ours have to be what they are.
        environment = others | os.environ | values | {_CORE_TOOLS_PYTHON: sys.executable}
        starting_hosts: list[asyncio.Task[ChildProcess]] = []
        portal_url = None
        if host is not None:
            functions = sorted(file.parent.name for file in PROJECT.glob("*/function.json"))
            portal_url = f"http://127.0.0.1:{chosen[ports.PORTAL]}/portal"
            public = [name for name in functions if name not in _CLOSED]
            # Core Tools keep a timer's lock in blobs, which this stack has not.
            closed = [name for name in _CLOSED if host is not Host.FUNC or name == _PORTAL_FUNCTION]
            for name, part, served, url in (
                ("The functions host", ports.FUNCTIONS, public, f"{base_url}/health"),
                ("The portal's host", ports.PORTAL, closed, portal_url),
            ):
                command = _host_command(host, chosen[part], served)
                starting_hosts.append(_begin(parts, _start_child(name, command, environment, url)))

        settings = Settings.from_environment(environment)
        known = demo_file.read(folder / DEMO_FILE)
        client_id, client_secret = await seed(settings, credentials, chosen, known, say)
        say("Demo tenants, client and signing key are there")
        demo = Demo(base_url, client_id, client_secret, _tenants(base_url), portal_url)
        demo_file.write(folder / DEMO_FILE, demo)
        hospitals, *hosts = await asyncio.gather(starting_hospitals, *starting_hosts)
        yield Stack(demo, hosts, hospitals, tables)


class _Part(Protocol):
    async def stop(self) -> None: ...


_P = TypeVar("_P", bound=_Part)


def _begin(parts: AsyncExitStack, start: Coroutine[Any, Any, _P]) -> asyncio.Task[_P]:
    """Starts a part beside the others; it is stopped in its turn, also when another one failed to start."""
    task = asyncio.create_task(start)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            await task.result().stop()

    parts.push_async_callback(stop)
    return task


async def _start_tables(folder: Path, port: int, say: Say) -> TableService:
    async def wait() -> None:
        while not AZURITE_TABLE.exists():
            say("Installing Azurite, this once")
            await asyncio.sleep(_SAY_SECONDS)

    waiting = asyncio.create_task(wait())
    try:
        service = await TableService.start(folder, port)
    finally:
        waiting.cancel()
    say(f"Tables (Azurite) on 127.0.0.1:{port}")
    return service


async def _start_vault(folder: Path, port: int, say: Say) -> VaultServer:
    server = await VaultServer.start(folder, port)
    say(f"Key Vault stand-in on 127.0.0.1:{port}")
    return server


async def _start_hospitals(credentials: Path, chosen: Mapping[str, int], say: Say) -> ChildProcess:
    numbers = [str(chosen[hospital.key]) for hospital in TENANT_IDS]
    options = ("--ports", ",".join(numbers), "--credentials", str(credentials))
    command = (sys.executable, "-m", "local.hospitals", *options)
    urls = (f"http://127.0.0.1:{chosen[hospital.key]}{hospital.base_path}/metadata" for hospital in TENANT_IDS)
    child = await _start_child("The hospitals' server", command, os.environ, *urls)
    say(f"Hospitals on 127.0.0.1:{', '.join(numbers)}")
    return child


async def _start_child(name: str, command: Sequence[str], environment: Mapping[str, str], *urls: str) -> ChildProcess:
    """Starts a child and waits until it responds at all `urls`. Raises StackError."""
    child = await ChildProcess.start(name, command, environment)
    ended, ready = asyncio.create_task(child.ended()), asyncio.create_task(_responding(urls))
    try:
        await asyncio.wait({ended, ready}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise _unexpected_end(child.name, ended.result())
        if not ready.done():
            raise StackError(f"{child.name} does not answer after {_START_SECONDS:.0f} s")
        ready.result()
    except BaseException:
        await child.stop()
        raise
    finally:
        ended.cancel()
        ready.cancel()
    return child


async def _responding(urls: Sequence[str]) -> None:
    """Waits until each URL gets a response other than 503, which says not yet."""
    async with aiohttp.ClientSession() as session:
        for url in urls:
            status = 503
            while status == 503:
                with suppress(aiohttp.ClientError):
                    async with session.get(url, allow_redirects=False) as response:
                        status = response.status
                if status == 503:
                    await asyncio.sleep(_POLL_SECONDS)


def _unexpected_end(name: str, output: str) -> StackError:
    return StackError("\n".join(filter(None, (f"{name} ended unexpectedly", output))))


def _host_command(host: Host, port: int, functions: Sequence[str]) -> Sequence[str]:
    """The command that has a host serve functions, by their names, on a port."""
    if host is Host.FUNC:
        return (str(shutil.which("func")), "start", "--port", str(port), "--functions", *functions)
    only = (option for function in functions for option in ("--only", function))
    return (sys.executable, "-m", "local.functions_host", "--port", str(port), *only)


def _values(base_url: str, tables: TableService, vault: VaultServer) -> dict[str, str]:
    """The settings that are ours: what `local.settings.json` must hold for this stack."""
    return {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage": "",  # HTTP triggers need none
        "AzureWebJobsDisableHomepage": "true",
        "PUBLIC_BASE_URL": base_url,
        "KEY_VAULT_URL": vault.url,
        "LOCAL_VAULT": str(vault.folder),
        "TABLES_CONNECTION_STRING": tables.connection_string,
    }


def _tenants(base_url: str) -> tuple[DemoTenant, ...]:
    found = ((tenant_id, hospital.name, hospital.version.value) for hospital, tenant_id in TENANT_IDS.items())
    return tuple(DemoTenant(*tenant, f"{base_url}/{tenant[-1]}") for tenant in found)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Makes the folder, and keeps others from it: other people, and other stacks until this process ends."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"the local stack is running already, on the state in {folder.name}") from None
        yield
