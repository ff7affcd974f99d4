"""Text under escapes: read it decoded, and change it where it stands without touching how the rest is written."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import Position

Edit = tuple[int, int, str]
"""Start and end of a stretch of text, and what replaces it."""


@dataclass(frozen=True, slots=True)
class Escape:
    """A way of escaping characters: the sign an escape begins with, its pattern, and the character it stands for."""

    sign: str
    pattern: re.Pattern[str]
    decode: Callable[[re.Match[str]], str]


def _decode_json(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _JSON_LETTERS.get(found[2], found[2])


def _decode_xml(found: re.Match[str]) -> str:
    if found[3]:
        return _XML_NAMES[found[3]]
    code = int(found[1], 16) if found[1] else int(found[2])
    return chr(min(code, 0x10FFFF))


_JSON_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_XML_NAMES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}

JSON_ESCAPE = Escape("\\", re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL), _decode_json)
XML_REFERENCE = Escape(
    "&", re.compile(r"&(?:#x0*([0-9a-fA-F]{1,6})|#0*([0-9]{1,7})|(amp|lt|gt|quot|apos));"), _decode_xml
)
PERCENT_ENCODING = Escape("%", re.compile(r"%([0-9a-fA-F]{2})"), lambda found: chr(int(found[1], 16)))


@dataclass(frozen=True, slots=True)
class Spelling:
    """A `text` and its `raw` spelling.

    From each index of `starts` on, up to the next one, the raw index is the text's plus the value in `shifts`.
    """

    raw: str
    text: str
    starts: tuple[int, ...]
    shifts: tuple[int, ...]

    @classmethod
    def read(cls, raw: str, escape: Escape) -> "Spelling":
        """Decodes `raw`, one character for each escape."""
        parts: list[str] = []
        starts, shifts = [0], [0]
        read = 0
        for found in escape.pattern.finditer(raw):
            parts += (raw[read : found.start()], escape.decode(found))
            read = found.end()
            shifts.append(shifts[-1] + read - found.start() - 1)
            starts.append(read - shifts[-1])
        parts.append(raw[read:])
        return cls(raw, "".join(parts), tuple(starts), tuple(shifts))

    def raw_index(self, index: int) -> int:
        """The start in `raw` of the character at `index` of the text, or of the text's end."""
        return index + self.shifts[bisect_right(self.starts, index) - 1]

    def respell(self, edits: Iterable[Edit]) -> list[Edit]:
        """Edits of `text` as edits of `raw`, with ":" and "/" written as the replaced stretch wrote them."""
        respelled = []
        for start, end, replacement in edits:
            slash, colon = self._spelled("/", start, end), self._spelled(":", start, end)
            written = replacement if slash == "/" else replacement.replace("/", slash)
            written = written if colon == ":" else written.replace(":", colon)
            respelled.append((self.raw_index(start), self.raw_index(end), written))
        return respelled

    def _spelled(self, character: str, start: int, end: int) -> str:
        index = self.text.find(character, start, end)
        return character if index < 0 else self.raw[self.raw_index(index) : self.raw_index(index + 1)]


def splice(text: str, edits: Iterable[Edit]) -> str:
    """`text` with `edits` made, which are in order and do not overlap."""
    parts: list[str] = []
    copied = 0
    for start, end, replacement in edits:
        parts += (text[copied:start], replacement)
        copied = end
    parts.append(text[copied:])
    return "".join(parts)


def link_edits(position: Position, text: str, link_map: LinkMap) -> list[Edit]:
    """The edits of the decoded value `text`, which is one URL or running text."""
    if position is Position.TEXT:
        return [(start, end, link_map.target) for start, end in link_map.occurrences(text)]
    length = link_map.base_length(text)
    return [] if length is None else [(0, length, link_map.target)]


def escaped_edits(position: Position, raw: str, escape: Escape, offset: int, link_map: LinkMap) -> list[Edit]:
    """The edits, of a body, of an escaped value that stands at `offset` in it."""
    if escape.sign not in raw:
        edits = link_edits(position, raw, link_map)
    else:
        spelling = Spelling.read(raw, escape)
        edits = spelling.respell(link_edits(position, spelling.text, link_map))
    return [(offset + start, offset + end, written) for start, end, written in edits]
