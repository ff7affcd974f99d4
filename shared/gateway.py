"""A FHIR request, step by step: token, tenant, provider, policy, and the exchange with the provider."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from shared.audit import AuditedEntry, AuditLog
from shared.content_coding import encoded
from shared.directory.clients import Clients
from shared.directory.provider import Access, BatchMode, Provider, RowError
from shared.directory.tenants import NoSuchVersion, Tenants, UnknownTenant
from shared.fhir.batch import BatchEntry, RefusedEntry, batch_body, batch_entries, bundle_kind
from shared.fhir.document import Steps
from shared.fhir.errors import FhirError
from shared.fhir.interaction import BUNDLES, READS, WITH_RESOURCE, Interaction, InteractionKind, parse
from shared.fhir.negotiation import content_accept, negotiate, spelled_format
from shared.fhir.outcome import NO_STORE, error_response, format_for_errors
from shared.fhir.paging import PAGE_PARAMETER, BundleRequest, InvalidPageLink, page_handle
from shared.fhir.policy import Permissions, authorize
from shared.fhir.rewriting import LinkMap, rewrite_criteria, rewrite_form
from shared.fhir.versions import FhirFormat, FhirVersion, fhir_bases
from shared.message import Request, Response, request_id
from shared.oauth.access_token import AccessTokens, Grant, InvalidToken
from shared.oauth.bearer import bearer_token, invalid_token
from shared.pauses import paused
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.upstream.batch import perform_split
from shared.upstream.context import RequestContext
from shared.upstream.exchange import Exchange, FhirRequest
from shared.upstream.failure import fhir_error
from shared.upstream.hops import AUTH, DIRECTORY, Hops, server_timing
from shared.upstream.load import Hold, Load
from shared.upstream.page_links import paging
from shared.upstream.pages import Pages
from shared.upstream.request_body import (
    MAX_BODY_BYTES,
    entry_contents,
    fhir_body,
    form_body,
    parameters,
    resource_body,
)
from shared.upstream.search import FORM, with_accurate_total

_DIRECTORY_SECONDS = 15.0  # each store has ten, and a cold instance asks four times
_BINARY = re.compile(r"Binary/[^/_][^/]*(?:/_history/[^/]+)?/?")  # read and vread

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Trace:
    """What the audit line tells of a request, as far as it came."""

    request_id: str
    base: str
    hops: Hops = field(default_factory=Hops)
    grant: Grant | None = None
    interaction: str = ""
    type: str = ""
    entries: Sequence[BatchEntry | RefusedEntry] = ()
    entry_statuses: Sequence[int] = ()


class Gateway:
    """Answers everything under a FHIR base but its statement; every refusal is an OperationOutcome."""

    def __init__(
        self,
        settings: Settings,
        tokens: AccessTokens,
        clients: Clients,
        tenants: Tenants,
        exchange: Exchange,
        pages: Pages,
        audit: AuditLog,
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._clients = clients
        self._tenants = tenants
        self._exchange = exchange
        self._pages = pages
        self._audit = audit
        self._load = Load(settings.max_response_bytes, MAX_BODY_BYTES)

    async def __call__(self, request: Request) -> Response:
        base, _, path = request.path.removeprefix("/").partition("/")
        base = base.lower()
        bases = fhir_bases(self._settings.default_fhir_version)
        version = bases.get(base)
        trace = _Trace(request_id(request.headers), base)
        try:
            if version is None:
                raise FhirError(404, "not-found", f"There is no such FHIR base; there are {', '.join(bases)}.")
            response = await self._serve(request, base, version, path, trace)
            response = replace(response, headers={**response.headers, **NO_STORE})
            response = await encoded(response, request.headers.get("accept-encoding"))
        except Exception as error:
            format = format_for_errors(parameters(request), request.headers.get("accept"))
            response = error_response(fhir_error(error), version or self._settings.default_fhir_version, format)
        hops = trace.hops.milliseconds()
        self._record(trace, request, response, hops)
        headers = {**response.headers, "X-Request-Id": trace.request_id, "Server-Timing": server_timing(hops)}
        return Response(response.status, headers, b"" if request.method == "HEAD" else response.body)

    async def _serve(self, request: Request, base: str, version: FhirVersion, path: str, trace: _Trace) -> Response:
        if request.method == "OPTIONS":
            return Response(204, {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"})
        try:
            async with asyncio.timeout(_DIRECTORY_SECONDS):
                with trace.hops.hop(AUTH):
                    grant = trace.grant = await self._authenticate(request.headers)
                accept = request.headers.get("accept")
                if _content_accept(request, path) is None:
                    format = negotiate(parameters(request), accept, version)
                else:
                    format = format_for_errors("", accept)
                with trace.hops.hop(DIRECTORY):
                    provider = await self._provider(grant.tenant, version)
        except TimeoutError:
            raise StoreUnavailable(f"the stores did not answer within {_DIRECTORY_SECONDS:.0f} s") from None
        with self._load.request(grant.tenant, len(request.body)) as hold:
            context = self._context(trace, grant, provider, base, format, hold)
            return await self._routed(context, request, path, trace)

    async def _routed(self, context: RequestContext, request: Request, path: str, trace: _Trace) -> Response:
        request = _with_own_criteria(context, request, path)
        interaction = parse(request.method, path, request.query, request.headers)
        trace.interaction = interaction.kind.value
        if interaction.kind in BUNDLES:
            return await self._bundle(context, request, interaction, trace)
        if interaction.kind is InteractionKind.SEARCH_TYPE and (handle := page_handle(parameters(request))):
            return await self._further_page(context, request, interaction, handle, trace)
        query = rewrite_form(request.query, context.upstream_links)
        authorize(interaction, query, context.permissions)
        trace.type = interaction.type or ""
        body, body_type = None, None
        if request.method == "POST" and interaction.kind is InteractionKind.SEARCH_TYPE:
            body, body_type = form_body(context, request), FORM
            authorize(interaction, f"{query}&{body.decode('latin-1')}", context.permissions)
        elif interaction.kind in WITH_RESOURCE or (interaction.kind is InteractionKind.OPERATION and request.body):
            body, body_type = await resource_body(context, request, interaction)
        sent = FhirRequest(
            request.method, interaction, query, request.headers, body, body_type, accept=_content_accept(request, path)
        )
        return await self._exchange.perform(context, sent)

    async def _authenticate(self, headers: Mapping[str, str]) -> Grant:
        """What the bearer token stands for, if its client and secret are still good."""
        token = bearer_token(headers)
        try:
            grant = await self._tokens.verify(token)
        except InvalidToken:
            raise invalid_token() from None
        found = await self._clients.secret(grant.client_id, grant.secret_id)
        if found is None or not found[0].may_reach(grant.tenant):
            raise invalid_token()
        return grant

    async def _provider(self, tenant: str, version: FhirVersion) -> Provider:
        try:
            return await self._tenants.provider(tenant, version)
        except UnknownTenant:
            raise FhirError(404, "not-found", "This token's tenant has no FHIR server here.") from None
        except NoSuchVersion as error:
            bases = " and ".join(f"/{found.value}" for found in error.versions)
            raise FhirError(
                404, "not-found", f"This token's tenant has no FHIR server for {version.value}, but for {bases}."
            ) from None

    def _context(
        self, trace: _Trace, grant: Grant, provider: Provider, base: str, format: FhirFormat, hold: Hold
    ) -> RequestContext:
        base_url, upstream_links, downstream_links = _links(
            self._settings.public_base_url, base, provider.version.value, provider.base_url
        )
        seconds = provider.timeout_seconds or self._settings.upstream_timeout_seconds
        return RequestContext(
            request_id=trace.request_id,
            grant=grant,
            provider=provider,
            permissions=Permissions(
                provider.types,
                provider.access is Access.WRITE,
                grant.scopes,
                provider.operations,
                version=provider.version,
            ),
            base=base,
            base_url=base_url,
            upstream_links=upstream_links,
            downstream_links=downstream_links,
            format=format,
            deadline=asyncio.get_running_loop().time() + seconds,
            seconds=seconds,
            hops=trace.hops,
            hold=hold,
            confirm=partial(self._confirm, provider),
        )

    async def _confirm(self, provider: Provider, older_than: float) -> None:
        """Refuse the request where its row has another address or credential by now."""
        try:
            now = await self._tenants.renewed(provider.tenant, provider.version, older_than=older_than)
            if now.binding == provider.binding:
                return
        except (UnknownTenant, NoSuchVersion, RowError):
            pass
        raise FhirError(503, "transient", "This tenant's server has just changed. Try again.", {"Retry-After": "1"})

    async def _further_page(
        self, context: RequestContext, request: Request, interaction: Interaction, handle: str, trace: _Trace
    ) -> Response:
        """The page that a handle stands for, judged anew: the row and the token may have changed since it was made."""
        trace.interaction, trace.type = "page", interaction.type or ""
        page = await self._pages.page(
            handle,
            tenant=context.grant.tenant,
            client_id=context.grant.client_id,
            base=context.base,
            type=trace.type,
            binding=context.provider.binding,
        )
        interaction = Interaction(page.kind, page.type, page.type)
        authorize(interaction, "", context.permissions)
        try:
            url = paging(context).page(page.url, page.url, interaction).url
        except InvalidPageLink:
            raise FhirError(410, "not-found", "This page is not let through any more. Search again.") from None
        method = "HEAD" if request.method == "HEAD" else "GET"
        query = f"{PAGE_PARAMETER}={handle}"
        return await self._exchange.perform(
            context, FhirRequest(method, interaction, query, request.headers, page_url=url)
        )

    async def _bundle(
        self, context: RequestContext, request: Request, interaction: Interaction, trace: _Trace
    ) -> Response:
        """A batch or transaction, judged entry by entry; what goes up is written from what was judged."""
        body = await fhir_body(context, request)
        kind = bundle_kind(body.resource)
        trace.interaction = kind.value
        assert body.resource.bundle is not None  # noqa: S101 (a batch or transaction is a Bundle)
        trace.entries = entries = await paused(batch_entries(body.resource.bundle, context.upstream_links))
        trace.entry_statuses = context.entry_statuses
        contents = await entry_contents(context, body, entries)
        provider = context.provider
        if kind is InteractionKind.TRANSACTION:
            if provider.access is not Access.WRITE or provider.batch is BatchMode.SPLIT:
                raise FhirError(403, "forbidden", "Transactions are not let through for this tenant. Send a batch.")
        elif provider.batch is BatchMode.SPLIT:
            return await perform_split(self._exchange, context, entries, contents, body.format)
        judged = await paused(_all_judged(context, entries, contents))
        refusal = next((each for each in judged if isinstance(each, FhirError)), None)
        if refusal is not None:
            if kind is InteractionKind.TRANSACTION:
                raise refusal
            return await perform_split(self._exchange, context, entries, contents, body.format)
        allowed = [each for each in judged if not isinstance(each, FhirError)]
        sent = FhirRequest(
            "POST",
            Interaction(kind, interaction.path),
            headers=request.headers,
            body=batch_body(kind, allowed, body.format, provider.version),
            body_type=provider.version.media_type(body.format),
            repeatable=all(entry.interaction.kind in READS for entry, _ in allowed),
            entries=tuple(BundleRequest(entry.interaction, entry.query) for entry, _ in allowed),
        )
        context.hold.keep(len(sent.body or b""))
        return await self._exchange.perform(context, sent)

    def _record(self, trace: _Trace, request: Request, response: Response, hops: dict[str, float]) -> None:
        grant = trace.grant
        self._audit.fhir_request(
            request_id=trace.request_id,
            client_id=grant.client_id if grant else "",
            secret_id=grant.secret_id if grant else "",
            tenant=grant.tenant if grant else "",
            base=trace.base,
            interaction=trace.interaction,
            type=trace.type,
            status=response.status,
            received=len(request.body),
            sent=len(response.body),
            hops=hops,
            entries=[_audited(trace, entry, response.status) for entry in trace.entries],
        )


def _audited(trace: _Trace, entry: BatchEntry | RefusedEntry, status: int) -> AuditedEntry:
    """What the audit log tells of an entry; `status` is the batch's, and stands where the entry was not answered."""
    if entry.index < len(trace.entry_statuses):
        status = trace.entry_statuses[entry.index]
    if isinstance(entry, RefusedEntry):
        return AuditedEntry("", "", status)
    return AuditedEntry(entry.interaction.kind.value, entry.interaction.type or "", status)


@lru_cache(maxsize=20_000)
def _links(public_base_url: str, base: str, version: str, provider_base_url: str) -> tuple[str, LinkMap, LinkMap]:
    """The gateway's base URL as the client uses it, and the maps from gateway to provider links and back.

    On the way in, links under the version's own base count as well as those under the one that was used.
    """
    base_url = f"{public_base_url}/{base}"
    sources = dict.fromkeys((base_url, f"{public_base_url}/{version}"))
    return base_url, LinkMap(tuple(sources), provider_base_url), LinkMap((provider_base_url,), base_url)


def _with_own_criteria(context: RequestContext, request: Request, path: str) -> Request:
    """The request with If-None-Exist as the provider is to read it: a query, with links mapped back."""
    criteria = request.headers.get("if-none-exist")
    if criteria is None:
        return request
    mapped = rewrite_criteria(criteria, path.removesuffix("/"), context.upstream_links)
    return replace(request, headers={**request.headers, "if-none-exist": mapped})


def _content_accept(request: Request, path: str) -> str | None:
    """The Accept header of a request for a Binary's own content; None for every other request."""
    if request.method not in ("GET", "HEAD") or not _BINARY.fullmatch(path):
        return None
    return content_accept(request.query, request.headers.get("accept"))


def _all_judged(
    context: RequestContext, entries: Sequence[BatchEntry | RefusedEntry], contents: Sequence[bytes | FhirError | None]
) -> Steps[list[tuple[BatchEntry, bytes | None] | FhirError]]:
    judged = []
    for entry, content in zip(entries, contents, strict=True):
        judged.append(_judged(context, entry, content))
        yield
    return judged


def _judged(
    context: RequestContext, entry: BatchEntry | RefusedEntry, content: bytes | FhirError | None
) -> tuple[BatchEntry, bytes | None] | FhirError:
    """An entry and its resource if they may go up, else why not."""
    if isinstance(entry, RefusedEntry):
        return entry.error
    if isinstance(content, FhirError):
        return content
    try:
        authorize(entry.interaction, entry.query, context.permissions)
    except FhirError as error:
        return error
    query = spelled_format(entry.query, context.provider.version)
    if context.provider.accurate_total and entry.interaction.kind is InteractionKind.SEARCH_TYPE:
        query = with_accurate_total(query)
    return replace(entry, query=query), content
