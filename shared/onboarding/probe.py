"""The check's calls to a provider, by the gateway's own transport, credential and validation, without a client."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.directory.provider import Access, AuthKind, Provider, SearchMethod
from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind
from shared.fhir.negotiation import media_type_format
from shared.fhir.paging import InvalidPageLink, Paging
from shared.fhir.policy import Permissions, check_response
from shared.fhir.rewriting import LinkMap
from shared.fhir.scopes import Action, parse_scope
from shared.fhir.versions import FhirFormat
from shared.onboarding.app_call import AppCall
from shared.onboarding.problem import Problem, ProblemKind
from shared.pauses import paused
from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.vault import Vault
from shared.upstream.credentials.credential import CredentialError
from shared.upstream.credentials.factory import Credentials
from shared.upstream.response import validate_response
from shared.upstream.search import FORM, provider_search
from shared.upstream.transport import Transport, UpstreamRequest, UpstreamResponse

_MAX_AT_ONCE = 4
_MAX_SECRETS = 8  # one row names two at most
_READS = Action.READ | Action.SEARCH
_MEDIA_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,60}")

_BY_STATUS = {
    401: ProblemKind.CREDENTIAL_REFUSED,
    407: ProblemKind.CREDENTIAL_REFUSED,
    403: ProblemKind.FORBIDDEN,
    404: ProblemKind.NOT_FOUND,
    410: ProblemKind.NOT_FOUND,
    429: ProblemKind.THROTTLED,
}


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a call. `document` is the resource, empty when there is a `problem`.

    `status` is the HTTP status, or None without a response; `milliseconds` is how long the provider took.
    """

    problem: Problem | None = None
    status: int | None = None
    media_type: str = ""
    milliseconds: float = 0.0
    document: Mapping[str, Any] = field(default_factory=dict)


class Probe:
    """Sends calls to one provider, at most four at once and never more than its row allows."""

    def __init__(self, provider: Provider, transport: Transport, credentials: Credentials, timeout: float) -> None:
        self.provider = provider
        self._transport = transport
        self._credentials = credentials
        self._timeout = timeout
        self._slots = asyncio.Semaphore(min(_MAX_AT_ONCE, provider.max_concurrent))
        self._permissions = Permissions(provider.types, provider.version, provider.access is Access.WRITE)
        self._own_links = LinkMap((provider.base_url,), provider.base_url)

    async def send(self, call: AppCall) -> CallResult:
        """The result of a call, validated as the gateway would; raises StoreUnavailable when the vault is."""
        async with self._slots:
            deadline = asyncio.get_running_loop().time() + self._timeout
            try:
                async with asyncio.timeout_at(deadline):
                    tls = await self._credentials.client_context(self.provider)
                    proof = await self._credentials.of(self.provider).headers()
            except (CredentialError, TimeoutError) as error:  # of the two, a timeout has no text
                return CallResult(Problem(ProblemKind.NO_CREDENTIAL, call.label, str(error) or "no token in time"))
            began = time.perf_counter()
            try:
                response = await self._send(call, proof, deadline, tls)
            except FhirError as error:
                return CallResult(Problem(_no_response(error), call.label), milliseconds=_since(began))
            return await self._validated(call, response, _since(began))

    def own(self, url: str) -> str | None:
        """A URL at or below the provider's base as the gateway would send it; None for any other."""
        return self._own_links.map(url)

    def followed(self, link: str, call: AppCall) -> str | None:
        """The URL that the gateway would follow a response's link to; None when the link leads to another server."""
        base, origins = self.provider.base_url, self.provider.page_origins
        links = Paging(base, origins, self._own_links, base, self._permissions)
        try:
            return links.page(link, call.page_url or f"{base}/{call.interaction.path}", call.interaction).url
        except InvalidPageLink:
            return None

    async def _send(
        self, call: AppCall, proof: Mapping[str, str], deadline: float, tls: ssl.SSLContext | None
    ) -> UpstreamResponse:
        form = call.body.decode() if call.body is not None and call.body_type == FORM else None
        search = provider_search(self.provider, call.method, call.interaction, call.query, form)
        path, query = f"/{search.path}" if search.path else "", f"?{search.query}" if search.query else ""
        url = call.page_url or f"{self.provider.base_url}{path}{query}"
        method, body, body_type = call.method, call.body, call.body_type
        if search.form is not None and call.page_url is None:
            method, body, body_type = search.method, search.form.encode(), FORM
        headers = {
            "accept": self.provider.version.media_type(FhirFormat.JSON),
            "accept-encoding": "gzip, deflate",
            **({"content-type": body_type} if body_type else {}),
        }
        for name, value in (*self.provider.extra_headers, *proof.items()):
            headers[name.lower()] = value
        request = UpstreamRequest(method, url, headers, body, repeatable=True)
        return await self._transport.send(request, deadline=deadline, tls=tls)

    async def _validated(self, call: AppCall, response: UpstreamResponse, milliseconds: float) -> CallResult:
        media_type = _media_type(response)
        kind, detail = self._by_status(response.status, call), str(response.status)
        document: dict[str, Any] = {}
        if kind is None:
            kind, detail, document = await self._read(call, response, media_type)
        problem = Problem(kind, call.label, detail) if kind is not None else None
        return CallResult(problem, response.status, media_type, milliseconds, document)

    def _by_status(self, status: int, call: AppCall) -> ProblemKind | None:
        if 300 <= status < 400:
            return ProblemKind.REDIRECT
        if status >= 500:
            return ProblemKind.SERVER_ERROR
        if status == 403 and not self._in_scope(call.interaction.type):
            return ProblemKind.OUT_OF_SCOPE
        by_get = call.method == "GET" and call.interaction.kind is InteractionKind.SEARCH_TYPE
        if status == 405 and by_get and self.provider.search is SearchMethod.GET:
            return ProblemKind.GET_REFUSED
        return _BY_STATUS.get(status, ProblemKind.REFUSED) if status >= 400 else None

    def _in_scope(self, type: str | None) -> bool:
        """Whether the row asks for tokens that are good for a type; without a scope the server decides."""
        auth = self.provider.auth
        if auth.scope is None or auth.kind is AuthKind.ENTRA:  # whose scope is an audience
            return True
        scopes = map(parse_scope, auth.scope.split())
        return any(scope is not None and scope.type in ("*", type) and scope.actions & _READS for scope in scopes)

    async def _read(
        self, call: AppCall, response: UpstreamResponse, media_type: str
    ) -> tuple[ProblemKind | None, str, dict[str, Any]]:
        """The document in a successful response, or what is wrong with it."""
        try:
            body = await paused(validate_response(response, call.interaction, call.method))
        except FhirError:
            if response.body and media_type_format(media_type) is None:
                return ProblemKind.NOT_FHIR, media_type or "without a media type", {}
            body = None
        if body is None:
            return ProblemKind.MALFORMED, "", {}
        if body.format is not FhirFormat.JSON:
            return ProblemKind.NOT_JSON, "", {}
        if body.resource.type not in call.expected:
            return ProblemKind.UNEXPECTED_RESOURCE, "", {}
        if call.interaction.kind is not InteractionKind.CAPABILITIES:
            try:
                check_response(body.resource, call.interaction.kind, self._permissions)
            except FhirError as error:
                return ProblemKind.OTHER_TYPES, error.diagnostics.rstrip("."), {}
        return None, "", json.loads(body.content)


@asynccontextmanager
async def open_probe(provider: Provider, vault: Vault, settings: Settings) -> AsyncIterator[Probe]:
    """A probe with a credential made now, so that one that was stored a moment ago is the one that is tried."""

    async def value(name: str) -> str | None:
        secret = await vault.get(name)
        return None if secret is None else secret.value

    async def is_current(*_: object) -> bool:
        return True

    values: Cache[str, str] = Cache(
        value, fresh_seconds=settings.cache_seconds, stale_seconds=settings.stale_seconds, size=_MAX_SECRETS
    )
    transport = Transport(settings.max_response_bytes)
    credentials = Credentials(transport.client, values, is_current)
    try:
        timeout = provider.timeout_seconds or settings.upstream_timeout_seconds
        yield Probe(provider, transport, credentials, timeout)
    finally:
        await credentials.close()
        await transport.close()


def _no_response(error: FhirError) -> ProblemKind:
    if error.status == 504:
        return ProblemKind.TIMEOUT
    return ProblemKind.UNREACHABLE if error.code == "transient" else ProblemKind.MALFORMED


def _media_type(response: UpstreamResponse) -> str:
    """The response's media type, if it is one: nothing else of a header is reported."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else ""


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
