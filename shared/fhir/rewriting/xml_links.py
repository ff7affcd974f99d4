"""Links in FHIR XML, rewritten in the bytes of the body."""

import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from html import escape
from io import BytesIO
from itertools import islice

from shared.fhir.document import Allowance, Resource, Steps, Unreadable
from shared.fhir.rewriting.link_map import MAX_PATTERNS, LinkMap
from shared.fhir.rewriting.positions import CRITERIA, LINK_ATTRIBUTES, TEXT_VALUE, XHTML_LINK, Position
from shared.fhir.rewriting.spelling import XML_REFERENCE, Edit, Spelling, escaped_edits
from shared.fhir.xml_parser import attribute_spans, inherited

MAX_SIGNS = 10_000  # of escapes and slashes in a value that holds a link
# Links that are not plain cost 4 each, and 1 for each escape and slash, in units of about a microsecond.
ALLOWED_COST = Allowance(free=20_000, bytes_each=50)
MAX_CRITERIA = 1_000

_FHIR_NAMES = frozenset({b"value"})
_XHTML_NAMES = frozenset(name.encode() for name in LINK_ATTRIBUTES)
_SLICE = 1_000  # places between two pauses
# ` id="1"`: attributes that hold no link.
_ATTRIBUTES = r"""(?:\s++(?!(?:value|href|src)[\s=])[^\s=]++\s*+=\s*+(?:"[^"]*+"|'[^']*+'))*+"""


def rewrite_xml(
    body: bytes, document: Resource, link_map: LinkMap, replaced: Iterable[tuple[int, int, str]] = ()
) -> Steps[bytes]:
    """`body`, or a resource in it as a document of its own, with its links mapped and all else byte for byte.

    `document` is what `xml_document.read` made of the body, or a resource in that. Each of `replaced` is a byte span of
    the body, as in a `Link`, and the URL that is written there instead. Gives the same object when there is nothing to
    do. Raises Unreadable.
    """
    edits = _Edits(body, link_map)
    start, end = 0, len(body)
    if document.declarations:
        start, end = document.start, document.end
        at, declarations = inherited(body, document)
        edits.copied = start
        edits.write(at, at, declarations)
    # A "<" stands for itself only where a tag begins.
    own = sorted(((body.rfind(b"<", 0, span[0]), *span) for span in replaced), reverse=True)
    for count, place in enumerate(islice(document.places, bisect_left(document.places, start << 2), None)):
        if count % _SLICE == 0:
            yield
        tag = place >> 2
        if tag >= end:
            break
        is_replaced = False
        while own and own[-1][0] <= tag:
            is_replaced = own[-1][0] == tag
            edits.replace(*own.pop()[1:])
        if not is_replaced and tag >= edits.copied:
            edits.map(tag, place & 3)
    while own:
        edits.replace(*own.pop()[1:])
    return edits.result(end)


def xml_references(body: bytes, resource: Resource) -> Steps[list[str]]:
    """The values of all the elements `reference` in the resource that hold criteria (`Practitioner?name=x`), decoded.

    Raises Unreadable for more than MAX_CRITERIA.
    """
    found: list[str] = []
    places = resource.places
    for count, place in enumerate(islice(places, bisect_left(places, resource.start << 2), None)):
        if count % _SLICE == 0:
            yield
        if place >> 2 >= resource.end:
            break
        if place & 3 == CRITERIA:
            if len(found) == MAX_CRITERIA:
                raise Unreadable(f"it has more than {MAX_CRITERIA} references with criteria")
            start, end = next(span for name, *span in attribute_spans(body, place >> 2) if name == b"value")
            found.append(Spelling.read(body[start:end].decode(), XML_REFERENCE).text)
    return found


class _Edits:
    """Writes a body out anew, with edits that come in the order in which they stand."""

    def __init__(self, body: bytes, link_map: LinkMap) -> None:
        self.copied = 0
        self._body = body
        self._view = memoryview(body)
        self._link_map = link_map
        self._plain = _plain_link(link_map.pattern)
        self._target = link_map.target.encode()
        self._written: BytesIO | None = None
        self._cost = ALLOWED_COST.of(len(body))

    def write(self, start: int, end: int, text: bytes) -> None:
        if self._written is None:
            self._written = BytesIO()
        self._written.write(self._view[self.copied : start])
        self._written.write(text)
        self.copied = end

    def replace(self, start: int, end: int, url: str) -> None:
        self.write(start, end, escape(url).encode())

    def result(self, end: int) -> bytes:
        if self._written is None:
            return self._body
        self.write(end, end, b"")
        return self._written.getvalue()

    def map(self, tag: int, kind: int) -> None:
        """Maps the links in the start tag at `tag`."""
        if kind != TEXT_VALUE and (plain := self._plain.match(self._body, tag)):
            start, end = plain.span(2)
            if start >= 0:
                self.write(start, end, self._target)
            return
        names = _XHTML_NAMES if kind == XHTML_LINK else _FHIR_NAMES
        position = Position.TEXT if kind == TEXT_VALUE else Position.URL
        for name, start, end in attribute_spans(self._body, tag):
            if name in names:
                for edit_start, edit_end, text in self._value_edits(position, start, end):
                    self.write(edit_start, edit_end, text.encode("latin-1"))

    def _value_edits(self, position: Position, start: int, end: int) -> list[Edit]:
        # As Latin-1 one character is one byte.
        if self._cost < 0:
            raise Unreadable("it has too many links that are escaped, or stand in text")
        value = self._body[start:end]
        raw = value.decode("latin-1")
        signs = raw.count("/") + raw.count("&") + raw.count("%") + raw.count("\\")
        self._cost -= 4 + signs
        # Only a reference by number can hide a character of a base.
        if "&#" not in raw and not self._link_map.starts(value, 0, len(value)):
            return []
        if signs > MAX_SIGNS:
            raise Unreadable("it has links in very long or very much escaped text")
        return escaped_edits(position, raw, XML_REFERENCE, start, self._link_map)


@lru_cache(MAX_PATTERNS)
def _plain_link(starts: str) -> re.Pattern[bytes]:
    """Matches a start tag with one value that is a link, in which nothing is escaped but "&".

    `<reference value="https://provider.example/fhir/Patient/1"/>`.
    Group 2 is the base, if it begins with one that is to be mapped.
    """
    base = f"(?i:https?):{starts}"
    plain = r"""(?:[^"'&%\\/?#\t\n\r]++|/(?!\.)|&amp;)*+(?:[?#](?:[^"'&]++|&amp;)*+)?+"""
    value = rf"""(["'])(?:({base})(?=[/?#"']){plain}|(?!{base})[^"'&]*+)\1"""
    attributes = _ATTRIBUTES
    pattern = rf"<[^\s/>]++{attributes}\s++(?:value|href|src)\s*+=\s*+{value}{attributes}\s*+/?>"
    return re.compile(pattern.encode(), re.ASCII)
