"""The body of a client's request: taken, read, judged by its references, and mapped to the provider."""

import re
from collections.abc import Sequence

from shared.fhir.batch import JSON_PATCH, BatchEntry, RefusedEntry, json_patch_of
from shared.fhir.body import Body, read_body
from shared.fhir.document import Resource, Steps
from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind, limit_parameters
from shared.fhir.negotiation import media_type_format, spelled_format
from shared.fhir.policy import authorize_reference, authorize_text
from shared.fhir.rewriting import rewrite_fhirpath_patch, rewrite_form, rewrite_json_patch
from shared.fhir.rewriting.spelling import JSON_ESCAPE, XML_REFERENCE, Escape, Spelling
from shared.fhir.versions import FhirFormat
from shared.message import Request
from shared.pauses import paused
from shared.upstream.request_context import RequestContext
from shared.upstream.search import FORM

MAX_BODY_BYTES = 20 * 1_048_576
_MAX_FORM_BYTES = 256 * 1024  # policy looks at each parameter
_MAX_PATCH_BYTES = 1_048_576  # it is read as a whole
# All strings of JSON, and the values of all attributes of XML.
_JSON_STRING = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_XML_STRING = re.compile(r"""=\s*+(?:"([^"<]*+)"|'([^'<]*+)')""")
_SEND_LENGTH = (
    "Send it with a Content-Length: in .NET, JsonContent and PostAsJsonAsync send none; use StringContent, or call "
    "LoadIntoBufferAsync first."
)


async def resource_body(context: RequestContext, request: Request, interaction: Interaction) -> tuple[bytes, str]:
    """The resource of a create, update, patch or operation as it goes up, and its media type."""
    is_patch = interaction.kind is InteractionKind.PATCH
    if is_patch and _media_type(request) == JSON_PATCH:
        return await paused(_json_patch(context, _taken(request, _MAX_PATCH_BYTES))), JSON_PATCH
    body = await fhir_body(context, request, _MAX_PATCH_BYTES if is_patch else MAX_BODY_BYTES)
    has_parameters = is_patch or interaction.kind is InteractionKind.OPERATION
    expected = "Parameters" if has_parameters else interaction.type
    if body.resource.type != expected:
        raise FhirError(400, "invalid", f"The body must be {expected} here.")
    content = await paused(_mapped(context, body, body.resource))
    if is_patch:
        content = await paused(_fhirpath_patch(context, content, body.format))
    return content, context.provider.version.media_type(body.format)


async def fhir_body(context: RequestContext, request: Request, limit: int = MAX_BODY_BYTES) -> Body:
    """The FHIR body of a request, read. Raises FhirError: 411, 413, 415, and 400 for what can't be read."""
    content = _taken(request, limit)
    format = media_type_format(request.headers.get("content-type"))
    if format is None:
        raise FhirError(415, "not-supported", "The body must be FHIR JSON or XML, and its Content-Type must say so.")
    async with context.memory.budget.working_memory(len(content)):
        return await paused(read_body(content, format))


async def entry_contents(
    context: RequestContext, body: Body, entries: Sequence[BatchEntry | RefusedEntry]
) -> list[bytes | FhirError | None]:
    """The body of each entry as it goes up by itself, None where it has none, or why it may not.

    That is its resource, or the JSON Patch that its Binary holds (http://hl7.org/fhir/R4/http.html#jsonpatch).
    """
    async with context.memory.budget.working_memory(len(body.content)):
        return await paused(_contents(context, body, entries))


def _contents(
    context: RequestContext, body: Body, entries: Sequence[BatchEntry | RefusedEntry]
) -> Steps[list[bytes | FhirError | None]]:
    contents: list[bytes | FhirError | None] = []
    for entry in entries:
        if isinstance(entry, RefusedEntry) or entry.resource is None:
            contents.append(None)
            continue
        try:
            content = yield from _mapped(context, body, entry.resource)
            if entry.interaction.kind is InteractionKind.PATCH:
                content = yield from _patch_of_entry(context, content, body.format, entry.resource.type)
            contents.append(content)
        except FhirError as error:
            contents.append(error)
        yield
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
    limit_parameters(body.decode("latin-1"))
    form = rewrite_form(body.decode("latin-1"), context.upstream_links)
    return spelled_format(form, context.provider.version).encode("latin-1")


def _mapped(context: RequestContext, body: Body, resource: Resource) -> Steps[bytes]:
    for reference in (yield from body.criteria(resource)):
        authorize_reference(context.upstream_links.map(reference) or reference, context.permissions)
        yield
    return (yield from body.mapped_part(resource, context.upstream_links))


def _patch_of_entry(context: RequestContext, content: bytes, format: FhirFormat, type: str) -> Steps[bytes]:
    if len(content) > _MAX_PATCH_BYTES:
        raise FhirError(413, "too-long", "The patch is larger than this gateway takes.")
    if type == "Binary":
        return (yield from _json_patch(context, json_patch_of(content, format)))
    return (yield from _fhirpath_patch(context, content, format))


def _json_patch(context: RequestContext, patch: bytes) -> Steps[bytes]:
    patch = yield from rewrite_json_patch(patch, context.upstream_links)
    yield from _authorize_strings(context, patch, _JSON_STRING, JSON_ESCAPE)
    return patch


def _fhirpath_patch(context: RequestContext, content: bytes, format: FhirFormat) -> Steps[bytes]:
    content = yield from rewrite_fhirpath_patch(content, context.upstream_links)
    in_xml = format is FhirFormat.XML
    strings, escape = (_XML_STRING, XML_REFERENCE) if in_xml else (_JSON_STRING, JSON_ESCAPE)
    yield from _authorize_strings(context, content, strings, escape)
    return content


def _authorize_strings(context: RequestContext, patch: bytes, strings: re.Pattern[str], escape: Escape) -> Steps[None]:
    for found in strings.finditer(patch.decode("latin-1")):
        raw = found[found.lastindex or 0]
        if "?" in raw or escape.sign in raw:
            authorize_text(Spelling.read(raw, escape).text, context.permissions)
        yield


def _taken(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    if "transfer-encoding" in request.headers and not request.body:
        # The host hands a body on only where its length was announced, or something before the host has counted it.
        raise FhirError(411, "required", f"The body came empty. {_SEND_LENGTH}")
    if len(request.body) > limit:
        raise FhirError(413, "too-long", "The body is larger than this gateway takes.")
    if request.headers.get("content-encoding", "").lower() not in ("", "identity"):
        identity = {"Accept-Encoding": "identity"}  # RFC 9110 section 15.5.16
        raise FhirError(415, "not-supported", "Send the body without Content-Encoding.", identity)
    return request.body


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
