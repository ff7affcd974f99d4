"""What a request asks of a FHIR server (http://hl7.org/fhir/R4/http.html): its interaction, and a batch's entries."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum
from typing import Any

from shared.fhir.errors import FhirError

MOST_ENTRIES = 500
TYPE_PATTERN = r"[A-Z][A-Za-z]{0,63}"


class InteractionKind(Enum):
    """The interactions of a FHIR server; the values are the codes of its statement."""

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


@dataclass(frozen=True, slots=True)
class Interaction:
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


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A request inside a batch. `query` is raw; `headers` are its conditions as HTTP has them, names in lower case."""

    index: int
    method: str
    interaction: Interaction
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    resource: dict[str, Any] | None = None


_ID = r"(?!\.+(?:/|\Z))[A-Za-z0-9\-.]{1,64}"
_PATH = re.compile(
    rf"(?:(?P<type>{TYPE_PATTERN})(?:/(?P<id>{_ID}))?)?"
    rf"(?:(?:^|(?<=.)/)(?:(?P<word>metadata|_search|_history)(?:/(?P<version>{_ID}))?"
    rf"|\$(?P<operation>[A-Za-z][A-Za-z0-9\-]{{0,63}})|(?P<member>{TYPE_PATTERN}|\*)))?"
)
_UNSAFE = re.compile(r"[^A-Za-z0-9\-._$*/]|//|^/|(?:^|/)\.+(?:/|\Z)")
_URL = re.compile(r"[!-~]+")
_HEADER = re.compile(r"[ -~]+")

_SYSTEM, _TYPE, _INSTANCE = range(3)
_OPERATION = {"GET": InteractionKind.OPERATION, "POST": InteractionKind.OPERATION}
_INTERACTIONS: Mapping[tuple[int, str], Mapping[str, InteractionKind]] = {
    (_SYSTEM, ""): {"GET": InteractionKind.SEARCH_SYSTEM, "POST": InteractionKind.BATCH},
    (_SYSTEM, "metadata"): {"GET": InteractionKind.CAPABILITIES},
    (_SYSTEM, "_search"): {"GET": InteractionKind.SEARCH_SYSTEM, "POST": InteractionKind.SEARCH_SYSTEM},
    (_SYSTEM, "_history"): {"GET": InteractionKind.HISTORY_SYSTEM},
    (_SYSTEM, "$"): _OPERATION,
    (_TYPE, ""): {
        "GET": InteractionKind.SEARCH_TYPE,
        "POST": InteractionKind.CREATE,
        "PUT": InteractionKind.UPDATE,
        "PATCH": InteractionKind.PATCH,
        "DELETE": InteractionKind.DELETE,
    },
    # Not in the spec by GET: Microsoft's server pages a POST search that way.
    (_TYPE, "_search"): {"GET": InteractionKind.SEARCH_TYPE, "POST": InteractionKind.SEARCH_TYPE},
    (_TYPE, "_history"): {"GET": InteractionKind.HISTORY_TYPE},
    (_TYPE, "$"): _OPERATION,
    (_INSTANCE, ""): {
        "GET": InteractionKind.READ,
        "PUT": InteractionKind.UPDATE,
        "PATCH": InteractionKind.PATCH,
        "DELETE": InteractionKind.DELETE,
    },
    (_INSTANCE, "_history"): {"GET": InteractionKind.HISTORY_INSTANCE},
    (_INSTANCE, "_history/"): {"GET": InteractionKind.VREAD},
    (_INSTANCE, "$"): _OPERATION,
    (_INSTANCE, "*"): {"GET": InteractionKind.SEARCH_TYPE},
}
_CONDITIONAL = frozenset({InteractionKind.UPDATE, InteractionKind.PATCH, InteractionKind.DELETE})


def parse(method: str, path: str, query: str, headers: Mapping[str, str]) -> Interaction:
    """The interaction of a request.

    `path` is the raw path below the FHIR base, without its leading slash; `query` is raw; header names are lower
    case. A POST on the base is a batch until `bundle_kind` has seen the body. Percent-encoding is refused: nothing in
    a FHIR path needs it. Raises FhirError: 400 for a path that could lead elsewhere and for a conditional interaction
    without a condition, 404 for one that is not FHIR's, 405 with Allow for a method that is not defined there.
    """
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
        raise FhirError(405, "not-supported", "This URL does not take this method.", {"Allow": _allow(kinds)})

    by_search = level == _TYPE and kind in _CONDITIONAL
    if by_search and not query:
        # A server may take every resource of the type for meant.
        raise FhirError(400, "required", f"A conditional {kind.value} needs search parameters, or an id.")
    conditional = by_search or (kind is InteractionKind.CREATE and "if-none-exist" in headers)
    compartment = None
    if member:
        compartment, type = type, None if member == "*" else member
    criteria = headers.get("if-none-exist", "")
    return Interaction(kind, matched.string, type, id, version_id, operation, compartment, conditional, criteria)


def bundle_kind(document: Mapping[str, Any]) -> InteractionKind:
    """Whether a Bundle posted to the base is a batch or a transaction; raises FhirError(400) for anything else."""
    if document.get("resourceType") == "Bundle":
        if document.get("type") == "batch":
            return InteractionKind.BATCH
        if document.get("type") == "transaction":
            return InteractionKind.TRANSACTION
    raise FhirError(400, "invalid", "Only a Bundle of the type batch or transaction can be posted to the base.")


def batch_entries(document: Mapping[str, Any], bases: tuple[str, ...]) -> tuple[BatchEntry, ...]:
    """The requests of a batch or transaction, in its order.

    A `request.url` is relative to the base (a leading slash is tolerated: the spec's own examples have it) or absolute
    below one of `bases`, which end without a slash. Raises FhirError: 413 for more than MOST_ENTRIES entries, 400
    naming the entry for any that is malformed, leads elsewhere, or is itself a batch.
    """
    bundle_kind(document)
    entries = document.get("entry", [])
    if not isinstance(entries, list):
        raise FhirError(400, "structure", "Bundle.entry is not a list.")
    if len(entries) > MOST_ENTRIES:
        raise FhirError(413, "too-costly", f"A batch may hold {MOST_ENTRIES} entries.")
    return tuple(_entry(index, entry, bases) for index, entry in enumerate(entries))


def _entry(index: int, entry: Any, bases: tuple[str, ...]) -> BatchEntry:
    try:
        request = entry.get("request") if isinstance(entry, dict) else None
        if not isinstance(request, dict):
            raise FhirError(400, "required", "request is missing.")
        method = request.get("method")
        if not isinstance(method, str):
            raise FhirError(400, "required", "request.method is missing.")
        path, query = _target(request.get("url"), bases)
        headers = _conditions(request)
        interaction = parse(method, path, query, headers)
        if interaction.kind is InteractionKind.BATCH:
            raise FhirError(400, "not-supported", "A batch can't hold another batch.")
        resource = entry.get("resource")
        _check_resource(method, interaction, resource)
    except FhirError as error:
        raise FhirError(400, error.code, f"Bundle.entry[{index}]: {error.diagnostics}") from None
    return BatchEntry(index, method, interaction, query, headers, resource)


def _target(url: Any, bases: tuple[str, ...]) -> tuple[str, str]:
    if not isinstance(url, str) or not url:
        raise FhirError(400, "required", "request.url is missing.")
    if not _URL.fullmatch(url) or "#" in url:
        raise FhirError(400, "invalid", "request.url has characters that must be percent-encoded.")
    for base in bases:
        rest = url.removeprefix(base)
        if rest != url and rest[:1] in ("", "/", "?"):
            url = rest
            break
    path, _, query = url.partition("?")
    return path.removeprefix("/"), query


def _conditions(request: Mapping[str, Any]) -> dict[str, str]:
    conditions = {}
    for element, header in (
        ("ifNoneMatch", "if-none-match"),
        ("ifModifiedSince", "if-modified-since"),
        ("ifMatch", "if-match"),
        ("ifNoneExist", "if-none-exist"),
    ):
        value = request.get(element)
        if value is None:
            continue
        if not isinstance(value, str) or not _HEADER.fullmatch(value):
            raise FhirError(400, "value", f"request.{element} can't be sent as a header.")
        conditions[header] = _http_date(value) if element == "ifModifiedSince" else value
    return conditions


def _http_date(instant: str) -> str:
    """A FHIR instant as RFC 9110 (section 5.6.7) writes a time."""
    try:
        time = datetime.fromisoformat(instant)
        if time.tzinfo is None:
            raise ValueError(instant)
        return format_datetime(time.astimezone(UTC), usegmt=True)
    except (ValueError, OverflowError):
        raise FhirError(400, "value", "request.ifModifiedSince is not an instant.") from None


def _check_resource(method: str, interaction: Interaction, resource: Any) -> None:
    """Refuse a resource of another type than the URL's: servers differ in which of the two they go by."""
    if resource is not None and not isinstance(resource, dict):
        raise FhirError(400, "structure", "resource is not an object.")
    type = resource.get("resourceType") if resource is not None else None
    kind = interaction.kind
    if kind in (InteractionKind.CREATE, InteractionKind.UPDATE):
        if type != interaction.type:
            raise FhirError(400, "invalid", f"resource is not the {interaction.type} that request.url names.")
    elif kind is InteractionKind.PATCH:
        if type not in ("Parameters", "Binary"):
            raise FhirError(400, "invalid", "A patch is a Parameters or Binary resource.")
    elif kind is not InteractionKind.OPERATION and resource is not None:
        raise FhirError(400, "invalid", f"A {method} of this URL takes no resource.")


def _no_such_path(path: str) -> FhirError:
    if _UNSAFE.search(path):
        return FhirError(400, "invalid", "The path has characters or segments that no FHIR path has.")
    return FhirError(404, "not-found", "There is no such FHIR path.")


def _allow(kinds: Mapping[str, InteractionKind]) -> str:
    return ", ".join(f"{method}, HEAD" if method == "GET" else method for method in kinds)
