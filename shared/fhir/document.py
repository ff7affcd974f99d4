"""A FHIR body as policy reads it: the resources it holds, and of Bundles the envelope around them.

`json_document.read` and `xml_document.read` make one of the bytes, in both directions. They refuse what two readers
could read differently, so that policy checks what the other side reads.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from shared.fhir.errors import FhirError

T = TypeVar("T")

# Work that pauses: each `yield` is a place where other requests may be served. The value comes at the end.
Steps = Generator[None, None, T]

MAX_DEPTH = 250  # of elements or objects inside each other; the deepest of the official examples has 30
MAX_BUNDLE_DEPTH = 5  # of Bundles inside each other; a batch's response has two
MAX_LINKS = 1_000  # of a Bundle
MAX_REFERENCES = 1_000  # with criteria, in one body

# The elements of a Bundle's envelope with those of their children that count, and which of these are no strings. The
# conditions of a request are headers in a request of its own.
CONDITIONS = {
    "ifNoneMatch": "if-none-match",
    "ifModifiedSince": "if-modified-since",
    "ifMatch": "if-match",
    "ifNoneExist": "if-none-exist",
}
ENVELOPE = {
    "Bundle": ("type", "link", "entry"),
    "link": ("relation", "url"),
    "entry": ("fullUrl", "resource", "request", "response"),
    "request": ("method", "url", *CONDITIONS),
    "response": ("status", "location", "outcome"),
}
NO_STRINGS = frozenset({"link", "entry", "resource", "request", "response", "outcome"})


class Unreadable(FhirError):
    """A body that is malformed, or that two readers could read differently; the status is 400.

    The message says what is wrong, and never shows the body's text.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(400, "structure", f"The body can't be read: {problem}.")
        self.problem = problem


class Allowance(NamedTuple):
    """A limit that grows with a body, of things that cost a reader more than the bytes they are written in.

    A short body may be denser, so some are `free`; beside them there may be one in `bytes_each`.
    """

    free: int
    bytes_each: int

    def of(self, length: int) -> int:
        """The limit for so many bytes."""
        return self.free + length // self.bytes_each


class EnvelopeNames:
    """Checks the names of the children of an element of the envelope, which readers match and repeat differently."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.casefold(): name for name in names}

    def in_any_case(self, written: str) -> str:
        """The child that some reader may take for one of that name, or ""."""
        return self._names.get(written.casefold(), "")

    def check(self, written: str, seen: set[str]) -> str:
        """The child of that name, or "" for one that does not count; `seen` are those before it in the same element.

        Raises Unreadable for one that is spelt in another case, or repeated.
        """
        name = self.in_any_case(written)
        if name and name != written:
            raise Unreadable(f"{name} is spelt in another case")
        if name in seen:
            raise Unreadable(f"{name} is repeated")
        if name:
            seen.add(name)
        return name


def check_bundle_depth(depth: int) -> None:
    """Raise Unreadable for a Bundle inside so many others that none needs it."""
    if depth > MAX_BUNDLE_DEPTH:
        raise Unreadable("it holds Bundles inside each other too deeply")


class Link(msgspec.Struct, frozen=True, gc=False):
    """A `Bundle.link` that has a URL. `start` and `end` are where the URL's written form stands in the body.

    They are byte offsets, without the quotes around it; `url` is the URL itself, with all escapes undone. `element` is
    where the link as a whole stands.
    """

    relation: str
    url: str
    start: int
    end: int
    element: tuple[int, int]


class Resource(msgspec.Struct, frozen=True, gc=False):
    """A resource, from byte `start` to before byte `end` of the body; `bundle` is what it holds if it is a Bundle.

    `declarations` are the namespaces that XML declares around it and that it needs when it stands alone, by prefix
    ("" for the default one). `places` are where XML has values that may be links, in the whole body: each the byte
    offset of a start tag times 4, plus what kind it is (rewriting/positions.py).
    """

    type: str
    start: int
    end: int
    bundle: "Bundle | None" = None
    declarations: Mapping[str, str] = {}
    places: Sequence[int] = ()


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry of a Bundle. `request` holds the strings among the members of `entry.request`, by their names.

    `status` is `entry.response.status`, or "" where there is none; `outcome` is `entry.response.outcome`.
    """

    full_url: str | None = None
    request: Mapping[str, str] | None = None
    resource: Resource | None = None
    status: str = ""
    outcome: Resource | None = None


class Bundle(msgspec.Struct, frozen=True, gc=False):
    """The envelope of a Bundle. `type` is "" where it has none."""

    type: str
    links: tuple[Link, ...] = ()
    entries: tuple[Entry, ...] = ()


def run(steps: Steps[T]) -> T:
    """The value of `steps`, without pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
