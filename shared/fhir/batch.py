"""The requests inside a Bundle posted to the base (http://hl7.org/fhir/R4/http.html#transaction).

They are taken out of the client's envelope and judged one by one; what goes up is written from what was judged.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import starmap
from xml.etree import ElementTree

import orjson
from msgspec import Struct

from shared.fhir.document import CONDITIONS, Bundle, Entry, Resource, Steps
from shared.fhir.errors import FhirError
from shared.fhir.interaction import BUNDLES, Interaction, InteractionKind, parse
from shared.fhir.paging import page_handle
from shared.fhir.rewriting import LinkMap, rewrite_criteria, rewrite_form
from shared.fhir.versions import FhirFormat, FhirVersion
from shared.fhir.xml_writer import quoted

MAX_ENTRIES = 500
JSON_PATCH = "application/json-patch+json"
_HEADER = re.compile(r"[ -~]+")


class BatchEntry(Struct, frozen=True):
    """A request inside a batch, its links mapped to the provider's.

    `query` is raw; `conditions` are the elements of `entry.request` by their names, and `headers` the same as HTTP has
    them, names in lower case. `resource` tells where the entry's resource stands in the client's body.
    """

    index: int
    method: str
    interaction: Interaction
    query: str = ""
    conditions: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    full_url: str | None = None
    resource: Resource | None = None

    @property
    def is_json_patch(self) -> bool:
        """Whether it patches by a JSON Patch, which it holds in a Binary."""
        patches = self.interaction.kind is InteractionKind.PATCH
        return patches and self.resource is not None and self.resource.type == "Binary"


class RefusedEntry(Struct, frozen=True):
    """An entry that is no request a FHIR server has, and why."""

    index: int
    error: FhirError


def bundle_kind(resource: Resource) -> InteractionKind:
    """Whether a Bundle posted to the base is a batch or a transaction; raises FhirError(400) for anything else."""
    for kind in BUNDLES:
        if resource.bundle is not None and resource.bundle.type == kind.value:
            return kind
    raise FhirError(400, "invalid", "Only a Bundle of the type batch or transaction can be posted to the base.")


def batch_entries(bundle: Bundle, links: LinkMap) -> Steps[tuple[BatchEntry | RefusedEntry, ...]]:
    """The requests of a batch or transaction, in its order.

    A `request.url` is relative to the base (a leading slash is tolerated: the spec's own examples have it) or absolute
    below one of the sources of `links`, which map the gateway's URLs to the provider's. An entry that is malformed,
    leads elsewhere or is itself a batch is a RefusedEntry. Raises FhirError: 413 for more than MAX_ENTRIES entries.
    """
    if len(bundle.entries) > MAX_ENTRIES:
        raise FhirError(413, "too-costly", f"A batch may hold {MAX_ENTRIES} entries.")
    entries = []
    for index, entry in enumerate(bundle.entries):
        entries.append(_entry(index, entry, links))
        yield
    return tuple(entries)


def batch_body(
    kind: InteractionKind, entries: Iterable[tuple[BatchEntry, bytes | None]], format: FhirFormat, version: FhirVersion
) -> bytes:
    """The Bundle that goes up, of entries and their resources in this format, or their JSON Patches.

    `{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient/1"}}]}`
    """
    entries = (
        (entry, _binary_of(content, format, version) if content is not None and entry.is_json_patch else content)
        for entry, content in entries
    )
    if format is FhirFormat.XML:
        head = f'<Bundle xmlns="http://hl7.org/fhir"><type value="{kind.value}"/>'.encode()
        return b"".join((head, *starmap(_xml_entry, entries), b"</Bundle>"))
    written = b",".join(starmap(_json_entry, entries))
    member = b',"entry":[%b]' % written if written else b""
    return b'{"resourceType":"Bundle","type":"%b"%b}' % (kind.value.encode(), member)


def json_patch_of(content: bytes, format: FhirFormat) -> bytes:
    """The JSON Patch in base64 that a Binary, read before, holds (http://hl7.org/fhir/R4/http.html#jsonpatch).

    Raises FhirError (400) for anything else.
    """
    members: dict[str, object] = {}
    if format is FhirFormat.XML:
        root = ElementTree.fromstring(content)  # noqa: S314 (it was read before, and has no document type)
        members = {element.tag.rpartition("}")[2]: element.get("value") for element in root}
    else:
        with suppress(orjson.JSONDecodeError):
            members = orjson.loads(content)
    data = members.get("data") or members.get("content")
    media_type = str(members.get("contentType")).partition(";")[0].strip().lower()
    with suppress(ValueError):
        if media_type == JSON_PATCH and isinstance(data, str):
            return base64.b64decode("".join(data.split()), validate=True)
    raise FhirError(400, "invalid", f"A Binary that patches holds {JSON_PATCH} in base64.")


def _entry(index: int, entry: Entry, links: LinkMap) -> BatchEntry | RefusedEntry:
    try:
        request = entry.request or {}
        method = request.get("method")
        if method is None:
            raise FhirError(400, "required", "request.method is missing.")
        path, query = _target(request.get("url"), links.sources)
        conditions = _conditions(request, path, links)
        headers = {
            header: _http_date(conditions[name]) if name == "ifModifiedSince" else conditions[name]
            for name, header in CONDITIONS.items()
            if name in conditions
        }
        interaction = parse(method, path, query, headers)
        if interaction.kind is InteractionKind.BATCH:
            raise FhirError(400, "not-supported", "A batch can't hold another batch.")
        if interaction.kind is InteractionKind.SEARCH_TYPE and page_handle(query):
            raise FhirError(400, "not-supported", "A further page is asked for by itself, not in a batch.")
        _check_resource(method, interaction, entry.resource)
        query = rewrite_form(query, links)
    except FhirError as error:
        status = error.status if error.status in (404, 405) else 400
        return RefusedEntry(index, FhirError(status, error.code, f"Bundle.entry[{index}]: {error.diagnostics}"))
    full_url = None if entry.full_url is None else links.map(entry.full_url) or entry.full_url
    return BatchEntry(index, method, interaction, query, conditions, headers, full_url, entry.resource)


def _target(url: str | None, bases: tuple[str, ...]) -> tuple[str, str]:
    if not url:
        raise FhirError(400, "required", "request.url is missing.")
    for base in bases:
        rest = url.removeprefix(base)
        if rest != url and rest[:1] in ("", "/", "?"):
            url = rest
            break
    path, _, query = url.partition("?")
    return path.removeprefix("/"), query


def _conditions(request: Mapping[str, str], path: str, links: LinkMap) -> dict[str, str]:
    conditions = {}
    for name in CONDITIONS:
        value = request.get(name)
        if value is None:
            continue
        if not _HEADER.fullmatch(value):
            raise FhirError(400, "value", f"request.{name} can't be sent as a header.")
        conditions[name] = rewrite_criteria(value, path.removesuffix("/"), links) if name == "ifNoneExist" else value
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


def _check_resource(method: str, interaction: Interaction, resource: Resource | None) -> None:
    """Refuse a resource of another type than the URL's: servers differ in which of the two they go by."""
    type = resource.type if resource is not None else None
    kind = interaction.kind
    if kind in (InteractionKind.CREATE, InteractionKind.UPDATE):
        if type != interaction.type:
            raise FhirError(400, "invalid", f"resource is not the {interaction.type} that request.url names.")
    elif kind is InteractionKind.PATCH:
        if type not in ("Parameters", "Binary"):
            raise FhirError(400, "invalid", "A patch is a Parameters or Binary resource.")
    elif kind is not InteractionKind.OPERATION and resource is not None:
        raise FhirError(400, "invalid", f"A {method} of this URL takes no resource.")


def _request(entry: BatchEntry) -> dict[str, str]:
    """The elements of `entry.request`, in their order."""
    url = entry.interaction.path + (f"?{entry.query}" if entry.query else "")
    return {"method": entry.method, "url": url, **entry.conditions}


def _json_entry(entry: BatchEntry, content: bytes | None) -> bytes:
    full_url = b"" if entry.full_url is None else b'"fullUrl":%b,' % orjson.dumps(entry.full_url)
    resource = b"" if content is None else b'"resource":%b,' % content
    return b'{%b%b"request":%b}' % (full_url, resource, orjson.dumps(_request(entry)))


def _xml_entry(entry: BatchEntry, content: bytes | None) -> bytes:
    full_url = "" if entry.full_url is None else f"<fullUrl value={quoted(entry.full_url)}/>"
    resource = b"" if content is None else b"<resource>" + content + b"</resource>"
    request = "".join(f"<{name} value={quoted(value)}/>" for name, value in _request(entry).items())
    return b"<entry>" + full_url.encode() + resource + f"<request>{request}</request></entry>".encode()


def _binary_of(patch: bytes, format: FhirFormat, version: FhirVersion) -> bytes:
    """The Binary that stands for a JSON Patch in a batch of this format and version."""
    name = "data" if version.since(FhirVersion.R4) else "content"
    data = base64.b64encode(patch).decode()
    if format is FhirFormat.JSON:
        return orjson.dumps({"resourceType": "Binary", "contentType": JSON_PATCH, name: data})
    elements = f'<contentType value="{JSON_PATCH}"/><{name} value="{data}"/>'
    return f'<Binary xmlns="http://hl7.org/fhir">{elements}</Binary>'.encode()
