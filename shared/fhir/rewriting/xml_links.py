"""Links in FHIR XML, rewritten in the bytes of the body."""

import re
from collections.abc import Callable
from html import escape
from xml.parsers import expat

from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import Position, position_of
from shared.fhir.rewriting.spelling import XML_REFERENCE, Edit, splice
from shared.fhir.rewriting.values import LINK_ATTRIBUTES, escaped_edits

MAX_DEPTH = 1000

_FHIR = "http://hl7.org/fhir"
_XHTML = "http://www.w3.org/1999/xhtml"
_TAG_NAME = re.compile(r"<[^\s/>]++")
_ATTRIBUTE = re.compile(r"\s++([^\s=]++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')", re.ASCII)


class UnsafeXml(ValueError):
    """XML that is not taken: malformed, not in UTF-8, with a DTD, or nested too deeply."""


def rewrite_xml(body: bytes, link_map: LinkMap, *, link_url: Callable[[str], str | None] | None = None) -> bytes:
    """`body`, FHIR XML in UTF-8, with the links of a resource mapped; the same object when none is.

    `link_url`, if given, decides instead of the map on each `link.url` of the outermost Bundle and of its entries
    that are Bundles: it takes the decoded URL, whatever it is, and gives the one to write or None to leave it.
    Everything but mapped bases stays byte for byte. Raises UnsafeXml.
    """
    # In UTF-16, which the parser would follow against all orders, every "<" has a zero byte; UTF-8 has none in XML.
    if b"\0" in body:
        raise UnsafeXml("XML in another encoding than UTF-8")
    reader = _Reader(body, link_map, link_url)
    return splice(reader.text, reader.edits).encode("latin-1") if reader.edits else body


class _Reader:
    """One pass of the parser over a body: it tells where elements begin, their attributes are edited in the body."""

    def __init__(self, body: bytes, link_map: LinkMap, link_url: Callable[[str], str | None] | None) -> None:
        # As Latin-1 one character is one byte, as the parser counts.
        self.text = body.decode("latin-1")
        self.edits: list[Edit] = []
        self._link_map = link_map
        self._link_url = link_url
        self._names: list[str] = []
        self._parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
        self._parser.XmlDeclHandler = self._declaration
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        try:
            self._parser.Parse(body, True)
        except expat.ExpatError as error:
            raise UnsafeXml(f"malformed XML at line {error.lineno}") from None

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding and encoding.lower() != "utf-8":
            raise UnsafeXml("XML in another encoding than UTF-8")

    def _doctype(self, name: str, system_id: str | None, public_id: str | None, has_internal_subset: bool) -> None:
        raise UnsafeXml("XML with a document type declaration")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(" ")
        parent = self._names[-1] if self._names else ""
        self._names.append(name)
        if len(self._names) > MAX_DEPTH:
            raise UnsafeXml(f"XML nested deeper than {MAX_DEPTH} elements")
        if namespace == _FHIR and "value" in attributes:
            if self._link_url and name == "url" and parent == "link" and self._of_bundle():
                self._replace_link(self._link_url(attributes["value"]))
            elif position := position_of(name, parent):
                self._edit(position, frozenset({"value"}))
        elif namespace == _XHTML and not LINK_ATTRIBUTES.isdisjoint(attributes):
            self._edit(Position.URL, LINK_ATTRIBUTES)

    def _of_bundle(self) -> bool:
        """Whether the open `url` is a link of the outermost Bundle, or of one that is an entry's resource."""
        start = 0
        while self._names[start : start + 3] == ["Bundle", "entry", "resource"]:
            start += 3
        return self._names[start:] == ["Bundle", "link", "url"]

    def _end(self, tag: str) -> None:
        self._names.pop()

    def _edit(self, position: Position, names: frozenset[str]) -> None:
        for name, start, end in self._attributes():
            if name in names:
                self.edits += escaped_edits(position, self.text[start:end], XML_REFERENCE, start, self._link_map)

    def _replace_link(self, url: str | None) -> None:
        if url is None:
            return
        written = escape(url).encode().decode("latin-1")
        self.edits += [(start, end, written) for name, start, end in self._attributes() if name == "value"]

    def _attributes(self) -> list[tuple[str, int, int]]:
        """Name of each attribute of the current start tag, as written, and where its value stands."""
        found = []
        at = _TAG_NAME.match(self.text, self._parser.CurrentByteIndex)
        while at := at and _ATTRIBUTE.match(self.text, at.end()):
            found.append((at[1], *at.span(3 if at[2] is None else 2)))
        return found
