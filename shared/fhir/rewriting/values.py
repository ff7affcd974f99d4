"""The links inside one decoded value."""

from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import Position
from shared.fhir.rewriting.spelling import Edit, Escape, Spelling

LINK_ATTRIBUTES = frozenset({"href", "src"})


def link_edits(position: Position, text: str, link_map: LinkMap) -> list[Edit]:
    """What to change in the decoded value `text`, which is one URL or running text."""
    if position is Position.TEXT:
        return [(start, end, link_map.target) for start, end in link_map.occurrences(text)]
    length = link_map.base_length(text)
    return [] if length is None else [(0, length, link_map.target)]


def escaped_edits(position: Position, raw: str, escape: Escape, offset: int, link_map: LinkMap) -> list[Edit]:
    """What to change in an escaped value that stands at `offset` of a body, as edits of the body."""
    if escape.sign not in raw:
        edits = link_edits(position, raw, link_map)
    else:
        spelling = Spelling.read(raw, escape)
        edits = spelling.respell(link_edits(position, spelling.text, link_map))
    return [(offset + start, offset + end, written) for start, end, written in edits]
