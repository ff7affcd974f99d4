"""Real servers for the gateway's credentials to face, and the rows and secrets they are made of."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from msgspec import structs

from shared.directory.provider import Provider
from shared.http_client import HttpClient
from shared.stores.cache import Cache
from shared.upstream.credentials.factory import Credentials
from tests.clients import installation
from tests.clients.installation import CLIENTS
from tests.upstream.rows import PROVIDER, is_current

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Vault(Cache[str, str]):
    """Secrets behind a cache that does not expire by itself, as a test of forgetting needs it."""

    def __init__(self) -> None:
        super().__init__(self._read, fresh_seconds=3600, stale_seconds=0, size=100)
        self.stored: dict[str, str] = {}
        self.forgotten: list[str] = []

    async def _read(self, name: str) -> str | None:
        return self.stored.get(name)

    def expire(self, key: str, *, reload: bool = False) -> None:
        self.forgotten.append(key)
        super().expire(key, reload=reload)


@pytest.fixture
async def vault() -> Vault:
    return Vault()


@pytest.fixture
def provider() -> Callable[..., Provider]:
    """Makes a provider whose row has the given authentication."""

    return lambda auth, base_url="https://fhir.example.com": structs.replace(PROVIDER, auth=auth, base_url=base_url)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.close()


@pytest.fixture
async def credentials(client: HttpClient, vault: Vault) -> AsyncIterator[Credentials]:
    credentials = Credentials(client, vault, is_current)
    yield credentials
    await credentials.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Starts a server that gives every request to one handler, and returns its address."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler, ssl_context: ssl.SSLContext | None = None) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
        await site.start()
        return f"{'http' if ssl_context is None else 'https'}://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def run_node() -> AsyncIterator[Callable[[str, bytes], Awaitable[str]]]:
    """Runs a script of `tests/clients` with the given stdin until the test ends, and returns its first line."""
    processes: list[asyncio.subprocess.Process] = []

    async def run(script: str, stdin: bytes) -> str:
        process = await asyncio.create_subprocess_exec(
            installation.node(), script, cwd=CLIENTS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(stdin)
        process.stdin.close()
        return (await process.stdout.readline()).decode().strip()

    yield run
    for process in processes:
        process.kill()
        await process.communicate()
