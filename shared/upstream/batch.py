"""Batches and transactions: sent as they are, or taken apart for providers that lack them."""

import asyncio
from collections.abc import Sequence

from msgspec import structs

from shared.directory.provider import Access, BatchMode
from shared.error_kind import ErrorKind, Side, kind_of_response
from shared.fhir.batch import JSON_PATCH, BatchEntry, RefusedEntry, batch_body, batch_entries, bundle_kind
from shared.fhir.batch_response import EntryResponse, batch_response
from shared.fhir.document import Steps
from shared.fhir.errors import FhirError
from shared.fhir.interaction import READS, Interaction, InteractionKind
from shared.fhir.negotiation import content_type, media_type_format, spelled_format
from shared.fhir.outcome import error_response
from shared.fhir.paging import BundleRequest
from shared.fhir.policy import authorize
from shared.fhir.versions import FhirFormat
from shared.message import Request, Response
from shared.pauses import paused
from shared.upstream.errors import fhir_error
from shared.upstream.provider_client import FhirRequest, ProviderClient
from shared.upstream.request_body import entry_contents, fhir_body
from shared.upstream.request_context import RequestContext
from shared.upstream.search import with_accurate_total

_MAX_AT_ONCE = 8

_Content = bytes | FhirError | None
"""An entry's resource as it goes up, None where it has none, or why it may not go up."""


async def send_batch(client: ProviderClient, context: RequestContext, request: Request, path: str) -> Response:
    """The response to a batch or transaction, authorized entry by entry. Raises FhirError.

    The Bundle that goes up is written from the entries that were authorized. A batch with one that is not is split.
    """
    body = await fhir_body(context, request)
    kind = bundle_kind(body.resource)
    context.trace.interaction = kind.value
    assert body.resource.bundle is not None  # noqa: S101 (a batch or transaction is a Bundle)
    entries = await paused(batch_entries(body.resource.bundle, context.upstream_links))
    context.trace.entries = entries
    contents = await entry_contents(context, body, entries)
    provider = context.provider
    if kind is InteractionKind.TRANSACTION:
        if provider.access is not Access.WRITE or provider.batch is BatchMode.SPLIT:
            raise FhirError(403, "forbidden", "Transactions are not let through for this tenant. Send a batch.")
    elif provider.batch is BatchMode.SPLIT:
        return await _send_split(client, context, entries, contents, body.format)
    authorized = await paused(_authorized(context, entries, contents))
    refusal = next((each for each in authorized if isinstance(each, FhirError)), None)
    if refusal is not None:
        if kind is InteractionKind.TRANSACTION:
            raise refusal
        return await _send_split(client, context, entries, contents, body.format)
    allowed = [each for each in authorized if not isinstance(each, FhirError)]
    sent = FhirRequest(
        "POST",
        Interaction(kind, path),
        headers=request.headers,
        body=batch_body(kind, allowed, body.format, provider.version),
        body_type=provider.version.media_type(body.format),
        repeatable=all(entry.interaction.kind in READS for entry, _ in allowed),
        entries=tuple(BundleRequest(entry.interaction, entry.query) for entry, _ in allowed),
    )
    context.memory.add(len(sent.body or b""))
    return await client.send(context, sent)


def _authorized(
    context: RequestContext, entries: Sequence[BatchEntry | RefusedEntry], contents: Sequence[_Content]
) -> Steps[list[tuple[BatchEntry, bytes | None] | FhirError]]:
    """Each entry, as the row says of searches, and its resource; or why they may not go up."""
    found: list[tuple[BatchEntry, bytes | None] | FhirError] = []
    for entry, content in zip(entries, contents, strict=True):
        try:
            entry, content = _checked(context, entry, content)
            query = spelled_format(entry.query, context.provider.version)
            if context.provider.accurate_total and entry.interaction.kind is InteractionKind.SEARCH_TYPE:
                query = with_accurate_total(query)
            found.append((structs.replace(entry, query=query), content))
        except FhirError as error:
            found.append(error)
        yield
    return found


def _checked(
    context: RequestContext, entry: BatchEntry | RefusedEntry, content: _Content
) -> tuple[BatchEntry, bytes | None]:
    if isinstance(entry, RefusedEntry):
        raise entry.error
    if isinstance(content, FhirError):
        raise content
    authorize(entry.interaction, entry.query, context.permissions)
    return entry, content


async def _send_split(
    client: ProviderClient,
    context: RequestContext,
    entries: Sequence[BatchEntry | RefusedEntry],
    contents: Sequence[_Content],
    format: FhirFormat,
) -> Response:
    """The batch-response of entries that are authorized and sent one by one, at most eight at once: none hurts another.

    `contents` are in `format`, with links already mapped.
    """
    trace = context.trace
    kinds: list[ErrorKind | None] = []
    at_once = asyncio.Semaphore(min(_MAX_AT_ONCE, context.provider.max_concurrent))
    version = context.provider.version

    async def send(entry: BatchEntry | RefusedEntry, content: _Content) -> EntryResponse:
        try:
            entry, content = _checked(context, entry, content)
            async with at_once:
                media_type = JSON_PATCH if entry.is_json_patch else version.media_type(format)
                body_type = media_type if content is not None else None
                request = FhirRequest(entry.method, entry.interaction, entry.query, entry.headers, content, body_type)
                response = await client.send(context, request)
                kind = kind_of_response(response.status)
                kinds.append(kind)
                trace.answered |= kind is None or kind.side is not Side.HOSPITAL
                return _entry_response(response, entry, context)
        except Exception as error:
            refused = fhir_error(error)
            kinds.append(refused.kind)
            response = error_response(refused, version, context.format)
            return EntryResponse(response.status, response.body)

    responses = await asyncio.gather(*map(send, entries, contents))
    trace.entry_statuses.extend(response.status for response in responses)
    failures = [kind for kind in ErrorKind if kind.side is Side.HOSPITAL and kind in kinds]
    trace.kind = next(iter(failures), None)
    headers = {"Content-Type": content_type(version, context.format), "Cache-Control": "no-store"}
    return Response(200, headers, batch_response(responses, version, context.format))


def _entry_response(response: Response, entry: BatchEntry, context: RequestContext) -> EntryResponse:
    body = response.body
    if body and media_type_format(response.headers.get("Content-Type")) is not context.format:
        # It can't stand there: a read fails, any other response goes without its body.
        if entry.method == "GET" and response.status < 400:
            raise FhirError(502, "not-supported", "The provider answered in another format than was asked for.")
        body = b""
    read = entry.interaction.kind is InteractionKind.READ and response.status < 300
    return EntryResponse(
        status=response.status,
        body=body,
        full_url=f"{context.base_url}/{entry.interaction.path}" if read else None,
        location=response.headers.get("Location"),
        etag=response.headers.get("ETag"),
    )
