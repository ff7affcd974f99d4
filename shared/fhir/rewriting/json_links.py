"""Links in FHIR JSON, rewritten in the bytes of the body.

Only strings that hold a source base are looked at: the name of such a member nearly always tells whether it is a link.
Where its parent's name counts too, the names of the open objects are followed from the body's beginning up to there.
"""

import json
import re
from collections.abc import Iterator, Sequence
from io import BytesIO

from shared.fhir.document import Allowance, Steps, Unreadable
from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import ANYWHERE, BY_PARENT, Position, position_of

_SLICE = 64 * 1024  # characters between two pauses
_MAX_URL = 65_536
# Links that can't be told by one look: in running text, in narratives, after unusual space. Real bodies have one in
# some hundreds of bytes at most.
_ALLOWED_SLOW_LINKS = Allowance(free=1_000, bytes_each=200)
_TOKENS_PER_PAUSE = 1_024

_SPACE = r"[ \t\n\r]*+"
_CHARACTERS = r'[^"\\]*+(?:\\.[^"\\]*+)*+'
_COLON = rf"{_SPACE}:{_SPACE}"
# `"name": "value"`, `"name": {`, a bare string, or a bracket.
_TOKEN = re.compile(rf'"({_CHARACTERS})"(?:{_COLON}(?:"{_CHARACTERS}"|([\[{{]))?)?|([\[{{])|[\]}}]', re.DOTALL)
_MEMBER_OPENING, _OPENING = 2, 3
_STRING_END = re.compile(_CHARACTERS, re.DOTALL)
# `href=\"` in a narrative, up to the URL.
_NARRATIVE_SPACE = r"(?:\s|\\[nrt]|\\u0020|\\u000[9aAdD])"
_BEFORE_HREF = re.compile(
    rf"""(?:{_NARRATIVE_SPACE}|["'/]|\\u002[27])(?:href|src){_NARRATIVE_SPACE}{{0,8}}(?:=|\\u003[dD])"""
    rf"""{_NARRATIVE_SPACE}{{0,8}}(\\"|'|\\u002[27])\Z""",
    re.IGNORECASE,
)
_HREF_WINDOW = 64
# The same as nearly all write it, and what ends an attribute, by the last character of what began it.
_PLAIN_HREFS = tuple(f" {name}={quote}" for name in ("href", "src") for quote in ('\\"', "'"))
_DOUBLE, _SINGLE = re.compile(r'\\(?:"|u0022)'), re.compile(r"'|\\u0027")
_CLOSING = {'"': _DOUBLE, "2": _DOUBLE, "'": _SINGLE, "7": _SINGLE}
_ESCAPE_BEFORE = re.compile(r"\\(?:[bfnrt]|u[0-9a-fA-F]{4})\Z")

_HTTP, _HTTPS = "http:", "https:"
_URL_NAMES = tuple(name for name, position in ANYWHERE.items() if position is Position.URL)
# `,"reference": "https:`: a member that holds one URL, up to the URL's "//", after an unescaped character.
_URL_MEMBERS = tuple(
    f'{before}"{name}":{space}"{scheme}'
    for scheme in (_HTTP, _HTTPS)
    for name in _URL_NAMES
    for space in ("", " ")
    for before in "{, \t\n\r"
)
# From a base on to the string's end, a path of plain segments: it can't climb, and without "//" holds no second base.
_PLAIN_PATH = re.compile(r'(?:/(?!\.\.?[/"])[\w.~:-]++)*+/?+"', re.ASCII)


def rewrite_json(body: bytes, link_map: LinkMap, replaced: Sequence[tuple[int, int, str]] = ()) -> Steps[bytes]:
    """`body`, a JSON text in UTF-8 that is `plain`, with the links of a FHIR resource mapped.

    `replaced` are URLs of the body that are written anew instead of being mapped: start, end, and what to write.
    Everything else stays byte for byte: numbers, order, space, unknown and repeated members. The same object when
    nothing is to be changed. Raises Unreadable for more links in texts than real bodies have.
    """
    # As Latin-1 one character is one byte: offsets hold, and nothing outside ASCII can be part of a base.
    text, view, target = body.decode("latin-1"), memoryview(body), link_map.target.encode()
    written = BytesIO()
    copied = 0
    ahead = sorted(replaced, reverse=True)
    for edit in _edits(body, text, link_map):
        if edit is None:
            yield
            continue
        start, end = edit
        while ahead and ahead[-1][0] <= start:
            replaced_start, replaced_end, url = ahead.pop()
            written.write(view[copied:replaced_start])
            written.write(_in_json(url))
            copied = replaced_end
        if start >= copied:
            written.write(view[copied:start])
            written.write(target)
            copied = end
    for replaced_start, replaced_end, url in reversed(ahead):
        written.write(view[copied:replaced_start])
        written.write(_in_json(url))
        copied = replaced_end
    if not copied:
        return body
    written.write(view[copied:])
    return written.getvalue()


def _in_json(url: str) -> bytes:
    return json.dumps(url)[1:-1].encode()


def _edits(body: bytes, text: str, link_map: LinkMap) -> Iterator[tuple[int, int] | None]:
    """Start and end of each base that is to be replaced; None is a place to pause."""
    path = _Path(text)
    string_end, position = 0, None
    slow = _ALLOWED_SLOW_LINKS.of(len(text))
    for part in range(0, len(text), _SLICE):
        if part:
            yield None
        for start, end in link_map.starts(body, part, part + _SLICE):
            # What stands before and behind tells of nearly all: `"reference": "http`, and a path of plain segments.
            if start >= string_end and text.endswith(_URL_MEMBERS, 0, start) and _PLAIN_PATH.match(text, end):
                yield start - (6 if text[start - 2] == "s" else 5), end
                continue
            if start >= string_end:
                string = _string_start(text, string_end, start)
                string_end = _characters_end(text, string)
                while text[string_end : string_end + 1] not in ('"', ""):
                    yield None
                    string_end = _characters_end(text, string_end)
                name = _member_name(text, string - 1)
                position = ANYWHERE.get(name)
                if name in BY_PARENT:
                    yield from path.advance(string)
                    position = position_of(name, path.parent)
            if position is None:
                continue
            slow -= 1
            if slow < 0:
                raise Unreadable("it holds more links in its texts than its size allows for")
            scheme = start - (6 if text[start - 6 : start].lower() == _HTTPS else 5)
            base_end = _base_end(position, text, string, scheme, string_end, link_map)
            if base_end is not None:
                yield scheme, base_end


def _base_end(
    position: Position, text: str, string: int, scheme: int, string_end: int, link_map: LinkMap
) -> int | None:
    """The end of the base that begins at `scheme`, if it is to be mapped in a string of this kind."""
    if position is Position.TEXT:
        return link_map.base_in_text(text, scheme, after_escape=bool(_ESCAPE_BEFORE.search(text, scheme - 6, scheme)))
    if position is Position.NARRATIVE:
        is_href = text.endswith(_PLAIN_HREFS, string, scheme) or _BEFORE_HREF.search(
            text, max(scheme - _HREF_WINDOW, string), scheme
        )
        closing = _CLOSING[text[scheme - 1]].search(text, scheme, string_end) if is_href else None
        end = closing.start() if closing else -1
    else:
        end = string_end if scheme == string else -1
    if end < 0 or end - scheme > _MAX_URL:
        return None
    length = link_map.base_length(text[scheme:end])
    return None if length is None else scheme + length


def _string_start(text: str, floor: int, inside: int) -> int:
    """The start of the string around `inside`, after its quote; no string begins before `floor`."""
    quote = inside
    while True:
        quote = text.rfind('"', floor, quote)
        before = quote
        while before > floor and text[before - 1] == "\\":
            before -= 1
        if (quote - before) % 2 == 0:
            return quote + 1


def _characters_end(text: str, start: int) -> int:
    """The end of a string's characters, or of one look at them."""
    end = _STRING_END.match(text, start, start + _SLICE)
    assert end is not None  # noqa: S101 (the pattern matches the empty string)
    return end.end()


def _member_name(text: str, quote: int) -> str:
    """The name of the member whose string value opens at `quote`, or "" for a list's item or a name with escapes."""
    closing = text.rfind('"', 0, quote)
    if text[closing + 1 : quote].strip() != ":":
        return ""
    opening = text.rfind('"', 0, closing)
    return "" if text[opening - 1] == "\\" else text[opening + 1 : closing]


class _Path:
    """The names of the open objects and lists, followed from the text's beginning; each token is read once."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.finditer(text)
        self._next = next(self._tokens, None)
        self._names: list[str] = []

    @property
    def parent(self) -> str:
        """The name of the innermost open object; what stands in a list has the list's name."""
        return self._names[-1] if self._names else ""

    def advance(self, to: int) -> Iterator[None]:
        """Go on up to `to`; each None is a place to pause."""
        read = 0
        while self._next is not None and self._next.start() < to:
            token, self._next = self._next, next(self._tokens, None)
            kind = token.lastindex
            if kind == _MEMBER_OPENING:
                self._names.append(token[1])
            elif kind == _OPENING:
                self._names.append(self.parent)
            elif kind is None:
                self._names.pop()
            read += 1
            if read % _TOKENS_PER_PAUSE == 0:
                yield None
