"""FHIR XML of the gateway's own documents, from their JSON form (http://hl7.org/fhir/R4/xml.html)."""

import re
from typing import Any

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0, section 2.2
# A parser turns bare white space in an attribute into blanks (XML 1.0, section 3.3.3).
_WHITE_SPACE = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", **_WHITE_SPACE})


def to_xml(resource: dict[str, Any]) -> bytes:
    """`resource` as a document in UTF-8, its elements in the order of the dict, which must be the specification's.

    It has no narrative and no extensions of primitives, as the gateway's documents have none. A character that XML
    can't carry becomes U+FFFD.
    """
    parts = ['<?xml version="1.0" encoding="UTF-8"?>']
    _write_resource(parts, resource, ' xmlns="http://hl7.org/fhir"')
    return "".join(parts).encode()


def quoted(value: str) -> str:
    """An attribute's value with its quotes, its white space escaped, for elements around others' resources."""
    from xml.sax.saxutils import quoteattr  # here: much comes along, and few ask for XML

    return quoteattr(value)


def _write_resource(parts: list[str], resource: dict[str, Any], namespace: str = "") -> None:
    type = resource["resourceType"]
    parts.append(f"<{type}{namespace}>")
    for name, value in resource.items():
        if name != "resourceType":
            _write(parts, name, value)
    parts.append(f"</{type}>")


def _write(parts: list[str], name: str, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _write(parts, name, item)
    elif not isinstance(value, dict):
        parts.append(f'<{name} value="{_text(value)}"/>')
    elif "resourceType" in value:
        parts.append(f"<{name}>")
        _write_resource(parts, value)
        parts.append(f"</{name}>")
    else:
        _write_element(parts, name, value)


def _write_element(parts: list[str], name: str, element: dict[str, Any]) -> None:
    attributes = ("id", "url") if name in ("extension", "modifierExtension") else ("id",)
    parts.append(f"<{name}")
    parts.extend(f' {key}="{_text(element[key])}"' for key in attributes if key in element)
    parts.append(">")
    for key, value in element.items():
        if key not in attributes:
            _write(parts, key, value)
    parts.append(f"</{name}>")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NOT_XML.sub("\ufffd", str(value)).translate(_ESCAPES)
