"""The authorization server's HTTP side.

`POST oauth2/token` (RFC 6749 section 3.2), `oauth2/revoke` (RFC 7009) and `oauth2/introspect` (RFC 7662); `GET
oauth2/keys`; and `oauth2/authorize` (RFC 6749 section 3.1), which the definition of a statement's `oauth-uris` in R4
asks for: nobody signs in here, so it refuses every response type.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

import orjson
from msgspec import Struct, structs

from shared.audit import AuditLog
from shared.directory.client import Client
from shared.directory.client_cache import ClientCache
from shared.directory.tenant_cache import TenantCache
from shared.directory.traffic import Traffic
from shared.directory.usage import Usage
from shared.error_kind import ErrorKind
from shared.message import Request, Response, request_id
from shared.oauth.access_token import Grant
from shared.oauth.client_assertion import ClientAssertions
from shared.oauth.client_authentication import Assertion, Credentials, authenticate
from shared.oauth.errors import (
    NO_STORE,
    InvalidClient,
    InvalidTarget,
    MethodNotAllowed,
    NotFound,
    OAuthError,
    ServerError,
    TargetRefused,
    TemporarilyUnavailable,
    TenantRefused,
    UnsupportedResponseType,
)
from shared.oauth.live_tokens import LiveTokens
from shared.oauth.signing_keys import SigningKeys
from shared.oauth.token_request import (
    claimed_credentials,
    only_tenant,
    parse_about_token,
    parse_resource,
    parse_scope_request,
    parse_token_request,
)
from shared.stores.errors import StoreUnavailable

# Failed authentications get their response at whole steps of this time, so that the time tells nothing of what failed.
_REFUSAL_SECONDS = 0.2

_log = logging.getLogger(__name__)


class _Caller(Struct):
    """The sender of a request, as far as it is known: "" until then."""

    client_id: str = ""
    credential_id: str = ""
    tenant: str = ""


_Respond = Callable[[Request, _Caller], Awaitable[Response]]


class OAuthEndpoint(Struct, frozen=True):
    """Everything below `oauth2/`; every refusal is an OAuth error in JSON."""

    public_base_url: str
    clients: ClientCache
    assertions: ClientAssertions
    tenants: TenantCache
    keys: SigningKeys
    live_tokens: LiveTokens
    usage: Usage
    traffic: Traffic
    audit: AuditLog

    async def __call__(self, request: Request) -> Response:
        response = await self._respond(request)
        return structs.replace(response, body=b"") if request.method == "HEAD" else response

    async def _respond(self, request: Request) -> Response:
        began = time.monotonic()
        try:
            match request.path.strip("/").lower():
                case "oauth2/token":
                    return await self._audited("token", request, self._token)
                case "oauth2/revoke":
                    return await self._audited("revoke", request, self._revoke)
                case "oauth2/introspect":
                    return await self._audited("introspect", request, self._introspect)
                case "oauth2/keys":
                    return await self._published_keys(request)
                case "oauth2/authorize":
                    return _refused_authorization(request)
            raise NotFound("there is token, revoke, introspect, keys and authorize here, and nothing else")
        except OAuthError as error:
            if isinstance(error, InvalidClient):
                await asyncio.sleep(_REFUSAL_SECONDS - (time.monotonic() - began) % _REFUSAL_SECONDS)
            return error.response(self.public_base_url)
        except StoreUnavailable as error:
            _log.error("oauth2: %s", error)
            return TemporarilyUnavailable().response(self.public_base_url)
        except Exception:
            _log.exception("oauth2: unexpected error")
            return ServerError().response(self.public_base_url)

    async def _audited(self, event: str, request: Request, respond: _Respond) -> Response:
        """The response to a client that has to authenticate; what is known of it by then goes to the audit log."""
        if request.method == "OPTIONS":
            return Response(204, {"Allow": "POST, OPTIONS"})
        if request.method != "POST":
            raise MethodNotAllowed("this endpoint takes POST", {"Allow": "POST, OPTIONS"})
        began = time.monotonic()
        caller = _Caller()
        status, error = 500, ServerError.error
        kind: ErrorKind | None = ServerError.kind
        try:
            response = await respond(request, caller)
            status, error, kind = 200, "", None
        except OAuthError as refused:
            status, error, kind = refused.status, refused.error, refused.kind
            # This response waits; that of another refusal would tell by its time who is known.
            if isinstance(refused, InvalidClient):
                caller.client_id, kind = await self._refused_client(claimed_credentials(request), refused.kind)
            raise
        except StoreUnavailable:
            status, error = TemporarilyUnavailable.status, TemporarilyUnavailable.error
            kind = TemporarilyUnavailable.kind
            raise
        finally:
            if event == "token":
                self.traffic.token_request(caller.client_id, kind)
            await self.audit.token_request(
                event=event,
                request_id=request_id(request.headers),
                client_id=caller.client_id,
                secret_id=caller.credential_id,
                tenant=caller.tenant,
                status=status,
                error=error,
                kind=kind or "",
                milliseconds=(time.monotonic() - began) * 1000,
            )
        self.usage.used(caller.client_id, caller.credential_id)
        return response

    async def _authenticated(self, credentials: Credentials | Assertion, caller: _Caller) -> Client:
        client, caller.credential_id = await authenticate(self.clients, self.assertions, credentials)
        caller.client_id = client.id
        return client

    async def _token(self, request: Request, caller: _Caller) -> Response:
        token_request = parse_token_request(request)
        client = await self._authenticated(token_request.credentials, caller)
        scoped, scopes = parse_scope_request(token_request.scope)
        named = parse_resource(token_request.resource, self.public_base_url)
        if scoped is not None and named not in (None, scoped):
            raise InvalidTarget("resource and the scope name different tenants")
        caller.tenant = scoped or named or only_tenant(client, self.public_base_url)
        if not client.may_reach(caller.tenant) or not await self.tenants.known(caller.tenant):
            raise TargetRefused if named and not scoped else TenantRefused
        token, lifetime = await self.live_tokens.tokens.issue(
            Grant(client.id, caller.credential_id, caller.tenant, scopes)
        )
        body = {
            "token_type": "Bearer",
            "access_token": token,
            "expires_in": lifetime,
            # As it was sent: requests-oauthlib takes a GUID in other letters for another scope, and fails.
            "scope": " ".join(token_request.scope.split()) or caller.tenant,
        }
        return _json(body)

    async def _revoke(self, request: Request, caller: _Caller) -> Response:
        """The same whether the token was the client's to end or not (RFC 7009 section 2.2)."""
        credentials, token = parse_about_token(request)
        await self._authenticated(credentials, caller)
        grant = await self._own_grant(token, caller)
        if grant is not None:
            await self.live_tokens.revoke(grant)
        return Response(200, NO_STORE)

    async def _introspect(self, request: Request, caller: _Caller) -> Response:
        """Of a token that is not the client's own, or is good no more, nothing but that (RFC 7662 section 2.2)."""
        credentials, token = parse_about_token(request)
        await self._authenticated(credentials, caller)
        grant = await self._own_grant(token, caller)
        if grant is None or not await self.live_tokens.holds(grant):
            return _json({"active": False})
        body = {
            "active": True,
            "token_type": "Bearer",
            "scope": grant.scope(),
            **dict.fromkeys(("client_id", "sub"), grant.client_id),
            **dict.fromkeys(("iss", "aud"), self.public_base_url),
            "jti": grant.token_id,
            "iat": grant.issued_at,
            "exp": grant.expires,
        }
        return _json(body)

    async def _own_grant(self, token: str, caller: _Caller) -> Grant | None:
        grant = await self.live_tokens.own(token, caller.client_id)
        caller.tenant = grant.tenant if grant is not None else ""
        return grant

    async def _refused_client(self, claimed: Credentials, kind: ErrorKind) -> tuple[str, ErrorKind]:
        """The id if it is a client's, else "" (what else stands there may be a secret), and why it is refused."""
        try:
            if not await self.clients.known(claimed.client_id):
                return "", kind
            if kind is InvalidClient.kind:
                kind = await self.clients.refusal(claimed.client_id, claimed.client_secret) or kind
        except StoreUnavailable:
            return "", ErrorKind.STORE_UNAVAILABLE
        return claimed.client_id, kind

    async def _published_keys(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(204, {"Allow": "GET, HEAD, OPTIONS"})
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("read the keys with GET", {"Allow": "GET, HEAD, OPTIONS"})
        ring = await self.keys.ring()
        headers = {"Content-Type": "application/json", "Cache-Control": "public, max-age=60"}
        return Response(200, headers, orjson.dumps(ring.jwks()))


def _refused_authorization(request: Request) -> Response:
    """Never a redirect: no client has registered where to (section 4.1.2.1)."""
    if request.method == "OPTIONS":
        return Response(204, {"Allow": "GET, HEAD, POST, OPTIONS"})
    if request.method not in ("GET", "HEAD", "POST"):
        raise MethodNotAllowed("nobody can sign in here", {"Allow": "GET, HEAD, POST, OPTIONS"})
    raise UnsupportedResponseType(
        "nobody signs in here: an app gets its token by client_credentials at the token endpoint"
    )


def _json(body: Mapping[str, object]) -> Response:
    return Response(200, {"Content-Type": "application/json", **NO_STORE}, orjson.dumps(body))
