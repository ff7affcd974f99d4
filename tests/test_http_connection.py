"""What is taken for a response, what is not, and after which the connection is used again."""

import asyncio
import socket
import struct

import pytest

from shared.http_client import HttpClient
from shared.http_connection import HttpResponse, IncompleteResponse, InvalidResponse
from tests.raw_server import OK, RawServer, ends, says
from tests.raw_server import client as client
from tests.raw_server import server as server

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
OK_1_0 = OK.replace(b"1.1", b"1.0")


def with_header(line: bytes) -> bytes:
    return HEAD + line + b"\r\nContent-Length: 2\r\n\r\n{}"


async def body_of(response: HttpResponse) -> bytes:
    body = b""
    while part := await response.read():
        body += part
    return body


async def got(client: HttpClient, server: RawServer, method: str = "GET") -> tuple[int, bytes]:
    async with asyncio.timeout(10):
        with await client.request(method, server.origin, {}) as response:
            return response.status, await body_of(response)


def pieces(content: bytes) -> list[list[bytes]]:
    """The bytes as a whole, in two pieces of every kind that matters, and one by one."""
    single = [content[at : at + 1] for at in range(len(content))]
    return [[content], [content[:-1], content[-1:]], [content[:1], content[1:]], single]


KEPT = {
    "with a length": (OK, 200, b"{}"),
    "with a length, and blanks around it": (HEAD + b"Content-Length: \t 2 \r\n\r\n{}", 200, b"{}"),
    "whose content ends with a line break": (HEAD + b"Content-Length: 4\r\n\r\n{}\r\n", 200, b"{}\r\n"),
    "whose content is line breaks": (HEAD + b"Content-Length: 4\r\n\r\n\r\n\r\n", 200, b"\r\n\r\n"),
    "without content": (HEAD + b"Content-Length: 0\r\n\r\n", 200, b""),
    "in chunks": (CHUNKED + b"2\r\n{}\r\n00A\r\n0123456789\r\n0\r\n\r\n", 200, b"{}0123456789"),
    "in no chunks": (CHUNKED + b"0\r\n\r\n", 200, b""),
    "in chunks with an extension": (CHUNKED + b'2;a=b;c="d"\r\n{}\r\n0;e\r\n\r\n', 200, b"{}"),
    "with trailers": (CHUNKED + b"2\r\n{}\r\n0\r\nX-Late: 1\r\nX-Later: 2\r\n\r\n", 200, b"{}"),
    "in chunks of another spelling": (HEAD + b"transfer-encoding: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, b"{}"),
    "without a reason": (b"HTTP/1.1 404\r\nContent-Length: 2\r\n\r\n{}", 404, b"{}"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "204 with a length of nothing": (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", 204, b""),
    "304, which tells the length of what is not sent": (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", 304, b""),
    "after informational ones": (b"HTTP/1.1 100 A\r\n\r\nHTTP/1.1 103 B\r\nLink: a\r\n\r\n" + OK, 200, b"{}"),
    "after an informational one that nobody knows": (b"HTTP/1.1 150 A\r\n\r\n" + OK, 200, b"{}"),
    "that offers another protocol": (with_header(b"Upgrade: h2c\r\nConnection: upgrade"), 200, b"{}"),
}  # fmt: skip

NOT_KEPT = {
    "of HTTP/1.0": (OK_1_0, 200, b"{}"),
    "of HTTP/1.0, that says it is kept": (OK_1_0.replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1), 200, b"{}"),
    "of HTTP/1.0 in chunks": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, b"{}"),
    "that says close": (with_header(b"Connection: close"), 200, b"{}"),
    "that says close and keep-alive": (with_header(b"Connection: x, Close\r\nConnection: keep-alive"), 200, b"{}"),
    "with a byte more": (OK + b"x", 200, b"{}"),
    "with a line break more": (OK + b"\r\n", 200, b"{}"),
    "in chunks, with a line break more": (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n\r\n", 200, b"{}"),
    "with another behind it": (OK + OK, 200, b"{}"),
    "that says close, with another behind it": (with_header(b"Connection: close") + OK, 200, b"{}"),
    "204 with content, which may be late": (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", 204, b""),
    "204 in chunks, which may be late": (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", 204, b""),
    "304 in chunks, which may be late": (b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", 304, b""),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
async def test_after_a_whole_response_the_connection_is_used_again(name: str, client: HttpClient, server: RawServer):
    content, *expected = KEPT[name]
    for said in pieces(content):
        server.script = says(*said)
        assert list(await got(client, server)) == expected
    assert set(server.connections) == {1}


@pytest.mark.parametrize("name", NOT_KEPT)
async def test_after_any_other_response_it_is_not(name: str, client: HttpClient, server: RawServer):
    content, *expected = NOT_KEPT[name]
    for said in pieces(content):
        server.script = says(*said)
        assert list(await got(client, server)) == expected
        await server.has_said.wait()
    assert server.connections == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [OK, HEAD + b"Content-Length: 0\r\n\r\n", HEAD + b"\r\n", CHUNKED])
async def test_a_response_to_head_has_no_content_whatever_it_says(content, client: HttpClient, server: RawServer):
    server.script = says(content)
    assert await got(client, server, "HEAD") == (200, b"")
    assert await got(client, server, "HEAD") == (200, b"")
    assert server.connections == [1, 2]


INVALID = {
    "another protocol": b"220 smtp.example ESMTP\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no head at all": b"{}\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "lower case": b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a line break first": b"\r\n" + OK,
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status of zero": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status after two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a switch of protocols": b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a switch of protocols to none": b"HTTP/1.1 101 Go\r\n\r\n",
    "an informational response with a length": b"HTTP/1.1 103 A\r\nContent-Length: 2\r\n\r\n{}" + OK,
    "an informational response in chunks": b"HTTP/1.1 150 A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK,
    "a line feed after the status": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\n{}",
    "a carriage return in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\n{}",
    "a line feed in place of a line break": HEAD + b"Content-Length: 2\n\r\n{}",
    "a line feed at the end of the head": HEAD + b"Content-Length: 2\r\n\n{}",
    "a header that is folded": with_header(b"X: a\r\n b"),
    "a header that is folded at the start": with_header(b" X: a"),
    "a carriage return in a value": with_header(b"X: a\rb"),
    "a line feed in a value": with_header(b"X: a\nb"),
    "a null byte in a value": with_header(b"X: a\0"),
    "a control character in a value": with_header(b"X: a\x01"),
    "a null byte in a name": with_header(b"X\0: a"),
    "a space before the colon": with_header(b"X : a"),
    "a name of nothing": with_header(b": a"),
    "a name with a letter that is none": with_header(b"X\xe9: a"),
    "a line without a colon": with_header(b"X"),
    "two lengths": with_header(b"Content-Length: 3"),
    "the same length twice": with_header(b"Content-Length: 2"),
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": HEAD + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "no number for a length": HEAD + b"Content-Length: 1e3\r\n\r\n{}",
    "an empty length": HEAD + b"Content-Length: \r\n\r\n{}",
    "a length with a space in it": HEAD + b"Content-Length: 2 2\r\n\r\n{}",
    "a length of more than 64 bits": HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "a length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks and a length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks of what is coded": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks that are coded": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks in chunks": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in chunks, in one line": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "no coding, by a name of old": HEAD + b"Transfer-Encoding: identity\r\nConnection: close\r\n\r\n{}",
    "almost chunks": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "an empty coding": HEAD + b"Transfer-Encoding: \r\n\r\n0\r\n\r\n",
    "a vertical tab before chunked": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"xyz\r\n{}\r\n0\r\n\r\n",
    "a chunk size in hexadecimal's other spelling": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "an empty chunk size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "a space after a chunk size": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "a space before a chunk size": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n",
    "a line feed after a chunk size": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "a line feed in a chunk extension": CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "a line feed after a chunk": CHUNKED + b"2\r\n{}\n0\r\n\r\n",
    "no line break after a chunk": CHUNKED + b"2\r\n{}0\r\n\r\n",
    "more than its chunk size": CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n",
    "a chunk of more than 64 bits": CHUNKED + b"fffffffffffffffff\r\n{}",
    "a length among the trailers": CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 2\r\n\r\n",
    "a null byte among the trailers": CHUNKED + b"2\r\n{}\r\n0\r\nX: \0\r\n\r\n",
    "too large a head": with_header(b"X: " + b"a" * 132_000),
    "too many headers": with_header(b"\r\n".join([b"X: a"] * 128)),
    "too large a head in small headers": with_header(b"\r\n".join([b"X: " + b"a" * 1_200] * 120)),
    "a head without end": HEAD + b"X: a\r\n" * 60_000,
    "an informational response without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    "a chunk extension without end": CHUNKED + b"2;" + b"a" * 400_000,
    "a trailer without end": CHUNKED + b"2\r\n{}\r\n0\r\nX: " + b"a" * 400_000,
    "trailers without end": CHUNKED + b"2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 60_000,
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
async def test_what_could_be_read_in_two_ways_is_refused(name: str, client: HttpClient, server: RawServer):
    content = INVALID[name]
    for said in pieces(content) if len(content) < 1_000 else pieces(content)[:3]:
        server.script = says(*said, then=None if len(content) < 1_000 else ends)
        with pytest.raises(InvalidResponse):
            await got(client, server)
    assert server.connections == [*range(1, len(server.connections) + 1)]


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (HEAD + b"\r\n{}", b"{}"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: a\r\n\r\n{}\r\n", b"{}\r\n"),
        (HEAD + b"\r\n", b""),
    ],
)
async def test_without_a_length_a_response_ends_with_its_connection(
    content, body, client: HttpClient, server: RawServer
):
    for said in pieces(content):
        server.script = says(*said, then=ends)
        assert await got(client, server) == (200, body)


CUT_OFF = {
    "amid its content": (OK[:-1], IncompleteResponse),
    "before its content": (OK[:-2], IncompleteResponse),
    "amid a chunk": (CHUNKED + b"ff\r\n{", IncompleteResponse),
    "before the last chunk": (CHUNKED + b"2\r\n{}\r\n", IncompleteResponse),
    "in the last chunk": (CHUNKED + b"2\r\n{}\r\n0\r\n", IncompleteResponse),
    "before it began": (b"", ConnectionError),
    "in its status line": (b"HTTP/1.1 200", ConnectionError),
    "in its headers": (HEAD + b"Content-Ty", ConnectionError),
    "after an informational one": (b"HTTP/1.1 100 Continue\r\n\r\n", ConnectionError),
}


async def resets(writer: asyncio.StreamWriter) -> None:
    """Ends the connection by a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("name", CUT_OFF)
async def test_a_response_that_is_cut_off_is_an_error(name: str, client: HttpClient, server: RawServer):
    content, error = CUT_OFF[name]
    for end in (ends, resets):
        server.script = says(content, then=end)
        with pytest.raises(error):
            await got(client, server)
    server.script = says(HEAD + b"\r\n{}", then=resets)
    with pytest.raises(IncompleteResponse):  # without a length, only a connection that ended well is the end
        await got(client, server)


@pytest.mark.parametrize("content", [OK, CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"])
async def test_a_body_is_read_as_a_whole_up_to_a_limit(content: bytes, client: HttpClient, server: RawServer):
    for said in pieces(content):
        server.script = says(*said)
        with await client.request("GET", server.origin, {}) as response:
            assert await response.whole(2) == b"{}"
        with pytest.raises(InvalidResponse), await client.request("GET", server.origin, {}) as response:
            await response.whole(1)


async def test_headers_are_as_they_were_sent(client: HttpClient, server: RawServer):
    server.script = says(
        with_header(b"Set-Cookie: a\r\nX-Empty:\r\nset-cookie: b\r\nX-Text: \t a  b\xc3\xa9 \r\nX-Raw: \xff")
    )
    with await client.request("GET", server.origin, {}) as response:
        assert response.headers.getall("SET-COOKIE") == ["a", "b"]
        assert response.headers["x-text"] == "a  bé"
        assert response.headers["x-empty"] == ""
        assert response.headers["x-raw"].encode("utf-8", "surrogateescape") == b"\xff"
        assert len(response.headers) == 6
