"""An instance of the functions in a process of its own, and an app that uses it over HTTP."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import psutil

PROJECT = Path(__file__).parents[1]
_START_SECONDS = 60.0
_CLIENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response of the gateway; `status` is 0 when the connection ended without one."""

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
        """Starts an instance on `port` (0: any free one) that ends with this process, however that happens."""
        with log.open("ab") as written:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "local.child_process", "SIGTERM", sys.executable, "-m", module),
                *("--port", str(port), "--without", "portal_fn", "--without", "upkeep_fn"),
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
        """The process of the functions, a child of the one that ends with this process."""
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

    def audited(self, *responses: "HttpResponse") -> list[dict[str, Any]]:
        """What its audit log has of the requests that these are the responses to, where they are its own."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [json.loads(line[line.index("{") :]) for line in lines if '"kind":' in line]
        by_request = {line["request"]: line for line in found}
        asked = (response.headers["X-Request-Id"] for response in responses)
        return [by_request[request] for request in asked if request in by_request]

    def unexpected(self) -> list[str]:
        """The lines of its log that tell of an error nobody foresaw."""
        lines = self.log.read_text(errors="replace").splitlines()
        marks = ("Traceback", "unexpected error", "never retrieved", "was destroyed", "Unclosed", "never awaited")
        return [line for line in lines if any(mark in line for mark in marks)]


def with_upkeep_every_second(root: Path) -> Path:
    """Makes `root` an app of `upkeep_fn` alone, which is due every second."""
    for name in ("shared", "host.json"):
        (root / name).symlink_to(PROJECT / name)
    function = root / "upkeep_fn"
    function.mkdir()
    (function / "__init__.py").symlink_to(PROJECT / "upkeep_fn" / "__init__.py")
    config = json.loads((PROJECT / "upkeep_fn" / "function.json").read_text())
    config["bindings"][0]["schedule"] = "* * * * * *"
    (function / "function.json").write_text(json.dumps(config))
    return root


class Client(Protocol):
    """A client's id and secret."""

    @property
    def client_id(self) -> str: ...
    @property
    def client_secret(self) -> str: ...


@dataclass
class App:
    """An app that uses one instance over HTTP, with a token for each tenant."""

    host: Host
    client: Client
    session: aiohttp.ClientSession
    tokens: dict[str, str] = field(default_factory=dict)

    async def request_token(self, scope: str, client: Client | None = None) -> HttpResponse:
        client = client or self.client
        form = {"grant_type": "client_credentials", "client_id": client.client_id, "scope": scope}
        return await self.request("POST", "/oauth2/token", data={**form, "client_secret": client.client_secret})

    async def token(self, tenant: str) -> str:
        if tenant not in self.tokens:
            response = await self.request_token(tenant)
            assert response.status == 200, response
            self.tokens[tenant] = json.loads(response.body)["access_token"]
        return self.tokens[tenant]

    async def fhir(
        self, tenant: str, path: str, method: str = "GET", base: str = "stu3", **options: Any
    ) -> HttpResponse:
        headers = {"Authorization": f"Bearer {await self.token(tenant)}", **options.pop("headers", {})}
        return await self.request(method, f"/{base}/{path}", headers=headers, **options)

    async def request(self, method: str, target: str, **options: Any) -> HttpResponse:
        began = time.monotonic()
        try:
            url = self.host.url + target
            async with self.session.request(method, url, allow_redirects=False, **options) as response:
                body = await response.read()
                return HttpResponse(response.status, response.headers, body, time.monotonic() - began)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return HttpResponse(0, {}, b"", time.monotonic() - began)


@asynccontextmanager
async def app(host: Host, client: Client) -> AsyncIterator[App]:
    """An app on one instance, with connections without number."""
    timeout = aiohttp.ClientTimeout(total=_CLIENT_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield App(host, client, session)
