"""The requests inside a Bundle posted to the base (http://hl7.org/fhir/R4/http.html#transaction)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind, parse

MOST_ENTRIES = 500
_URL = re.compile(r"[!-~]+")
_HEADER = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A request inside a batch. `query` is raw; `headers` are its conditions as HTTP has them, names in lower case."""

    index: int
    method: str
    interaction: Interaction
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    resource: dict[str, Any] | None = None


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
