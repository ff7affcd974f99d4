"""Links in FHIR JSON, rewritten in the bytes of the body.

Two ways lead to the same result. The exact one reads every token and knows where each string stands. The fast one
looks only at strings that hold a source base and finds their place from a few tokens before them; it gives up where
that is not certain, or where escapes could hide a base or a name. Both are linear in the body's length.
"""

import json
import re
from collections.abc import Callable

from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import ANYWHERE, BY_PARENT, Position, position_of
from shared.fhir.rewriting.spelling import JSON_ESCAPE, Edit, splice
from shared.fhir.rewriting.values import escaped_edits

LinkUrl = Callable[[str], str | None]

_SPACE = r"[ \t\n\r]*+"
_CHARACTERS = r'[^"\\]*+(?:\\.[^"\\]*+)*+'
_COLON = rf"{_SPACE}:{_SPACE}"
_TOKEN = re.compile(rf'"({_CHARACTERS})"(?:{_COLON}(?:"({_CHARACTERS})"|([\[{{]))?)?|([\[{{])|[\]}}]', re.DOTALL)
_MEMBER_STRING, _MEMBER_OPENING, _OPENING = 2, 3, 4
_NAMES = BY_PARENT.union(ANYWHERE)
_STRING_END = re.compile(_CHARACTERS, re.DOTALL)

# A character of a base or a name that is written as an escape, and any numeric reference in a narrative's XML.
_HIDING_ESCAPE = re.compile(r"\\(?:/|u00(?:2[dDeEfF]|3[0-9aA]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE]))")
_HIDING_REFERENCE = re.compile(r"#(?:(?<=&#)|(?<=\\u0026#))")


def rewrite_json(body: bytes, link_map: LinkMap, *, link_url: LinkUrl | None = None) -> bytes:
    """`body`, a valid JSON text in UTF-8, with the links of a FHIR resource mapped; the same object when none is.

    `link_url`, if given, decides instead of the map on each `link.url` of the outermost Bundle and of its entries
    that are Bundles: it takes the decoded URL, whatever it is, and gives the one to write or None to leave it.
    Everything but mapped bases stays byte for byte: numbers, order, space, unknown and repeated members. A "/" is
    written as the replaced base wrote it.
    """
    # As Latin-1 one character is one byte: offsets hold, and nothing outside ASCII can be part of a base.
    text = body.decode("latin-1")
    edits = _local_edits(text, link_map, link_url)
    if edits is None:
        edits = _exact_edits(text, link_map, link_url)
    return splice(text, edits).encode("latin-1") if edits else body


def _exact_edits(text: str, link_map: LinkMap, link_url: LinkUrl | None) -> list[Edit]:
    edits: list[Edit] = []
    # The names of the open objects and lists: what stands in a list has the list's name.
    names: list[str] = []
    for token in _TOKEN.finditer(text):
        kind = token.lastindex
        if kind == _MEMBER_STRING:
            name = _name(token[1])
            if name not in _NAMES:
                continue
            if link_url and name == "url" and names[-1] == "link" and _of_bundle(names):
                edits += _link_edits(text, *token.span(2), link_url)
            elif position := position_of(name, names[-1]):
                edits += escaped_edits(position, token[2], JSON_ESCAPE, token.start(2), link_map)
        elif kind == _MEMBER_OPENING:
            names.append(_name(token[1]))
        elif kind == _OPENING:
            names.append(names[-1] if names else "")
        elif kind is None:
            names.pop()
    return edits


def _of_bundle(names: list[str]) -> bool:
    """Whether what is open are the links of the outermost Bundle, or of a Bundle that is an entry's resource."""
    start = 1
    while names[start : start + 3] == ["entry", "entry", "resource"]:
        start += 3
    return names[start:] in (["link"], ["link", "link"])


def _name(raw: str) -> str:
    return str(json.loads(f'"{raw}"')) if "\\" in raw else raw


def _link_edits(text: str, start: int, end: int, link_url: LinkUrl) -> list[Edit]:
    url = json.loads(text[start - 1 : end + 1].encode("latin-1"))
    replacement = link_url(url)
    return [] if replacement is None else [(start, end, json.dumps(replacement)[1:-1])]


_STRING = f'"{_CHARACTERS}"'
_SCALAR = rf"(?:{_STRING}|[\w.+-]++)"


def _object_of(value: str) -> str:
    return rf"\{{{_SPACE}(?:{_STRING}{_COLON}{value}{_SPACE}(?:,{_SPACE})?+)*+\}}"


def _list_of(value: str) -> str:
    return rf"\[{_SPACE}(?:{value}{_SPACE}(?:,{_SPACE})?+)*+\]"


_FLAT = _object_of(_SCALAR)
_SHALLOW = rf"(?:{_SCALAR}|{_FLAT}|{_list_of(rf'(?:{_SCALAR}|{_FLAT})')})"
_VALUE = rf"(?:{_SCALAR}|{_object_of(_SHALLOW)}|{_list_of(rf'(?:{_SCALAR}|{_object_of(_SHALLOW)})')})"
_LINKS = rf'"link"{_COLON}(?P<links>{_list_of(_FLAT)})'
_MEMBERS = rf"(?:{_STRING}{_COLON}{_SHALLOW}{_SPACE},{_SPACE})*+"

# An unescaped quote before a name opens that name: from there on, reading forward is exact.
_PARENT = re.compile(
    rf'(?<!\\)"(\w+)"{_COLON}(?:\[{_SPACE}(?:{_object_of(_SHALLOW)}{_SPACE},{_SPACE})*+)?'
    rf'\{{{_SPACE}{_MEMBERS}"\w+"{_COLON}"\Z',
    re.ASCII | re.DOTALL,
)
_PARENT_WINDOW = 512
_LEADING_LINKS = re.compile(
    rf'{_SPACE}\{{{_SPACE}(?:(?!"link"){_STRING}{_COLON}{_VALUE}{_SPACE},{_SPACE})*+{_LINKS}', re.ASCII | re.DOTALL
)
_TRAILING_LINKS = re.compile(
    rf"(?<!\\){_LINKS}{_SPACE}(?:,{_SPACE}{_STRING}{_COLON}{_VALUE}{_SPACE})*+\}}{_SPACE}\Z", re.ASCII | re.DOTALL
)


def _local_edits(text: str, link_map: LinkMap, link_url: LinkUrl | None) -> list[Edit] | None:
    """The edits, or None when they can't be told without reading every token."""
    if _hides(text):
        return None
    root_urls = _root_urls(text) if link_url else []
    if root_urls is None:
        return None
    taken = {start for start, _ in root_urls}
    target = link_map.target
    edits: list[Edit] = []
    done = 0
    for candidate in link_map.starts.finditer(text):
        start, end = candidate.span()
        # One lookup and one short match, a third of the time of a pattern that looks behind for each member's name.
        if text.endswith(_URL_MEMBERS, 0, start) and _PLAIN_PATH.match(text, end):
            scheme = _HTTPS if text[start - 2] == "s" else _HTTP
            edits.append((start - len(scheme), end, target))
        elif start >= done:
            start = _string_start(text, done, start)
            done = _string_end(text, start)
            if start in taken:
                continue
            name = _member_name(text, start - 1)
            position = ANYWHERE.get(name)
            if name in BY_PARENT:
                parent = _PARENT.search(text, max(0, start - _PARENT_WINDOW), start)
                if parent is None:
                    return None
                position = position_of(name, parent[1])
            if position:
                edits += escaped_edits(position, text[start:done], JSON_ESCAPE, start, link_map)
    if link_url and root_urls:
        # Only now, when nothing can send the body the exact way any more: each link is asked about once.
        for start, end in root_urls:
            edits += _link_edits(text, start, end, link_url)
        edits.sort()
    return edits


_HTTP, _HTTPS = "http:", "https:"
_URL_NAMES = tuple(name for name, position in ANYWHERE.items() if position is Position.URL)
# How a member that holds one URL begins, up to the URL's "//", after an unescaped character.
_URL_MEMBERS = tuple(
    f'{before}"{name}":{space}"{scheme}'
    for scheme in (_HTTP, _HTTPS)
    for name in _URL_NAMES
    for space in ("", " ")
    for before in "{, \t\n\r"
)
# From a base on to the string's end, a path of plain segments: it can't climb, and without "//" holds no second base.
_PLAIN_PATH = re.compile(r'(?:/(?!\.\.?[/"])[\w.~:-]++)*+/?+"', re.ASCII)


def _hides(text: str) -> bool:
    # Looking for one character is thirty times as fast as a pattern, and most bodies have neither.
    if "\\" in text and _HIDING_ESCAPE.search(text):
        return True
    return "#" in text and _HIDING_REFERENCE.search(text) is not None


def _string_start(text: str, floor: int, inside: int) -> int:
    """Where the string around `inside` begins, after its quote; no string begins before `floor`."""
    quote = inside
    while True:
        quote = text.rfind('"', floor, quote)
        before = quote
        while before > floor and text[before - 1] == "\\":
            before -= 1
        if (quote - before) % 2 == 0:
            return quote + 1


def _string_end(text: str, start: int) -> int:
    end = _STRING_END.match(text, start)
    assert end is not None  # noqa: S101 (the pattern matches the empty string)
    return end.end()


def _member_name(text: str, quote: int) -> str:
    """The name of the member whose string value opens at `quote`, or "" for a list's item or a name with escapes."""
    closing = text.rfind('"', 0, quote)
    if text[closing + 1 : quote].strip() != ":":
        return ""
    opening = text.rfind('"', 0, closing)
    return "" if text[opening - 1] == "\\" else text[opening + 1 : closing]


def _root_urls(text: str) -> list[tuple[int, int]] | None:
    """Where the strings `link.url` of the outermost object stand, or None when that can't be told from its ends."""
    count = text.count('"link"')
    found = {}
    if count and (links := _LEADING_LINKS.match(text)):
        found[links.start("links")] = links.end("links")
    if len(found) < count and (links := _TRAILING_LINKS.match(text, text.rfind('"link"'))):
        found[links.start("links")] = links.end("links")
    if len(found) != count:
        return None
    return [
        token.span(2)
        for start, end in found.items()
        for token in _TOKEN.finditer(text, start, end)
        if token.lastindex == _MEMBER_STRING and token[1] == "url"
    ]
