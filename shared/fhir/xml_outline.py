"""FHIR XML, read only as far as the gateway must judge it: which resources, requests and links a body holds."""

import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from shared.fhir.errors import FhirError

_FHIR = "http://hl7.org/fhir"
_DEEPEST = 1000
_TAG = re.compile(rb"""</?(?P<name>[^\s/>]+)(?P<attributes>(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*/?>""")
_ATTRIBUTE_NAME = re.compile(rb"""\s([^\s=]++)\s*+=\s*+(?:"[^"]*+"|'[^']*+')""")
_CHILDREN = frozenset({("entry", "request"), ("entry", "resource"), ("entry", "response"), ("response", "outcome")})
_REQUEST = ("method", "url", "ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist")


@dataclass(slots=True)
class Outline:
    """A body's shape as JSON would have it.

    `document` holds `resourceType` and, of Bundles, `type`, `link`, and each entry's `request`, `resource` and
    `response.outcome`, again as outlines. `resources` are the outermost Bundle's resources, by entry, as documents of
    their own: the bytes they came in, with the namespaces that were declared around them.
    """

    document: dict[str, Any] = field(default_factory=dict)
    resources: list[bytes | None] = field(default_factory=list)


def outline(body: bytes) -> Outline:
    """The outline of a resource in XML.

    Raises FhirError (400) when it is malformed, not UTF-8, nested too deeply or has a document type declaration.
    """
    reader = _Reader(body)
    if b"\0" in body:
        raise _malformed()
    try:
        reader.parser.Parse(body, True)
    except expat.ExpatError:
        raise _malformed() from None
    return reader.outline


class _Reader:
    """Follows the parser: `_path` are the open elements, `_open` the outline each of them is part of."""

    def __init__(self, body: bytes) -> None:
        self.outline = Outline()
        self._body = body
        self._path: list[str] = []
        self._open: list[dict[str, Any] | None] = []
        self._resource_at = -1
        self._namespaces: dict[str, str] = {}
        self.parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
        self.parser.XmlDeclHandler = self._declaration
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartNamespaceDeclHandler = self._namespace
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding and encoding.lower() != "utf-8":
            raise _malformed()

    def _doctype(self, *declaration: object) -> None:
        raise _malformed()

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        if len(self._path) < 3:
            self._namespaces[f"xmlns:{prefix}" if prefix else "xmlns"] = uri or ""

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(" ")
        within = self._open[-1] if self._open else self.outline.document
        self._open.append(self._opened(name, within, attributes) if namespace == _FHIR else None)
        self._path.append(name)
        if len(self._path) > _DEEPEST:
            raise _malformed()

    def _opened(self, name: str, within: dict[str, Any] | None, attributes: dict[str, str]) -> dict[str, Any] | None:
        """The outline that an element's children belong to; None when nothing below it matters."""
        if within is None:
            return None
        parent = self._path[-1] if self._path else ""
        value = attributes.get("value")
        if not self._path or parent in ("resource", "outcome"):
            self._put(within, "resourceType", name)
            if len(self._path) == 3:
                self._resource_at = self.parser.CurrentByteIndex
            return within if name == "Bundle" else None
        if parent == "Bundle":
            return self._of_bundle(name, within, value)
        if (parent, name) in _CHILDREN:
            child: dict[str, Any] = {}
            self._put(within, name, child)
            return child
        if (parent == "link" and name in ("relation", "url")) or (parent == "request" and name in _REQUEST):
            self._put(within, name, value)
        return None

    def _of_bundle(self, name: str, bundle: dict[str, Any], value: str | None) -> dict[str, Any] | None:
        if name == "type":
            self._put(bundle, name, value)
        elif name in ("link", "entry"):
            child: dict[str, Any] = {}
            bundle.setdefault(name, []).append(child)
            if name == "entry" and len(self._path) == 1:
                self.outline.resources.append(None)
            return child
        return None

    @staticmethod
    def _put(within: dict[str, Any], name: str, value: Any) -> None:
        """Sets what may stand once: policy would judge the one and a server might go by the other."""
        if name in within:
            raise _malformed()
        within[name] = value

    def _end(self, tag: str) -> None:
        self._path.pop()
        self._open.pop()
        if len(self._path) == 3 and self._resource_at >= 0:
            self.outline.resources[-1] = self._standalone(self._tag(self._resource_at))
            self._resource_at = -1

    def _standalone(self, start: re.Match[bytes]) -> bytes:
        """The resource that begins with this start tag and ends here, with the namespaces declared that it inherits."""
        empty = start[0].endswith(b"/>")
        end = start.end() if empty else self._tag(self.parser.CurrentByteIndex).end()
        declared = {name.decode() for name in _ATTRIBUTE_NAME.findall(start["attributes"])}
        inherited = "".join(
            f" {name}={quoteattr(uri)}" for name, uri in self._namespaces.items() if name not in declared
        )
        return self._body[start.start() : start.end("name")] + inherited.encode() + self._body[start.end("name") : end]

    def _tag(self, position: int) -> re.Match[bytes]:
        tag = _TAG.match(self._body, position)
        if tag is None:
            raise _malformed()
        return tag


def _malformed() -> FhirError:
    return FhirError(400, "structure", "The body is not well-formed FHIR XML in UTF-8.")
