"""The response to a batch, put together from the responses to its entries."""

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus

import orjson
from msgspec import Struct, structs

from shared.fhir.versions import FhirFormat, FhirVersion
from shared.fhir.xml_writer import quoted

# `<?xml version="1.0"?> <!-- x -->`, before a document's root.
_PROLOG = re.compile(rb"(?:<\?xml\s[^>]*+>|<!--(?:[^-]++|-(?!->))*+-->|\s++)*+", re.DOTALL)
_VALUE = rb"""\s*+=\s*+(?:"[^"]*+"|'[^']*+')"""
# A root's start tag up to `xsi:schemaLocation="…"`, which may stand on the root of a document alone.
_SCHEMA_LOCATION = re.compile(
    rb"(<[^\s/>]++(?:\s++(?![^\s=:]++:schemaLocation[\s=])[^\s=/>]++" + _VALUE + rb")*+)"
    rb"\s++[^\s=:]++:schemaLocation" + _VALUE
)


class EntryResponse(Struct, frozen=True):
    """The response to one entry. `body` is the resource or, with a `status` of 400 and more, the OperationOutcome.

    It goes in as the bytes it came in, so that numbers keep their digits.
    """

    status: int
    body: bytes = b""
    full_url: str | None = None
    location: str | None = None
    etag: str | None = None


def batch_response(responses: Iterable[EntryResponse], version: FhirVersion, format: FhirFormat) -> bytes:
    """A Bundle of type batch-response (http://hl7.org/fhir/R4/http.html#transaction-response).

    An OperationOutcome stands in `entry.response.outcome`; DSTU2 has no such element, so that there it is the
    entry's resource. A `fullUrl` stands once: two entries may not have the same (invariant bdl-7).
    """
    responses = _named_once(responses)
    if format is FhirFormat.XML:
        entries = b"".join(_xml_entry(response, version) for response in responses)
        return b'<Bundle xmlns="http://hl7.org/fhir"><type value="batch-response"/>' + entries + b"</Bundle>"
    entries = b",".join(_json_entry(response, version) for response in responses)
    member = b',"entry":[' + entries + b"]" if entries else b""
    return b'{"resourceType":"Bundle","type":"batch-response"' + member + b"}"


def _named_once(responses: Iterable[EntryResponse]) -> Iterator[EntryResponse]:
    seen = set[str | None]()
    for response in responses:
        yield structs.replace(response, full_url=None) if response.full_url in seen else response
        seen.add(response.full_url)


def _json_entry(response: EntryResponse, version: FhirVersion) -> bytes:
    resource, outcome = _places(response, version)
    full_url = b"" if response.full_url is None else b'"fullUrl":%b,' % orjson.dumps(response.full_url)
    written = orjson.dumps(dict(_elements(response)))[:-1]
    content = b'"resource":%b,' % resource if resource else b""
    return b'{%b%b"response":%b%b}}' % (full_url, content, written, b',"outcome":' + outcome if outcome else b"")


def _xml_entry(response: EntryResponse, version: FhirVersion) -> bytes:
    resource, outcome = map(_root, _places(response, version))
    entry = f"<fullUrl value={quoted(response.full_url)}/>" if response.full_url is not None else ""
    elements = "".join(f"<{name} value={quoted(value)}/>" for name, value in _elements(response))
    content = b"<resource>%b</resource>" % resource if resource else b""
    failure = b"<outcome>%b</outcome>" % outcome if outcome else b""
    written = b"<response>%b%b</response>" % (elements.encode(), failure)
    return b"<entry>%b%b%b</entry>" % (entry.encode(), content, written)


def _root(body: bytes) -> bytes:
    """The root of an XML document, as it may stand inside another."""
    prolog = _PROLOG.match(body)
    root = body[prolog.end() :] if prolog else body
    hint = _SCHEMA_LOCATION.match(root)
    return hint[1] + root[hint.end() :] if hint else root


def _places(response: EntryResponse, version: FhirVersion) -> tuple[bytes, bytes]:
    """The bodies for `entry.resource` and `entry.response.outcome`."""
    failed = response.status >= 400 and version is not FhirVersion.DSTU2
    return (b"", response.body) if failed else (response.body, b"")


def _elements(response: EntryResponse) -> list[tuple[str, str]]:
    """The elements of `entry.response` before the outcome, in their order."""
    try:
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
    except ValueError:
        status = str(response.status)
    elements = [("status", status), ("location", response.location), ("etag", response.etag)]
    return [(name, value) for name, value in elements if value is not None]
