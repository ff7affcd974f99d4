"""One connection over HTTP/1.1 (RFC 9112): a request out, its response in, then the next.

llhttp parses the responses with none of its leniencies on. What it takes and two readers could still read differently
is refused here, and a connection is used again only after a response that ended exactly where its bytes did.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Self

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from multidict import CIMultiDict

_MAX_HEAD_BYTES = 131_072  # cookies and policies of tens of KB are met with
_MAX_HEADERS = 128
_MAX_UNREAD_BYTES = 65_536
_MAX_JOINED_BYTES = 65_536  # a larger body is not copied behind its head, and may be under way when it is responded to
_NO_CONTENT = (204, 304)
_FIRST_BYTE = ord("H")  # llhttp takes RTSP and ICE as well, and line breaks before a response


class HttpError(Exception):
    """A response that can't be used."""


class InvalidResponse(HttpError):
    """A response that is not HTTP/1.1 or 1.0, could be read in two ways, or has a larger head than is read."""


class IncompleteResponse(HttpError):
    """A response that was cut off."""


class HttpResponse:
    """A response whose body may still be under way, for one reader.

    `status` is 200 or above; `headers` match in any case and have every value of a repeated one. Leaving its `with`
    block before the end of the body ends the connection.
    """

    def __init__(self, connection: "HttpConnection") -> None:
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self._connection: HttpConnection | None = connection  # None once the response ended, well or not
        self._error: Exception | None = None
        self._unread = b""
        self._news: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The next part of the body as it was sent, of some 300 KB at most; b"" at the end. Raises HttpError."""
        while not self._unread and await self._changed():
            pass
        part, self._unread = self._unread, b""
        if self._connection is not None:
            self._connection.resume()
        return part

    async def whole(self, max_bytes: int) -> bytes:
        """The body as it was sent. Raises InvalidResponse for more than `max_bytes`, and as `read` does."""
        parts, size = list[bytes](), 0
        while part := await self.read():
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise InvalidResponse("has too large a body")
        return b"".join(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._connection is not None:
            self._connection.abort()

    async def _changed(self) -> bool:
        """Waits for what a response brings; False once it has ended. Raises the error that it ended with."""
        if self._connection is None:
            if self._error is not None:
                # A new one: what is raised holds on to frames, and these to the response.
                raise type(self._error)(*self._error.args)
            return False
        self._news = asyncio.get_running_loop().create_future()
        await self._news
        return True

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class HttpConnection(asyncio.Protocol):
    """A connection. `on_idle` is called when it can carry another request, `on_lost` when it no longer can."""

    _transport: asyncio.Transport

    def __init__(
        self, on_idle: Callable[["HttpConnection"], None], on_lost: Callable[["HttpConnection"], None]
    ) -> None:
        self.was_answered = False  # whether any byte of the latest response came
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._parser = HttpResponseParser(self)
        self._response: HttpResponse | None = None
        self._fields: list[tuple[str, str]] = []
        self._parts: list[bytes] = []
        self._framing = 0  # bytes since the last one of a body
        self._is_head = self._is_large = self._ended = self._reusable = self._paused = False

    async def exchange(self, method: str, head: bytes, body: bytes) -> HttpResponse:
        """Sends a request; its response, as soon as the headers are there. Raises OSError or HttpError."""
        response = self._response = HttpResponse(self)
        self._framing = 0
        self._is_head, self._is_large = method == "HEAD", len(body) > _MAX_JOINED_BYTES
        self.was_answered = self._ended = False
        for part in (head, body) if self._is_large else (head + body,):
            self._transport.write(part)
        try:
            while not response.status and await response._changed():
                pass
        except BaseException:
            if response._connection is not None:  # else it is another request's, or lost
                self.abort()
            raise
        return response

    def resume(self) -> None:
        """Reads on, once what was received has been taken."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Ends the connection, and with it a response that is under way."""
        self._end(ConnectionAbortedError())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None or (not self.was_answered and data[0] != _FIRST_BYTE):
            self._end(InvalidResponse("does not begin as HTTP does"))
            return
        self.was_answered = True
        self._framing += len(data)
        try:
            if data[-1] in b"\r\n":
                # llhttp skips line breaks behind a response: had that ended before the last byte?
                view = memoryview(data)
                self._parser.feed_data(view[:-1])
                self._reusable &= not self._ended
                self._parser.feed_data(view[-1:])
            else:
                self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._reusable = False
            if not self._ended:
                self._end(InvalidResponse(str(error)))
                return
        response._unread += b"".join(self._parts)  # as many small parts it would take many times its size
        self._parts.clear()
        if self._ended:
            self._end()
        elif self._framing > _MAX_HEAD_BYTES:
            self._end(InvalidResponse("has too much beside its body"))
        else:
            if len(response._unread) > _MAX_UNREAD_BYTES:
                self._paused = True
                self._transport.pause_reading()
            response._tell()

    def eof_received(self) -> None:
        response, self._reusable = self._response, False
        is_whole = response is not None and self._ends_with_connection(response) and self._is_closed_by_server()
        self._end(None if is_whole else ConnectionResetError())

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error if isinstance(error, OSError) else ConnectionResetError())
        del self._parser  # a ring

    # The parser's calls. What is raised in one comes out of the parser as an HttpParserError.

    def on_message_begin(self) -> None:
        if self._ended:
            raise InvalidResponse("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.decode(), value.rstrip(b" \t").decode(errors="surrogateescape")))

    def on_headers_complete(self) -> None:
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        headers, size = CIMultiDict(self._fields), 0
        if self._framing > _MAX_HEAD_BYTES:  # with what may already be of the body
            size = sum(len(name) + len(value) for name, value in self._fields)
        codings = headers.getall("Transfer-Encoding", [])
        if version not in ("1.1", "1.0") or status < 100 or status == 101:
            raise InvalidResponse("another protocol")
        if size > _MAX_HEAD_BYTES or len(self._fields) > _MAX_HEADERS:
            raise InvalidResponse("too large a head")
        if codings and (status < 200 or [coding.lower() for coding in codings] != ["chunked"]):
            raise InvalidResponse("a transfer coding that is not known, or not expected")
        self._fields.clear()
        if status < 200:  # ahead of the response itself (RFC 9110, section 15.2)
            if "Content-Length" in headers:
                raise InvalidResponse("a length of what has no content")
            return
        if self._response is not None:
            self._response.headers, self._response.status = headers, status
        # The response to what was not all sent says nothing of where the next one begins.
        self._reusable = version == "1.1" and not self._is_head and not self._is_large
        if status in _NO_CONTENT and (codings or (status == 204 and headers.get("Content-Length", "0") != "0")):
            self._reusable = False  # content that must not be there may come (RFC 9112, section 6)
        if self._is_head:
            self._ended = True
            raise InvalidResponse("nothing follows, whatever the headers say")

    def on_body(self, part: bytes) -> None:
        self._framing = 0
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self._fields.clear()  # trailers
        if self._response is not None and self._response.status:
            self._ended = True
            self._reusable &= self._parser.should_keep_alive()

    def _ends_with_connection(self, response: HttpResponse) -> bool:
        """Whether a response's body ends where the connection does (RFC 9112, section 6.3)."""
        headers = response.headers
        return response.status > 0 and "Content-Length" not in headers and "Transfer-Encoding" not in headers

    def _is_closed_by_server(self) -> bool:
        """Whether the server ended the stream, which over TLS it says: not somebody who cut it off (RFC 9112, 9.8)."""
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        try:
            return tls is None or tls.read(1) == b""
        except ssl.SSLError as error:
            return isinstance(error, ssl.SSLZeroReturnError)

    def _end(self, error: Exception | None = None) -> None:
        """Ends the exchange, as a whole response or with an error; and the connection, unless it can be used again."""
        response, self._response = self._response, None
        if response is not None and error is None and self._reusable:
            self._on_idle(self)
        else:
            self._transport.abort()
            self._on_lost(self)
        if response is not None:
            if response.status and isinstance(error, OSError):
                error = IncompleteResponse()
            response._connection, response._error = None, error
            response._tell()
