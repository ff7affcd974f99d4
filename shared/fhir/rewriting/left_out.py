"""Links of a Bundle that are left out of a body: the bytes that have to go, separators and all."""

import itertools
import re
from collections.abc import Sequence

from shared.fhir.document import Bundle, Link
from shared.fhir.versions import FhirFormat

_WINDOW = 4_096  # bytes before the list of links
_SPACE = b" \t\n\r"
_MEMBER_START = re.compile(rb'"link"\s*:\s*\Z')

Span = tuple[int, int]


def left_out(body: bytes, format: FhirFormat, bundle: Bundle, links: Sequence[Link]) -> list[Span]:
    """The spans of a body without which its `bundle` has none of `links`, in order.

    JSON that loses all its links loses the member, as FHIR has no empty list.
    """
    elements = sorted(link.element for link in links)
    if format is FhirFormat.XML:
        return elements
    if elements and len(elements) == len(bundle.links) and (member := _member(body, elements)) is not None:
        return [member]
    spans: list[Span] = []
    for start, end in elements:
        spans.append(_with_comma(body, start, end, spans[-1][1] if spans else 0))
    return spans


def _member(body: bytes, objects: Sequence[Span]) -> Span | None:
    """The member `link` with a comma, if its list holds nothing but these objects."""
    gaps = [body[end:start] for (_, end), (start, _) in itertools.pairwise(objects)]
    opening, closing = _before(body, objects[0][0]), _after(body, objects[-1][1])
    if body[opening : opening + 1] != b"[" or body[closing : closing + 1] != b"]":
        return None
    name = _MEMBER_START.search(body, max(opening - _WINDOW, 0), opening)
    if name is None or any(gap.strip(_SPACE) != b"," for gap in gaps):
        return None
    return _with_comma(body, name.start(), closing + 1, 0)


def _with_comma(body: bytes, start: int, end: int, floor: int) -> Span:
    """A span with the comma before it, if that stands after `floor`, or else the one behind it."""
    before, after = _before(body, start), _after(body, end)
    if before >= floor and body[before : before + 1] == b",":
        return before, end
    return (start, after + 1) if body[after : after + 1] == b"," else (start, end)


def _before(body: bytes, start: int) -> int:
    """The offset of the last byte before `start` that is no white space."""
    while start > 0 and body[start - 1] in _SPACE:
        start -= 1
    return start - 1


def _after(body: bytes, end: int) -> int:
    """The offset of the first byte from `end` on that is no white space."""
    while end < len(body) and body[end] in _SPACE:
        end += 1
    return end
