"""FHIR XML as policy reads it (FHIR, XML representation), refused where two readers could read it differently."""

import re
from array import array
from typing import Any

from msgspec import Struct

from shared.fhir.document import (
    ENVELOPE,
    MAX_DEPTH,
    MAX_LINKS,
    NO_STRINGS,
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
from shared.fhir.rewriting.positions import (
    ANYWHERE,
    BY_PARENT,
    CRITERIA,
    LINK_ATTRIBUTES,
    TEXT_VALUE,
    URL_VALUE,
    XHTML_LINK,
    Position,
    position_of,
)
from shared.fhir.xml_parser import Parser, attribute_spans

MAX_DECLARATIONS = 16  # of namespaces in scope; real bodies have up to five
MAX_PREFIXES = 4  # of those for FHIR and XHTML: each resource that is taken out of a Bundle has to declare them anew
MAX_SCOPES = 64  # different sets of declarations
MAX_ATTRIBUTES = 32  # of an element
# Each costs several times what a plain element does.
ALLOWED = {
    "parts": Allowance(free=5_000, bytes_each=40),  # the elements of an envelope, resources and narratives
    "attributes": Allowance(free=10_000, bytes_each=16),  # those that do not stand alone as `value`
    "links": Allowance(free=2_500, bytes_each=50),  # where one may stand
}
MAX_LINK = 100_000  # characters of a value that is or may hold a link

_FHIR = "http://hl7.org/fhir"
_XHTML = "http://www.w3.org/1999/xhtml"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_RESERVED = {"xml": "http://www.w3.org/XML/1998/namespace", "xmlns": "http://www.w3.org/2000/xmlns/"}
_SPACE = " \t\r\n"
_RESOURCE_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")

_NAMES = {name: EnvelopeNames(children) for name, children in ENVELOPE.items()}
_CONTAINERS = frozenset({"resource", "outcome"})
_LISTS = frozenset({"link", "entry"})
_PLAIN = frozenset({"value", "id", "url"})
_CODES = frozenset({"type", "relation", "method"})
_WATCHED = frozenset({"container", "contained", *ENVELOPE})
_DIV = "xhtml:div"  # as the name of a narrative's root, which is the only one outside FHIR's namespace
_OPENING = frozenset({_DIV, "contained"})
_LINKING = BY_PARENT.union(ANYWHERE) - {"div"}


def read(body: bytes) -> Steps[Resource]:
    """The resource in `body`, as JSON would have it.

    Raises Unreadable for: other namespaces than FHIR's and XHTML's, XHTML elsewhere than in the `div` of a narrative,
    attributes with a prefix (but `xsi:schemaLocation` on the root and `xml:lang` in XHTML), text between FHIR elements,
    document types, processing instructions; in the envelope of a Bundle also what is repeated or in another case.
    """
    reader = _Reader(body)
    yield from reader.parser.parse()
    root: Resource = reader.root.values["resource"]
    return root


class _Scope:
    """The namespaces declared at a place, by prefix, and what the names of elements mean there.

    `names` are the local names by the names as written, `ordinary` are those among them that open nothing outside
    the envelope, and `xhtml` are the names as written of elements in a narrative.
    """

    def __init__(self, uris: dict[str, str]) -> None:
        self.uris = uris
        self.needed = {prefix: uri for prefix, uri in uris.items() if uri in (_FHIR, _XHTML)}
        self.names: dict[str, str] = {}
        self.ordinary: dict[str, str] = {}
        self.xhtml: set[str] = set()
        self.inner: dict[tuple[str, ...], _Scope] = {}


class _Frame(Struct):
    """An open element whose direct children or end matter. `depth` is the number of open elements with itself."""

    kind: str  # of ENVELOPE, or "container", "contained", "resource", "div", "scope"
    name: str
    depth: int
    around: _Scope
    start: int = -1
    seen: set[str] = set()
    values: dict[str, Any] = {}


class _Reader:
    """Follows the parser: `_path` has the names of the open elements, `_frames` those that matter."""

    def __init__(self, body: bytes) -> None:
        self._scope = _Scope({"xml": _RESERVED["xml"]})
        self.root = _Frame("container", "", 0, self._scope)
        self.parser = Parser(body, self._start, self._end, self._text, self._check)
        self._body = body
        self._frames = [self.root]
        self._watched = 0  # depth of the elements that are children of the innermost frame, if they matter
        self._closing = 0  # depth of the innermost frame
        self._depth = 0
        self._path = [""] * MAX_DEPTH  # names of the open elements, down to _depth
        self._ordinary = self._scope.ordinary
        self._scopes = self._parts = self._attributes_seen = 0
        self._plain: set[str] = set()  # names of attributes in XHTML that have no meaning here
        self._places = array("Q")

    def _text(self, text: str) -> None:
        if text.strip(_SPACE):
            raise Unreadable("it has text between its elements")

    def _check(self, fed: int) -> None:
        counts = (self._parts, self._attributes_seen, len(self._places))
        for number, things in zip(counts, ("parts", "attributes", "links"), strict=True):
            if number > ALLOWED[things].of(fed):
                raise Unreadable(f"it has more {things} than a body of its length has")

    def _start(self, written: str, attributes: list[str]) -> None:
        """The start of an element outside XHTML; most of them need no more than these lines."""
        depth = self._depth
        if depth != self._watched and (not attributes or (attributes[0] == "value" and len(attributes) == 2)):
            try:
                name = self._path[depth] = self._ordinary[written]
            except (KeyError, IndexError):
                pass
            else:
                self._depth = depth + 1
                if attributes and name in _LINKING:
                    self._note(name, self._path[depth - 1], attributes[1])
                return
        self._start_significant(written, attributes, depth)

    def _start_significant(self, written: str, attributes: list[str], depth: int) -> None:
        if depth == MAX_DEPTH:
            raise Unreadable(f"it is nested deeper than {MAX_DEPTH} elements")
        around = self._scope
        value = None
        if len(attributes) == 2 and attributes[0] == "value":
            value = attributes[1]
        elif attributes:
            value = self._attributes(written, attributes, in_xhtml=False)
        scope = self._scope
        name = scope.names.get(written) or self._resolve(written)
        is_child = depth == self._watched
        kind = self._child(name, attributes, value) if is_child else None
        if kind is None and name in _OPENING:
            kind = self._opening(name)
        if scope is not around:
            kind = kind or "scope"
        if is_child or kind is not None:
            self._parts += 1
        self._path[depth] = name
        self._depth = depth + 1
        if kind is not None:
            start = self.parser.position if kind in ("resource", "Bundle", "link") else -1
            self._open(_Frame(kind, name, depth + 1, around, start))
        if value is not None and name in _LINKING:
            self._note(name, self._path[depth - 1] if depth else "", value)

    def _start_xhtml(self, written: str, attributes: list[str]) -> None:
        """The start of an element in a narrative."""
        depth = self._depth
        if depth == MAX_DEPTH:
            raise Unreadable(f"it is nested deeper than {MAX_DEPTH} elements")
        around = self._scope
        if attributes:
            self._attributes_seen += len(attributes) >> 1
            if not self._plain.issuperset(attributes[::2]):
                self._attributes(written, attributes, in_xhtml=True)
        if written not in self._scope.xhtml:
            self._resolve_xhtml(written)
        self._depth = depth + 1
        if self._scope is not around:
            self._open(_Frame("scope", written, depth + 1, around))

    def _open(self, frame: _Frame) -> None:
        self._frames.append(frame)
        self._look_at(frame)

    def _look_at(self, innermost: _Frame) -> None:
        self._closing = innermost.depth
        self._watched = innermost.depth if innermost.kind in _WATCHED else -1
        self._ordinary = self._scope.ordinary

    def _end(self, written: str) -> None:
        self._depth = depth = self._depth - 1
        if depth < self._closing:
            frame = self._frames.pop()
            self._scope = frame.around
            self._look_at(self._frames[-1])
            self._close(frame, written)

    def _attributes(self, written: str, attributes: list[str], *, in_xhtml: bool) -> str | None:
        """Checks the attributes, puts their declarations into force, and gives that called `value`."""
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            raise Unreadable(f"it has an element with more than {MAX_ATTRIBUTES} attributes")
        if not in_xhtml:
            self._attributes_seen += len(attributes) >> 1
            if _PLAIN.issuperset(attributes[::2]):
                return dict(zip(attributes[::2], attributes[1::2], strict=True)).get("value")
        value = None
        declared: list[str] = []
        prefixed: list[str] = []
        for name, text in zip(attributes[::2], attributes[1::2], strict=True):
            if name == "value":
                value = text
            elif name == "xmlns" or name.startswith("xmlns:"):
                declared += (name[6:], text)
            elif ":" in name:
                prefixed.append(name)
            elif in_xhtml:
                if name not in LINK_ATTRIBUTES:
                    self._plain.add(name)
                elif text[:4].lower() == "http":
                    self._note_place(XHTML_LINK, text)
        if declared:
            self._declare(tuple(declared))
        if prefixed and not self._may_stand(prefixed, written):
            raise Unreadable("it has an attribute with a prefix")
        return value

    def _may_stand(self, prefixed: list[str], written: str) -> bool:
        if self._uri_and_name(written)[0] == _XHTML:
            return prefixed == ["xml:lang"]
        prefix, _, name = prefixed[0].partition(":")
        is_hint = name == "schemaLocation" and self._scope.uris.get(prefix) == _XSI
        return is_hint and len(prefixed) == 1 and not self._depth

    def _declare(self, declared: tuple[str, ...]) -> None:
        outer = self._scope
        inner = outer.inner.get(declared)
        if inner is None:
            new = dict(zip(declared[::2], declared[1::2], strict=True))
            reserved = not (_RESERVED.keys().isdisjoint(new) and set(_RESERVED.values()).isdisjoint(new.values()))
            if reserved or any(prefix and not uri for prefix, uri in new.items()):
                raise Unreadable("it declares a namespace that can't be declared")
            uris = outer.uris | new
            inner = outer if uris == outer.uris else _Scope(uris)
            self._scopes += 1
            if self._scopes > MAX_SCOPES or len(uris) > MAX_DECLARATIONS + 1 or len(inner.needed) > MAX_PREFIXES:
                raise Unreadable("it has more declarations of namespaces than a resource needs")
            outer.inner[declared] = inner
        self._scope = inner
        self._attributes_seen += 5  # it costs as much

    def _uri_and_name(self, written: str) -> tuple[str | None, str]:
        prefix, _, name = written.rpartition(":")
        return self._scope.uris.get(prefix), name

    def _resolve(self, written: str) -> str:
        uri, name = self._uri_and_name(written)
        if uri == _XHTML and name == "div":
            name = _DIV
        elif uri != _FHIR or name == "div":
            raise Unreadable("it has an element outside FHIR's namespace")
        self._scope.names[written] = name
        if name not in _OPENING:
            self._scope.ordinary[written] = name
        return name

    def _resolve_xhtml(self, written: str) -> None:
        if self._uri_and_name(written)[0] != _XHTML:
            raise Unreadable("it has an element outside XHTML's namespace in a narrative")
        self._scope.xhtml.add(written)

    def _opening(self, name: str) -> str:
        """The kind of frame of what is checked wherever it stands: a narrative, and a contained resource."""
        if name != _DIV:
            return "contained"
        if not self._depth or self._path[self._depth - 1] != "text":
            raise Unreadable("it has XHTML outside a narrative")
        self.parser.on_start(self._start_xhtml)
        self.parser.read_text(False)
        return "div"

    def _child(self, name: str, attributes: list[str], value: str | None) -> str | None:
        """Reads a child of the innermost frame, and gives the kind of frame that it needs itself."""
        within = self._frames[-1]
        if within.kind in ("container", "contained"):
            return self._resource(within, name, attributes)
        names = _NAMES.get(within.kind)
        if names is None or not names.check(name, set() if name in _LISTS else within.seen):
            return None
        self._check_attributes(attributes)
        if name in NO_STRINGS:
            return "container" if name in _CONTAINERS else name
        if value is not None:
            self._string(within, name, value)
        return None

    def _string(self, within: _Frame, name: str, value: str) -> None:
        # The rest of a response does not count for policy, and is no reason to lose the outcome of a write.
        if within.kind == "response" and name != "status":
            return
        if self.parser.is_cut:
            raise Unreadable("it has a very long value in a Bundle's own elements")
        # Some readers trim a code.
        if name in _CODES and (value.strip() != value or not value.isprintable()):
            raise Unreadable("it has a code with white space around it")
        within.values[name] = value
        if within.kind == "link" and name == "url":
            spans = attribute_spans(self._body, self.parser.position)
            within.values["span"] = next((start, end) for attribute, start, end in spans if attribute == b"value")

    def _resource(self, within: _Frame, name: str, attributes: list[str]) -> str | None:
        if within.seen:
            raise Unreadable("it has two resources where one may stand")
        within.seen.add(name)
        if not _RESOURCE_NAME.fullmatch(name) or (name != "Bundle" and name.casefold() == "bundle"):
            raise Unreadable("it has something else where a resource may stand")
        if within.kind == "contained":
            return None
        if name == "Bundle":
            self._check_attributes(attributes)
            check_bundle_depth(sum(frame.kind == "Bundle" for frame in self._frames))
            return "Bundle"
        return "resource"

    def _check_attributes(self, attributes: list[str]) -> None:
        for name in attributes[::2]:
            if name not in ("value", "id", "xmlns") and ":" not in name:
                raise Unreadable("it has an attribute in a Bundle's own elements that FHIR has not")

    def _close(self, frame: _Frame, written: str) -> None:
        values = frame.values
        within = self._frames[-1].values
        match frame.kind:
            case "div":
                self.parser.on_start(self._start)
                self.parser.read_text(True)
            case "resource" | "Bundle":
                within["resource"] = self._made(frame, written)
            case "container" | "contained" if not frame.seen:
                raise Unreadable("it has no resource where one must stand")
            case "container":
                within[frame.name] = values["resource"]
            case "request":
                within["request"] = values
            case "response":
                within |= {"status": values.get("status") or "", "outcome": values.get("outcome")}
            case "link":
                if "url" in values:
                    element = frame.start, self._body.index(b">", self.parser.position) + 1
                    start, end = values["span"]
                    link = Link(values.get("relation", ""), values["url"], start, end, element)
                    within.setdefault("links", []).append(link)
                    if len(within["links"]) > MAX_LINKS:
                        raise Unreadable("a Bundle has more links than any needs")
            case "entry":
                full_url, request, resource = map(values.get, ("fullUrl", "request", "resource"))
                entry = Entry(full_url, request, resource, values.get("status", ""), values.get("outcome"))
                within.setdefault("entries", []).append(entry)

    def _made(self, frame: _Frame, written: str) -> Resource:
        bundle = None
        if frame.kind == "Bundle":
            links, entries = (tuple(frame.values.get(name, ())) for name in ("links", "entries"))
            bundle = Bundle(frame.values.get("type", ""), links, entries)
        # For an empty element the parser stands behind it, before its container's end: no container is called as it.
        end = self.parser.position
        if self._body.startswith(f"</{written}".encode(), end):
            end = self._body.index(b">", end) + 1
        return Resource(frame.name, frame.start, end, bundle, frame.around.needed, self._places)

    def _note(self, name: str, parent: str, value: str) -> None:
        """Remembers where a link may stand, for the rewriting."""
        is_url = value[:4].lower() == "http"
        if name == "reference" and ("?" in value or self.parser.is_cut):
            place = CRITERIA
        elif name in BY_PARENT or not is_url:
            position = position_of(name, parent)
            if position is Position.TEXT and ("//" in value or self.parser.is_cut):
                place = TEXT_VALUE
            elif position is Position.URL and is_url:
                place = URL_VALUE
            else:
                return
        else:
            place = TEXT_VALUE if ANYWHERE[name] is Position.TEXT else URL_VALUE
        self._note_place(place, value)

    def _note_place(self, kind: int, value: str) -> None:
        if len(value) > MAX_LINK or self.parser.is_cut:
            raise Unreadable(f"it has a link, or a message with links, of more than {MAX_LINK} characters")
        self._places.append(self.parser.position << 2 | kind)
