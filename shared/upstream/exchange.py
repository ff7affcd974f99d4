"""One interaction with a provider: up with our credential and its links, down with the gateway's links."""

import asyncio
import logging
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.fhir.body import rewrite_body
from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind
from shared.fhir.negotiation import content_type, spelled_format
from shared.fhir.outcome import rewritten_outcome
from shared.fhir.paging import PAGE_RELATIONS, absolute, bundle_links, plain_link, same_site
from shared.fhir.policy import check_answer
from shared.fhir.request_headers import headers_up
from shared.message import Response
from shared.upstream.answer import judge
from shared.upstream.binary import SAFE, content_response
from shared.upstream.breaker import Breaker
from shared.upstream.context import RequestContext
from shared.upstream.credentials.credential import Credential
from shared.upstream.credentials.errors import CredentialError
from shared.upstream.credentials.factory import Credentials
from shared.upstream.headers import allowed, headers_down
from shared.upstream.hops import CREDENTIAL, UPSTREAM
from shared.upstream.limiter import Limiter
from shared.upstream.pages import Page, Pages
from shared.upstream.transport import Transport, Unanswered, UpstreamAnswer, UpstreamRequest

_REPEATABLE = frozenset(
    {InteractionKind.READ, InteractionKind.VREAD, InteractionKind.SEARCH_TYPE, InteractionKind.HISTORY_INSTANCE}
)
_OUT_OF_ORDER = frozenset({502, 503, 504})

PAGE_SEGMENT = "_page"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """What goes up: `query` and `body` already speak of the provider, `headers` are the client's (lower-case names).

    `page_url` is the provider's own URL of a further page, asked for instead of the interaction's path. `accept` is the
    client's where it asks for a Binary's own content. `repeatable` says that a batch holds nothing but reads.
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


class Exchange:
    """Sends interactions to providers and gives back answers in which every link leads to the gateway."""

    def __init__(self, transport: Transport, credentials: Credentials, limiter: Limiter, pages: Pages) -> None:
        self._transport = transport
        self._credentials = credentials
        self._limiter = limiter
        self._breaker = Breaker()
        self._pages = pages

    async def perform(self, context: RequestContext, request: FhirRequest) -> Response:
        """The provider's answer as the client gets it.

        Raises FhirError for everything that may not be passed on, StoreUnavailable for a vault that does not answer.
        """
        url = request.page_url or _url(context, request)
        async with self._limiter.slot(context.provider):
            answer = await self._authenticated(context, request, url)
        down = context.downstream_links
        try:
            judged = judge(answer, request.interaction, request.method)
        except FhirError as error:
            headers = headers_down(answer.headers, url, request.interaction, context.permissions, down)
            if (content := content_response(answer, request.accept, headers)) is not None:
                return content
            if answer.status == error.status:
                error.headers |= allowed(answer.headers, request.interaction, context.permissions)
            raise
        if judged.format is not None:
            check_answer(judged.document, context.permissions)
        headers = headers_down(judged.headers, url, request.interaction, context.permissions, down)
        if judged.format is None:
            return Response(judged.status, headers if request.accept is None else {**headers, **SAFE})
        links = await self._links(context, request, bundle_links(judged.document), url)
        link_url = (lambda link: links.get(link) or down.map(link)) if links else None
        body = rewrite_body(judged.body, judged.format, down, link_url)
        if judged.document["resourceType"] == "OperationOutcome" and judged.format is not context.format:
            headers["Content-Type"] = content_type(context.provider.version, context.format)
            body = rewritten_outcome(body, judged.format)
        return Response(judged.status, headers, body)

    async def _authenticated(self, context: RequestContext, request: FhirRequest, url: str) -> UpstreamAnswer:
        """The answer to the request with our credential; a 401 renews the credential and asks once more."""
        try:
            credential = self._credentials.of(context.provider)
            tls, proof = await self._proof(context, credential)
            answer = await self._send(context, request, url, proof, tls)
            if answer.status != 401:
                return answer
            credential.reject(proof)
            tls, renewed = await self._proof(context, credential)
            return answer if renewed == proof else await self._send(context, request, url, renewed, tls)
        except CredentialError as error:
            _log.error("tenant %s, %s: %s", context.provider.tenant, context.provider.version.value, error)
            raise FhirError(502, "security", "The gateway could not authenticate to the provider.") from None

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
        self, context: RequestContext, request: FhirRequest, found: Iterable[tuple[str, str]], url: str
    ) -> dict[str, str]:
        """What each of a Bundle's links becomes, by the URL as the provider wrote it."""
        links: dict[str, str] = {}
        # Last of all what is only named: a first page may be both `self` and `first`, and must be reachable.
        for relation, link in sorted(found, key=lambda named: named[0] == "self"):
            if link in links:
                continue
            target = absolute(link, url)
            plain = plain_link(target, context.downstream_links, context.base_url, context.permissions)
            if plain is not None:
                links[link] = plain
            elif relation == "self":
                links[link] = context.base_url + _path_and_query(request.interaction.path, "")
            elif same_site(target, context.provider.base_url):
                links[link] = await self._handle(context, request, target)
            elif relation in PAGE_RELATIONS:
                raise FhirError(502, "exception", "The provider's link to a further page leads to another server.")
        return links

    async def _handle(self, context: RequestContext, request: FhirRequest, url: str) -> str:
        page = Page(context.grant.tenant, context.grant.client_id, context.base, request.interaction.type or "", url)
        return f"{context.base_url}/{PAGE_SEGMENT}/{await self._pages.handle(page)}"


def _url(context: RequestContext, request: FhirRequest) -> str:
    query = spelled_format(request.query, context.provider.version)
    return context.provider.base_url + _path_and_query(request.interaction.path, query)


def _path_and_query(path: str, query: str) -> str:
    return (f"/{path}" if path else "") + (f"?{query}" if query else "")


def _headers_up(context: RequestContext, request: FhirRequest) -> dict[str, str]:
    headers = headers_up(request.headers, request.interaction, context.permissions, context.upstream_links)
    headers["accept"] = request.accept or context.provider.version.media_type(context.format)
    headers["accept-encoding"] = "gzip, deflate"
    headers["x-request-id"] = context.request_id
    if request.body_type is not None:
        headers["content-type"] = request.body_type
    return headers
