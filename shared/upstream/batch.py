"""A batch taken apart: its entries are asked for side by side, and the answers put together in their order."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

import orjson

from shared.fhir.batch import BatchEntry
from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind
from shared.fhir.outcome import operation_outcome
from shared.fhir.policy import authorize
from shared.fhir.rewriting import rewrite_form
from shared.fhir.versions import FhirFormat, FhirVersion
from shared.message import Response
from shared.upstream.context import RequestContext
from shared.upstream.exchange import Exchange, FhirRequest

_MOST_AT_ONCE = 8


async def perform_split(
    exchange: Exchange, context: RequestContext, entries: Sequence[BatchEntry], bodies: Sequence[bytes | None]
) -> Response:
    """The batch-response of entries that were performed one by one (http://hl7.org/fhir/R4/http.html#transaction).

    Each entry is judged by policy for itself and has its own status and outcome: none hurts another. `bodies` are the
    entries' resources as JSON, with links already mapped. At most eight of a batch are under way at once.
    """
    at_once = asyncio.Semaphore(min(_MOST_AT_ONCE, context.provider.max_concurrent))

    async def perform(entry: BatchEntry, body: bytes | None) -> bytes:
        async with at_once:
            try:
                response = await _perform(exchange, context, entry, body)
            except FhirError as error:
                return _refused(error, context.provider.version)
        return _entry(response, entry, context)

    parts = await asyncio.gather(*map(perform, entries, bodies))
    body = b'{"resourceType":"Bundle","type":"batch-response","entry":[' + b",".join(parts) + b"]}"
    media_type = context.provider.version.media_type(FhirFormat.JSON)
    return Response(200, {"Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store"}, body)


async def _perform(exchange: Exchange, context: RequestContext, entry: BatchEntry, body: bytes | None) -> Response:
    query = rewrite_form(entry.query, context.upstream_links)
    authorize(entry.interaction, query, context.permissions)
    body_type = context.provider.version.media_type(FhirFormat.JSON) if body is not None else None
    return await exchange.perform(
        context,
        FhirRequest(entry.method, entry.interaction, query, entry.headers, body, body_type),
    )


def _entry(response: Response, entry: BatchEntry, context: RequestContext) -> bytes:
    """One entry of the answer; the resource goes in as the bytes it came in, so that its numbers keep their digits."""
    about: dict[str, object] = {"status": _status_line(response.status)}
    for element, header in (("location", "Location"), ("etag", "ETag")):
        if header in response.headers:
            about[element] = response.headers[header]
    parts = []
    if response.body and response.status < 400:
        if entry.interaction.kind is InteractionKind.READ:
            full_url = f"{context.base_url}/{entry.interaction.path}"
            parts.append(b'"fullUrl":' + orjson.dumps(full_url))
        parts.append(b'"resource":' + response.body)
    outcome = response.body if response.status >= 400 else b""
    parts.append(_response(about, outcome, context.provider.version))
    return b"{" + b",".join(parts) + b"}"


def _refused(error: FhirError, version: FhirVersion) -> bytes:
    outcome = orjson.dumps(operation_outcome(error.code, error.diagnostics))
    return b"{" + _response({"status": _status_line(error.status)}, outcome, version) + b"}"


def _response(about: dict[str, object], outcome: bytes, version: FhirVersion) -> bytes:
    """`entry.response`, with the outcome inside it; DSTU2 has no place for one there, so that it is the resource."""
    response = orjson.dumps(about)
    if not outcome:
        return b'"response":' + response
    if version is FhirVersion.DSTU2:
        return b'"resource":' + outcome + b',"response":' + response
    return b'"response":' + response[:-1] + b',"outcome":' + outcome + b"}"


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
