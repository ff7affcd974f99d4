"""HTTP/1.1 requests to other servers (RFC 9110), over connections that are kept for further ones.

    client = HttpClient()
    with await client.request("GET", "https://fhir.example.com/stu3/Patient/1", {"accept": "*/*"}) as response:
        response.status, response.headers
        while part := await response.read():
            ...

Redirects are not followed, cookies not kept, proxies not used; content codings stay as they are. A deadline is the
caller's: `asyncio.timeout` ends a request wherever it is, and its connection.
"""

import asyncio
import re
import socket
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import aiohappyeyeballs
from cachetools import TTLCache

from shared.http_connection import HttpConnection, HttpResponse

_CONNECT_SECONDS = 10
_NEXT_ADDRESS_SECONDS = 0.25  # RFC 8305, section 8
_DNS_SECONDS = 60
_MAX_NAMES = 1_000
_MAX_LOOKUPS = 32  # at once: a name whose servers say nothing holds a thread for half a minute
_IDLE_SECONDS = 15
_MAX_IDLE = 512
_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65_535
_URL = re.compile(
    r"(https?)://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?([/?][^#\x00-\x20\x7f]*)?(?:#.*)?"
)
_OWN_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})

_Origin = tuple[str, str, int, ssl.SSLContext | None]


class HttpClient:
    """Sends requests, as `user_agent` where their headers have none. It belongs to one event loop.

    Up to 512 connections are kept, for 15 seconds.
    """

    def __init__(self, user_agent: str = "") -> None:
        self._user_agent = user_agent
        self._open: set[HttpConnection] = set()
        self._idle: dict[_Origin, dict[HttpConnection, None]] = {}  # the one that was used last is the last
        self._idle_since: OrderedDict[HttpConnection, tuple[_Origin, float]] = OrderedDict()
        self._expiry: asyncio.TimerHandle | None = None
        self._lookups: TTLCache[tuple[str, int], asyncio.Future[list[Any]]] = TTLCache(_MAX_NAMES, _DNS_SECONDS)
        self._threads = ThreadPoolExecutor(_MAX_LOOKUPS, "names")  # the event loop has few, which others need

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        tls: ssl.SSLContext | None = None,
        fresh: bool = False,
        resend: bool = True,
    ) -> HttpResponse:
        """The response, as soon as its headers are there; to be used in a `with`.

        Path and query of `url` are sent byte for byte, and `headers` as they are. `tls` is the context for
        https, by default one that trusts the system's authorities; requests with the same one share connections.

        A request is sent again when a kept connection turns out to be lost. With `fresh` it has a new connection, so
        that it is sent once at most; without `resend` it fails instead, which costs no new connection each time.

        Raises ValueError for a URL or header that can't be sent, TimeoutError after 10 seconds without a connection,
        ssl.SSLError where TLS failed, another OSError for no connection or one that is lost before the headers of the
        response, and HttpError.
        """
        origin, head = self._request_head(method, url, headers, body, tls)
        if not fresh and (kept := self._idle.get(origin)):
            connection = next(reversed(kept))
            self._take(connection)
            try:
                return await connection.exchange(method, head, body)
            except OSError:
                if connection.was_answered or not resend:
                    raise
        connection = await self._connect(origin)
        return await connection.exchange(method, head, body)

    async def close(self) -> None:
        """Ends all connections, and what is under way on them."""
        for lookup in self._lookups.values():
            lookup.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for connection in list(self._open):
            connection.abort()
        if self._expiry is not None:
            self._expiry.cancel()
        await asyncio.sleep(0)  # the event loop closes sockets in its next turn

    async def _connect(self, origin: _Origin) -> HttpConnection:
        scheme, host, port, tls = origin
        loop = asyncio.get_running_loop()
        context, name = (tls or _default_tls(), host.rstrip(".")) if scheme == "https" else (None, None)
        made = partial(HttpConnection, partial(self._keep, origin), self._forget)
        async with asyncio.timeout(_CONNECT_SECONDS):
            found = await self._resolve(host, port)
            try:
                connected = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
            except BaseException:
                self._lookups.pop((host, port), None)  # it may have moved
                raise
            _, connection = await loop.create_connection(made, sock=connected, ssl=context, server_hostname=name)
        self._open.add(connection)
        return connection

    async def _resolve(self, host: str, port: int) -> list[Any]:
        """A host's addresses, looked up in a thread, once for all who ask meanwhile. Raises OSError."""
        lookup = self._lookups.get((host, port))
        if lookup is None:
            # As bytes: with a name as text, Python refuses an overlong label by a UnicodeError.
            look_up = partial(socket.getaddrinfo, host.encode(), port, type=socket.SOCK_STREAM)
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, look_up)
            lookup.add_done_callback(partial(self._resolved, (host, port)))
            self._lookups[host, port] = lookup
        await asyncio.wait((lookup,))  # it goes on when this request is cancelled: others may wait for it
        return lookup.result()

    def _resolved(self, key: tuple[str, int], lookup: asyncio.Future[list[Any]]) -> None:
        if lookup.cancelled() or lookup.exception() is not None:
            self._lookups.pop(key, None)

    def _keep(self, origin: _Origin, connection: HttpConnection) -> None:
        if len(self._idle_since) >= _MAX_IDLE:
            next(iter(self._idle_since)).abort()
        loop = asyncio.get_running_loop()
        self._idle.setdefault(origin, {})[connection] = None
        self._idle_since[connection] = origin, loop.time()
        if self._expiry is None:
            self._expiry = loop.call_later(_IDLE_SECONDS, self._expire)

    def _forget(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        self._take(connection)

    def _take(self, connection: HttpConnection) -> None:
        origin, _ = self._idle_since.pop(connection, (None, 0.0))
        if origin is not None:
            kept = self._idle[origin]
            del kept[connection]
            if not kept:
                del self._idle[origin]

    def _expire(self) -> None:
        """Ends the connections whose time is up."""
        loop = asyncio.get_running_loop()
        self._expiry = None
        for connection, (_, since) in list(self._idle_since.items()):  # the longest idle ones come first
            if since + _IDLE_SECONDS > loop.time():
                self._expiry = loop.call_at(since + _IDLE_SECONDS, self._expire)
                return
            connection.abort()

    def _request_head(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, tls: ssl.SSLContext | None
    ) -> tuple[_Origin, bytes]:
        """The origin to send a request to, and the bytes of its head. Raises ValueError."""
        parts = _URL.fullmatch(url)
        scheme, host, port, target = parts.groups("") if parts is not None else ("", "", "", "")
        number, names = int(port or _PORTS.get(scheme, 0)), set(map(str.lower, headers))
        if not 0 < number <= _MAX_PORT:  # of a larger one, the lookup would take the lower bits
            raise ValueError("not a URL that can be requested")
        if not _OWN_HEADERS.isdisjoint(names):
            raise ValueError("a header that the client itself sends")
        lines = [
            f"{method} {target if target.startswith('/') else '/' + target} HTTP/1.1",
            f"Host: {host}" if number == _PORTS[scheme] else f"Host: {host}:{number}",
            *map(": ".join, headers.items()),
        ]
        if self._user_agent and "user-agent" not in names:
            lines.append(f"User-Agent: {self._user_agent}")
        if body or method in _WITH_BODY:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join((*lines, "", ""))
        if head.count("\r") != len(lines) + 1 or head.count("\n") != len(lines) + 1 or "\0" in head:
            raise ValueError("a line break or a null byte in a header")
        return (scheme, host.strip("[]"), number, tls), head.encode()


@cache
def _default_tls() -> ssl.SSLContext:
    """The context of every client, because the system's authorities take 25 ms to read."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
