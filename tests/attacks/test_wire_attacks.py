"""Attacks on an instance over raw connections: none reaches a provider outside its base, none gets a 5xx."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from urllib.parse import quote

import pytest

from tests.deployment import Deployment
from tests.faults import hospitals, page
from tests.faults.provider_faults import PATIENT, message, says
from tests.host import App


@dataclass(frozen=True)
class Target:
    """A tenant whose provider keeps what it was asked, and the way to attack it."""

    hospital: hospitals.Scripted
    app: App
    tenant: str
    token: str

    async def raw(self, content: bytes) -> tuple[int, bytes]:
        """The status of the first answer to these bytes (0: none), and all that came until nothing did for a second."""
        host, port = self.app.host.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(content)
        answer = b""
        with suppress(TimeoutError, ConnectionError):
            while piece := await asyncio.wait_for(reader.read(65_536), 1):
                answer += piece
        writer.close()
        status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
        return int(status[1]) if status else 0, answer

    def head(self, line: str, *headers: str, host: str = "gateway.example") -> bytes:
        lines = [f"{line} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {self.token}", *headers]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")

    @property
    def asked(self) -> list[bytes]:
        """The request lines that reached the provider."""
        return [head.split(b"\r\n")[0] for head in self.hospital.heads]


@pytest.fixture
async def target(stack: Deployment, own_app: App) -> AsyncIterator[Target]:
    async with hospitals.scripted(says(message(PATIENT))) as hospital:
        tenant = await stack.tenant(hospital.base_url)
        yield Target(hospital, own_app, tenant, await own_app.token(tenant))


_DOTS = ("..", "%2e%2e", ".%2e", "%252e%252e", "..;", "%c0%ae%c0%ae", "%u002e%u002e", "．．", "..%00", "%2e%2e%09")
_SLASHES = ("/", "%2f", "%5c", "\\", "%252f", "%c0%af", "//", "/./", "%ef%bc%8f")


async def test_no_spelling_of_a_way_up_leads_out_of_the_base(target: Target) -> None:
    tried = 0
    for dots, slash in product(_DOTS, _SLASHES):
        up = f"{dots}{slash}"
        for path in (f"Patient/{up}admin", f"{up}admin", f"Patient/1{slash}{up}{up}x"):
            line = f"GET /stu3/{path}".encode().decode("latin-1")
            status, _ = await target.raw(target.head(line))
            assert status in (0, 200, 400, 401, 403, 404), (path, status)  # 401: /admin is the host's own
            tried += 1
    for asked in target.asked:
        # What got through is an interaction below the base, spelled without a way up.
        assert re.fullmatch(rb"GET /fhir/[A-Z][A-Za-z]+(/[A-Za-z0-9.-]+)*(\?\S*)? HTTP/1\.1", asked), asked
        assert b".." not in asked
    name = "path traversal, in ten spellings of dots and nine of slashes"
    page.note("attacks", name, tried, "refused, or an id of its own base")


_SMUGGLED = "0\r\n\r\nGET /stu3/Patient/smuggled HTTP/1.1\r\n\r\n"
_SHAPES = {
    "two different Content-Lengths": "Content-Length: 5\r\nContent-Length: 50\r\n\r\n{}",
    "Content-Length beside Transfer-Encoding": f"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{_SMUGGLED}",
    "two Transfer-Encodings": f"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{_SMUGGLED}",
    "a Transfer-Encoding there is not, `xchunked`": f"Transfer-Encoding: xchunked\r\n\r\n{_SMUGGLED}",
    "a space before the colon of Transfer-Encoding": f"Transfer-Encoding : chunked\r\n\r\n{_SMUGGLED}",
    "a vertical tab before `chunked`": f"Transfer-Encoding:\x0bchunked\r\n\r\n{_SMUGGLED}",
    "a Content-Length with a sign, `+3`": "Content-Length: +3\r\n\r\n{}",
    "a Content-Length in hexadecimal, `0x3`": "Content-Length: 0x3\r\n\r\n{}",
    "a Content-Length that is a list, `3, 3`": "Content-Length: 3, 3\r\n\r\n{}",
    "a Content-Length of twenty digits": "Content-Length: 99999999999999999999\r\n\r\n{}",
    "a header folded over two lines": "X: a\r\n b\r\n\r\n",
    "Transfer-Encoding behind a bare line feed": "X: a\nTransfer-Encoding: chunked\r\n\r\n",
    "a null byte in a header's name": "X\x00: a\r\n\r\n",
    "a chunk of more than 64 bits": "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a chunk of negative size": "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
}


@pytest.mark.parametrize("shape", _SHAPES)
async def test_no_request_is_smuggled_in_another(target: Target, shape: str) -> None:
    line = "POST /stu3/Patient/_search HTTP/1.1"
    head = f"{line}\r\nHost: x\r\nAuthorization: Bearer {target.token}\r\n{_SHAPES[shape]}"
    status, _ = await target.raw(head.encode("latin-1"))
    assert status < 500
    assert not [line for line in target.asked if b"smuggled" in line]
    page.note("attacks", f"request smuggling: {shape}", 1, status or "closed")


@pytest.mark.parametrize(
    "named",
    ["evil.example", "127.0.0.1", "169.254.169.254", "gateway.example@evil.example", "gateway.example:99999", "[::1]"],
)
async def test_the_host_header_steers_nothing(target: Target, named: str) -> None:
    forwarded = ("X-Forwarded-Host: evil.example", "X-Forwarded-For: 127.0.0.1", "Forwarded: host=evil.example")
    head = target.head("GET /stu3/Patient/1", *forwarded, "X-Original-URL: /admin", host=named)
    status, answer = await target.raw(head)
    assert status in (200, 400)
    assert b"evil.example" not in answer
    for head in target.hospital.heads:
        assert named.encode() not in head or target.hospital.base_url.split("/")[2].startswith(named)
        assert b"evil" not in head
        assert b"orwarded" not in head
    figure = f"{status}; its own provider was asked, or none"
    page.note("attacks", f"another server's name as Host: `{named}`", 1, figure)


_DOCUMENTS = ("oauth-authorization-server", "openid-configuration")
_EVIL = ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http", "Forwarded: host=evil.example", "Origin: null")


async def test_no_host_and_no_path_makes_another_discovery_document(target: Target) -> None:
    """What a client discovers is the gateway's own, the same for everyone, or nothing."""
    found = [await target.app.request("GET", f"/.well-known/{name}") for name in _DOCUMENTS]
    assert {response.status for response in found} == {200}
    (known,) = {response.body for response in found}
    tried = 0
    for name, host in product(
        _DOCUMENTS, ("evil.example", "127.0.0.1", "evil.example:443", "gateway.example.evil.example")
    ):
        status, answer = await target.raw(target.head(f"GET /.well-known/{name}", *_EVIL, host=host))
        assert (status, answer.endswith(known), b"evil" in answer) == (200, True, False)
        tried += 1
    ups = [f"{up}{slash}" for up, slash in product(("..", "%2e%2e", "..;"), ("/", "%2f", "%5c"))]
    name = _DOCUMENTS[0]
    for path in (
        *(
            f"/.well-known/{up}{then}"
            for up in ups
            for then in ("oauth2/token", "health", "portal/", f"r4/.well-known/{name}")
        ),
        *(f"/{prefix}/.well-known/{name}" for prefix in ("evil.example", "tenant/1", "oauth2", "r4", "portal", "x/..")),
        *(
            f"/.well-known/{name}{more}"
            for more in ("/", "/tenant/1", "/..", ";x", "%00", "%0d%0aX-Evil:%201", "?issuer=evil")
        ),
        *(
            f"/{well}/{name}"
            for well in (".WELL-KNOWN", ".well-known/", "/.well-known", "%2ewell-known", ".well-known%2f")
        ),
        *(
            f"/.well-known/{other}"
            for other in ("", name.upper(), "smart-configuration", "jwks.json", "openid-federation")
        ),
    ):
        status, answer = await target.raw(target.head(f"GET {path}"))
        assert status in (200, 400, 401, 403, 404, 405), (path, status)
        assert status != 200 or b'"issuer"' not in answer or answer.endswith(known), path
        assert b"evil" not in answer.split(b"\r\n\r\n", 1)[-1].replace(path.encode(), b"")
        assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]
        tried += 1
    assert target.asked == []
    page.note("attacks", "discovery documents: other hosts, ways up, letters, places below", tried, "the same, or 404")


@pytest.mark.parametrize(
    "line",
    [
        "GET http://evil.example/stu3/Patient/1", "GET //evil.example/stu3/Patient/1",
        "GET /stu3//evil.example/Patient/1", "GET /stu3/http://evil.example/Patient",
        "GET /stu3/Patient/1@evil.example", "GET /stu3/https:%2f%2fevil.example",
        "GET /stu3/Patient?_page=http%3A%2F%2Fevil.example", "GET /stu3/Patient?_page=../../../../evil.example",
        f"GET /stu3/Patient?_page={quote('AAAA' * 8)}", "GET /stu3?_getpages=http://evil.example",
        "CONNECT evil.example:443", "TRACE /stu3/Patient/1", "GET /stu3/Patient/1?_format=http://evil.example",
    ],
)  # fmt: skip
async def test_no_url_in_a_request_is_fetched(target: Target, line: str) -> None:
    status, answer = await target.raw(target.head(line))
    assert status < 500
    assert all(asked.startswith(b"GET /fhir/Patient/1") for asked in target.asked)
    assert b"Location: " not in answer
    page.note("attacks", f"a URL to be fetched: `{line[:60]}`", 1, f"{status or 'closed'}; nothing was fetched")


_INJECTED = ("a\rX-Evil: 1", "a\nX-Evil: 1", "a\x00b", "\xff\xfe", "%0d%0aX-Evil: 1", "é" * 10, "a" * 7000)


@pytest.mark.parametrize(
    "name", ["X-Request-Id", "X-Correlation-Id", "If-None-Match", "Prefer", "Accept", "traceparent"]
)
async def test_no_header_is_injected(target: Target, name: str) -> None:
    for value in _INJECTED:
        status, answer = await target.raw(target.head("GET /stu3/Patient/1", f"{name}: {value}"))
        assert status < 500
        assert b"\r\nX-Evil" not in answer
    assert not [head for head in target.hospital.heads if b"\nx-evil" in head.lower()]
    page.note("attacks", f"a line break, a null byte and the like in `{name}`", len(_INJECTED), "refused, or a value")


def _batch(count: int, url: str = "Patient/1") -> bytes:
    entries = [{"request": {"method": "GET", "url": url}}] * count
    return json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}).encode()


_HEAD = b'{"resourceType":"Bundle","type":"batch","x":'
_JSON, _XML = "application/fhir+json", "application/fhir+xml"
_BUNDLE = b'<Bundle xmlns="http://hl7.org/fhir">'
_LAUGHS = b'<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]>'
_OUTSIDE = b'<!DOCTYPE l SYSTEM "http://evil.example/a.dtd">'
_ATTRIBUTES = " ".join(f'a{number}="1"' for number in range(100_000)).encode()


@pytest.mark.parametrize(
    ("name", "media", "body", "statuses"),
    [
        ("a million open brackets", _JSON, b"[" * 1_000_000, {400}),
        ("objects nested a hundred thousand deep", _JSON, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {400}),
        ("a number of a million digits", _JSON, _HEAD + b"9" * 1_000_000 + b"}", {200}),
        ("a member repeated a hundred thousand times", _JSON, b"{" + b'"a":1,' * 100_000 + b'"a":1}', {400}),
        ("a batch of a hundred thousand entries", _JSON, _batch(100_000), {400, 413}),
        ("a batch in a batch", _JSON, _batch(1, ""), {200}),
        ("twenty-one megabytes", _JSON, b" " * (21 * 1_048_576), {413}),
        ("a lone surrogate", _JSON, _HEAD + b'"\\ud800"}', {200, 400}),
        ("entries to another server", _JSON, _batch(3, "https://evil.example/Patient/1"), {200}),
        ("entries to a way up", _JSON, _batch(3, "../../admin"), {200}),
        ("entries with a line break", _JSON, _batch(3, "Patient/1\r\nHost: evil"), {200}),
        ("a billion laughs", _XML, _LAUGHS + _BUNDLE + b"&b;</Bundle>", {400}),
        ("an external entity", _XML, _OUTSIDE + _BUNDLE + b"</Bundle>", {400}),
        ("a hundred thousand elements deep", _XML, _BUNDLE + b"<a>" * 100_000, {400}),
        ("a hundred thousand attributes", _XML, _BUNDLE[:-1] + b" " + _ATTRIBUTES + b"/>", {400}),
        ("UTF-16", _XML, (_BUNDLE + b"</Bundle>").decode().encode("utf-16"), {400}),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) and " " in value else "",
)
async def test_no_body_is_too_much(target: Target, name: str, media: str, body: bytes, statuses: set[int]) -> None:
    answer = await target.app.fhir(target.tenant, "", "POST", data=body, headers={"Content-Type": media})
    assert answer.status in statuses
    if name.startswith(("a batch in", "entries")):
        # The batch is answered, and each of its entries refused.
        outcomes = [entry["response"]["status"][:3] for entry in json.loads(answer.body)["entry"]]
        assert set(outcomes) <= {"400", "404"}
    assert not [line for line in target.asked if b"evil" in line or b"admin" in line]
    page.note("attacks", f"a body: {name}", 1, answer.status)


@pytest.mark.parametrize("body", [b"<a/>", b"<Patient/>", b'<Patient xmlns="http://evil.example"/>'])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_other_xml_is_a_bad_request(stack: Deployment, own_app: App, body: bytes, method: str) -> None:
    tenant = await stack.tenant("http://127.0.0.1:1/fhir", Access="write")
    answer = await own_app.fhir(tenant, "Patient/1", method, data=body, headers={"Content-Type": _XML})
    assert answer.status == 400
