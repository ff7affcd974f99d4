"""One interaction with a provider: up with our credential and its links, down with the gateway's links."""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cachetools import LRUCache

from shared.directory.provider import Provider
from shared.fhir.body import Body
from shared.fhir.document import Unreadable
from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind
from shared.fhir.negotiation import content_type, spelled_format
from shared.fhir.outcome import rewritten_outcome
from shared.fhir.paging import BundleRequest
from shared.fhir.policy import check_response
from shared.fhir.request_headers import forwarded_headers
from shared.message import Response
from shared.pauses import paused
from shared.upstream.answer import judge, unreadable
from shared.upstream.binary import SAFE, content_response
from shared.upstream.breaker import Breaker
from shared.upstream.context import RequestContext
from shared.upstream.credentials.credential import Credential
from shared.upstream.credentials.errors import CredentialError
from shared.upstream.credentials.factory import Credentials
from shared.upstream.echo import echoes, secrets_of
from shared.upstream.headers import allowed, headers_down
from shared.upstream.hops import CREDENTIAL, UPSTREAM
from shared.upstream.limiter import Limiter
from shared.upstream.page_links import write_links
from shared.upstream.pages import Pages
from shared.upstream.search import FORM, as_the_provider_takes_it
from shared.upstream.transport import Transport, Unanswered, UpstreamAnswer, UpstreamRequest

_REPEATABLE = frozenset(
    {InteractionKind.READ, InteractionKind.VREAD, InteractionKind.SEARCH_TYPE, InteractionKind.HISTORY_INSTANCE}
)
_BUNDLES = frozenset({InteractionKind.BATCH, InteractionKind.TRANSACTION})
_MAX_PROOFS = 20_000
_JUST_READ_SECONDS = 1.0
_OUT_OF_ORDER = frozenset({502, 503, 504})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """What goes up: `query` and `body` already speak of the provider, `headers` are the client's (lower-case names).

    `page_url` is the provider's own URL of a further page, asked for instead of the interaction's path. `accept` is the
    client's where it asks for a Binary's own content. Of a batch, `entries` are what is asked in it, and `repeatable`
    says that these are nothing but reads.
    """

    method: str
    interaction: Interaction
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    body_type: str | None = None
    page_url: str | None = None
    accept: str | None = None
    repeatable: bool = False
    entries: tuple[BundleRequest, ...] = ()


class Exchange:
    """Sends interactions to providers and gives back answers in which every link leads to the gateway."""

    def __init__(self, transport: Transport, credentials: Credentials, limiter: Limiter, pages: Pages) -> None:
        self._transport = transport
        self._credentials = credentials
        self._limiter = limiter
        self._breaker = Breaker()
        self._proofs: LRUCache[tuple[str, str, str], bytes] = LRUCache(_MAX_PROOFS)
        self._pages = pages

    async def perform(self, context: RequestContext, request: FhirRequest) -> Response:
        """The provider's answer as the client gets it.

        Raises FhirError for everything that may not be passed on, StoreUnavailable for a vault that does not answer.
        """
        sent = _sent(context.provider, request)
        url = request.page_url or _url(context, sent)
        async with self._limiter.slot(context.provider):
            answer, secrets = await self._authenticated(context, sent, url)
        down = context.downstream_links
        async with context.hold.room(len(answer.body)):
            try:
                judged = await paused(judge(answer, request.interaction, request.method))
            except FhirError as error:
                headers = headers_down(answer.headers, url, request.interaction, context.permissions, down)
                if (content := content_response(answer, request.accept, headers)) is not None:
                    if await echoes(secrets, content.headers, content.body):
                        raise self._echoed(context) from None
                    return content
                if answer.status == error.status:
                    error.headers |= allowed(answer.headers, request.interaction, context.permissions)
                raise
            body = judged.body
            headers = headers_down(judged.headers, url, request.interaction, context.permissions, down)
            if await echoes(secrets, headers, body.content if body is not None else b""):
                raise self._echoed(context)
            if body is None:
                return Response(judged.status, headers if request.accept is None else {**headers, **SAFE})
            if request.interaction.kind in _BUNDLES and body.resource.bundle is not None:
                context.entry_statuses.extend(_status(entry.status) for entry in body.resource.bundle.entries)
            check_response(body.resource, request.interaction.kind, context.permissions)
            replaced = await self._links(context, request, body, url)
            try:
                mapped = await paused(body.mapped(down, replaced))
            except Unreadable as error:
                raise unreadable(error) from None
            if body.resource.type == "OperationOutcome" and body.format is not context.format:
                headers["Content-Type"] = content_type(context.provider.version, context.format)
                mapped = rewritten_outcome(mapped, body.format)
            return Response(judged.status, headers, mapped)

    async def _authenticated(
        self, context: RequestContext, request: FhirRequest, url: str
    ) -> tuple[UpstreamAnswer, frozenset[str]]:
        """The answer to the request with our credential, and what of that must not come back.

        A 401 renews the credential and asks once more.
        """
        try:
            credential = self._credentials.of(context.provider)
            tls, proof = await self._proof(context, credential)
            await self._confirmed(context, proof)
            answer = await self._send(context, request, url, proof, tls)
            secrets = secrets_of(proof)
            if answer.status == 401:
                credential.reject(proof)
                tls, renewed = await self._proof(context, credential)
                if renewed != proof:
                    await self._confirmed(context, renewed)
                    answer = await self._send(context, request, url, renewed, tls)
                    secrets |= secrets_of(renewed)
            return answer, secrets
        except CredentialError as error:
            _log.error("tenant %s, %s: %s", context.provider.tenant, context.provider.version.value, error)
            raise FhirError(502, "security", "The gateway could not authenticate to the provider.") from None

    async def _confirmed(self, context: RequestContext, proof: Mapping[str, str]) -> None:
        """Read the row again before a proof goes up that did not go up with it before.

        Address and credential of a hospital change together: a new password must not reach the old address.
        """
        if not proof:
            return
        key = (context.provider.tenant, context.provider.version.value, context.provider.binding)
        digest = hashlib.sha256("\0".join(proof.values()).encode()).digest()
        last = self._proofs.get(key)
        if last != digest:
            # A row is read together with its first proof; later, either may be the newer one.
            await context.confirm(_JUST_READ_SECONDS if last is None else 0.0)
            self._proofs[key] = digest

    async def _proof(
        self, context: RequestContext, credential: Credential
    ) -> tuple[ssl.SSLContext | None, Mapping[str, str]]:
        """What proves to the provider who we are: the TLS context and the headers."""
        with context.hops.hop(CREDENTIAL):
            try:
                async with asyncio.timeout_at(context.deadline):
                    return await self._credentials.client_context(context.provider), await credential.headers()
            except TimeoutError:
                raise FhirError(504, "timeout", "The provider's token endpoint did not answer in time.") from None

    async def _send(
        self,
        context: RequestContext,
        request: FhirRequest,
        url: str,
        proof: Mapping[str, str],
        tls: ssl.SSLContext | None,
    ) -> UpstreamAnswer:
        headers = _headers_up(context, request)
        for name, value in (*context.provider.extra_headers, *proof.items()):
            headers[name.lower()] = value
        repeatable = request.repeatable or request.interaction.kind in _REPEATABLE
        sent = UpstreamRequest(request.method, url, headers, request.body, repeatable)
        # What comes to the provider late, such as a long batch's last entries, may end without being its fault.
        in_time = context.deadline - asyncio.get_running_loop().time() > context.seconds / 2
        with context.hops.hop(UPSTREAM), self._breaker.attempt(context.provider) as attempt:
            try:
                answer = await self._transport.send(sent, deadline=context.deadline, tls=tls, take=context.hold.take)
            except Unanswered as error:
                attempt.answered = False if in_time or error.status != 504 else None
                raise
            attempt.answered = answer.status not in _OUT_OF_ORDER
            return answer

    async def _links(
        self, context: RequestContext, request: FhirRequest, body: Body, url: str
    ) -> list[tuple[int, int, str]]:
        """What is written for each link to a page: start, end and URL."""
        if body.resource.bundle is None:
            return []
        query = request.query
        if request.body_type == FORM:
            query = "&".join(filter(None, (query, (request.body or b"").decode("latin-1"))))
        asked = BundleRequest(request.interaction, query)
        return await write_links(context, self._pages, body, url, asked, request.entries)

    def _echoed(self, context: RequestContext) -> FhirError:
        provider = context.provider
        _log.error("tenant %s, %s: the provider sent the credential back", provider.tenant, provider.version.value)
        return FhirError(502, "security", "The provider sent the gateway's own credential back.")


def _sent(provider: Provider, request: FhirRequest) -> FhirRequest:
    """The request as the row says that the provider takes searches."""
    if request.page_url is not None:
        return request
    form = (request.body or b"").decode("latin-1") if request.body_type == FORM else None
    search = as_the_provider_takes_it(provider, request.method, request.interaction, request.query, form)
    if search.form is None:
        return replace(request, query=search.query)
    body = spelled_format(search.form, provider.version).encode("latin-1")
    interaction = replace(request.interaction, path=search.path)
    return replace(
        request, method=search.method, interaction=interaction, query=search.query, body=body, body_type=FORM
    )


def _url(context: RequestContext, request: FhirRequest) -> str:
    query = spelled_format(request.query, context.provider.version)
    return context.provider.base_url + _path_and_query(request.interaction.path, query)


def _path_and_query(path: str, query: str) -> str:
    return (f"/{path}" if path else "") + (f"?{query}" if query else "")


def _headers_up(context: RequestContext, request: FhirRequest) -> dict[str, str]:
    headers = forwarded_headers(request.headers, request.interaction, context.permissions, context.upstream_links)
    headers["accept"] = request.accept or context.provider.version.media_type(context.format)
    headers["accept-encoding"] = "gzip, deflate"
    headers["x-request-id"] = context.request_id
    if request.body_type is not None:
        headers["content-type"] = request.body_type
    return headers


def _status(text: str) -> int:
    """The number in `entry.response.status`, as in "201 Created"; 0 where there is none."""
    number = text[:3]
    return int(number) if len(number) == 3 and number.isascii() and number.isdecimal() else 0
