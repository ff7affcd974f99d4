"""The body of a client's request: taken, read, judged by its references, and mapped to the provider."""

import re
from html import unescape

from shared.fhir.batch import BatchEntry, RefusedEntry
from shared.fhir.body import Body, read_body
from shared.fhir.document import Resource
from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind
from shared.fhir.negotiation import media_type_format, spelled_format
from shared.fhir.policy import authorize_reference
from shared.fhir.resource_types import RESOURCE_TYPES
from shared.fhir.rewriting import rewrite_fhirpath_patch, rewrite_form, rewrite_json_patch
from shared.message import Request
from shared.pauses import paused
from shared.upstream.context import RequestContext
from shared.upstream.search import FORM

MAX_BODY_BYTES = 20 * 1_048_576
_MAX_FORM_BYTES = 256 * 1024  # policy looks at each parameter
_MAX_PATCH_BYTES = 1_048_576  # it is read as a whole
# `Practitioner?name=x` in quotes, with or without a base before it.
_CRITERIA = re.compile(r"""["'](?P<criteria>(?:[^"'?\s]*+/)?+(?P<type>[A-Z][A-Za-z]*+)\?[^"']*+)["']""")
_SEND_LENGTH = (
    "Send it with a Content-Length: in .NET, JsonContent and PostAsJsonAsync send none; use StringContent, or call "
    "LoadIntoBufferAsync first."
)
_JSON_PATCH = "application/json-patch+json"


async def resource_body(context: RequestContext, request: Request, interaction: Interaction) -> tuple[bytes, str]:
    """The resource of a create, update, patch or operation as it goes up, and its media type."""
    is_patch = interaction.kind is InteractionKind.PATCH
    if is_patch and _media_type(request) == _JSON_PATCH:
        patch = rewrite_json_patch(_taken(request, _MAX_PATCH_BYTES), context.upstream_links)
        _authorize_patch(context, patch)
        return patch, _JSON_PATCH
    body = await fhir_body(context, request, _MAX_PATCH_BYTES if is_patch else MAX_BODY_BYTES)
    has_parameters = is_patch or interaction.kind is InteractionKind.OPERATION
    expected = "Parameters" if has_parameters else interaction.type
    if body.resource.type != expected:
        raise FhirError(400, "invalid", f"The body must be {expected} here.")
    content = await _mapped(context, body, body.resource)
    if is_patch:
        content = rewrite_fhirpath_patch(content, context.upstream_links)
        _authorize_patch(context, content)
    return content, context.provider.version.media_type(body.format)


async def fhir_body(context: RequestContext, request: Request, limit: int = MAX_BODY_BYTES) -> Body:
    """The FHIR body of a request, read. Raises FhirError: 411, 413, 415, and 400 for what can't be read."""
    content = _taken(request, limit)
    format = media_type_format(request.headers.get("content-type"))
    if format is None:
        raise FhirError(415, "not-supported", "The body must be FHIR JSON or XML, and its Content-Type must say so.")
    async with context.hold.room(len(content)):
        return await paused(read_body(content, format))


async def entry_contents(
    context: RequestContext, body: Body, entries: tuple[BatchEntry | RefusedEntry, ...]
) -> list[bytes | FhirError | None]:
    """The resource of each entry as it goes up, None where it has none, or why it may not."""
    contents: list[bytes | FhirError | None] = []
    async with context.hold.room(len(body.content)):
        for entry in entries:
            if isinstance(entry, RefusedEntry) or entry.resource is None:
                contents.append(None)
                continue
            try:
                contents.append(await _mapped(context, body, entry.resource))
            except FhirError as error:
                contents.append(error)
    return contents


def parameters(request: Request) -> str:
    """The query and the form of a search by POST, joined as one query."""
    if request.method == "POST" and _media_type(request) == FORM and len(request.body) <= _MAX_FORM_BYTES:
        return f"{request.query}&{request.body.decode('latin-1')}"
    return request.query


def form_body(context: RequestContext, request: Request) -> bytes:
    """The form of a POST search, with links mapped. Raises FhirError: 411, 413, 415."""
    body = _taken(request, _MAX_FORM_BYTES)
    if body and _media_type(request) != FORM:
        raise FhirError(415, "not-supported", f"The body of a search must be {FORM}.")
    form = rewrite_form(body.decode("latin-1"), context.upstream_links)
    return spelled_format(form, context.provider.version).encode("latin-1")


async def _mapped(context: RequestContext, body: Body, resource: Resource) -> bytes:
    """A resource with its links mapped, if every search in its references is let through."""
    for reference in await paused(body.criteria(resource)):
        authorize_reference(context.upstream_links.map(reference) or reference, context.permissions)
    return await paused(body.mapped_part(resource, context.upstream_links))


def _authorize_patch(context: RequestContext, patch: bytes) -> None:
    """Judge every string of a patch that a server could take for a reference with criteria."""
    for found in _CRITERIA.finditer(patch.decode("latin-1")):
        if found["type"] in RESOURCE_TYPES[context.provider.version]:
            authorize_reference(unescape(found["criteria"]), context.permissions)


def _taken(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The body of a request, if it is one that the gateway takes."""
    if "transfer-encoding" in request.headers and not request.body:
        # The host hands a body on only where its length was announced, or something before the host has counted it.
        raise FhirError(411, "required", f"The body came empty. {_SEND_LENGTH}")
    if len(request.body) > limit:
        raise FhirError(413, "too-long", "The body is larger than this gateway takes.")
    if request.headers.get("content-encoding", "").lower() not in ("", "identity"):
        # RFC 9110 section 15.5.16
        raise FhirError(
            415, "not-supported", "Send the body without Content-Encoding.", {"Accept-Encoding": "identity"}
        )
    return request.body


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
