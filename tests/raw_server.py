"""An HTTP server that says whatever bytes it is told to, to test a client with."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.http_client import HttpClient

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Script = Callable[[asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


async def ends(writer: asyncio.StreamWriter) -> None:
    """Ends the connection."""
    writer.close()


def says(*pieces: bytes, then: Script | None = None) -> Script:
    """These bytes, one piece after the other, and the connection stays open, or `then`."""

    async def script(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            if writer.is_closing():  # a write would be uvloop's RuntimeError
                return
            writer.write(piece)
            await writer.drain()
            for _ in range(3):  # turns of the event loop, in which the client reads the piece
                await asyncio.sleep(0)
        if then is not None:
            await then(writer)

    return script


@dataclass
class RawServer:
    """A server whose `script` is run for every request. It keeps the requests, and the number of each one's connection.

    `has_said` is set while no script is under way.
    """

    script: Script = field(default_factory=lambda: says(OK))
    origin: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    has_said: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The origin of a server that does this on each connection, a task each, which end with it."""
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def raw_server(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[RawServer]:
    raw = RawServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.writers.append(writer)
        number = len(raw.writers)
        with suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"\r\nContent-Length: (\d+)", head)
                raw.requests.append(head + await reader.readexactly(int(length[1]) if length else 0))
                raw.connections.append(number)
                raw.has_said.clear()
                try:
                    await raw.script(writer)
                finally:
                    raw.has_said.set()
        writer.close()

    async with listening(serve, tls, host) as raw.origin:
        yield raw


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """A client of whose connections the event loop may have no error to tell that reached nobody."""
    untold: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: untold.append(context))
    client = HttpClient()
    yield client
    await client.close()
    loop.set_exception_handler(None)
    assert not untold, untold
