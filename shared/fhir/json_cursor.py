"""A cursor over JSON that has been found to be valid: it reads names and strings, and skips values, in slices."""

import json
import re
import sys
from collections.abc import Iterator
from itertools import count

from shared.fhir.document import NO_STRINGS, EnvelopeNames, Steps, Unreadable

SLICE = 256 * 1024  # bytes looked at between two pauses: a millisecond or so
MAX_SPACE = 8_192  # in one place
MAX_STRING = 65_536  # of the envelope: a link may be 32,000 characters long
_MAX_MEMBERS = 1_000  # of an object of the envelope, or of a resource; no resource has more than a hundred
_BRACKETS_PER_PAUSE = 1_024
# Extensions stand under the name of a primitive with an underscore; HAPI takes what stands so for the element itself.
_NOT_PRIMITIVE = NO_STRINGS | {"resourceType"}

_SPACE = re.compile(rb"[ \t\n\r]*+")
# `{` or `[`, with the bracket that closes it if it is empty.
_OPENING = re.compile(rb"[{\[][ \t\n\r]*+([}\]])?")
# `"name": `
_MEMBER = re.compile(rb'"((?:[^"\\]++|\\.)*+)"[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
# `, ` or `}` or `]` behind a value
_AFTER = re.compile(rb"[ \t\n\r]*+([,}\]])[ \t\n\r]*+")
_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_CHARACTERS = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,}\]]*+")
# `1, "a", {"b": true}, [2], "c": `: scalars and strings, objects and lists of nothing but these, and what separates
# them, up to any other bracket.
_FLAT = rb'[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"'
_BETWEEN_BRACKETS = re.compile(rb"(?:%b|\{(?:%b)*+\}|\[(?:%b)*+\])*+" % (_FLAT, _FLAT, _FLAT), re.DOTALL)
_OPENS, _CLOSES, _QUOTE = frozenset(b"{["), frozenset(b"}]"), ord('"')


class JsonCursor:
    """Every method begins where `at` is, at a value, and leaves it behind that value."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = matched(_SPACE, body, 0).end()
        self._paused_at = 0

    @property
    def needs_pause(self) -> bool:
        return self.at - self._paused_at > SLICE

    def members(self, names: EnvelopeNames) -> Iterator[str]:
        """The name of each member of the object here, or "" for one that `names` do not have."""
        self.expect(b"{", "what should be an object is something else")
        seen: set[str] = set()
        for number in self._values():
            member = _MEMBER.match(self.body, self.at, self.at + MAX_STRING + 2 * MAX_SPACE)
            if member is None or number == _MAX_MEMBERS:
                raise Unreadable("an object has more members, or longer names, than any of FHIR")
            written = unescaped(member[1])
            name = names.check(written, seen)
            if written[:1] == "_" and (primitive := names.in_any_case(written[1:])) in _NOT_PRIMITIVE:
                raise Unreadable(f"{primitive} has an underscore")
            self.at = member.end()
            yield name

    def items(self) -> Iterator[int]:
        """The index of each item of the list here; a null stands for an empty list."""
        if self.null():
            return iter(())
        self.expect(b"[", "what should be a list is something else")
        return self._values()

    def _values(self) -> Iterator[int]:
        """The index of each member or item of what opens here; whoever takes it goes past the value."""
        opening = matched(_OPENING, self.body, self.at)
        self.at = opening.end()
        if opening[1]:
            return
        for index in count():
            yield index
            after = matched(_AFTER, self.body, self.at)
            if after[1] != b",":
                self.at = after.end(1)
                return
            self.at = after.end()

    def string(self) -> str | None:
        """The string here, or None for null."""
        if self.null():
            return None
        self.expect(b'"', "what should be a string is something else")
        string = _STRING.match(self.body, self.at, self.at + MAX_STRING)
        if string is None:
            raise Unreadable("a string of its envelope is too long")
        self.at = string.end()
        return unescaped(string[1])

    def null(self) -> bool:
        if not self.body.startswith(b"null", self.at):
            return False
        self.at += 4
        return True

    def expect(self, opening: bytes, problem: str) -> None:
        if not self.body.startswith(opening, self.at):
            raise Unreadable(problem)

    def skip(self) -> Steps[None]:
        """Any value. A match looks at one slice at most: neither a long string nor a flat list holds anyone up."""
        body, depth = self.body, 0
        if body[self.at] not in _OPENS and body[self.at] != _QUOTE:
            while (end := matched(_SCALAR, body, self.at, self.at + SLICE).end()) > self.at:
                self.at = end
                if self.needs_pause:
                    yield from self.pause()
            return
        for brackets in count(1):
            self.at = matched(_BETWEEN_BRACKETS, body, self.at, self.at + SLICE).end() if depth else self.at
            sign = body[self.at]
            if sign in _OPENS:
                depth += 1
                self.at += 1
            elif sign in _CLOSES:
                depth -= 1
                self.at += 1
            elif sign == _QUOTE:
                yield from self._skip_string()
            if not depth:
                return
            if brackets % _BRACKETS_PER_PAUSE == 0 or self.needs_pause:
                yield from self.pause()

    def _skip_string(self) -> Steps[None]:
        self.at += 1
        while True:
            self.at = matched(_CHARACTERS, self.body, self.at, self.at + SLICE).end()
            if self.body[self.at] == _QUOTE:
                self.at += 1
                return
            yield from self.pause()

    def pause(self) -> Steps[None]:
        self._paused_at = self.at
        yield


def matched(pattern: re.Pattern[bytes], body: bytes, start: int, end: int = sys.maxsize) -> re.Match[bytes]:
    """The match of `pattern` in a body that is valid JSON, where it can't but match."""
    found = pattern.match(body, start, end)
    assert found is not None  # noqa: S101
    return found


def unescaped(characters: bytes) -> str:
    """The text of a string's characters, with escapes undone."""
    if b"\\" not in characters:
        return characters.decode()
    text: str = json.loads(b'"%b"' % characters, strict=False)
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Unreadable("a string of its envelope has half a surrogate pair, which is no character")
    return text
