"""The escapes of JSON that may hide a name or a URL, undone before a body is read."""

import re

from shared.fhir.document import Allowance, Steps, Unreadable

_SLICE = 256 * 1024  # bytes between two pauses: a millisecond or so
# Encoders write letters and digits as such.
_MAX_NUMBERED = Allowance(free=1_000, bytes_each=100)

# `\\u002f`: an ASCII letter, "ſ", a digit or one of "#%-./:?_~" by its number.
_NUMBERED = re.compile(rb"\\u(00(?:2[35dDeEfF]|3[0-9aAfF]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])|017[fF])")
# `\\ud83c` and `\\udf00`, the two halves of a surrogate pair.
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# One without the other, which is no character. There are servers that cut texts so.
_HALF_PAIR = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!%b)|[c-fC-F][0-9a-fA-F]{2}(?<!%b%b))" % (_LOW, _HIGH, _LOW)
)
# Any escape, a pair as one.
_ESCAPE = re.compile(rb"%b%b|\\u.{4}|\\." % (_HIGH, _LOW), re.DOTALL)
# Any of those that are undone: each begins with a backslash, to which a search skips quickly.
_TO_UNDO = re.compile(rb"\\(?:/|%b|%b)" % (_NUMBERED.pattern[2:], _HALF_PAIR.pattern[2:]))


def plain(body: bytes) -> Steps[bytes]:
    """The same JSON without escapes that could hide a name or a URL: those of letters, digits and "#%-./:?_~".

    The letters are those of ASCII and "ſ", which some readers of names take for an s.
    `"http:\\/\\/a\\u002eexample"` becomes `"http://a.example"`. Half a surrogate pair, which only some readers take,
    becomes U+FFFD. The same object when there is nothing of the kind, as in most bodies.
    Raises Unreadable where so many characters are written by their number as no encoder does.
    """
    parts: list[bytes] = []
    start = copied = numbers = 0
    while start < len(body):
        end = _between_escapes(body, start, min(start + _SLICE, len(body)))
        part = body[start:end]
        if b"\\" in part and _TO_UNDO.search(part):
            undone, found = _undone(part)
            numbers += found
            if numbers > _MAX_NUMBERED.of(len(body)):
                raise Unreadable("it holds more characters written by their number than its size allows for")
            if undone != part:
                parts += (body[copied:start], undone)
                copied = end
        start = end
        if end < len(body):
            yield
    return b"".join((*parts, body[copied:])) if copied else body


def _undone(part: bytes) -> tuple[bytes, int]:
    """A part between escapes with what can be undone undone, and how many characters were written by their number."""
    # Between escaped backslashes, a backslash begins an escape.
    pieces = part.split(rb"\\")
    numbers = 0
    for index, piece in enumerate(pieces):
        if b"\\" in piece:
            pieces[index], found = _NUMBERED.subn(_character, _HALF_PAIR.sub(rb"\\ufffd", piece.replace(rb"\/", b"/")))
            numbers += found
    return rb"\\".join(pieces), numbers


def _between_escapes(body: bytes, start: int, end: int) -> int:
    """The last place up to `end` that no escape or pair of escapes reaches across; at `start` none does."""
    while end < len(body) and (last := body.rfind(b"\\", max(end - 6, start), end)) >= 0:
        run = last + 1 - start - len(body[start : last + 1].rstrip(b"\\"))
        escape = _ESCAPE.match(body, last) if run % 2 else None
        if escape is None or escape.end() <= end:
            break
        end = last
    return end


def _character(escape: re.Match[bytes]) -> bytes:
    return chr(int(escape[1], 16)).encode()
