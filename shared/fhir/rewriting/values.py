"""The links inside one decoded value."""

import re

from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import Position
from shared.fhir.rewriting.spelling import XML_REFERENCE, Edit, Escape, Spelling

# Every alternative eats what it opened, to the end of the text if it is never closed: no stretch is read twice.
_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<[A-Za-z](?P<tag>(?:[^<>\"']|\"[^\"]*+\"|'[^']*+')*+)", re.DOTALL
)
_ATTRIBUTE = re.compile(r"(?<![^\s\"'/])([^\s=<>\"'/]++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')", re.ASCII)
LINK_ATTRIBUTES = frozenset({"href", "src"})


def link_edits(position: Position, text: str, link_map: LinkMap) -> list[Edit]:
    """What to change in the decoded value `text`; a narrative's links are read and written under XML's escapes."""
    if position is Position.NARRATIVE:
        return _narrative_edits(text, link_map)
    if position is Position.TEXT:
        return [(start, end, link_map.target) for start, end in link_map.occurrences(text)]
    length = link_map.base_length(text)
    return [] if length is None else [(0, length, link_map.target)]


def _narrative_edits(text: str, link_map: LinkMap) -> list[Edit]:
    edits = []
    for markup in _MARKUP.finditer(text):
        if markup["tag"] is None:
            continue
        for attribute in _ATTRIBUTE.finditer(text, *markup.span("tag")):
            if attribute[1].lower() in LINK_ATTRIBUTES:
                quoted = 3 if attribute[2] is None else 2
                edits += escaped_edits(
                    Position.URL, attribute[quoted], XML_REFERENCE, attribute.start(quoted), link_map
                )
    return edits


def escaped_edits(position: Position, raw: str, escape: Escape, offset: int, link_map: LinkMap) -> list[Edit]:
    """What to change in an escaped value that stands at `offset` of a body, as edits of the body."""
    if escape.sign not in raw:
        edits = link_edits(position, raw, link_map)
    else:
        spelling = Spelling.read(raw, escape)
        edits = spelling.respell(link_edits(position, spelling.text, link_map))
    return [(offset + start, offset + end, written) for start, end, written in edits]
