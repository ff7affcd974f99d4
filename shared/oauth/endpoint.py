"""The authorization server's HTTP side: `POST oauth2/token` (RFC 6749 section 3.2) and `GET oauth2/keys`."""

import asyncio
import logging
import time
from dataclasses import replace

import orjson

from shared.audit import AuditLog
from shared.directory.clients import Clients
from shared.directory.errors import StoreUnavailable
from shared.directory.tenants import Tenants
from shared.directory.usage import Usage
from shared.message import Request, Response
from shared.oauth.access_token import AccessTokens, Grant
from shared.oauth.client_authentication import authenticate
from shared.oauth.client_secret import secret_id_of
from shared.oauth.errors import (
    NO_STORE,
    InvalidClient,
    InvalidScope,
    MethodNotAllowed,
    OAuthError,
    ServerError,
    TemporarilyUnavailable,
)
from shared.oauth.scope_request import parse_scope_request
from shared.oauth.signing_keys import SigningKeys
from shared.oauth.token_request import parse_token_request

# Failed authentications are answered at whole steps of this time, so that the time tells nothing about what failed.
_REFUSAL_SECONDS = 0.2

_log = logging.getLogger(__name__)


class OAuthEndpoint:
    """Answers everything below `oauth2/`; every refusal is an OAuth error in JSON."""

    def __init__(
        self,
        clients: Clients,
        tenants: Tenants,
        keys: SigningKeys,
        tokens: AccessTokens,
        usage: Usage,
        audit: AuditLog,
    ) -> None:
        self._clients = clients
        self._tenants = tenants
        self._keys = keys
        self._tokens = tokens
        self._usage = usage
        self._audit = audit

    async def __call__(self, request: Request) -> Response:
        response = await self._answer(request)
        return replace(response, body=b"") if request.method == "HEAD" else response

    async def _answer(self, request: Request) -> Response:
        began = time.monotonic()
        keys = request.path.rstrip("/").lower().endswith("/keys")
        try:
            return await (self._published_keys(request) if keys else self._token(request))
        except OAuthError as error:
            if isinstance(error, InvalidClient):
                await asyncio.sleep(_REFUSAL_SECONDS - (time.monotonic() - began) % _REFUSAL_SECONDS)
            return error.response()
        except StoreUnavailable as error:
            _log.error("oauth2: %s", error)
            return TemporarilyUnavailable().response()
        except Exception:
            _log.exception("oauth2: unexpected error")
            return ServerError().response()

    async def _token(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(204, {"Allow": "POST, OPTIONS"})
        if request.method != "POST":
            raise MethodNotAllowed("ask for a token with POST", {"Allow": "POST, OPTIONS"})
        began = time.monotonic()
        client_id = secret_id = tenant = ""
        status, error = 500, ServerError.error
        try:
            asked = parse_token_request(request)
            client = await authenticate(self._clients, asked.client_id, asked.client_secret)
            client_id, secret_id = client.id, secret_id_of(asked.client_secret)
            tenant, scopes = parse_scope_request(asked.scope)
            if not client.may_reach(tenant) or not await self._tenants.known(tenant):
                raise InvalidScope("the scope must name one tenant that this client may reach")
            grant = Grant(client.id, secret_id, tenant, scopes)
            token, lifetime = await self._tokens.issue(grant)
            status, error = 200, ""
        except OAuthError as refused:
            status, error = refused.status, refused.error
            raise
        except StoreUnavailable:
            status, error = TemporarilyUnavailable.status, TemporarilyUnavailable.error
            raise
        finally:
            self._audit.token_request(
                client_id=client_id,
                secret_id=secret_id,
                tenant=tenant,
                status=status,
                error=error,
                milliseconds=(time.monotonic() - began) * 1000,
            )
        self._usage.used(client.id, secret_id)
        answer: dict[str, object] = {"token_type": "Bearer", "access_token": token, "expires_in": lifetime}
        if grant.scope() != asked.scope:
            answer["scope"] = grant.scope()
        return Response(200, {"Content-Type": "application/json", **NO_STORE}, orjson.dumps(answer))

    async def _published_keys(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(204, {"Allow": "GET, HEAD, OPTIONS"})
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("read the keys with GET", {"Allow": "GET, HEAD, OPTIONS"})
        ring = await self._keys.ring()
        headers = {"Content-Type": "application/json", "Cache-Control": "public, max-age=60"}
        return Response(200, headers, orjson.dumps(ring.jwks()))
