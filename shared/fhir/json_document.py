"""FHIR JSON, read as far as policy must judge it: the envelope of Bundles strictly, resources by their type alone.

The envelope is read token by token, so that a member that is repeated, spelt in another case or of another type than
FHIR gives it is seen. What lies between, the resources' content, is checked to be JSON and skipped by a decoder
written in C, which also tells where each entry's resource ends.
"""

import codecs
import re
from collections.abc import Sequence

import msgspec

from shared.fhir.document import (
    ENVELOPE,
    MAX_LINKS,
    MAX_REFERENCES,
    Allowance,
    Bundle,
    Entry,
    EnvelopeNames,
    Link,
    Resource,
    Steps,
    Unreadable,
    check_bundle_depth,
)
from shared.fhir.json_cursor import MAX_SPACE, MAX_STRING, SLICE, JsonCursor, unescaped

_MAX_FULL_URL = 4_096  # bytes of one that is not read as a string of its own
_MAX_LOOK = 4 * SLICE  # bytes of a resource looked at as a whole, without a pause
_ENTRIES_PER_PAUSE = 256
# Each object and list costs a reader memory and time, whatever is in it. Real data have one in 20 bytes and more, the
# densest code systems one in 12.
_ALLOWED_BRACKETS = Allowance(free=65_536, bytes_each=8)
_MAX_BRACKETS = 2_500_000
_MAX_COMMAS = 10_000_000  # for more values than these separate, the decoder may take longer than others should wait
_NO_BRACKETS = bytes(set(range(256)).difference(b"{["))
_MAX_OBJECTS = 400_000  # that the decoder may have to make between two pauses
_PIECE = 4 * SLICE  # bytes of entries in which there are fewer
_ALLOWED_ENTRIES = Allowance(free=5_000, bytes_each=100)  # a resource with nothing but an id has 150 with its fullUrl

_NAMES = {name: EnvelopeNames(children) for name, children in ENVELOPE.items()}
_BUNDLE = EnvelopeNames(("resourceType", *ENVELOPE["Bundle"]))
_RESOURCE = EnvelopeNames(("resourceType",))

# `"reference": "Patient/1"`, with the quote behind it unless the string is cut off where the search ends; or the
# beginning of a list of anything but objects.
_REFERENCE = re.compile(
    rb'"reference"[ \t\n\r]*+:[ \t\n\r]*+(?:"((?:[^"\\]++|\\.)*+)("?)|\[(?![ \t\n\r]*+[{\]]))', re.DOTALL
)
# `{"resourceType": "Patient"`, as nearly all servers begin a resource.
_TYPE_FIRST = re.compile(rb'\{[ \t\n\r]*+"resourceType"[ \t\n\r]*+:[ \t\n\r]*+"([A-Za-z]++)"')
# `{"fullUrl": "…", "resource": {`, `, "search": {…`, `}` and `, {`: how nearly all entries of a search are laid out.
_SPACE = rb"[ \t\n\r]*+"
_ENTRY_HEAD = re.compile(
    rb'(\{%b)(?:("fullUrl"%b:%b")[^"\\]*+("%b,%b))?+("resource"%b:%b)(?=\{)' % (7 * (_SPACE,)),
)
_SEARCH = re.compile(rb'%b,%b"search"%b:%b' % (4 * (_SPACE,)))
_CLOSING = re.compile(rb"%b\}" % _SPACE)
_SEPARATOR = re.compile(rb"%b,%b(?=\{)" % (2 * (_SPACE,)))
# `}, ` between two entries, or what looks like it.
_BETWEEN = re.compile(rb'\}%b(,)%b\{%b"(?:fullUrl|resource|request|response|id|link|search)"' % (3 * (_SPACE,)))


class _Layout(msgspec.Struct, frozen=True, gc=False):
    """What stands before, between and behind the values of an entry that has no other members, and between entries."""

    head: bytes
    resource: bytes
    search: bytes
    closing: bytes
    separator: bytes


class _Typed(msgspec.Struct, gc=False):
    resourceType: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Containing(msgspec.Struct, gc=False):
    contained: list[_Typed] | None = None


class _KnownResponse(msgspec.Struct, gc=False):
    outcome: msgspec.Raw = msgspec.Raw(b"")


class _KnownEntry(msgspec.Struct, gc=False):
    fullUrl: str | None = None
    resource: msgspec.Raw = msgspec.Raw(b"")
    search: msgspec.Raw = msgspec.Raw(b"")
    response: _KnownResponse | None = None


class _KnownBundle(msgspec.Struct, gc=False):
    entry: list[_KnownEntry] | None = None


class _AnyBundle(msgspec.Struct, gc=False):
    entry: msgspec.Raw = msgspec.Raw(b"")


class _AnyObject(msgspec.Struct, gc=False):
    pass


_ANY_OBJECT = msgspec.json.Decoder(_AnyObject)
_TYPE = msgspec.json.Decoder(_Typed)
_CONTAINED = msgspec.json.Decoder(_Containing)
_EXTENTS = msgspec.json.Decoder(_KnownBundle)
_LISTED = msgspec.json.Decoder(_AnyBundle)
_PIECES = msgspec.json.Decoder(list[_KnownEntry])
_UNKNOWN = _KnownEntry()


def read(body: bytes) -> Steps[Resource]:
    """The resource in `body`, which is UTF-8 without a byte order mark and `plain`.

    Raises Unreadable for what is not one JSON object with a `resourceType`; for a member of the envelope (from the
    root to `resourceType`, `type`, `link`, `relation`, `url`, `entry`, `fullUrl`, `request`, `response`, `outcome`)
    that is repeated, spelt in another case or of another JSON type than FHIR gives it (null counts as absent); and for
    a body with Bundles nested deeper than MAX_BUNDLE_DEPTH, or with more than one bracket in eight bytes.
    """
    extents = yield from _check(body)
    reader, end = _Reader(body), len(body)
    while body[end - 1] in b" \t\n\r":
        end -= 1
    try:
        return (yield from reader.resource(reader.at, end, 0, extents))
    except RecursionError:  # here the decoder is called from deeper down than in `_check`
        raise Unreadable("it is nested too deeply") from None


def references(body: bytes, resource: Resource) -> Steps[list[str]]:
    """The strings of a resource named `reference` that hold a "?".

    Raises Unreadable for more of them than MAX_REFERENCES, for one that is too long, and for a list of strings.
    """
    found: list[str] = []
    for start in range(resource.start, resource.end, SLICE):
        end = min(start + SLICE, resource.end)
        for reference in _REFERENCE.finditer(body, start, end + MAX_STRING):
            if reference.start() >= end:
                break
            # HAPI takes the first item of a list for the reference.
            if not reference[2]:
                raise Unreadable("a reference is a list, or too long")
            if b"?" in reference[1]:
                found.append(unescaped(reference[1]))
        if len(found) > MAX_REFERENCES:
            raise Unreadable("it holds too many references with criteria")
        yield
    return found


def _check(body: bytes) -> Steps[list[_KnownEntry]]:
    """The entries of a Bundle. Refuse what is no JSON object in UTF-8, or too dense to be read at a fair price."""
    if len(body) > _ALLOWED_BRACKETS.free:
        yield from _check_large(body)
    elif not body.isascii():
        _decoded(body, codecs.getincrementaldecoder("utf-8")(), final=True)
    try:
        extents = yield from _extents(body, 0, len(body))
    except msgspec.ValidationError:
        raise Unreadable("it is not a JSON object") from None
    except (msgspec.DecodeError, RecursionError):
        raise Unreadable("it is not valid JSON, or nested too deeply") from None
    if len(body) > SLICE:
        yield
    return extents


def _check_large(body: bytes) -> Steps[None]:
    """Refuse too many brackets or commas, and too much white space in one place: a smaller body may have them."""
    decoder = None if body.isascii() else codecs.getincrementaldecoder("utf-8")()
    brackets = commas = 0
    for start in range(0, len(body), SLICE):
        part = body[start : start + SLICE]
        if decoder is not None:
            _decoded(part, decoder, final=start + SLICE >= len(body))
        brackets += len(part.translate(None, _NO_BRACKETS))
        if len(body) > _MAX_COMMAS:
            commas += part.count(b",")
        spaces = (part[at : at + MAX_SPACE // 2] for at in range(0, len(part) - MAX_SPACE // 2, MAX_SPACE // 2))
        if any(map(bytes.isspace, spaces)):
            raise Unreadable("it holds more white space than text")
        yield
    if brackets > min(_ALLOWED_BRACKETS.of(len(body)), _MAX_BRACKETS):
        raise Unreadable("it holds more objects and lists than its size allows for")
    if commas > _MAX_COMMAS:
        raise Unreadable("it holds more values than any resource")


def _decoded(part: bytes, decoder: codecs.IncrementalDecoder, *, final: bool) -> None:
    try:
        decoder.decode(part, final)
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None


class _Reader(JsonCursor):
    """Walks through an envelope."""

    def resource(self, start: int, end: int, depth: int, extents: list[_KnownEntry] | None = None) -> Steps[Resource]:
        """The resource from `start` to `end`, which lies in `depth` Bundles; `extents` are its entries if known."""
        self.at, self._paused_at = start, min(start, self._paused_at)  # it may have been skipped before
        self.expect(b"{", "a resource is not an object")
        first = _TYPE_FIRST.match(self.body, start, end)
        type = first[1].decode() if first else _last_type(memoryview(self.body)[start:end])
        if type != "Bundle":
            if end - start > _MAX_LOOK or not _names_one_type(self.body[start:end]):
                for name in self.members(_RESOURCE):  # one `resourceType` and no more counts
                    if name:
                        self.string()
                    else:
                        yield from self.skip()
            self.at = end
            return Resource(type, start, end)
        check_bundle_depth(depth)
        if extents is None:
            if end - start > SLICE:
                yield
            extents = yield from _extents(self.body, start, end)
        if end - start > SLICE:
            yield
        return Resource(type, start, end, (yield from self._bundle(extents, depth)))

    def _bundle(self, extents: list[_KnownEntry], depth: int) -> Steps[Bundle]:
        type = ""
        links: list[Link] = []
        entries: list[Entry] = []
        for name in self.members(_BUNDLE):
            if name == "resourceType":
                self.string()
            elif name == "type":
                type = self.string() or ""
            elif name == "link":
                for index in self.items():
                    if index == MAX_LINKS:
                        raise Unreadable("a Bundle has more links than any needs")
                    if (link := (yield from self._link())) is not None:
                        links.append(link)
            elif name == "entry":
                allowed = _ALLOWED_ENTRIES.of(len(self.body))
                for _ in self.items():
                    number = len(entries)
                    entries += self._plain_entries(extents, number)
                    if len(entries) == number:
                        known = extents[number] if number < len(extents) else _UNKNOWN
                        entries.append((yield from self._entry(known, depth)))
                    _check_number(entries, allowed)
                    if self.needs_pause or len(entries) % _ENTRIES_PER_PAUSE == 0:
                        yield from self.pause()
            else:
                yield from self.skip()
        return Bundle(type, tuple(links), tuple(entries))

    def _link(self) -> Steps[Link | None]:
        opening = self.at
        relation, url, start, end = "", None, 0, 0
        for name in self.members(_NAMES["link"]):
            if name == "relation":
                relation = self.string() or ""
            elif name == "url":
                start = self.at + 1
                url = self.string()
                end = self.at - 1
            else:
                yield from self.skip()
        return Link(relation, url, start, end, (opening, self.at)) if url is not None else None

    def _plain_entries(self, extents: Sequence[_KnownEntry], first: int) -> list[Entry]:
        """As many entries from here, number `first`, up to a pause as are those of a plain search, laid out alike.

        Each is written once more from what the decoder read in it, and must stand here so: a member that is repeated,
        spelt in another case or unknown, and a name or URL with escapes, would make it another text.
        """
        body, at = self.body, self.at
        entries: list[Entry] = []
        layout = _layout(body, at, extents[first]) if first < len(extents) else None
        if layout is None:
            return entries
        separator, type_first, type = b"", b"", ""
        for known in extents[first : first + _ENTRIES_PER_PAUSE - first % _ENTRIES_PER_PAUSE]:
            url = (known.fullUrl or "").encode()
            if len(known.resource) + len(known.search) > _MAX_LOOK or len(url) > _MAX_FULL_URL:
                break
            before = b"".join((separator, layout.head, url, layout.resource))
            text = b"".join((before, known.resource, layout.search, known.search, layout.closing))
            if not body.startswith(text, at):
                break
            start = at + len(before)
            end = start + len(known.resource)
            if not type or not body.startswith(type_first, start):
                found = _TYPE_FIRST.match(body, start, end)
                if found is None or found[1] == b"Bundle":
                    break
                type_first, type = found[0], found[1].decode()
            once = text.isascii() and text.lower().count(b'"resourcetype"') == 1
            if not once and not _names_one_type(body[start:end]):
                break
            entries.append(Entry(known.fullUrl, None, Resource(type, start, end)))
            at = self.at = at + len(text)
            if self.needs_pause:
                break
            separator = layout.separator
        return entries

    def _entry(self, extent: _KnownEntry, depth: int) -> Steps[Entry]:
        full_url, request, resource, status, outcome = None, None, None, "", None
        for name in self.members(_NAMES["entry"]):
            if name == "fullUrl":
                full_url = self.string()
            elif name == "resource":
                resource = yield from self._part(extent.resource, depth)
            elif name == "request":
                request = yield from self._request()
            elif name == "response":
                status, outcome = yield from self._response(extent.response or _KnownResponse(), depth)
            else:
                yield from self.skip()
        return Entry(full_url, request, resource, status, outcome)

    def _request(self) -> Steps[dict[str, str] | None]:
        if self.null():
            return None
        request: dict[str, str] = {}
        for name in self.members(_NAMES["request"]):
            if not name:
                yield from self.skip()
            elif (value := self.string()) is not None:
                request[name] = value
        return request

    def _response(self, extent: _KnownResponse, depth: int) -> Steps[tuple[str, Resource | None]]:
        status, outcome = "", None
        if self.null():
            return status, outcome
        for name in self.members(_NAMES["response"]):
            if name == "outcome":
                outcome = yield from self._part(extent.outcome, depth)
            elif name:
                value = self.string() or ""
                status = value if name == "status" else status
            else:
                yield from self.skip()
        return status, outcome

    def _part(self, known: msgspec.Raw, depth: int) -> Steps[Resource | None]:
        """A resource inside the envelope. The decoder's idea of where it ends counts only if its text stands here."""
        if self.null():
            return None
        start = self.at
        text = bytes(known)
        if text and self.body.startswith(text, start):
            end = start + len(text)
            if len(text) > SLICE:
                yield
        else:
            yield from self.skip()
            end = self.at
        del text  # a copy, which should not last while what is inside is read
        return (yield from self.resource(start, end, depth + 1))


def _layout(body: bytes, at: int, known: _KnownEntry) -> _Layout | None:
    """The layout of the entry at `at`; None for one that has other members, or these in another order."""
    head = _ENTRY_HEAD.match(body, at)
    if head is None:
        return None
    at = head.end() + len(known.resource)
    search = _SEARCH.match(body, at)
    closing = _CLOSING.match(body, search.end() + len(known.search) if search else at)
    if closing is None:
        return None
    separator = _SEPARATOR.match(body, closing.end())
    opening, full_url, behind_url, resource = head.groups(b"")
    return _Layout(
        opening + full_url,
        behind_url + resource,
        search[0] if search else b"",
        closing[0],
        separator[0] if separator else b"",
    )


def _last_type(text: memoryview) -> str:
    """The value of the last `resourceType` among a resource's members."""
    type = _TYPE.decode(text).resourceType
    if isinstance(type, msgspec.UnsetType):
        raise Unreadable("it holds something that is no resource")
    if not bytes(type).startswith(b'"'):
        raise Unreadable("a resourceType is not a string")
    return unescaped(bytes(type)[1:-1])


def _names_one_type(resource: bytes) -> bool:
    """Whether a resource has its `resourceType` once and in no other spelling; False where a look does not tell."""
    lowered = resource.lower()
    if b"\xc5" in lowered:  # one byte is found ten times as fast as two
        lowered = lowered.replace("ſ".encode(), b"s")  # as in other readers, such as Go's
    named = lowered.count(b'"resourcetype"')
    if named == 1:
        return True
    try:
        contained = _CONTAINED.decode(resource).contained or ()
    except msgspec.ValidationError:
        return False
    return named == 1 + sum(not isinstance(each.resourceType, msgspec.UnsetType) for each in contained)


def _extents(body: bytes, start: int, end: int) -> Steps[list[_KnownEntry]]:
    """The entries of the Bundle from `start` to `end` as the decoder reads them, if that is a Bundle as FHIR has it.

    Where there may be millions, which take a quarter of a second to make, they are decoded in pieces; a piece that
    ends inside an entry is no JSON. It may be that only the first ones are found. Raises DecodeError for what is none
    as a whole, Unreadable for more entries than the body may have.
    """
    text, is_large = memoryview(body)[start:end], end - start > _PIECE
    may_be_many = is_large and body.count(b"{", start, end) > _MAX_OBJECTS
    if is_large:
        yield
    if not may_be_many:
        try:
            return _EXTENTS.decode(text).entry or []
        except msgspec.ValidationError:
            _ANY_OBJECT.decode(text)
            return []
    listed = memoryview(_LISTED.decode(text).entry)
    yield
    entries: list[_KnownEntry] = []
    at, end = 1, len(listed) - 1
    while at < end:
        between = _BETWEEN.search(listed, at + _PIECE, at + 2 * _PIECE)
        last = between.start() + 1 if between else end
        if last - at > 2 * _PIECE:
            break
        try:
            entries += _PIECES.decode(b"".join((b"[", listed[at:last], b"]")))
        except msgspec.DecodeError:
            break
        _check_number(entries, _ALLOWED_ENTRIES.of(len(body)))
        at = between.end(1) if between else end
        yield
    return entries


def _check_number(entries: Sequence[_KnownEntry | Entry], allowed: int) -> None:
    if len(entries) > allowed:
        raise Unreadable("it holds more entries than its size allows for")
