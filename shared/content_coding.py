"""Content codings (RFC 9110 section 8.4): gzip for responses, and the decoding of providers' in bounds."""

import asyncio
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

from shared.message import Response

_MIN_BYTES = 1_400  # less fits into one packet as it is
_THREAD_BYTES = 262_144  # more takes milliseconds, during which other requests go on
_LEVEL = 1  # measured on FHIR's examples: 4 to 8 times smaller, in a third of the default level's time
_GZIP_FORMAT = 31
_MAX_READ = 1_000
_CODING = re.compile(r"\s*(gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?", re.ASCII | re.IGNORECASE)
_MAX_CODINGS = 3
_MAX_MEMBERS = 1_000  # bgzip makes one of each 64 KB
_PIECE_BYTES = 262_144
_NONE = frozenset({"", "identity"})
_DECODED = frozenset({"gzip", "x-gzip", "deflate"})
_REFUSED = re.compile(r"0(?:\.0*)?")


async def encoded(response: Response, accept_encoding: str | None) -> Response:
    """The response in gzip if it is large enough and `accept_encoding`, the request's header, lets it; else as it is.

    A body with a strong ETag stays as it is: the tag stands for these very bytes (section 8.8.3.3).
    """
    body, etag = response.body, response.headers.get("ETag", "W/")
    if len(body) < _MIN_BYTES or not etag.startswith("W/"):
        return response
    vary = ", ".join(filter(None, (response.headers.get("Vary"), "Accept-Encoding")))
    headers = {**response.headers, "Vary": vary}
    if not _takes_gzip((accept_encoding or "")[:_MAX_READ]):
        return Response(response.status, headers, body)
    compressed = _gzip(body) if len(body) < _THREAD_BYTES else await asyncio.to_thread(_gzip, body)
    return Response(response.status, {**headers, "Content-Encoding": "gzip"}, compressed)


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, _GZIP_FORMAT)


@lru_cache(maxsize=256)  # an app sends the same header with every request
def _takes_gzip(accept_encoding: str) -> bool:
    """Whether gzip is listed, or anything is (section 12.5.3); no header, or none of these, is for no coding."""
    codings = [coding for part in accept_encoding.split(",") if (coding := _CODING.fullmatch(part))]
    named = [coding for coding in codings if coding[1] != "*"] or codings
    return any(coding[2] is None or not _REFUSED.fullmatch(coding[2]) for coding in named)


class Undecodable(Exception):
    """A body in a coding that is not known, or that is not what its coding says."""


class TooLarge(Exception):
    """A body that unpacks to more than the limit."""


class Decoder:
    """Undoes the codings of a Content-Encoding header, the last one first; no step of it unpacks to over `limit` bytes.

    gzip, x-gzip and deflate are known, the latter with or without its zlib wrapper, as servers send both; one response
    may have three of them. Raises Undecodable.
    """

    def __init__(self, content_encoding: str, limit: int) -> None:
        codings = [coding for part in content_encoding.lower().split(",") if (coding := part.strip()) not in _NONE]
        if len(codings) > _MAX_CODINGS or not _DECODED.issuperset(codings):
            raise Undecodable
        self._steps = [_Step(coding, limit) for coding in reversed(codings)]

    def decode(self, data: bytes) -> Iterable[bytes]:
        """The decoded `data`, the next part of the body, in pieces of at most 256 KB, some of them empty.

        No step does more than 256 KB of work between two of them. Raises Undecodable, or TooLarge.
        """
        return _decoded(self._steps, data) if self._steps else (data,)

    def end(self) -> None:
        """Raises Undecodable if the body was cut off."""
        for step in self._steps:
            if step.open:
                raise Undecodable


class _Step:
    def __init__(self, coding: str, limit: int) -> None:
        self._coding = coding
        self._left = limit
        self._members = 0
        self._member: zlib._Decompress | None = None

    @property
    def open(self) -> bool:
        return self._member is not None

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                if self._members and not (data := data.lstrip(b"\0")):  # zeros may follow a gzip body
                    return
                self._members += 1
                if self._members > _MAX_MEMBERS:
                    raise Undecodable
                self._member = zlib.decompressobj(self._window(data))
            try:
                piece = self._member.decompress(data, _PIECE_BYTES)
            except zlib.error:
                raise Undecodable from None
            self._left -= len(piece)
            if self._left < 0:
                raise TooLarge
            data = self._member.unconsumed_tail
            if self._member.eof:
                # A gzip body may be several, one after the other (RFC 1952 section 2.2).
                data, self._member = self._member.unused_data, None
            yield piece

    def _window(self, data: bytes) -> int:
        if self._coding != "deflate":
            return _GZIP_FORMAT
        return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS  # 8 begins a zlib wrapper (RFC 1950)


def _decoded(steps: list[_Step], data: bytes) -> Iterator[bytes]:
    first, *others = steps
    for piece in first.decode(data):
        yield from _decoded(others, piece) if others else (piece,)
