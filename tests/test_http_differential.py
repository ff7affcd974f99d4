"""The same bytes, read by our client and by aiohttp: what aiohttp refuses is refused, and what both take is the same.

aiohttp takes some that are refused on purpose: bare line feeds and folded headers, which it has for servers of old,
transfer codings but `chunked`, other versions, statuses below 100, informational responses with a body, line breaks
ahead of a response, and a larger head.

A whole response is taken though more bytes follow, which end the connection. aiohttp takes or refuses it, by whether
these came in the same piece.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from shared.http_client import HttpClient
from shared.http_connection import HttpError
from tests.raw_server import RawServer, ends, raw_server, says

Read = tuple[int, list[tuple[str, str]], bytes] | None

_TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABC0189!#$%&'*+-.^_`|~", min_size=1, max_size=12)
_VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_characters="\x7f"), max_size=20)
_LINES = st.one_of(
    st.tuples(_TOKEN, _VALUE).map(lambda header: f"{header[0]}: {header[1]}"),
    st.sampled_from(
        [
            "Connection: close", "Connection: keep-alive", "Connection: upgrade", "Upgrade: h2c", "Set-Cookie: a=b",
            "Content-Type: application/fhir+json", "Content-Encoding: gzip", "Keep-Alive: timeout=5", "X-Empty:",
            "Content-Length: 2", "Content-Length: 0", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
            "Transfer-Encoding: identity", "Trailer: X", "Location: /a", "Content-Length : 2", " folded",
        ]
    ),
)  # fmt: skip
_VERSIONS = st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "RTSP/1.0", "http/1.1"])
_STATUSES = st.sampled_from([200] * 6 + [100, 101, 103, 199, 201, 204, 206, 301, 304, 404, 503, 999, 0, 99, 1000])


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    out, at = b"", 0
    while at < len(body):
        size = draw(st.integers(1, len(body) - at))
        extension = draw(st.sampled_from(["", "", "", ";a", ";a=b", ';a="b"', " ", ";"]))
        out += (
            f"{size:{draw(st.sampled_from(['x', 'X', '04x']))}}{extension}\r\n".encode()
            + body[at : at + size]
            + b"\r\n"
        )
        at += size
    trailers = draw(st.lists(_LINES, max_size=2)) if draw(st.booleans()) else []
    return out + b"0\r\n" + "".join(f"{line}\r\n" for line in trailers).encode() + b"\r\n"


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    body = draw(st.binary(max_size=200) | st.sampled_from([b"{}", b"\r\n", b"{}\r\n", gzip.compress(b"{}")]))
    lines, framing = (
        draw(st.lists(_LINES, max_size=4)),
        draw(st.sampled_from(["length"] * 3 + ["chunked"] * 3 + ["end"])),
    )
    if framing == "length":
        lines.append(f"Content-Length: {len(body) + draw(st.sampled_from([0] * 8 + [-1, 1]))}")
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        body = draw(chunked(body))
    reason = draw(st.sampled_from([" OK", " Not Found", "", " ", " \x80\t"]))
    head = [f"{draw(_VERSIONS)} {draw(_STATUSES)}{reason}", *draw(st.permutations(lines))]
    return "\r\n".join([*head, "", ""]).encode() + body


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One or more responses, in which some bytes may have been changed, dropped or put in."""
    content = b"".join(draw(st.lists(responses(), min_size=1, max_size=2)))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 4]))):
        at = draw(st.integers(0, len(content)))
        put = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b"\x0b", b"0", b"\xff", b"a"])
        )
        content = content[:at] + put + content[at + draw(st.integers(0, 2)) :]
    return content


@st.composite
def split(draw: st.DrawFn) -> Sequence[bytes]:
    """The pieces that a stream of bytes comes in."""
    content = draw(mutated())
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=4)))
    return [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True) if start < end]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as server:
        yield server


async def read_by_us(origin: str) -> Read:
    client = HttpClient()
    try:
        with await client.request("GET", origin, {}) as response:
            body = b""
            while part := await response.read():
                body += part
            return response.status, list(response.headers.items()), body
    except (OSError, HttpError):
        return None
    finally:
        await client.close()


async def read_by_aiohttp(origin: str) -> Read:
    options = {"auto_decompress": False, "max_field_size": 65_536, "cookie_jar": aiohttp.DummyCookieJar()}
    try:
        async with (
            asyncio.timeout(5),  # after 101 it would wait for another protocol
            aiohttp.ClientSession(**options) as session,
            session.get(origin, allow_redirects=False) as response,
        ):
            # Its lowest versions keep white space behind a value.
            headers = [(name, value.rstrip(" \t")) for name, value in response.headers.items()]
            return response.status, headers, await response.read()
    except (aiohttp.ClientError, ValueError, TimeoutError):
        return None


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pieces=split())
async def test_what_aiohttp_refuses_is_refused_and_what_both_take_is_the_same(
    pieces: Sequence[bytes], server: RawServer
) -> None:
    server.script = says(*pieces, then=ends)
    ours, theirs = await read_by_us(server.origin), await read_by_aiohttp(server.origin)
    event(f"aiohttp {'takes' if theirs else 'refuses'}, we {'take' if ours else 'refuse'} it")
    if ours is not None and theirs is None:
        # More bytes follow than the response has: without them, aiohttp takes it.
        content = b"".join(pieces)
        for end in range(len(content) - 1, 0, -1):
            server.script = says(content[:end], then=ends)
            if (theirs := await read_by_aiohttp(server.origin)) is not None:
                break
    assert ours is None or ours == theirs
