"""Providers that a test scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

GATEWAY = "https://gateway.example"


@dataclass
class Provider:
    """A scripted FHIR server: it answers as `answer` says and keeps what it was asked."""

    base_url: str = ""
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    def answers(self, body: object, status: int = 200, **headers: str) -> None:
        """Always this; a `str` or `bytes` body goes out as it is, anything else as JSON."""
        raw = body if isinstance(body, str | bytes) else json.dumps(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Content-Type", "application/fhir+json; charset=utf-8")

        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status, body=raw.encode() if isinstance(raw, str) else raw, headers=sent)

        self.answer = answer

    @property
    def targets(self) -> list[str]:
        """The raw request targets, as they came over the wire."""
        return [request.raw_path for request in self.requests]


@asynccontextmanager
async def served(provider: Provider) -> AsyncIterator[str]:
    """The base URL of a provider, at /fhir of a port of its own."""

    async def handle(request: web.Request) -> web.StreamResponse:
        provider.requests.append(request)
        provider.bodies.append(await request.read())
        assert provider.answer is not None
        return await provider.answer(request)

    server = web.Server(handle, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/fhir"
    try:
        yield provider.base_url
    finally:
        await runner.cleanup()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider at /fhir of its own port."""
    provider = Provider()
    async with served(provider):
        yield provider


@pytest.fixture
async def second_provider() -> AsyncIterator[Provider]:
    """Another one, on another port."""
    provider = Provider()
    async with served(provider):
        yield provider


RawServer = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def raw_provider() -> AsyncIterator[RawServer]:
    """Starts servers that answer every request with these very bytes and then close the connection."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/fhir"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()
