"""A deployment of real processes on real stores, whose stores and providers can be made to fail."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from local.azurite.table_service import TableService
from local.vault.certificates import server_context
from local.vault.server import create_app
from local.vault.store import Store
from shared.directory.client_registry import ClientRegistry, NewSecret
from shared.oauth.signing_keys import rotate
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, TENANTS, Table, table_service
from shared.stores.vault import Vault

PROJECT = Path(__file__).parents[2]
_START_SECONDS = 60.0
_CLIENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client of the gateway got. `status` is 0 when the connection ended without an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Host:
    """One instance of the functions: a process, whose log is kept."""

    def __init__(self, process: Process, url: str, log: Path) -> None:
        self.url = url
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, environment: Mapping[str, str], log: Path, port: int = 0, module: str = "local.functions_host"
    ) -> "Host":
        """Starts an instance on `port` (0: any free one) that ends with us, however that happens."""
        with log.open("ab") as written:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "local.leash", sys.executable, "-m", module),
                *("--port", str(port), "--without", "portal_fn"),
                cwd=PROJECT,
                env={**os.environ, **environment},
                stdin=PIPE,
                stdout=PIPE,
                stderr=written,
                start_new_session=True,
            )
        assert process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            async for line in process.stdout:
                if b"listening on " in line:
                    return cls(process, line.decode().split("listening on ")[1].strip(), log)
        raise AssertionError(f"the functions did not start: see {log}")

    @property
    def functions(self) -> psutil.Process:
        """The process of the functions, a child of the leash."""
        (functions,) = psutil.Process(self._process.pid).children()
        return functions

    def memory(self) -> int:
        """The bytes that the functions' process holds."""
        return int(self.functions.memory_info().rss)

    async def kill(self) -> None:
        """Ends it as a crash would: nothing is closed, nobody is told."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        """Ends it as a deployment would."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            await self.kill()

    def unexpected(self) -> list[str]:
        """The lines of its log that tell of an error nobody foresaw."""
        lines = self.log.read_text(errors="replace").splitlines()
        marks = ("Traceback", "unexpected error", "never retrieved", "was destroyed", "Unclosed", "never awaited")
        return [line for line in lines if any(mark in line for mark in marks)]


class Line:
    """A line to Table Storage that can be cut, slowed or tapped.

    `mode`: `pass`, `hang` (carries nothing), `refuse` (closes every connection), `slow` (two seconds a piece), or the
    status of the one answer that every request gets.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.mode: str | int = "pass"
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink, up in ((reader, there_writer, True), (there_reader, writer, False)):
            task = asyncio.create_task(self._carry(source, sink, writer, up))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, client: asyncio.StreamWriter, up: bool
    ) -> None:
        try:
            while data := await source.read(65_536):
                if self.mode == "hang":
                    continue
                if self.mode == "refuse":
                    return
                if isinstance(self.mode, int):
                    if up:
                        head = f"HTTP/1.1 {self.mode} No\r\nRetry-After: 600\r\nContent-Length: 0\r\nConnection: close"
                        client.write(head.encode() + b"\r\n\r\n")
                    return
                if self.mode == "slow" and up:
                    await asyncio.sleep(2)
                sink.write(data)
        except OSError:
            return
        finally:
            sink.close()
            client.close()


@dataclass
class VaultStandIn:
    """The Key Vault stand-in with a fault switch: `mode` as of Line, but `refuse` resets and `slow` takes a second."""

    folder: Path
    url: str = ""
    mode: str | int = "pass"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["VaultStandIn"]:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "token").write_text("vault-token")
        app = create_app(Store(self.folder / "secrets.json"), "vault-token")
        app.middlewares.insert(0, self._switch())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(self.folder)).start()
            self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            self.mode = "pass"
            await runner.cleanup()

    def _switch(self) -> Middleware:
        @web.middleware
        async def switch(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self.mode == "hang":
                await asyncio.sleep(3600)
            if self.mode == "refuse" and request.transport is not None:
                request.transport.abort()
            if self.mode == "slow":
                await asyncio.sleep(1)
            if isinstance(self.mode, int):
                return web.Response(status=self.mode, headers={"Retry-After": "600"})
            return await handler(request)

        return switch


class Stack:
    """Stores behind switches, and what an admin, a deployment and an app do."""

    def __init__(self, folder: Path, settings: Settings, environment: Mapping[str, str], parts: AsyncExitStack) -> None:
        self.folder = folder
        self.settings = settings
        self.vault = Vault(settings)
        self._environment = environment
        self._parts = parts
        self._service = table_service(settings)
        self.hosts: list[Host] = []

    def table(self, name: str) -> Table:
        return Table(self._service, name)

    async def host(self, port: int = 0, module: str = "local.functions_host", **settings: str) -> Host:
        """One more instance."""
        log = self.folder / f"host-{len(self.hosts)}.log"
        host = await Host.start({**self._environment, **settings}, log, port, module)
        self._parts.push_async_callback(host.stop)
        self.hosts.append(host)
        return host

    async def client(self, tenants: str = "*") -> NewSecret:
        return await ClientRegistry(self.table(CLIENTS), self.vault).create("Test", "tests@example.com", tenants)

    async def tenant(self, base_url: str, version: str = "stu3", tenant: str | None = None, **columns: object) -> str:
        tenant = tenant or str(uuid.uuid4())
        await self.table(TENANTS).put({"PartitionKey": tenant, "RowKey": version, "BaseUrl": base_url, **columns})
        return tenant

    async def secret(self, value: str) -> str:
        name = f"provider-{uuid.uuid4().hex}"
        await self.vault.set(name, value)
        return name

    async def close(self) -> None:
        await self._service.close()
        await self.vault.close()


@dataclass
class App:
    """An app that uses one instance: with a client of its own, and a token for each tenant."""

    host: Host
    client: NewSecret
    session: aiohttp.ClientSession
    tokens: dict[str, str] = field(default_factory=dict)

    async def ask_token(self, scope: str, client: NewSecret | None = None) -> Answer:
        client = client or self.client
        form = {"grant_type": "client_credentials", "client_id": client.client_id, "scope": scope}
        return await self.request("POST", "/oauth2/token", data={**form, "client_secret": client.client_secret})

    async def token(self, tenant: str) -> str:
        if tenant not in self.tokens:
            answer = await self.ask_token(tenant)
            assert answer.status == 200, answer
            self.tokens[tenant] = json.loads(answer.body)["access_token"]
        return self.tokens[tenant]

    async def fhir(self, tenant: str, path: str, method: str = "GET", base: str = "stu3", **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {await self.token(tenant)}", **options.pop("headers", {})}
        return await self.request(method, f"/{base}/{path}", headers=headers, **options)

    async def request(self, method: str, target: str, **options: Any) -> Answer:
        began = time.monotonic()
        try:
            async with self.session.request(method, self.host.url + target, allow_redirects=False, **options) as answer:
                body = await answer.read()
                return Answer(answer.status, answer.headers, body, time.monotonic() - began)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Answer(0, {}, b"", time.monotonic() - began)


@asynccontextmanager
async def running(
    folder: Path, tables: TableService, **settings: str
) -> AsyncIterator[tuple[Stack, VaultStandIn, Line]]:
    """Stores behind switches; `settings` are those of every instance. Admins' own ways to the tables stay open."""
    async with AsyncExitStack() as parts:
        vault = await parts.enter_async_context(VaultStandIn(folder / "vault").running())
        line = Line(tables.port)
        port = await parts.enter_async_context(line.running())
        environment = {
            "PUBLIC_BASE_URL": "https://gateway.example",
            "KEY_VAULT_URL": vault.url,
            "LOCAL_VAULT": str(vault.folder),
            "TABLES_CONNECTION_STRING": tables.connection_string,
            **settings,
        }
        own = Settings.from_environment(environment)
        through_line = tables.connection_string.replace(f":{tables.port}/", f":{port}/")
        stack = Stack(folder, own, {**environment, "TABLES_CONNECTION_STRING": through_line}, parts)
        parts.push_async_callback(stack.close)
        for name in ALL_TABLES:
            await stack.table(name).create()
        await rotate(stack.vault, own)
        yield stack, vault, line


@asynccontextmanager
async def app(stack: Stack, host: Host, tenants: str = "*") -> AsyncIterator[App]:
    """An app with a new client, on one instance."""
    timeout = aiohttp.ClientTimeout(total=_CLIENT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield App(host, await stack.client(tenants), session)
