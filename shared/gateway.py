"""A FHIR request, step by step: token, tenant, provider, policy, and the exchange with the provider."""

import asyncio
import re
from collections.abc import Mapping

from msgspec import structs

from shared.audit import AuditedEntry, AuditLog
from shared.content_coding import encoded
from shared.deadlines import done_by
from shared.directory.errors import NoSuchVersion, UnknownTenant
from shared.directory.provider import Provider
from shared.directory.tenant_cache import TenantCache
from shared.directory.traffic import Traffic, hospital_subject
from shared.error_kind import ErrorKind, Side, kind_of_response
from shared.fhir.batch import BatchEntry, RefusedEntry
from shared.fhir.errors import FhirError
from shared.fhir.interaction import BUNDLES, WITH_RESOURCE, Interaction, InteractionKind, parse
from shared.fhir.negotiation import content_accept, negotiate
from shared.fhir.outcome import NO_STORE, error_response, format_for_errors
from shared.fhir.paging import PAGE_PARAMETER, page_handle
from shared.fhir.policy import authorize
from shared.fhir.rewriting import rewrite_criteria, rewrite_form
from shared.fhir.versions import FhirFormat, FhirVersion, fhir_bases
from shared.message import Request, Response, request_id
from shared.oauth.access_token import Grant, InvalidToken, bearer_token, invalid_token
from shared.oauth.live_tokens import LiveTokens
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.upstream.batch import send_batch
from shared.upstream.errors import fhir_error
from shared.upstream.memory import MemoryBudget
from shared.upstream.page_handles import PageHandles, page_url
from shared.upstream.provider_client import FhirRequest, ProviderClient
from shared.upstream.request_body import MAX_BODY_BYTES, form_body, parameters, resource_body
from shared.upstream.request_context import RequestContext, Trace, link_maps, permissions_of
from shared.upstream.search import FORM
from shared.upstream.server_timing import AUTH, DIRECTORY, UPSTREAM, server_timing

_DIRECTORY_SECONDS = 15.0  # each store has ten, and a cold instance reads four times
_BINARY = re.compile(r"Binary/[^/_][^/]*(?:/_history/[^/]+)?/?")  # read and vread


class Gateway:
    """Responds to everything under a FHIR base but its statement; every refusal is an OperationOutcome."""

    def __init__(
        self,
        settings: Settings,
        tokens: LiveTokens,
        tenants: TenantCache,
        provider_client: ProviderClient,
        handles: PageHandles,
        traffic: Traffic,
        audit: AuditLog,
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._tenants = tenants
        self._provider_client = provider_client
        self._handles = handles
        self._traffic = traffic
        self._audit = audit
        self._budget = MemoryBudget(settings.max_response_bytes, MAX_BODY_BYTES)

    async def __call__(self, request: Request) -> Response:
        base, _, path = request.path.removeprefix("/").partition("/")
        base = base.lower()
        bases = fhir_bases(self._settings.default_fhir_version)
        version = bases.get(base)
        trace = Trace(request_id(request.headers), base)
        try:
            if version is None:
                raise FhirError(404, "not-found", f"There is no such FHIR base; there are {', '.join(bases)}.")
            response = await self._serve(request, version, path, trace)
            response = Response(response.status, {**response.headers, **NO_STORE}, response.body)
            response = await encoded(response, request.headers.get("accept-encoding"))
            kind = trace.kind or kind_of_response(response.status)
        except Exception as error:
            format = format_for_errors(parameters(request), request.headers.get("accept"))
            refused = fhir_error(error)
            kind = refused.kind
            response = error_response(refused, version or self._settings.default_fhir_version, format)
        hops = trace.timing.milliseconds()
        await self._record(trace, request, response, kind, hops)
        headers = {**response.headers, "X-Request-Id": trace.request_id, "Server-Timing": server_timing(hops)}
        return Response(response.status, headers, b"" if request.method == "HEAD" else response.body)

    async def _serve(self, request: Request, version: FhirVersion, path: str, trace: Trace) -> Response:
        if request.method == "OPTIONS":
            return Response(204, {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"})
        loop = asyncio.get_running_loop()
        content_accept = _content_accept(request, path)
        try:
            looked_up = self._looked_up(request, version, content_accept, trace)
            grant, format, provider = await done_by(loop.time() + _DIRECTORY_SECONDS, looked_up)
        except TimeoutError:
            raise StoreUnavailable(f"the stores did not answer within {_DIRECTORY_SECONDS:.0f} s") from None
        base_url, upstream_links, downstream_links = link_maps(
            self._settings.public_base_url, trace.base, version, provider.base_url
        )
        seconds = provider.timeout_seconds or self._settings.upstream_timeout_seconds
        with self._budget.request(grant.tenant, len(request.body)) as memory:
            context = RequestContext(
                trace=trace,
                grant=grant,
                provider=provider,
                permissions=permissions_of(provider, grant),
                base_url=base_url,
                upstream_links=upstream_links,
                downstream_links=downstream_links,
                format=format,
                deadline=loop.time() + seconds,
                seconds=seconds,
                memory=memory,
            )
            return await self._routed(context, request, path, content_accept)

    async def _looked_up(
        self, request: Request, version: FhirVersion, content_accept: str | None, trace: Trace
    ) -> tuple[Grant, FhirFormat, Provider]:
        """What the directory knows of a request, and the format of its response. Raises FhirError."""
        with trace.timing.hop(AUTH):
            grant = await self._authenticate(request.headers, trace)
        accept = request.headers.get("accept")
        if content_accept is None:
            format = negotiate(parameters(request), accept, version)
        else:
            format = format_for_errors("", accept)
        with trace.timing.hop(DIRECTORY):
            return grant, format, await self._provider(grant.tenant, version, trace)

    async def _routed(
        self, context: RequestContext, request: Request, path: str, content_accept: str | None
    ) -> Response:
        """The provider's response to an interaction that policy allows. Raises FhirError."""
        request = _with_criteria_mapped(context, request, path)
        interaction = parse(request.method, path, request.query, request.headers)
        context.trace.interaction = interaction.kind.value
        if interaction.kind in BUNDLES:
            return await send_batch(self._provider_client, context, request, interaction.path)
        if interaction.kind is InteractionKind.SEARCH_TYPE and (handle := page_handle(parameters(request))):
            return await self._further_page(context, request, interaction, handle)
        query = rewrite_form(request.query, context.upstream_links)
        authorize(interaction, query, context.permissions)
        context.trace.type = interaction.type or ""
        body, body_type = None, None
        if request.method == "POST" and interaction.kind is InteractionKind.SEARCH_TYPE:
            body, body_type = form_body(context, request), FORM
            authorize(interaction, f"{query}&{body.decode('latin-1')}", context.permissions)
        elif interaction.kind in WITH_RESOURCE or (interaction.kind is InteractionKind.OPERATION and request.body):
            body, body_type = await resource_body(context, request, interaction)
        headers = request.headers
        sent = FhirRequest(request.method, interaction, query, headers, body, body_type, accept=content_accept)
        return await self._provider_client.send(context, sent)

    async def _further_page(
        self, context: RequestContext, request: Request, interaction: Interaction, handle: str
    ) -> Response:
        trace = context.trace
        trace.interaction, trace.type = "page", interaction.type or ""
        interaction, url = await page_url(context, self._handles, handle, trace.type)
        method = "HEAD" if request.method == "HEAD" else "GET"
        query = f"{PAGE_PARAMETER}={handle}"
        sent = FhirRequest(method, interaction, query, request.headers, page_url=url)
        return await self._provider_client.send(context, sent)

    async def _authenticate(self, headers: Mapping[str, str], trace: Trace) -> Grant:
        """The grant of the bearer token. Raises FhirError (401)."""
        try:
            grant = trace.grant = await self._tokens.grant(bearer_token(headers))
        except InvalidToken as error:
            trace.grant = error.grant
            raise invalid_token(error.kind) from None
        return grant

    async def _provider(self, tenant: str, version: FhirVersion, trace: Trace) -> Provider:
        trace.hospital = hospital_subject(tenant, version.value)
        try:
            return await self._tenants.provider(tenant, version)
        except UnknownTenant:
            text = "This token's tenant has no FHIR server here."
        except NoSuchVersion as error:
            bases = " and ".join(f"/{found.value}" for found in error.versions)
            text = f"This token's tenant has no FHIR server for {version.value}, but for {bases}."
        trace.hospital = ""
        raise FhirError(404, "not-found", text, kind=ErrorKind.NO_HOSPITAL)

    async def _record(
        self, trace: Trace, request: Request, response: Response, kind: ErrorKind | None, hops: Mapping[str, float]
    ) -> None:
        grant = trace.grant
        client_id = grant.client_id if grant else ""
        answered = UPSTREAM in hops and (trace.answered or kind is None or kind.side is Side.CLIENT)
        self._traffic.fhir_request(client_id, trace.hospital, response.status, kind, hops, answered=answered)
        await self._audit.fhir_request(
            request_id=trace.request_id,
            client_id=client_id,
            secret_id=grant.credential_id if grant else "",
            tenant=grant.tenant if grant else "",
            base=trace.base,
            interaction=trace.interaction,
            type=trace.type,
            status=response.status,
            kind=kind or "",
            received=len(request.body),
            sent=len(response.body),
            hops=hops,
            entries=[_audited(trace, entry, response.status) for entry in trace.entries],
        )


def _audited(trace: Trace, entry: BatchEntry | RefusedEntry, status: int) -> AuditedEntry:
    """An entry for the audit log; `status` is the batch's, for an entry that has no response of its own."""
    if entry.index < len(trace.entry_statuses):
        status = trace.entry_statuses[entry.index]
    if isinstance(entry, RefusedEntry):
        return AuditedEntry("", "", status)
    return AuditedEntry(entry.interaction.kind.value, entry.interaction.type or "", status)


def _with_criteria_mapped(context: RequestContext, request: Request, path: str) -> Request:
    """The request with If-None-Exist as a query for the provider, its links mapped."""
    criteria = request.headers.get("if-none-exist")
    if criteria is None:
        return request
    mapped = rewrite_criteria(criteria, path.removesuffix("/"), context.upstream_links)
    return structs.replace(request, headers={**request.headers, "if-none-exist": mapped})


def _content_accept(request: Request, path: str) -> str | None:
    """The Accept header of a request for a Binary's own content; None for every other request."""
    if request.method not in ("GET", "HEAD") or not _BINARY.fullmatch(path):
        return None
    return content_accept(request.query, request.headers.get("accept"))
