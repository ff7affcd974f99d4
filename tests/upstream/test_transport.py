"""Requests to providers: what is sent again, what an error is told as, and what is held on to."""

import asyncio
import gc
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trustme

from shared.fhir.errors import FhirError
from shared.upstream.transport import NoResponse, Transport, UpstreamRequest
from tests.raw_server import OK, RawServer, ends, raw_server, says
from tests.raw_server import server as server

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport(1_000_000)
    yield transport
    await transport.close()


async def send(transport: Transport, url: str, *, repeatable: bool, body: bytes | None = None, seconds: float = 10):
    request = UpstreamRequest("PUT" if body else "GET", f"{url}/Patient/1", {"accept": "a/b"}, body, repeatable)
    deadline = asyncio.get_running_loop().time() + seconds
    return await transport.send(request, deadline=deadline, tls=None)


async def test_the_gateway_says_what_it_is_unless_the_row_does(transport: Transport, server: RawServer) -> None:
    await send(transport, server.origin, repeatable=True)
    assert b"\r\nUser-Agent: fhir-interop-gateway\r\n" in server.requests[0]
    request = UpstreamRequest("GET", server.origin, {"user-agent": "x"}, None, True)
    await transport.send(request, deadline=asyncio.get_running_loop().time() + 10, tls=None)
    assert server.requests[1].lower().count(b"user-agent") == 1


@pytest.mark.parametrize(
    ("said", "status", "code", "tries"),
    [
        (b"", 502, "transient", 3),
        (HEAD, 502, "transient", 3),
        (HEAD + b"Content-Length: 9\r\n\r\n{", 502, "incomplete", 1),
        (b"SSH-2.0-x\r\n", 502, "exception", 1),
        (HEAD + b"Content-Length: 1000001\r\n\r\n", 502, "too-costly", 1),
        (HEAD + b"\r\n" + b"a" * 1_000_001, 502, "too-costly", 1),
    ],
)
async def test_what_is_wrong_is_told_and_only_a_lost_connection_tried_again(
    said: bytes, status: int, code: str, tries: int, transport: Transport, server: RawServer
) -> None:
    server.script = says(said, then=ends)
    for repeatable in (True, False):
        server.requests.clear()
        with pytest.raises(FhirError) as caught:
            await send(transport, server.origin, repeatable=repeatable)
        assert (caught.value.status, caught.value.code) == (status, code)
        assert len(server.requests) == (tries if repeatable else 1)


async def test_a_write_rides_on_no_kept_connection(transport: Transport, server: RawServer) -> None:
    for repeatable in (True, True, False, False):
        await send(transport, server.origin, repeatable=repeatable)
    assert server.connections == [1, 1, 2, 3]


async def test_a_failed_handshake_is_not_tried_again(transport: Transport) -> None:
    context, asked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    context.sni_callback = lambda *_: asked.append(1)
    async with raw_server(context) as server:
        with pytest.raises(NoResponse):
            await send(transport, server.origin, repeatable=True)
    assert asked == [1]


@pytest.mark.parametrize("said", [None, b"", HEAD, b"SSH-2.0-x\r\n", HEAD + b"Content-Length: 9\r\n\r\n{", OK])
@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_request_that_is_over_is_let_go_of(
    said: bytes | None, repeatable: bool, transport: Transport, server: RawServer
) -> None:
    """Its body is not held by an error and its frames, until some collection."""
    await send(transport, server.origin, repeatable=True)  # so that there is a kept connection
    server.script = says(said or b"", then=ends)
    origin = server.origin if said is not None else "http://127.0.0.1:1"
    body = bytes(100_000)
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(body)
        with suppress(NoResponse):
            await send(transport, origin, repeatable=repeatable, body=body)
        await asyncio.sleep(0.01)
        assert sys.getrefcount(body) == before
    finally:
        gc.enable()
