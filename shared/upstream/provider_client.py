"""Interactions sent to providers with the gateway's credential; every link in the response leads to the gateway."""

import asyncio
import logging
import ssl
from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from shared.deadlines import done_by
from shared.directory.provider import Provider
from shared.error_kind import ErrorKind
from shared.fhir.document import Unreadable
from shared.fhir.errors import FhirError
from shared.fhir.interaction import BUNDLES, READS, Interaction, InteractionKind
from shared.fhir.negotiation import content_type, spelled_format
from shared.fhir.outcome import rewritten_outcome
from shared.fhir.paging import BundleRequest
from shared.fhir.policy import check_response
from shared.fhir.request_headers import forwarded_headers
from shared.message import Response
from shared.pauses import paused
from shared.upstream.breaker import Breaker
from shared.upstream.credentials.credential import Credential, CredentialError, RowChanged
from shared.upstream.credentials.factory import Credentials
from shared.upstream.echo import echoes, secrets_of
from shared.upstream.limiter import Limiter
from shared.upstream.page_handles import PageHandles, write_links
from shared.upstream.request_context import RequestContext
from shared.upstream.response import SAFE_CONTENT, content_response, unreadable, validate_response
from shared.upstream.response_headers import allowed, response_headers
from shared.upstream.search import FORM, provider_search
from shared.upstream.server_timing import CREDENTIAL, UPSTREAM
from shared.upstream.transport import NoResponse, Transport, UpstreamRequest, UpstreamResponse

_OUTAGE = frozenset({502, 503, 504})

_log = logging.getLogger(__name__)


class FhirRequest(Struct, frozen=True):
    """A request for a provider: `query` and `body` have its links, `headers` are the client's (lower-case names).

    `page_url` is the provider's own URL of a further page, requested instead of the interaction's path. `accept` is the
    client's where it asks for a Binary's own content. Of a batch, `entries` are the requests in it, and `repeatable`
    says that these are nothing but reads.
    """

    method: str
    interaction: Interaction
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    body_type: str | None = None
    page_url: str | None = None
    accept: str | None = None
    repeatable: bool = False
    entries: tuple[BundleRequest, ...] = ()


class ProviderClient:
    """Sends requests to providers, each within its own limits, and validates what comes back."""

    def __init__(self, transport: Transport, credentials: Credentials, handles: PageHandles) -> None:
        self._transport = transport
        self._credentials = credentials
        self._limiter = Limiter()
        self._breaker = Breaker()
        self._handles = handles

    async def send(self, context: RequestContext, request: FhirRequest) -> Response:
        """The provider's response as the client gets it.

        Raises FhirError for everything that may not be passed on, StoreUnavailable for a vault that does not respond.
        """
        adapted = _as_the_row_says(context.provider, request)
        url = request.page_url or _url(context, adapted)
        async with self._limiter.slot(context.provider):
            response, secrets = await self._authenticated(context, adapted, url)
        down, interaction, permissions = context.downstream_links, request.interaction, context.permissions
        headers = response_headers(response.headers, url, interaction, permissions, down)
        async with context.memory.budget.working_memory(len(response.body)):
            try:
                body = await paused(validate_response(response, interaction, request.method))
            except FhirError as error:
                if (content := content_response(response, request.accept, headers)) is not None:
                    await _check_echo(context, secrets, content.headers, content.body)
                    return content
                if response.status == error.status:
                    error.headers |= allowed(response.headers, interaction, permissions)
                raise
            await _check_echo(context, secrets, headers, body.content if body is not None else b"")
            if body is None:
                return Response(response.status, headers if request.accept is None else {**headers, **SAFE_CONTENT})
            if interaction.kind in BUNDLES and body.resource.bundle is not None:
                context.trace.entry_statuses.extend(_status(entry.status) for entry in body.resource.bundle.entries)
            check_response(body.resource, interaction.kind, permissions)
            replaced: Sequence[tuple[int, int, str]] = ()
            if body.resource.bundle is not None:
                sent = BundleRequest(interaction, "&".join(filter(None, (request.query, _form(request)))))
                replaced = await write_links(context, self._handles, body, url, sent, request.entries)
            try:
                mapped = await paused(body.mapped(down, replaced))
            except Unreadable as error:
                raise unreadable(error) from None
            if body.resource.type == "OperationOutcome" and body.format is not context.format:
                headers["Content-Type"] = content_type(context.provider.version, context.format)
                mapped = rewritten_outcome(mapped, body.format)
            return Response(response.status, headers, mapped)

    async def _authenticated(
        self, context: RequestContext, request: FhirRequest, url: str
    ) -> tuple[UpstreamResponse, frozenset[str]]:
        """The response to the request with our credential, and the secrets in that, which must not come back.

        After a 401 the credential is renewed, and the request sent once more.
        """
        try:
            credential = self._credentials.of(context.provider)
            tls, auth_headers = await self._authentication(context, credential)
            response = await self._send(context, request, url, auth_headers, tls)
            secrets = secrets_of(auth_headers)
            if response.status == 401:
                credential.reject(auth_headers)
                tls, renewed = await self._authentication(context, credential)
                if renewed != auth_headers:
                    response = await self._send(context, request, url, renewed, tls)
                    secrets |= secrets_of(renewed)
            return response, secrets
        except RowChanged:
            text = "This tenant's server has just changed. Try again."
            raise FhirError(503, "transient", text, {"Retry-After": "1"}) from None
        except CredentialError as error:
            _log.error("tenant %s, %s: %s", context.provider.tenant, context.provider.version.value, error)
            text = "The gateway could not authenticate to the provider."
            raise FhirError(502, "security", text, kind=ErrorKind.NO_CREDENTIAL) from None

    async def _authentication(
        self, context: RequestContext, credential: Credential
    ) -> tuple[ssl.SSLContext | None, Mapping[str, str]]:
        with context.trace.timing.hop(CREDENTIAL):
            try:
                return await done_by(context.deadline, self._proof(context.provider, credential))
            except TimeoutError:
                raise FhirError(504, "timeout", "The provider's token endpoint did not answer in time.") from None

    async def _proof(
        self, provider: Provider, credential: Credential
    ) -> tuple[ssl.SSLContext | None, Mapping[str, str]]:
        return await self._credentials.client_context(provider), await credential.headers()

    async def _send(
        self,
        context: RequestContext,
        request: FhirRequest,
        url: str,
        auth_headers: Mapping[str, str],
        tls: ssl.SSLContext | None,
    ) -> UpstreamResponse:
        headers = _headers(context, request)
        for name, value in (*context.provider.extra_headers, *auth_headers.items()):
            headers[name.lower()] = value
        repeatable = request.repeatable or request.interaction.kind in READS
        sent = UpstreamRequest(request.method, url, headers, request.body, repeatable)
        # A request sent late, such as one of a long batch's last entries, may time out without the provider's fault.
        in_time = context.deadline - asyncio.get_running_loop().time() > context.seconds / 2
        with context.trace.timing.hop(UPSTREAM), self._breaker.attempt(context.provider) as attempt:
            try:
                response = await self._transport.send(
                    sent, deadline=context.deadline, tls=tls, count=context.memory.add_response
                )
            except NoResponse as error:
                attempt.succeeded = False if in_time or error.status != 504 else None
                raise
            attempt.succeeded = response.status not in _OUTAGE
            return response


async def _check_echo(
    context: RequestContext, secrets: frozenset[str], headers: Mapping[str, str], body: bytes
) -> None:
    if secrets and await echoes(secrets, headers, body):
        provider = context.provider
        _log.error("tenant %s, %s: the provider sent the credential back", provider.tenant, provider.version.value)
        raise FhirError(502, "security", "The provider sent the gateway's own credential back.") from None


def _as_the_row_says(provider: Provider, request: FhirRequest) -> FhirRequest:
    if request.page_url is not None or request.interaction.kind is not InteractionKind.SEARCH_TYPE:
        return request
    search = provider_search(provider, request.method, request.interaction, request.query, _form(request))
    if search.form is None:
        return request if search.query == request.query else structs.replace(request, query=search.query)
    body = spelled_format(search.form, provider.version).encode("latin-1")
    interaction = structs.replace(request.interaction, path=search.path)
    found = structs.replace(request, method=search.method, interaction=interaction, query=search.query)
    return structs.replace(found, body=body, body_type=FORM)


def _form(request: FhirRequest) -> str | None:
    return (request.body or b"").decode("latin-1") if request.body_type == FORM else None


def _url(context: RequestContext, request: FhirRequest) -> str:
    path, query = request.interaction.path, spelled_format(request.query, context.provider.version)
    return context.provider.base_url + (f"/{path}" if path else "") + (f"?{query}" if query else "")


def _headers(context: RequestContext, request: FhirRequest) -> dict[str, str]:
    accept = request.accept or context.provider.version.media_type(context.format)
    own = {"accept": accept, "accept-encoding": "gzip, deflate", "x-request-id": context.trace.request_id}
    typed = {} if request.body_type is None else {"content-type": request.body_type}
    forwarded = forwarded_headers(request.headers, request.interaction, context.permissions, context.upstream_links)
    return {**forwarded, **own, **typed}


def _status(text: str) -> int:
    """The number in `entry.response.status`, as in "201 Created"; 0 where there is none."""
    number = text[:3]
    return int(number) if len(number) == 3 and number.isascii() and number.isdecimal() else 0
