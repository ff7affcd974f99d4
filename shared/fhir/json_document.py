"""FHIR JSON, read as far as policy must judge it: the envelope of Bundles strictly, resources by their type alone.

The envelope is read token by token, so that a member that is repeated, spelt in another case or of another type than
FHIR gives it is seen. What lies between, the resources' content, is checked to be JSON and skipped by a decoder
written in C, which also tells where each entry's resource ends.
"""

import codecs
import json
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import count

import msgspec

from shared.fhir.document import (
    MAX_BUNDLE_DEPTH,
    MAX_LINKS,
    MAX_REFERENCES,
    Bundle,
    Entry,
    Link,
    Resource,
    Steps,
    Unreadable,
)

# Bytes looked at between two pauses: a millisecond or so.
_SLICE = 256 * 1024
_MAX_LOOK = 4 * _SLICE  # at a resource as a whole, without a pause
_BRACKETS_PER_PAUSE = 1024
_ENTRIES_PER_PAUSE = 256
# Each object and list costs a reader memory and time, whatever is in it. Real data have one in 20 bytes and more, the
# densest code systems one in 12.
_BYTES_PER_BRACKET = 8
_FREE_BRACKETS = 65_536
_MAX_BRACKETS = 2_500_000
# `\/`, and the numbers of ASCII letters, digits and "#%-./:?_~". Encoders write letters and digits as such.
_NUMBERED = re.compile(rb"\\u00(2[35dDeEfF]|3[0-9aAfF]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
# Half of a surrogate pair without the other: no character, but there are servers that cut texts so.
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF_PAIR = re.compile(rb"(?<!%b)%b|%b(?!%b)" % (_HIGH.replace(b"{2}", b"[0-9a-fA-F]"), _LOW, _HIGH, _LOW))
_ESCAPE = re.compile(rb"%b%b|\\u.{4}|\\." % (_HIGH, _LOW), re.DOTALL)
_TO_UNDO = re.compile(rb"\\/|%b|%b" % (_NUMBERED.pattern, _HALF_PAIR.pattern))
_BYTES_PER_NUMBERED = 100
_FREE_NUMBERED = 1_000
_MAX_MEMBERS = 1_000  # of an object of the envelope, or of a resource; no resource has more than a hundred
_BYTES_PER_ENTRY = 100  # the least of an average entry; a resource with nothing but an id has 150 with its fullUrl
_FREE_ENTRIES = 5_000
_MAX_SPACE = 8_192  # in one place
_MAX_STRING = 65_536  # of the envelope: a link may be 32,000 characters long

_BUNDLE = {name.lower(): name for name in ("resourceType", "type", "link", "entry")}
_RESOURCE = {name.lower(): name for name in ("resourceType",)}
_LINK = {name.lower(): name for name in ("relation", "url")}
_ENTRY = {name.lower(): name for name in ("fullUrl", "resource", "request", "response")}
_REQUEST = {
    name.lower(): name for name in ("method", "url", "ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist")
}
_RESPONSE = {name.lower(): name for name in ("status", "location", "outcome")}
# Extensions stand under the name of a primitive with an underscore; HAPI takes what stands so for the element itself.
_NOT_PRIMITIVE = frozenset({"resourcetype", "link", "entry", "resource", "request", "response", "outcome"})

_SPACE = re.compile(rb"[ \t\n\r]*+")
_OPENING = re.compile(rb"[{\[][ \t\n\r]*+([}\]])?")
# `"name": `
_MEMBER = re.compile(rb'"((?:[^"\\]++|\\.)*+)"[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
# `, ` or `}` or `]` behind a value
_AFTER = re.compile(rb"[ \t\n\r]*+([,}\]])[ \t\n\r]*+")
_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
# A string, closed or cut off where the search ends; or a list that begins with anything but an object.
_REFERENCE = re.compile(
    rb'"reference"[ \t\n\r]*+:[ \t\n\r]*+(?:"((?:[^"\\]++|\\.)*+)("?)|\[(?![ \t\n\r]*+[{\]]))', re.DOTALL
)
_CHARACTERS = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,}\]]*+")
# Scalars and strings, objects and lists of nothing but these, and what separates them: up to any other bracket.
_FLAT = rb'[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"'
_BETWEEN_BRACKETS = re.compile(rb"(?:%b|\{(?:%b)*+\}|\[(?:%b)*+\])*+" % (_FLAT, _FLAT, _FLAT), re.DOTALL)
# `{"resourceType": "Patient"`, as nearly all servers begin a resource.
_TYPE_FIRST = re.compile(rb'\{[ \t\n\r]*+"resourceType"[ \t\n\r]*+:[ \t\n\r]*+"([A-Za-z]++)"')
# `{"fullUrl": "…", "resource": ` and `, "search": {"mode": "match"}}`, as nearly all entries of a search begin and end.
_ENTRY_HEAD = re.compile(
    rb'\{[ \t\n\r]*+(?:"fullUrl"[ \t\n\r]*+:[ \t\n\r]*+"([^"\\]{1,4096}+)"[ \t\n\r]*+,[ \t\n\r]*+)?+'
    rb'"resource"[ \t\n\r]*+:[ \t\n\r]*+'
)
_ENTRY_TAIL = re.compile(
    rb'[ \t\n\r]*+(?:,[ \t\n\r]*+"search"[ \t\n\r]*+:[ \t\n\r]*+'
    rb'\{(?:[^"\\{}\[\]]++|"[^"\\]*+"){0,40}+\}[ \t\n\r]*+)?+\}'
)
_OPENS, _CLOSES, _QUOTE, _BACKSLASH = frozenset(b"{["), frozenset(b"}]"), ord('"'), ord("\\")


class _Typed(msgspec.Struct, gc=False):
    resourceType: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Containing(msgspec.Struct, gc=False):
    contained: list[_Typed] | None = None


class _KnownResponse(msgspec.Struct, gc=False):
    outcome: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _KnownEntry(msgspec.Struct, gc=False):
    resource: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response: _KnownResponse | None = None


class _KnownBundle(msgspec.Struct, gc=False):
    entry: list[_KnownEntry] | None = None


class _AnyObject(msgspec.Struct, gc=False):
    pass


_ANY_OBJECT = msgspec.json.Decoder(_AnyObject)
_TYPE = msgspec.json.Decoder(_Typed)
_CONTAINED = msgspec.json.Decoder(_Containing)
_EXTENTS = msgspec.json.Decoder(_KnownBundle)
_UNKNOWN = _KnownEntry()


def plain(body: bytes) -> Steps[bytes]:
    """The same JSON without escapes that could hide a name or a URL: those of ASCII letters, digits and "#%-./:?_~".

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
            if numbers > _FREE_NUMBERED + len(body) // _BYTES_PER_NUMBERED:
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
    return bytes((int(escape[1], 16),))


def read(body: bytes) -> Steps[Resource]:
    """The resource in `body`, which is UTF-8 without a byte order mark and `plain`.

    Raises Unreadable for what is not one JSON object with a `resourceType`; for a member of the envelope (from the
    root to `resourceType`, `type`, `link`, `relation`, `url`, `entry`, `fullUrl`, `request`, `response`, `outcome`)
    that is repeated, spelt in another case or of another JSON type than FHIR gives it (null counts as absent); and for
    a body with Bundles nested deeper than MAX_BUNDLE_DEPTH, or with more than one bracket in eight bytes.
    """
    yield from _check(body)
    start, end = _matched(_SPACE, body, 0).end(), len(body)
    while body[end - 1] in b" \t\n\r":
        end -= 1
    try:
        return (yield from _Reader(body).resource(start, end, 0))
    except RecursionError:  # here the decoder is called from deeper down than in `_check`
        raise Unreadable("it is nested too deeply") from None


def references(body: bytes, resource: Resource) -> Steps[list[str]]:
    """The strings of a resource named `reference` that hold a "?".

    Raises Unreadable for more of them than MAX_REFERENCES, for one that is too long, and for a list of strings.
    """
    found: list[str] = []
    for start in range(resource.start, resource.end, _SLICE):
        end = min(start + _SLICE, resource.end)
        for reference in _REFERENCE.finditer(body, start, end + _MAX_STRING):
            if reference.start() >= end:
                break
            # HAPI takes the first item of a list for the reference.
            if not reference[2]:
                raise Unreadable("a reference is a list, or too long")
            if b"?" in reference[1]:
                found.append(_text(reference[1]))
        if len(found) > MAX_REFERENCES:
            raise Unreadable("it holds too many references with criteria")
        yield
    return found


def _check(body: bytes) -> Steps[None]:
    """Refuse what is no JSON object in UTF-8, or too dense to be read at a fair price."""
    if len(body) > _FREE_BRACKETS:
        yield from _check_large(body)
    else:
        _decoded(body, codecs.getincrementaldecoder("utf-8")(), final=True)
    try:
        _ANY_OBJECT.decode(body)
    except msgspec.ValidationError:
        raise Unreadable("it is not a JSON object") from None
    except (msgspec.DecodeError, RecursionError):
        raise Unreadable("it is not valid JSON, or nested too deeply") from None
    if len(body) > _SLICE:
        yield


def _check_large(body: bytes) -> Steps[None]:
    """What a smaller body can't do wrong, or not at a price: too many brackets, too much white space in one place."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    brackets = 0
    for start in range(0, len(body), _SLICE):
        part = body[start : start + _SLICE]
        _decoded(part, decoder, final=start + _SLICE >= len(body))
        brackets += part.count(b"{") + part.count(b"[")
        spaces = (part[at : at + _MAX_SPACE // 2] for at in range(0, len(part) - _MAX_SPACE // 2, _MAX_SPACE // 2))
        if any(map(bytes.isspace, spaces)):
            raise Unreadable("it holds more white space than text")
        yield
    if brackets > min(_FREE_BRACKETS + len(body) // _BYTES_PER_BRACKET, _MAX_BRACKETS):
        raise Unreadable("it holds more objects and lists than its size allows for")


def _decoded(part: bytes, decoder: codecs.IncrementalDecoder, *, final: bool) -> None:
    try:
        decoder.decode(part, final)
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None


class _Reader:
    """Walks through an envelope. Every method begins where `_at` is, at a value, and leaves it behind that value."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._paused_at = 0

    def resource(self, start: int, end: int, depth: int) -> Steps[Resource]:
        """The resource from `start` to `end`, which lies in `depth` Bundles."""
        self._at = start
        self._expect(b"{", "a resource is not an object")
        first = _TYPE_FIRST.match(self._body, start, end)
        type = first[1].decode() if first else _last_type(memoryview(self._body)[start:end])
        if type != "Bundle":
            if end - start > _MAX_LOOK or not _names_one_type(self._body[start:end]):
                yield from self._other_resource(type)
            self._at = end
            return Resource(type, start, end)
        if depth > MAX_BUNDLE_DEPTH:
            raise Unreadable("it holds Bundles inside each other too deeply")
        if end - start > _SLICE:
            yield
        extents = _extents(memoryview(self._body)[start:end])
        if end - start > _SLICE:
            yield
        bundle = yield from self._bundle(extents, depth)
        return Resource(type, start, end, bundle)

    def _other_resource(self, type: str) -> Steps[None]:
        """Any resource but a Bundle, for which one `resourceType` and no more counts."""
        for name in self._members(_RESOURCE):
            if name:
                self._string()
            else:
                yield from self._skip()

    def _bundle(self, extents: list[_KnownEntry], depth: int) -> Steps[Bundle]:
        type, links, entries = "", [], []
        for name in self._members(_BUNDLE):
            if name == "resourceType":
                self._string()
            elif name == "type":
                type = self._string() or ""
            elif name == "link":
                for index in self._items():
                    if index == MAX_LINKS:
                        raise Unreadable("a Bundle has more links than any needs")
                    link = yield from self._link()
                    if link is not None:
                        links.append(link)
            elif name == "entry":
                most = _FREE_ENTRIES + len(self._body) // _BYTES_PER_ENTRY
                for index in self._items():
                    if index == most:
                        raise Unreadable("it holds more entries than its size allows for")
                    known = extents[index] if index < len(extents) else _UNKNOWN
                    entry = self._plain_entry(known) or (yield from self._entry(known, depth))
                    entries.append(entry)
                    if self._at - self._paused_at > _SLICE or index % _ENTRIES_PER_PAUSE == 0:
                        yield from self._pause()
            else:
                yield from self._skip()
        return Bundle(type, tuple(links), tuple(entries))

    def _link(self) -> Steps[Link | None]:
        opening = self._at
        relation, url, start, end = "", None, 0, 0
        for name in self._members(_LINK):
            if name == "relation":
                relation = self._string() or ""
            elif name == "url":
                start = self._at + 1
                url = self._string()
                end = self._at - 1
            else:
                yield from self._skip()
        return Link(relation, url, start, end, (opening, self._at)) if url is not None else None

    def _plain_entry(self, known: _KnownEntry) -> Entry | None:
        """The entry here if it is one of a plain search, which is read by two looks instead of member by member."""
        head = _ENTRY_HEAD.match(self._body, self._at)
        if head is None or isinstance(known.resource, msgspec.UnsetType):
            return None
        text, start = bytes(known.resource), head.end()
        if len(text) > _MAX_LOOK or not self._body.startswith(text, start):
            return None
        end = start + len(text)
        first, tail = _TYPE_FIRST.match(text), _ENTRY_TAIL.match(self._body, end)
        if first is None or tail is None or first[1] == b"Bundle" or not _names_one_type(text):
            return None
        self._at = tail.end()
        full_url = None if head[1] is None else head[1].decode()
        return Entry(full_url, resource=Resource(first[1].decode(), start, end))

    def _entry(self, extent: _KnownEntry, depth: int) -> Steps[Entry]:
        full_url, request, resource, status, outcome = None, None, None, "", None
        for name in self._members(_ENTRY):
            if name == "fullUrl":
                full_url = self._string()
            elif name == "resource":
                resource = yield from self._part(extent.resource, depth)
            elif name == "request":
                request = yield from self._request()
            elif name == "response":
                status, outcome = yield from self._response(extent.response or _KnownResponse(), depth)
            else:
                yield from self._skip()
        return Entry(full_url, request, resource, status, outcome)

    def _request(self) -> Steps[dict[str, str] | None]:
        if self._null():
            return None
        request: dict[str, str] = {}
        for name in self._members(_REQUEST):
            if not name:
                yield from self._skip()
            elif (value := self._string()) is not None:
                request[name] = value
        return request

    def _response(self, extent: _KnownResponse, depth: int) -> Steps[tuple[str, Resource | None]]:
        status, outcome = "", None
        if self._null():
            return status, outcome
        for name in self._members(_RESPONSE):
            if name == "outcome":
                outcome = yield from self._part(extent.outcome, depth)
            elif name == "status":
                status = self._string() or ""
            elif name == "location":
                self._string()
            else:
                yield from self._skip()
        return status, outcome

    def _part(self, known: msgspec.Raw | msgspec.UnsetType, depth: int) -> Steps[Resource | None]:
        """A resource inside the envelope. The decoder's idea of where it ends counts only if its text stands here."""
        if self._null():
            return None
        start = self._at
        text = b"" if isinstance(known, msgspec.UnsetType) else bytes(known)
        if text and self._body.startswith(text, start):
            end = start + len(text)
            if len(text) > _SLICE:
                yield
        else:
            yield from self._skip()
            end = self._at
        del text  # a copy, which should not last while what is inside is read
        return (yield from self.resource(start, end, depth + 1))

    def _members(self, envelope: Mapping[str, str]) -> Iterator[str]:
        """The name of each member of the object here, or "" for one that the `envelope` does not know."""
        self._expect(b"{", "what should be an object is something else")
        body = self._body
        opening = _matched(_OPENING, body, self._at)
        self._at = opening.end()
        if opening[1]:
            return
        seen: set[str] = set()
        for number in count():
            member = _MEMBER.match(body, self._at, self._at + _MAX_STRING + 2 * _MAX_SPACE)
            if member is None or number == _MAX_MEMBERS:
                raise Unreadable("an object has more members, or longer names, than any of FHIR")
            written = _text(member[1])
            spelt = written.lower()
            name = envelope.get(spelt, "")
            if name and name != written:
                raise Unreadable(f"{name} is spelt in another case")
            if name and name in seen:
                raise Unreadable(f"{name} is repeated")
            if spelt[:1] == "_" and spelt[1:] in _NOT_PRIMITIVE and spelt[1:] in envelope:
                raise Unreadable(f"{envelope[spelt[1:]]} has an underscore")
            seen.add(name)
            self._at = member.end()
            yield name
            after = _matched(_AFTER, body, self._at)
            if after[1] != b",":
                self._at = after.end(1)
                return
            self._at = after.end()

    def _items(self) -> Iterator[int]:
        """The index of each item of the list here; a null stands for an empty list."""
        if self._null():
            return iter(())
        self._expect(b"[", "what should be a list is something else")
        return self._values()

    def _values(self) -> Iterator[int]:
        opening = _matched(_OPENING, self._body, self._at)
        self._at = opening.end()
        if opening[1]:
            return
        for index in count():
            yield index
            after = _matched(_AFTER, self._body, self._at)
            if after[1] != b",":
                self._at = after.end(1)
                return
            self._at = after.end()

    def _string(self) -> str | None:
        """The string here, or None for null."""
        if self._null():
            return None
        self._expect(b'"', "what should be a string is something else")
        string = _STRING.match(self._body, self._at, self._at + _MAX_STRING)
        if string is None:
            raise Unreadable("a string of its envelope is too long")
        self._at = string.end()
        return _text(string[1])

    def _null(self) -> bool:
        if not self._body.startswith(b"null", self._at):
            return False
        self._at += 4
        return True

    def _expect(self, opening: bytes, problem: str) -> None:
        if not self._body.startswith(opening, self._at):
            raise Unreadable(problem)

    def _skip(self) -> Steps[None]:
        """Any value. A match looks at one slice at most: neither a long string nor a flat list holds anyone up."""
        body, depth = self._body, 0
        if body[self._at] not in _OPENS and body[self._at] != _QUOTE:
            while (end := _matched(_SCALAR, body, self._at, self._at + _SLICE).end()) > self._at:
                self._at = end
                if end - self._paused_at > _SLICE:
                    yield from self._pause()
            return
        for brackets in count(1):
            self._at = _matched(_BETWEEN_BRACKETS, body, self._at, self._at + _SLICE).end() if depth else self._at
            sign = body[self._at]
            if sign in _OPENS:
                depth += 1
                self._at += 1
            elif sign in _CLOSES:
                depth -= 1
                self._at += 1
            elif sign == _QUOTE:
                yield from self._skip_string()
            if not depth:
                return
            if brackets % _BRACKETS_PER_PAUSE == 0 or self._at - self._paused_at > _SLICE:
                yield from self._pause()

    def _skip_string(self) -> Steps[None]:
        self._at += 1
        while True:
            self._at = _matched(_CHARACTERS, self._body, self._at, self._at + _SLICE).end()
            if self._body[self._at] == _QUOTE:
                self._at += 1
                return
            yield from self._pause()

    def _pause(self) -> Steps[None]:
        self._paused_at = self._at
        yield


def _matched(pattern: re.Pattern[bytes], body: bytes, start: int, end: int = sys.maxsize) -> re.Match[bytes]:
    """What `pattern` matches in a body that has been found to be JSON, where it can't but match."""
    found = pattern.match(body, start, end)
    assert found is not None  # noqa: S101
    return found


def _text(characters: bytes) -> str:
    """The text of a string's characters, with escapes undone."""
    if b"\\" not in characters:
        return characters.decode()
    text: str = json.loads(b'"%b"' % characters, strict=False)
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Unreadable("a string of its envelope has half a surrogate pair, which is no character")
    return text


def _last_type(text: memoryview) -> str:
    """The value of the last `resourceType` among a resource's members."""
    type = _TYPE.decode(text).resourceType
    if isinstance(type, msgspec.UnsetType):
        raise Unreadable("it holds something that is no resource")
    if not bytes(type).startswith(b'"'):
        raise Unreadable("a resourceType is not a string")
    return _text(bytes(type)[1:-1])


def _names_one_type(resource: bytes) -> bool:
    """Whether a resource has its `resourceType` once and in no other spelling; False where a look does not tell."""
    named = resource.lower().count(b'"resourcetype"')
    if named == 1:
        return True
    try:
        contained = _CONTAINED.decode(resource).contained or ()
    except msgspec.ValidationError:
        return False
    return named == 1 + sum(not isinstance(each.resourceType, msgspec.UnsetType) for each in contained)


def _extents(text: memoryview) -> list[_KnownEntry]:
    """What the decoder takes for the entries of a Bundle; none where it is no Bundle as FHIR has it."""
    try:
        return _EXTENTS.decode(text).entry or []
    except msgspec.ValidationError:
        return []
