"""OperationOutcome: how an error reads under a FHIR base (http://hl7.org/fhir/R4/operationoutcome.html)."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree

import orjson

from shared.fhir.errors import FhirError
from shared.fhir.negotiation import content_type, requested_format
from shared.fhir.versions import FhirFormat, FhirVersion
from shared.fhir.xml_writer import to_xml
from shared.message import Response

NO_STORE = {"Cache-Control": "no-store", "Vary": "Authorization"}  # the tenant is in no other part of a request

_MAX_REWRITTEN_BYTES = 262_144
# The elements in their order: "" is a value, and what stands in a list may repeat.
_CODING: Mapping[str, Any] = dict.fromkeys(("system", "version", "code", "display"), "")
_DETAILS: Mapping[str, Any] = {"coding": [_CODING], "text": ""}
_LISTS = {"location": [""], "expression": [""]}
_ISSUE: Mapping[str, Any] = {"severity": "", "code": "", "details": _DETAILS, "diagnostics": "", **_LISTS}


def operation_outcome(code: str, diagnostics: str, severity: str = "error") -> dict[str, Any]:
    """An OperationOutcome of one issue, which reads the same in every version."""
    issue = {"severity": severity, "code": code, "diagnostics": diagnostics}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def rewritten_outcome(body: bytes, format: FhirFormat) -> bytes:
    """An OperationOutcome in `format`, well-formed, written anew in the other format.

    It keeps what the versions have in common of an issue, without ids, narrative and extensions. One of more than
    256 KB, which nobody reads, or without an issue says only that.
    """
    found: dict[str, Any] = {}
    if len(body) <= _MAX_REWRITTEN_BYTES:
        with suppress(ValueError, ElementTree.ParseError):  # a lone surrogate is FHIR to some
            # The body was read before: it has no document type, and is not nested too deeply.
            read = orjson.loads(body) if format is FhirFormat.JSON else _elements(ElementTree.fromstring(body))  # noqa: S314
            found = _picked(read, {"issue": [_ISSUE]})
    if issues := found.get("issue"):
        needed = {"severity": "error", "code": "exception"}
        outcome = {"resourceType": "OperationOutcome", "issue": [{**needed, **issue} for issue in issues]}
    else:
        outcome = operation_outcome("exception", "The provider's outcome can't be written in this format.")
    return orjson.dumps(outcome) if format is FhirFormat.XML else to_xml(outcome)


def format_for_errors(query: str, accept: str | None) -> FhirFormat:
    """The format of an error, never raising: XML where the raw `query` or Accept asks for it, else JSON."""
    return requested_format(query, accept) or FhirFormat.JSON


def error_response(error: FhirError, version: FhirVersion, format: FhirFormat) -> Response:
    """The response that `error` stands for: its status and headers, and its OperationOutcome in `format`."""
    outcome = operation_outcome(error.code, error.diagnostics)
    return Response(
        error.status,
        {**error.headers, **NO_STORE, "Content-Type": content_type(version, format)},
        to_xml(outcome) if format is FhirFormat.XML else orjson.dumps(outcome),
    )


def _picked(element: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """The elements of an element that `shape` names; repeated ones are lists."""
    picked: dict[str, Any] = {}
    for name, kind in shape.items():
        repeats, inner = (True, kind[0]) if isinstance(kind, list) else (False, kind)
        found = element.get(name)
        items = [kept for item in (found if isinstance(found, list) else [found]) if (kept := _kept(item, inner))]
        if items:
            picked[name] = items if repeats else items[0]
    return picked


def _kept(item: Any, shape: Any) -> Any:
    if shape:
        return _picked(item, shape) if isinstance(item, dict) else None
    return item if isinstance(item, str) else None


def _elements(element: ElementTree.Element) -> dict[str, Any]:
    """The children of an XML element as lists by name, each its value or again its elements."""
    found: dict[str, Any] = {}
    for child in element:
        value = child.get("value")
        found.setdefault(child.tag.rpartition("}")[2], []).append(_elements(child) if value is None else value)
    return found
