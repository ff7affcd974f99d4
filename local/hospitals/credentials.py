"""Client authentication at each hospital's server."""

import secrets
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qsl, unquote_plus

from cachetools import TTLCache

TOKEN_LIFETIME_SECONDS = 300
_MAX_TOKENS = 10_000


class Credential(Protocol):
    """A way of authentication: `challenge` is the WWW-Authenticate value of its 401."""

    challenge: str

    def accepts(self, headers: Mapping[str, str]) -> bool:
        """True for a request with `headers` (names in any case) of the known caller."""


class BasicPassword:
    """HTTP Basic (RFC 7617)."""

    challenge = 'Basic realm="fhir", charset="UTF-8"'

    def __init__(self, username: str, password: str) -> None:
        self._expected = (username, password)

    def accepts(self, headers: Mapping[str, str]) -> bool:
        given = _basic(headers.get("Authorization", ""))
        return given is not None and _same(given, self._expected)


class SubscriptionKey:
    """A static header, as Azure API Management has it."""

    challenge = 'AzureApiManagementKey realm="fhir",name="Ocp-Apim-Subscription-Key",type="header"'

    def __init__(self, key: str) -> None:
        self._key = key

    def accepts(self, headers: Mapping[str, str]) -> bool:
        return _same((headers.get("Ocp-Apim-Subscription-Key", ""),), (self._key,))


class TokenError(Exception):
    """A token request that fails: `error` of RFC 6749 section 5.2; `basic` when the challenge must name Basic."""

    def __init__(self, error: str, *, basic: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.status = 401 if error == "invalid_client" else 400
        self.basic = basic


class ClientSecret:
    """OAuth client credentials (RFC 6749 section 4.4) with opaque bearer tokens of 300 s; `clock` counts seconds."""

    challenge = 'Bearer realm="fhir"'

    def __init__(self, client_id: str, client_secret: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = (client_id, client_secret)
        self._tokens: TTLCache[str, bool] = TTLCache(_MAX_TOKENS, TOKEN_LIFETIME_SECONDS, timer=clock)

    def accepts(self, headers: Mapping[str, str]) -> bool:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and token.strip() in self._tokens

    def grant(self, authorization: str, form: str) -> str:
        """A new access token for a token request's Authorization header ("" without one) and form body.

        Raises TokenError.
        """
        pairs = [pair for pair in parse_qsl(form) if pair[1]]
        fields = dict(pairs)
        in_body = "client_id" in fields or "client_secret" in fields
        if len(fields) < len(pairs) or "grant_type" not in fields or (authorization and in_body):
            raise TokenError("invalid_request")
        if fields["grant_type"] != "client_credentials":
            raise TokenError("unsupported_grant_type")
        if not _same(_client(authorization, fields), self._expected):
            raise TokenError("invalid_client", basic=bool(authorization))
        token = secrets.token_urlsafe(32)
        self._tokens[token] = True
        return token


def _client(authorization: str, fields: Mapping[str, str]) -> tuple[str, str]:
    if not authorization:
        return fields.get("client_id", ""), fields.get("client_secret", "")
    # Section 2.3.1: both parts of the header are form-encoded before they are joined.
    username, password = _basic(authorization) or ("", "")
    return unquote_plus(username), unquote_plus(password)


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, colon, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (Base64Error, ValueError):
        return None
    return (username, password) if colon else None


def _same(given: tuple[str, ...], expected: tuple[str, ...]) -> bool:
    # As bytes, since compare_digest refuses a header's stray characters as text.
    left, right = (repr(parts).encode() for parts in (given, expected))
    return secrets.compare_digest(left, right)
