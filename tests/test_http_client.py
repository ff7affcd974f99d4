"""What is sent, over which connection, and what becomes of connections."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable

import pytest
import trustme

from shared import http_client
from shared.http_client import HttpClient
from shared.http_connection import IncompleteResponse
from tests.raw_server import OK, RawServer, ends, raw_server, says
from tests.raw_server import client as client
from tests.raw_server import server as server

HEAD = b"HTTP/1.1 200 OK\r\n"


async def get(client: HttpClient, url: str, **options) -> bytes:
    """The body of a GET's response."""
    async with asyncio.timeout(10):
        with await client.request("GET", url, {}, **options) as response:
            body = b""
            while part := await response.read():
                body += part
            return body


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("", "/"),
        ("/", "/"),
        ("?a=b", "/?a=b"),
        ("/a/../b/./c//d/", "/a/../b/./c//d/"),
        ("/%2f%2F%41?x=%7c|{}&y=a+b&&=&z[]=%00", "/%2f%2F%41?x=%7c|{}&y=a+b&&=&z[]=%00"),
        ("/a?b?c=/d\\e", "/a?b?c=/d\\e"),
        ("/a#fragment?b", "/a"),
        ("/ü?ß", "/ü?ß"),
    ],
)
async def test_a_target_is_sent_byte_for_byte(target: str, sent: str, client: HttpClient, server: RawServer) -> None:
    await get(client, server.origin + target)
    host = server.origin.removeprefix("http://")
    assert server.requests == [f"GET {sent} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/", "//a/", "/a", "http:///a", "http://a@b/", "http://a:b@c/", "http://a:/", "http://a:65536/",
        "http://a:123456/",
        "http://a b/", "http://a/b c", "http://a/\r\nX:", "http://a/\0", "http://a/\t", "http://a/\x7f", "http://a\\b/",
        "http://[::1/", "http://::1/", "http://ä.example/", "http://a/\n#", "HTTP://a/", "",
    ],
)  # fmt: skip
async def test_what_is_no_url_is_refused(url: str, client: HttpClient) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        await client.request("GET", url, {})


async def test_headers_and_body_are_sent_as_they_are(client: HttpClient, server: RawServer) -> None:
    for method, body in (("POST", b""), ("PUT", b"{}"), ("PATCH", b"a" * 300_000), ("DELETE", b"")):
        with await client.request(method, f"{server.origin}/x", {"accept": "a/b", "X-Ü": "é"}, body):
            pass
    host = server.origin.removeprefix("http://")
    head = f"/x HTTP/1.1\r\nHost: {host}\r\naccept: a/b\r\nX-Ü: é\r\n"
    assert server.requests == [
        f"POST {head}Content-Length: 0\r\n\r\n".encode(),
        f"PUT {head}Content-Length: 2\r\n\r\n{{}}".encode(),
        f"PATCH {head}Content-Length: 300000\r\n\r\n".encode() + b"a" * 300_000,
        f"DELETE {head}\r\n".encode(),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nb: c"}, {"x": "a\nb"}, {"x": "a\rb"}, {"x": "a\0"}, {"x\r\ny": "a"}, {"x\0": "a"},
        {"Content-Length": "1"}, {"transfer-encoding": "chunked"}, {"HOST": "a"}, {"Connection": "close"},
    ],
)  # fmt: skip
async def test_headers_that_would_change_the_framing_are_refused(headers, client: HttpClient, server: RawServer):
    with pytest.raises(ValueError, match="header"):
        await client.request("GET", server.origin, headers)
    assert server.requests == []


async def test_connections_are_kept_for_their_origin_and_tls_context_alone(client: HttpClient, server: RawServer):
    async with raw_server() as other:
        for origin in (server.origin, other.origin, server.origin, other.origin):
            assert await get(client, origin) == b"{}"
        assert (server.connections, other.connections) == ([1, 1], [1, 1])
        await get(client, server.origin, tls=ssl.create_default_context())
        assert server.connections == [1, 1, 2]


async def test_requests_at_once_have_a_connection_each(client: HttpClient, server: RawServer) -> None:
    for _ in range(2):
        await asyncio.gather(*(get(client, server.origin) for _ in range(50)))
    assert set(server.connections) == set(range(1, 51))


async def test_a_fresh_request_rides_on_no_kept_connection(client: HttpClient, server: RawServer) -> None:
    for fresh in (False, True, True):
        await get(client, server.origin, fresh=fresh)
    assert server.connections == [1, 2, 3]


async def test_a_lost_connection_costs_a_second_try_where_one_is_wanted(client: HttpClient, server: RawServer) -> None:
    async def lose(writer: asyncio.StreamWriter) -> None:
        server.script = says(OK)
        writer.close()

    await get(client, server.origin)
    server.script = lose
    assert await get(client, server.origin) == b"{}"
    assert server.connections == [1, 1, 2]
    server.script = lose
    with pytest.raises(ConnectionError):
        await get(client, server.origin, fresh=True)
    await get(client, server.origin)
    server.script = lose
    with pytest.raises(ConnectionError):
        await get(client, server.origin, resend=False)
    assert server.connections == [1, 1, 2, 3, 2, 2]


async def test_a_response_that_began_is_not_asked_for_again(client: HttpClient, server: RawServer) -> None:
    await get(client, server.origin)
    server.script = says(b"HTTP/1.1 100 Continue\r\n\r\n", then=ends)
    with pytest.raises(ConnectionError):
        await get(client, server.origin)
    assert server.connections == [1, 1]


async def test_a_kept_connection_ends_with_the_servers_and_at_its_first_byte(client: HttpClient, server: RawServer):
    for number, end in enumerate((ends, says(b"\r"), says(OK))):
        await get(client, server.origin)
        writer = server.writers[-1]
        await end(writer)
        await until(lambda: not client._open)
        assert server.connections == [*range(1, number + 2)]


async def test_kept_connections_are_few_and_short_lived(monkeypatch, client: HttpClient, server: RawServer) -> None:
    monkeypatch.setattr(http_client, "_MAX_IDLE", 3)
    monkeypatch.setattr(http_client, "_IDLE_SECONDS", 0.2)
    await asyncio.gather(*(get(client, server.origin) for _ in range(8)))
    assert len(client._open) == 3
    await until(lambda: not client._open)
    await get(client, server.origin)
    assert server.connections[-1] == 9
    await until(lambda: not client._open)
    assert client._idle == {}


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"])
async def test_a_request_that_is_given_up_ends_its_connection(said: bytes, client: HttpClient, server: RawServer):
    server.script = says(said)
    request = asyncio.create_task(get(client, server.origin))
    await until(lambda: bool(server.requests) and server.has_said.is_set())
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert not client._open
    await until(server.writers[-1].is_closing)


async def test_a_request_given_up_after_its_response_leaves_its_connection_to_the_next(
    monkeypatch, client: HttpClient, server: RawServer
) -> None:
    requests: list[asyncio.Task[bytes]] = []
    keep = client._keep

    def keep_and_give_up(*connection) -> None:
        keep(*connection)
        if len(requests) == 1:
            requests.append(asyncio.create_task(get(client, server.origin)))
            requests[0].cancel()

    monkeypatch.setattr(client, "_keep", keep_and_give_up)
    requests.append(asyncio.create_task(get(client, server.origin)))
    ended = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert await requests[1] == b"{}"
    assert server.connections == [1, 1]


async def test_a_response_that_is_not_read_to_its_end_ends_its_connection(client: HttpClient, server: RawServer):
    server.script = says(HEAD + b"Content-Length: 9\r\n\r\n{")
    with await client.request("GET", server.origin, {}) as response:
        assert await response.read() == b"{"
    assert not client._open
    await until(server.writers[-1].is_closing)


async def test_no_more_is_received_than_is_read(client: HttpClient, server: RawServer) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n")
        while True:
            writer.write(b"a" * 65_536)
            await writer.drain()
            written.append(65_536)

    written: list[int] = []
    server.script = endless
    with await client.request("GET", server.origin, {}) as response:
        for _ in range(3):
            await asyncio.sleep(0.2)  # in which the server could write hundreds of megabytes
            assert 0 < len(await response.read()) <= 400_000
    assert sum(written) < 16_000_000  # sockets have buffers


@pytest.mark.parametrize(("said", "has_tls"), [(OK, False), (OK, True), (b"", False)])
async def test_an_end_before_the_request_was_sent_ends_the_connection(client: HttpClient, said: bytes, has_tls: bool):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        with socket.fromfd(writer.get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM) as tcp:
            await writer.drain()
            if not said:
                tcp.shutdown(socket.SHUT_WR)
            await ended.wait()
        writer.transport.abort()

    ended, tls = asyncio.Event(), trusting(ROOT) if has_tls else None
    refusing = await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=identity(ROOT, "127.0.0.1") if has_tls else None)
    origin = f"{'https' if has_tls else 'http'}://127.0.0.1:{refusing.sockets[0].getsockname()[1]}"
    async with refusing, asyncio.timeout(10):
        try:
            with await client.request("PUT", origin, {}, b"a" * 30_000_000, tls=tls) as response:
                assert (await response.read(), said) == (b"{}", OK)
        except ConnectionError:
            assert not said
        assert not client._open
        ended.set()


async def test_the_end_of_the_client_ends_what_is_under_way(server: RawServer) -> None:
    client = HttpClient()
    server.script = says(HEAD + b"Content-Length: 9\r\n\r\n{")
    with await client.request("GET", server.origin, {}) as response:
        assert await response.read() == b"{"
        await client.close()
        with pytest.raises(IncompleteResponse):
            await response.read()


# TLS

ROOT, STRANGER = trustme.CA(), trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def identity(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_the_server_is_who_the_url_says(client: HttpClient) -> None:
    for name, problem in (("127.0.0.1", None), ("127.0.0.2", "IP address mismatch"), ("localhost", "mismatch")):
        async with raw_server(identity(ROOT, name)) as server:
            if problem is None:
                assert await get(client, server.origin, tls=trusting(ROOT)) == b"{}"
                continue
            with pytest.raises(ssl.SSLCertVerificationError, match=problem):
                await get(client, server.origin, tls=trusting(ROOT))
    async with raw_server(identity(STRANGER, "127.0.0.1")) as server:
        for context in (trusting(ROOT), None):
            with pytest.raises(ssl.SSLCertVerificationError):
                await get(client, server.origin, tls=context)
        assert server.requests == []


async def test_a_server_with_many_names_is_told_which(client: HttpClient) -> None:
    context, asked = identity(ROOT, "localhost"), []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with raw_server(context) as server:
        port = server.origin.rpartition(":")[2]
        assert await get(client, f"https://localhost:{port}", tls=trusting(ROOT)) == b"{}"
    assert asked == ["localhost"]


async def test_a_server_may_ask_for_a_certificate(client: HttpClient) -> None:
    demanding = identity(ROOT, "127.0.0.1")
    demanding.verify_mode = ssl.CERT_REQUIRED
    ROOT.configure_trust(demanding)
    known, unknown, none = trusting(ROOT), trusting(ROOT), trusting(ROOT)
    ROOT.issue_cert("gateway.example").configure_cert(known)
    STRANGER.issue_cert("gateway.example").configure_cert(unknown)
    async with raw_server(demanding) as server:
        assert await get(client, server.origin, tls=known) == b"{}"
        for context in (unknown, none):
            with pytest.raises((ssl.SSLError, ConnectionError)):  # the server tells why, or just ends the connection
                await get(client, server.origin, tls=context)
        assert await get(client, server.origin, tls=known) == b"{}"
        assert len(server.requests) == 2


async def test_a_tls_stream_that_is_cut_off_is_no_whole_response(client: HttpClient) -> None:
    async def cuts(writer: asyncio.StreamWriter) -> None:
        tcp = writer.get_extra_info("socket")
        with socket.fromfd(tcp.fileno(), tcp.family, tcp.type) as below_tls:
            below_tls.shutdown(socket.SHUT_WR)

    async with raw_server(identity(ROOT, "127.0.0.1")) as server:
        tls = trusting(ROOT)
        server.script = says(HEAD + b"\r\n{}", then=ends)
        assert await get(client, server.origin, tls=tls) == b"{}"
        server.script = says(HEAD + b"\r\n{}", then=cuts)
        with pytest.raises(IncompleteResponse):
            await get(client, server.origin, tls=tls)
        server.script = says(OK, then=cuts)
        assert await get(client, server.origin, tls=tls) == b"{}"


@pytest.mark.parametrize("has_tls", [False, True])
async def test_whenever_requests_are_given_up_each_other_has_its_own_response(client: HttpClient, has_tls: bool):
    async def echo(writer: asyncio.StreamWriter) -> None:
        path = server.requests[-1].split()[1]
        await says(HEAD + b"Content-Length: %d\r\n\r\n" % len(path), path)(writer)

    async def request(number: int) -> bool:
        return await get(client, f"{server.origin}/{number}", tls=tls) == b"/%d" % number

    tls = trusting(ROOT) if has_tls else None
    async with raw_server(identity(ROOT, "127.0.0.1") if has_tls else None) as server:
        server.script = echo
        for turns in range(60):
            given_up = asyncio.create_task(request(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            given_up.cancel()
            assert all(await asyncio.gather(request(1_000 + turns), request(2_000 + turns)))
            await asyncio.wait({given_up})
            assert given_up.cancelled() or given_up.result()
            assert client._open == client._idle_since.keys()


# Names and addresses


async def test_a_name_is_looked_up_once_for_many_and_again_after_a_failure(monkeypatch, client: HttpClient) -> None:
    asked, resolve = [], socket.getaddrinfo

    def count(host: bytes | str, *more, **named):
        asked.append(host)
        return resolve(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", count)
    async with raw_server() as server:
        url = server.origin.replace("127.0.0.1", "localhost")
        await asyncio.gather(*(get(client, url, fresh=True) for _ in range(10)))
        assert asked == [b"localhost"]
    for name in ("nowhere.invalid", "a" * 64 + ".example", "a..b"):
        for _ in range(2):
            with pytest.raises(OSError, match=r"."):
                await get(client, f"http://{name}/")
    assert len(asked) == 7


async def test_names_that_nobody_resolves_hold_up_neither_another_client_nor_the_loop(monkeypatch) -> None:
    silent, resolve = threading.Event(), socket.getaddrinfo

    def look_up(host: bytes | str, *more, **named):
        if host == b"silent.example":
            silent.wait(30)
        return resolve(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    client = HttpClient()
    async with raw_server() as server:
        stuck = [asyncio.create_task(get(client, f"http://silent.example:{port}/")) for port in range(1, 32)]
        await asyncio.sleep(0.1)
        assert await get(client, server.origin.replace("127.0.0.1", "localhost")) == b"{}"
        assert await asyncio.to_thread(lambda: True)
        for each in stuck:
            each.cancel()
        silent.set()
        await client.close()


async def test_a_lookup_outlives_the_request_that_began_it(monkeypatch, client: HttpClient, server: RawServer):
    answer, resolve = threading.Event(), socket.getaddrinfo

    def wait(*asked, **named):
        answer.wait(30)
        return resolve(*asked, **named)

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    first, second = (asyncio.create_task(get(client, server.origin)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    answer.set()
    assert await second == b"{}"


async def test_the_address_that_responds_is_taken(monkeypatch, client: HttpClient, server: RawServer) -> None:
    resolve = socket.getaddrinfo

    def two(host: bytes | str, port: int, **named):
        return [*resolve("127.0.0.1", 1, **named), *resolve(host, port, **named)]  # nobody listens at the first

    monkeypatch.setattr(socket, "getaddrinfo", two)
    assert await get(client, server.origin) == b"{}"


async def test_an_address_where_nobody_responds_is_looked_up_again(monkeypatch, client: HttpClient, server: RawServer):
    ports, resolve = [1, int(server.origin.rpartition(":")[2])], socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **named: resolve(host, ports.pop(0), **named))
    with pytest.raises(ConnectionError):
        await get(client, server.origin)
    for _ in range(2):
        assert await get(client, server.origin, fresh=True) == b"{}"


async def test_a_connection_that_is_not_made_ends_after_its_time(monkeypatch, client: HttpClient) -> None:
    monkeypatch.setattr(http_client, "_CONNECT_SECONDS", 0.05)
    async with raw_server() as silent:  # it waits for a request, and the client for its part of the TLS handshake
        with pytest.raises(TimeoutError):
            await get(client, silent.origin.replace("http:", "https:"))
        assert not client._open
