"""The interaction that a request asks of a FHIR server (http://hl7.org/fhir/R4/http.html)."""

import re
from collections.abc import Mapping
from enum import Enum
from urllib.parse import unquote_plus

from msgspec import Struct

from shared.fhir.errors import FhirError

PRECONDITIONS = ("if-match", "if-none-match", "if-none-exist", "if-modified-since", "if-unmodified-since")
TYPE_PATTERN = r"[A-Z][A-Za-z]{0,63}"


class InteractionKind(Enum):
    """The interactions of a FHIR server; the values are the codes of its statement."""

    __hash__ = object.__hash__  # members are looked up in every request, and Enum's own hash is written in Python

    READ = "read"
    VREAD = "vread"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    HISTORY_INSTANCE = "history-instance"
    HISTORY_TYPE = "history-type"
    HISTORY_SYSTEM = "history-system"
    CREATE = "create"
    SEARCH_TYPE = "search-type"
    SEARCH_SYSTEM = "search-system"
    CAPABILITIES = "capabilities"
    BATCH = "batch"
    TRANSACTION = "transaction"
    OPERATION = "operation"


# Every type of the interface is served by these, and a provider may be asked them twice.
READS = (InteractionKind.READ, InteractionKind.VREAD, InteractionKind.HISTORY_INSTANCE, InteractionKind.SEARCH_TYPE)
WITH_RESOURCE = frozenset({InteractionKind.CREATE, InteractionKind.UPDATE, InteractionKind.PATCH})
WRITES = WITH_RESOURCE | {InteractionKind.DELETE}
BUNDLES = frozenset({InteractionKind.BATCH, InteractionKind.TRANSACTION})
PAGED = frozenset({InteractionKind.SEARCH_TYPE, InteractionKind.HISTORY_INSTANCE})
# The response to these is the resource they are about, an OperationOutcome, or nothing.
OF_ONE_RESOURCE = WRITES | {InteractionKind.READ, InteractionKind.VREAD}


class Interaction(Struct, frozen=True):
    """One interaction, and `path`: where it goes below a server's base, without a slash at either end.

    A compartment search `Patient/123/Observation` has the type Observation, the compartment Patient and the id 123;
    `Patient/123/*` has no type. `operation` is without its "$". `criteria` is the search of If-None-Exist: like the
    query, it is the client's text.
    """

    kind: InteractionKind
    path: str
    type: str | None = None
    id: str | None = None
    version_id: str | None = None
    operation: str | None = None
    compartment: str | None = None
    conditional: bool = False
    criteria: str = ""


# Epic's ids pass FHIR's 64 characters. What servers may take for another thing than an id is none: dots alone, which
# climb, and a word after an underscore (`_history`, in any case: ASP.NET's routes have none).
_ID = r"(?!(?:\.+|_[A-Za-z\-]*)(?:/|\Z))[A-Za-z0-9\-._~]{1,255}"
# `Patient`, `Patient/1`, `Patient/1/_history/2`, `Patient/_search`, `Patient/1/$everything`, `Patient/1/Observation`,
# `metadata`, or nothing for the base.
_PATH = re.compile(
    rf"(?:(?P<type>{TYPE_PATTERN})(?:/(?P<id>{_ID}))?)?"
    rf"(?:(?:^|(?<=.)/)(?:(?P<word>metadata|_search|_history)(?:/(?P<version>{_ID}))?"
    rf"|\$(?P<operation>[A-Za-z][A-Za-z0-9\-]{{0,63}})|(?P<member>{TYPE_PATTERN}|\*)))?"
)
_QUERY = re.compile(r'[!"$-~]*')
_UNSAFE = re.compile(r"[^A-Za-z0-9\-._~$*/]|//|^/|(?:^|/)\.+(?:/|\Z)")

_CRITERIA_PATH = re.compile(r"\A[^?=&]*\?")  # some clients write `Patient?identifier=1`

# Each parameter costs time to authorize. Real ones have 15 bytes and more, and are few.
_FREE_SIGNS = 200
_BYTES_PER_SIGN = 20

_OF_ENTRIES = (*PRECONDITIONS, "x-provenance")

_SYSTEM, _TYPE, _INSTANCE = range(3)
_OPERATION = {"GET": InteractionKind.OPERATION, "POST": InteractionKind.OPERATION}
_CHANGES = {"PUT": InteractionKind.UPDATE, "PATCH": InteractionKind.PATCH, "DELETE": InteractionKind.DELETE}
_INTERACTIONS: Mapping[tuple[int, str], Mapping[str, InteractionKind]] = {
    (_SYSTEM, ""): {"GET": InteractionKind.SEARCH_SYSTEM, "POST": InteractionKind.BATCH},
    (_SYSTEM, "metadata"): {"GET": InteractionKind.CAPABILITIES},
    (_SYSTEM, "_search"): {"GET": InteractionKind.SEARCH_SYSTEM, "POST": InteractionKind.SEARCH_SYSTEM},
    (_SYSTEM, "_history"): {"GET": InteractionKind.HISTORY_SYSTEM},
    (_SYSTEM, "$"): _OPERATION,
    (_TYPE, ""): {"GET": InteractionKind.SEARCH_TYPE, "POST": InteractionKind.CREATE, **_CHANGES},
    # Not in the spec by GET: Microsoft's server pages a POST search that way.
    (_TYPE, "_search"): {"GET": InteractionKind.SEARCH_TYPE, "POST": InteractionKind.SEARCH_TYPE},
    (_TYPE, "_history"): {"GET": InteractionKind.HISTORY_TYPE},
    (_TYPE, "$"): _OPERATION,
    (_INSTANCE, ""): {"GET": InteractionKind.READ, **_CHANGES},
    (_INSTANCE, "_history"): {"GET": InteractionKind.HISTORY_INSTANCE},
    (_INSTANCE, "_history/"): {"GET": InteractionKind.VREAD},
    (_INSTANCE, "$"): _OPERATION,
    (_INSTANCE, "*"): {"GET": InteractionKind.SEARCH_TYPE},
}
# Of the parameters that begin with an underscore, those that select resources; the others shape the response.
_SELECTING = frozenset(
    {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_text", "_content", "_language", "_has"}
)


def limit_parameters(text: str) -> None:
    """Raise FhirError(400) for a raw query or form with more parameters than any search has."""
    if text.count("&") + text.count("=") > _FREE_SIGNS + len(text) // _BYTES_PER_SIGN:
        raise FhirError(400, "too-costly", "The search has too many parameters.")


def parse(method: str, path: str, query: str, headers: Mapping[str, str]) -> Interaction:
    """The interaction of a request.

    `path` is the raw path below the FHIR base, without its leading slash; `query` is raw; header names are lower
    case. A POST on the base is a batch until `bundle_kind` has seen the body. Percent-encoding is refused: nothing in
    a FHIR path needs it. Raises FhirError: 400 for a path that could lead elsewhere, for a query that can't be sent as
    it is, for too many parameters and for a conditional interaction without a condition, 404 for a path that is not
    FHIR's, 405 with Allow for a method that is not defined there.
    """
    criteria = headers.get("if-none-exist", "")
    limit_parameters(query)
    limit_parameters(criteria)
    if not _QUERY.fullmatch(query):  # a "#" would end it on its way
        raise FhirError(400, "invalid", "The query has characters that must be percent-encoded.")
    matched = _PATH.fullmatch(path.removesuffix("/"))
    if matched is None or path == "/":
        raise _no_such_path(path)
    type, id, word, version_id, operation, member = matched.groups()
    level = _INSTANCE if id else _TYPE if type else _SYSTEM
    tail = "$" if operation else "*" if member else f"{word}/" if version_id else word or ""
    kinds = _INTERACTIONS.get((level, tail))
    if kinds is None:
        raise _no_such_path(path)
    kind = kinds.get("GET" if method == "HEAD" else method)
    if kind is None:
        allow = ", ".join(f"{method}, HEAD" if method == "GET" else method for method in kinds)
        raise FhirError(405, "not-supported", "This URL does not take this method.", {"Allow": allow})

    if kind is InteractionKind.BATCH and (given := [name for name in _OF_ENTRIES if name in headers]):
        raise FhirError(400, "not-supported", f"{given[0]} does not go with a batch: say it in the batch's entries.")

    by_search = level == _TYPE and kind in _CHANGES.values()
    if by_search and not _selects(query):
        # A server may take every resource of the type for meant.
        raise FhirError(400, "required", f"A conditional {kind.value} needs a search parameter that selects, or an id.")
    conditional = by_search or (kind is InteractionKind.CREATE and "if-none-exist" in headers)
    compartment, type = (type, None if member == "*" else member) if member else (None, type)
    if conditional and not by_search and not _selects(_CRITERIA_PATH.sub("", criteria)):
        raise FhirError(400, "required", "If-None-Exist needs a search parameter that selects.")
    return Interaction(kind, matched.string, type, id, version_id, operation, compartment, conditional, criteria)


def _selects(query: str) -> bool:
    """Whether a raw query has a parameter with a value that narrows a search, and does not only shape the response.

    A ";" or "#" ends the value, as some servers read it.
    """
    for part in query.split("&"):
        name, _, value = part.partition("=")
        name = unquote_plus(name).strip().partition(":")[0]
        text = unquote_plus(re.split("[;#]", value, maxsplit=1)[0])
        if any(map(str.isalnum, text)) and (name in _SELECTING or re.match("[A-Za-z]", name)):
            return True
    return False


def _no_such_path(path: str) -> FhirError:
    if _UNSAFE.search(path):
        return FhirError(400, "invalid", "The path has characters or segments that no FHIR path has.")
    return FhirError(404, "not-found", "There is no such FHIR path.")
