"""FHIR JSON as clients send it: parsed strictly, and cut into entries without losing how numbers were written."""

import json
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

from shared.fhir.errors import FhirError

_SPACE = " \t\n\r"


def parse_resource(body: bytes) -> dict[str, Any]:
    """The resource in a request's body.

    Raises FhirError (400) when it is not one, also for a repeated member: policy would judge the one value and the
    provider may go by the other.
    """
    try:
        document = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise FhirError(400, "structure", "The body is not valid JSON, or repeats a member of an object.") from None
    if not isinstance(document, dict) or not isinstance(document.get("resourceType"), str):
        raise FhirError(400, "structure", "The body is not a FHIR resource.")
    return document


def entry_resources(body: bytes) -> list[bytes | None]:
    """The resource of each entry of a Bundle that `parse_resource` accepts, as its own bytes."""
    text = body.decode()
    entries = _members(text, _skip_space(text, 0)).get("entry")
    if entries is None:
        return []
    resources: list[bytes | None] = []
    for start in _elements(text, entries[0]):
        span = _members(text, start).get("resource")
        resources.append(None if span is None else text[slice(*span)].encode())
    return resources


_DECODER = json.JSONDecoder()


def _members(text: str, position: int) -> dict[str, tuple[int, int]]:
    """Where each member's value of the object at `position` starts and ends."""
    members = {}
    position = _skip_space(text, position + 1)
    while text[position] != "}":
        name, position = scanstring(text, position + 1, True)
        start = _skip_space(text, _skip_space(text, position) + 1)
        _, end = _DECODER.raw_decode(text, start)
        members[name] = start, end
        position = _skip_separator(text, end)
    return members


def _elements(text: str, position: int) -> Iterator[int]:
    """Where each element of the array at `position` starts."""
    position = _skip_space(text, position + 1)
    while text[position] != "]":
        yield position
        _, end = _DECODER.raw_decode(text, position)
        position = _skip_separator(text, end)


def _skip_separator(text: str, position: int) -> int:
    position = _skip_space(text, position)
    return _skip_space(text, position + 1) if text[position] == "," else position


def _skip_space(text: str, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
