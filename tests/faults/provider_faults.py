"""What a provider can do wrong, by name: scripts of bytes over a connection, and what its tenant then gets."""

import asyncio
import gzip
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENT = b'{"resourceType":"Patient","id":"1"}'
OUTCOME = b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception"}]}'
FHIR = "application/fhir+json"
_LARGE = 400 * 1_048_576


_OK, _BUSY, _BAD, _LATE = (frozenset({status}) for status in (200, 429, 502, 504))


@dataclass(frozen=True)
class Fault:
    """`statuses` are those its tenant may see; `columns` are the row's."""

    name: str
    script: Script
    statuses: frozenset[int] = _BAD
    columns: Mapping[str, Any] = field(default_factory=dict)


def message(
    body: bytes, status: str = "200 OK", media: str | None = FHIR, *headers: str, length: int | None = None
) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    if media is not None:
        lines.append(f"Content-Type: {media}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def says(content: bytes, seconds: float = 0, then: Script | None = None) -> Script:
    """These bytes, and after so many seconds what is to happen then, or the end of the connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        await asyncio.sleep(seconds)
        if then is not None:
            await then(reader, writer)

    return script


def answers(body: bytes, status: str = "200 OK", media: str | None = FHIR, *headers: str) -> Script:
    return says(message(body, status, media, *headers))


def redirects(status: str, location: str) -> Script:
    return answers(b"", status, None, f"Location: {location}")


def throttles(retry_after: str, body: bytes = b"") -> Script:
    return answers(body, "429 Too Many", "text/plain", f"Retry-After: {retry_after}")


def encodes(body: bytes, encoding: str) -> Script:
    return answers(body, "200 OK", FHIR, f"Content-Encoding: {encoding}")


def says_and_hangs(content: bytes) -> Script:
    return says(content, 3600)


def repeats(head: bytes, piece: bytes, pause: float = 0.0) -> Script:
    """A head, and then the same piece for ever."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _zeros() -> bytes:
    """A gigabyte of zeros, compressed: one megabyte."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1_048_576)
    return b"".join(compressor.compress(block) for _ in range(1024)) + compressor.flush()


_SLOW = {"TimeoutSeconds": "1"}
_XML = "application/fhir+xml"
_METADATA = "http://169.254.169.254/metadata/identity/oauth2/token"
_XML_HEAD = b'<Patient xmlns="http://hl7.org/fhir">'
_DOCTYPE = b'<!DOCTYPE a [<!ENTITY a %s>]><Patient xmlns="http://hl7.org/fhir">&a;</Patient>'
_CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n"
_NEXT = b'{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"%s"}]}'

FAULTS: tuple[Fault, ...] = (
    Fault("closes the connection without a word", says(b"")),
    Fault("resets the connection", resets),
    Fault("resets the connection amid the answer", says(message(PATIENT, length=500), 0.05, resets)),
    Fault("hangs before the answer", says_and_hangs(b""), _LATE, _SLOW),
    Fault("hangs amid the headers", says_and_hangs(b"HTTP/1.1 200 OK\r\nContent-Ty"), _LATE, _SLOW),
    Fault("hangs amid the body", says_and_hangs(message(PATIENT, length=500)), _LATE, _SLOW),
    Fault("trickles the body, a byte at a time", repeats(message(b"", length=90_000), b" ", 0.05), _LATE, _SLOW),
    Fault("trickles headers", repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05), _LATE, _SLOW),
    Fault("sends 100 Continue for ever", repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02), _LATE, _SLOW),
    Fault("sends 102 Processing for ever", repeats(b"", b"HTTP/1.1 102 Processing\r\n\r\n", 0.02), _LATE | _BAD, _SLOW),
    Fault("switches protocols", says_and_hangs(message(b"", "101 Switching Protocols")), _BAD | _LATE, _SLOW),
    Fault("ends before its Content-Length", says(message(PATIENT, length=500))),
    Fault("sends more than its Content-Length", says(message(PATIENT) + message(OUTCOME)), _OK),
    Fault("has a Content-Length that is no number", says(b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n{}")),
    Fault("has a negative Content-Length", says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}")),
    Fault("has two Content-Lengths", answers(PATIENT, "200 OK", FHIR, "Content-Length: 3")),
    Fault("has Content-Length and chunks", answers(b"0\r\n\r\n", "200 OK", FHIR, "Transfer-Encoding: chunked")),
    Fault("has a chunk size that is no number", says(_CHUNKED + b"xyz\r\n{}\r\n0\r\n\r\n")),
    Fault("ends amid a chunk", says(_CHUNKED + b"ff\r\n{")),
    Fault("leaves out the last chunk", says(_CHUNKED + b"23\r\n" + PATIENT + b"\r\n")),
    Fault("says gzip and is not", encodes(PATIENT, "gzip")),
    Fault("cuts gzip short", encodes(gzip.compress(PATIENT)[:-12], "gzip")),
    Fault("unpacks to a gigabyte", encodes(_zeros(), "gzip")),
    Fault("uses an encoding nobody asked for", encodes(PATIENT, "compress"), _BAD | _OK),
    Fault("sends without end", repeats(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" " * 65_536)),
    Fault("announces more than is taken", says_and_hangs(message(b"", length=_LARGE))),
    Fault("sends a header of a megabyte", says(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1_048_576 + b"\r\n\r\n")),
    Fault("sends headers without end", repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 4096), _BAD | _LATE, _SLOW),
    Fault("sends a status line of a megabyte", says(b"HTTP/1.1 200 " + b"a" * 1_048_576)),
    Fault("does not speak HTTP", says(b"220 smtp.example ESMTP\r\n")),
    Fault("speaks HTTP/2", says(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    Fault("speaks HTTP/0.9", says(PATIENT)),
    Fault("has a status of its own making", answers(PATIENT, "999 Whatever")),
    Fault("folds a header over two lines", answers(PATIENT, "200 OK", FHIR, "X-A: b\r\n c"), _BAD | _OK),
    Fault("puts a null byte into a header", answers(PATIENT, "200 OK", FHIR, 'ETag: W/"\0"')),
    Fault("breaks off in JSON", answers(b'{"resourceType":"Patient","na')),
    Fault("nests JSON a million deep", answers(b"[" * 1_000_000)),
    Fault("sends JSON that is no resource", answers(b'{"a":1}')),
    Fault("sends a JSON array", answers(b"[1]")),
    Fault("sends bytes that are no UTF-8", answers(b'{"resourceType":"\xff"}')),
    Fault("names a charset there is not", answers(PATIENT, "200 OK", f"{FHIR};charset=klingon")),
    Fault("names a charset that takes minutes", answers(b"-" + b"ba" * 700_000, "200 OK", f"{FHIR};charset=punycode")),
    Fault("sends a patient of another type", answers(b'{"resourceType":"Practitioner"}'), frozenset({403})),
    Fault("answers HTML", answers(b"<html>", "200 OK", "text/html")),
    Fault("answers a login page as 404", answers(b"<html>", "404 Not Found", "text/html"), frozenset({404})),
    Fault("calls FHIR plain text", answers(PATIENT, "200 OK", "text/plain")),
    Fault("leaves the Content-Type out", answers(PATIENT, "200 OK", None)),
    Fault("answers 200 with nothing", answers(b"")),
    Fault("sends XML with entities in entities", answers(_DOCTYPE % b'"&b;&b;"><!ENTITY b "aaaa"', "200 OK", _XML)),
    Fault("sends XML that includes a file", answers(_DOCTYPE % b'SYSTEM "file:///etc/passwd"', "200 OK", _XML)),
    Fault("nests XML a million deep", answers(_XML_HEAD + b"<a>" * 1_000_000, "200 OK", _XML)),
    Fault("redirects within itself", redirects("307 Temporary Redirect", "/fhir/Patient/2")),
    Fault("redirects to another server", redirects("302 Found", "https://evil.example/")),
    Fault("redirects to the cloud's metadata", redirects("303 See Other", _METADATA)),
    Fault("redirects to the gateway's own machine", redirects("308 Permanent Redirect", "http://127.0.0.1:{trap}/")),
    Fault("links the next page to the gateway's own machine", answers(_NEXT % b"http://127.0.0.1:{trap}/")),
    Fault("links the next page to the cloud's metadata", answers(_NEXT % _METADATA.encode())),
    Fault("answers 401", answers(OUTCOME, "401 Unauthorized", FHIR, "WWW-Authenticate: Basic")),
    Fault("answers 403", answers(OUTCOME, "403 Forbidden"), frozenset({403})),
    Fault("answers 403 with HTML", answers(b"<html>", "403 Forbidden", "text/html")),
    Fault("answers 409 and breaks off", answers(b'{"', "409 Conflict"), frozenset({409})),
    Fault("answers 407", answers(b"", "407 Proxy Authentication Required")),
    Fault("answers 429 for ten minutes", throttles("600", b"slow down"), _BUSY),
    Fault("answers 429 without end", throttles("9" * 400), _BUSY),
    Fault("answers 429 with a Retry-After that is no number", throttles("²"), _BUSY),
    Fault("answers 429 in a time zone there is not", throttles(f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}"), _BUSY),
    Fault("answers 500 with an outcome", answers(OUTCOME, "500 Oops"), frozenset({500})),
    Fault("answers 500 with HTML", answers(b"<html>", "500 Oops", "text/html")),
    Fault("answers 502", answers(b"<html>", "502 Bad Gateway", "text/html")),
    Fault("answers 503", answers(b"<html>", "503 Down", "text/html")),
    Fault("answers 504", answers(b"<html>", "504 Slow", "text/html"), _LATE),
)
