"""A batch taken apart: its entries are asked for side by side, and the answers put together in their order."""

import asyncio
from collections.abc import Sequence

from shared.fhir.batch import JSON_PATCH, BatchEntry, RefusedEntry
from shared.fhir.batch_response import EntryResponse, batch_response
from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind
from shared.fhir.negotiation import content_type, media_type_format
from shared.fhir.outcome import error_response
from shared.fhir.policy import authorize
from shared.fhir.versions import FhirFormat
from shared.message import Response
from shared.upstream.context import RequestContext
from shared.upstream.exchange import Exchange, FhirRequest
from shared.upstream.failure import fhir_error

_MOST_AT_ONCE = 8


async def perform_split(
    exchange: Exchange,
    context: RequestContext,
    entries: Sequence[BatchEntry | RefusedEntry],
    contents: Sequence[bytes | FhirError | None],
    format: FhirFormat,
) -> Response:
    """The batch-response of entries that were performed one by one.

    Each entry is judged by policy for itself and has its own status and outcome: none hurts another. `contents` are
    the entries' resources in `format`, with links already mapped, or why they may not go up. At most eight entries of
    a batch are under way at once.
    """
    at_once = asyncio.Semaphore(min(_MOST_AT_ONCE, context.provider.max_concurrent))
    version = context.provider.version

    async def perform(entry: BatchEntry | RefusedEntry, content: bytes | FhirError | None) -> EntryResponse:
        if isinstance(entry, RefusedEntry):
            return _refused(entry.error, context)
        if isinstance(content, FhirError):
            return _refused(content, context)
        async with at_once:
            try:
                authorize(entry.interaction, entry.query, context.permissions)
                media_type = JSON_PATCH if entry.is_json_patch else version.media_type(format)
                body_type = media_type if content is not None else None
                request = FhirRequest(entry.method, entry.interaction, entry.query, entry.headers, content, body_type)
                response = _in_format(await exchange.perform(context, request), entry, context.format)
            except Exception as error:
                response = error_response(fhir_error(error), version, context.format)
        return _answer(response, entry, context)

    answers = await asyncio.gather(*map(perform, entries, contents))
    context.entry_statuses.extend(answer.status for answer in answers)
    headers = {"Content-Type": content_type(version, context.format), "Cache-Control": "no-store"}
    return Response(200, headers, batch_response(answers, version, context.format))


def _refused(error: FhirError, context: RequestContext) -> EntryResponse:
    response = error_response(error, context.provider.version, context.format)
    return EntryResponse(response.status, response.body)


def _in_format(response: Response, entry: BatchEntry, format: FhirFormat) -> Response:
    """The response, if it can stand in a batch of this format: what was written stays so, without its body."""
    if not response.body or media_type_format(response.headers.get("Content-Type")) is format:
        return response
    if entry.method == "GET" or response.status >= 400:
        status = response.status if response.status >= 400 else 502
        raise FhirError(status, "not-supported", "The provider answered in another format than was asked for.")
    return Response(response.status, response.headers)


def _answer(response: Response, entry: BatchEntry, context: RequestContext) -> EntryResponse:
    read = entry.interaction.kind is InteractionKind.READ and response.status < 300
    return EntryResponse(
        status=response.status,
        body=response.body,
        full_url=f"{context.base_url}/{entry.interaction.path}" if read else None,
        location=response.headers.get("Location"),
        etag=response.headers.get("ETag"),
    )
