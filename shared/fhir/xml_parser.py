"""Expat, fed so that any bytes may be given to it: in slices, within limits, and nothing but XML 1.0 in UTF-8.

Its cost grows with the number of tokens, and with the square of one token's length, for it reads a token anew with each
piece. So pieces are small, markup has a density that it may not exceed, and what stands in a long attribute (base64, in
real data) is not fed at all.
"""

import re
from collections.abc import Callable, Iterator
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from shared.fhir.document import Allowance, Resource, Steps, Unreadable

# With all of them at their limits, a megabyte takes less than 60 ms. The densest of HL7's 13,590 example resources that
# is longer than 30 KB has 28 bytes per element, and the densest narrative 13.
ALLOWED_ELEMENTS = Allowance(free=10_000, bytes_each=16)
MAX_NAMES = 4_000  # different names of elements and attributes: all of FHIR has fewer than 3,000
MAX_TOKEN = 4_000_000  # bytes of an attribute that are not plain ASCII; a string has at most 1 MB (FHIR, datatypes)

_PIECE = 65_536
_SLICE = 1_000_000  # bytes of plain text that are skipped between two pauses
# `<data id="1" value="iVBORw…`: a start tag up to inside an attribute's value, whose quote is the group.
_OPEN_VALUE = re.compile(
    rb"""<[^\s/<>"'=]++(?:\s++[^\s=<>"']++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+'))*+\s++[^\s=<>"']++\s*+=\s*+(["'])"""
)
# `iVBORw0KGgo=&#10;`: ASCII without markup, and white space by its number.
_PLAIN = re.compile(rb"(?:[\t\n\r !#-%(-;=-~]++|&#(?:[xX]0?[9aAdD]|x20|9|10|13|32);)*+")
# A character, or a reference such as `&#x4`, that is cut off at the end.
_UNFINISHED = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,2}\Z|&[^;]{0,11}\Z")
# `<f:Patient`, and ` id="1"` with its name and value.
_TAG_NAME = re.compile(rb"<[^\s/>]++")
_ATTRIBUTE = re.compile(rb"\s++([^\s=]++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')")


def attribute_spans(body: bytes, tag: int) -> Iterator[tuple[bytes, int, int]]:
    """Name of each attribute of the start tag at `tag`, as written, and where its value stands."""
    at = _TAG_NAME.match(body, tag)
    while at := at and _ATTRIBUTE.match(body, at.end()):
        yield at[1], *at.span(3 if at[2] is None else 2)


def inherited(body: bytes, resource: Resource) -> tuple[int, bytes]:
    """The declarations that the resource needs to stand alone, and where in its start tag they belong."""
    tag_name = _TAG_NAME.match(body, resource.start)
    assert tag_name is not None  # noqa: S101 (it was parsed)
    own = {name for name, _, _ in attribute_spans(body, resource.start)} if resource.declarations else ()
    written = b""
    for prefix, uri in resource.declarations.items():
        name = f"xmlns:{prefix}" if prefix else "xmlns"
        is_used = not prefix or body.find(f"<{prefix}:".encode(), resource.start, resource.end) >= 0
        if is_used and name.encode() not in own:
            written += f" {name}={quoteattr(uri)}".encode()
    return tag_name.end(), written


class Parser:
    """Parses `body`; `start`, `end` and `text` are called as expat does, with attributes as a list.

    After each piece `check` is called with the number of bytes so far. `read_text` takes `text` away and gives it back.
    """

    def __init__(
        self,
        body: bytes,
        start: Callable[[str, list[str]], object],
        end: Callable[[str], object],
        text: Callable[[str], object],
        check: Callable[[int], object],
    ) -> None:
        self._check = check
        self._body = body
        self._text = text
        # Bytes skipped so far, all before the fed byte `_skipped_at`, and bytes skipped before the current token.
        self._skipped, self._skipped_before, self._skipped_at, self._through = 0, 0, -1, 0
        self._expat = parser = expat.ParserCreate("UTF-8")
        parser.ordered_attributes = True
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._refuse
        parser.ProcessingInstructionHandler = self._refuse
        self.on_start(start)
        parser.EndElementHandler = end
        self.read_text(True)

    def on_start(self, start: Callable[[str, list[str]], object]) -> None:
        self._expat.StartElementHandler = start

    def read_text(self, on: bool) -> None:
        self._expat.CharacterDataHandler = self._text if on else None

    @property
    def position(self) -> int:
        """The byte offset of the current event: its tag, or behind it for the end of an empty element."""
        index: int = self._expat.CurrentByteIndex
        return index + (self._skipped if index >= self._skipped_at else self._skipped_before)

    @property
    def is_cut(self) -> bool:
        """Whether the current start tag has an attribute of which a part was skipped."""
        return self._expat.CurrentByteIndex < self._skipped_at

    def parse(self) -> Steps[None]:
        """Parses, in slices. Raises Unreadable."""
        body = self._body
        # In UTF-16, which expat would follow against all orders, every "<" has a zero byte; XML in UTF-8 has none.
        if b"\0" in body:
            raise Unreadable("it is not XML in UTF-8")
        fed = markup = 0
        try:
            while fed < len(body):
                piece = body[fed : fed + _PIECE]
                fed += len(piece)
                markup += piece.count(b"<") - piece.count(b"</")
                if markup > ALLOWED_ELEMENTS.of(fed):
                    raise Unreadable("it has more elements than a resource of its length has")
                self._expat.Parse(piece, False)
                self._check(fed)
                if len(self._expat.intern) > MAX_NAMES:
                    raise Unreadable(f"it has more than {MAX_NAMES} names of elements and attributes")
                yield
                if fed - self._skipped - self._expat.CurrentByteIndex >= 2 * _PIECE:
                    fed = yield from self._skip_long_value(fed)
            self._expat.Parse(b"", True)
        except expat.ExpatError as error:
            raise Unreadable(f"it is malformed XML at line {error.lineno}") from None

    def _skip_long_value(self, fed: int) -> Steps[int]:
        """Deals with a long token that is open at `fed`: skips what is plain of a long attribute, once in a tag."""
        body = self._body
        opened = None if self.is_cut else _OPEN_VALUE.match(body, self.position, fed)
        quote_at = body.find(opened[1], opened.end()) if opened else -1
        if quote_at < fed:
            if fed - self._skipped > max(self._expat.CurrentByteIndex, self._through) + 4 * _PIECE:
                raise Unreadable(f"it has markup of more than {4 * _PIECE} bytes")
            return fed
        if _UNFINISHED.search(body, fed - 12, fed):
            semicolon = body.find(b";", fed, min(fed + 12, quote_at))
            self._expat.Parse(body[fed : semicolon + 1], False)
            fed = max(fed, semicolon + 1)
        start = fed
        while (plain := _PLAIN.match(body, fed, min(fed + _SLICE, quote_at))) and plain.end() > fed:
            fed = plain.end()
            yield
        self._skipped_before, self._skipped_at = self._skipped, start - self._skipped
        self._skipped += fed - start
        if quote_at - fed > MAX_TOKEN:
            raise Unreadable(f"it has text of more than {MAX_TOKEN} bytes")
        self._expat.Parse(body[fed : quote_at + 1], False)
        self._through = quote_at + 1 - self._skipped
        yield
        return quote_at + 1

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if version != "1.0" or (encoding and encoding.lower() != "utf-8"):
            raise Unreadable("it is not XML 1.0 in UTF-8")

    def _refuse(self, *markup: object) -> None:
        raise Unreadable("it has a document type declaration or a processing instruction")
