"""The answer to a batch, put together from the answers to its entries."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from xml.sax.saxutils import quoteattr

import orjson

from shared.fhir.versions import FhirFormat, FhirVersion

# What stands before a document's root: a declaration, comments and white space.
_PROLOG = re.compile(rb"(?:<\?xml\s[^>]*+>|<!--(?:[^-]++|-(?!->))*+-->|\s++)*+", re.DOTALL)
_VALUE = rb"""\s*+=\s*+(?:"[^"]*+"|'[^']*+')"""
# A root's start tag up to `xsi:schemaLocation="…"`, which may stand on the root of a document alone.
_SCHEMA_LOCATION = re.compile(
    rb"(<[^\s/>]++(?:\s++(?![^\s=:]++:schemaLocation[\s=])[^\s=/>]++" + _VALUE + rb")*+)"
    rb"\s++[^\s=:]++:schemaLocation" + _VALUE
)


@dataclass(frozen=True, slots=True)
class EntryAnswer:
    """One entry's answer. `body` is the resource or, with a `status` of 400 and more, the OperationOutcome.

    It goes in as the bytes it came in, so that numbers keep their digits.
    """

    status: int
    body: bytes = b""
    full_url: str | None = None
    location: str | None = None
    etag: str | None = None


def batch_response(answers: Iterable[EntryAnswer], version: FhirVersion, format: FhirFormat) -> bytes:
    """A Bundle of type batch-response (http://hl7.org/fhir/R4/http.html#transaction-response).

    An OperationOutcome stands in `entry.response.outcome`; DSTU2 has no such element, so that there it is the
    entry's resource. A `fullUrl` stands once: two entries may not have the same (invariant bdl-7).
    """
    answers = _named_once(answers)
    if format is FhirFormat.XML:
        entries = b"".join(_xml_entry(answer, version) for answer in answers)
        return b'<Bundle xmlns="http://hl7.org/fhir"><type value="batch-response"/>' + entries + b"</Bundle>"
    entries = b",".join(_json_entry(answer, version) for answer in answers)
    member = b',"entry":[' + entries + b"]" if entries else b""
    return b'{"resourceType":"Bundle","type":"batch-response"' + member + b"}"


def _named_once(answers: Iterable[EntryAnswer]) -> Iterator[EntryAnswer]:
    seen = set[str | None]()
    for answer in answers:
        yield replace(answer, full_url=None) if answer.full_url in seen else answer
        seen.add(answer.full_url)


def _json_entry(answer: EntryAnswer, version: FhirVersion) -> bytes:
    parts = []
    if answer.full_url is not None:
        parts.append(b'"fullUrl":' + orjson.dumps(answer.full_url))
    resource, outcome = _places(answer, version)
    if resource:
        parts.append(b'"resource":' + resource)
    response = orjson.dumps(dict(_response(answer)))
    if outcome:
        response = response[:-1] + b',"outcome":' + outcome + b"}"
    parts.append(b'"response":' + response)
    return b"{" + b",".join(parts) + b"}"


def _xml_entry(answer: EntryAnswer, version: FhirVersion) -> bytes:
    resource, outcome = map(_root, _places(answer, version))
    entry = f"<fullUrl value={quoteattr(answer.full_url)}/>" if answer.full_url is not None else ""
    response = "".join(f"<{name} value={quoteattr(value)}/>" for name, value in _response(answer))
    parts = [b"<entry>", entry.encode()]
    if resource:
        parts += [b"<resource>", resource, b"</resource>"]
    parts += [b"<response>", response.encode()]
    if outcome:
        parts += [b"<outcome>", outcome, b"</outcome>"]
    return b"".join((*parts, b"</response></entry>"))


def _root(body: bytes) -> bytes:
    """The root of an XML document, as it may stand inside another."""
    prolog = _PROLOG.match(body)
    root = body[prolog.end() :] if prolog else body
    hint = _SCHEMA_LOCATION.match(root)
    return hint[1] + root[hint.end() :] if hint else root


def _places(answer: EntryAnswer, version: FhirVersion) -> tuple[bytes, bytes]:
    """What goes into `entry.resource`, and what into `entry.response.outcome`."""
    failed = answer.status >= 400 and version is not FhirVersion.DSTU2
    return (b"", answer.body) if failed else (answer.body, b"")


def _response(answer: EntryAnswer) -> list[tuple[str, str]]:
    """The elements of `entry.response` before the outcome, in their order."""
    try:
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    except ValueError:
        status = str(answer.status)
    elements = [("status", status), ("location", answer.location), ("etag", answer.etag)]
    return [(name, value) for name, value in elements if value is not None]
