"""Client authentication by a signed assertion (RFC 7523 section 3; SMART App Launch 2.2, "Backend Services").

client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer
client_assertion=eyJhbGciOiJFUzM4NCIsImtpZCI6IjIwMjYtMTEifQ.eyJpc3MiOiI...
"""

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from shared.directory.client import Client
from shared.directory.client_cache import ClientCache
from shared.directory.client_keys import ALGORITHMS, ClientKey
from shared.directory.errors import KeySetUnavailable
from shared.error_kind import ErrorKind
from shared.oauth.errors import InvalidClient
from shared.oauth.jws import decoded
from shared.oauth.used_assertions import UsedAssertions

_MAX_LENGTH = 8_192
MAX_SECONDS = 300
_LEEWAY_SECONDS = 30  # by which clocks may differ
_MAX_JTI = 255
_SHAPE = "is no signed JWT: three parts in base64url, with a dot between them"
_HEADER = "has a header that nobody here understands: kid must be a text, and crit not be there"
_REQUIRED = ["iss", "sub", "aud", "exp", "jti"]

_log = logging.getLogger(__name__)


class ClientAssertions(Struct, frozen=True):
    """Verifies assertions. Each is good once on all instances; what is wrong with one stands in InvalidClient's
    `reason`.
    """

    clients: ClientCache
    used: UsedAssertions
    public_base_url: str

    async def verify(self, assertion: str) -> tuple[Client, ClientKey]:
        """The client that made the assertion, and the key it did by.

        Raises InvalidClient, whose kind says what is wrong to those who keep the gateway; StoreUnavailable when the
        directory does not answer, or the assertion can't be noted as used.
        """
        read = _unverified(assertion)
        try:
            found = await self.clients.key(read.client_id, read.kid)
        except KeySetUnavailable as error:
            _log.warning("client %s: its key set %s", read.client_id, error)
            raise InvalidClient(ErrorKind.KEYS_UNAVAILABLE) from error
        if found is None:
            raise InvalidClient(ErrorKind.ASSERTION_KEY_UNKNOWN)
        client, key = found
        claims = self._claims(read, key)
        if not await self.used.use(client.id, claims["jti"], int(claims["exp"]) + _LEEWAY_SECONDS + 1):
            raise InvalidClient(ErrorKind.ASSERTION_REPLAYED)
        return client, key

    async def check(self, assertion: str, client: Client, keys: Sequence[ClientKey]) -> None:
        """Whether the assertion proves this client, whose `keys` these are: InvalidClient if not. It stays unused.

        Raises StoreUnavailable as well.
        """
        read = _unverified(assertion)
        if read.client_id != client.id:
            reason = f"names another client in iss and sub than this one, {client.id}"
            raise InvalidClient(ErrorKind.ASSERTION_MALFORMED, reason)
        key = next((key for key in keys if key.kid == read.kid), None)
        if key is None:
            known = ", ".join(key.kid for key in keys) or "none"
            reason = f"has a kid that is none of the client's keys; those are {known}"
            raise InvalidClient(ErrorKind.ASSERTION_KEY_UNKNOWN, reason)
        claims = self._claims(read, key)
        if await self.used.is_used(client.id, claims["jti"]):
            raise InvalidClient(ErrorKind.ASSERTION_REPLAYED, "was sent already, or another of the same jti")

    def _claims(self, read: "_Unverified", key: ClientKey) -> dict[str, Any]:
        if read.algorithm not in key.algorithms:
            reason = f"is signed by {read.algorithm}, but its key is good for {', '.join(sorted(key.algorithms))} alone"
            raise InvalidClient(ErrorKind.ASSERTION_SIGNATURE, reason)
        import jwt  # here: a start has no time for it, and most requests have no assertion

        if not jwt.get_algorithm_by_name(read.algorithm).verify(read.signed, key.public_key, read.signature):
            reason = "is signed by another key than the one that is registered under its kid, or was altered"
            raise InvalidClient(ErrorKind.ASSERTION_SIGNATURE, reason)
        claims = read.claims
        for name in _REQUIRED:
            if claims.get(name) is None:
                raise InvalidClient(ErrorKind.ASSERTION_MALFORMED, f"has no {name}")
        try:
            expires, *begins = (int(claims[name]) for name in ("exp", "iat", "nbf") if name in claims)
        except (ValueError, OverflowError, TypeError):
            reason = "has a claim of another type: exp, nbf and iat are numbers, the seconds since 1970"
            raise InvalidClient(ErrorKind.ASSERTION_MALFORMED, reason) from None
        now = time.time()
        if any(begin > now + _LEEWAY_SECONDS for begin in begins):
            raise InvalidClient(ErrorKind.ASSERTION_TIMES, "has an iat or nbf that is still to come")
        if expires <= now - _LEEWAY_SECONDS:
            raise InvalidClient(ErrorKind.ASSERTION_TIMES, "has expired: its exp has passed")
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) == 1:
            audience = audience[0]
        good = audiences(self.public_base_url)
        if audience not in good:
            raise InvalidClient(ErrorKind.ASSERTION_AUDIENCE, f"has another aud than {' or '.join(good)}")
        if not isinstance(claims["exp"], int | float):
            reason = "has an exp that is no number, the seconds since 1970"
            raise InvalidClient(ErrorKind.ASSERTION_MALFORMED, reason)
        if claims["exp"] > now + MAX_SECONDS + _LEEWAY_SECONDS:
            reason = f"has an exp that is more than {MAX_SECONDS} seconds ahead"
            raise InvalidClient(ErrorKind.ASSERTION_TIMES, reason)
        if not isinstance(claims["jti"], str) or not 1 <= len(claims["jti"]) <= _MAX_JTI:
            reason = f"has a jti that is no text of 1 to {_MAX_JTI} characters"
            raise InvalidClient(ErrorKind.ASSERTION_MALFORMED, reason)
        return claims


def audiences(public_base_url: str) -> tuple[str, str]:
    """The two values of `aud` that are good: the token endpoint's URL, and the issuer."""
    return f"{public_base_url}/oauth2/token", public_base_url


def claimed_client(assertion: str) -> str:
    """The client that an assertion says it is of, "" where that can't be read. It proves nothing."""
    try:
        return _unverified(assertion).client_id
    except InvalidClient:
        return ""


class _Unverified(Struct, frozen=True):
    """An assertion that was read, whoever made it; `signed` are the bytes that its signature is of."""

    client_id: str
    kid: str
    algorithm: str
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def _unverified(assertion: str) -> _Unverified:
    """The assertion, whose header names a key and an algorithm of ours, and whose `iss` and `sub` name one client.

    Whatever else the header holds (`jku`, `jwk`, `x5u`) leads nowhere; `crit` asks for what nobody here does.
    """
    malformed = ErrorKind.ASSERTION_MALFORMED
    if len(assertion) > _MAX_LENGTH:
        raise InvalidClient(malformed, f"has more than {_MAX_LENGTH} characters")
    try:
        signed, _, mark = assertion.encode().rpartition(b".")
        header, claims = (json.loads(decoded(part)) for part in signed.split(b"."))
        signature = decoded(mark)
    except (ValueError, RecursionError):
        raise InvalidClient(malformed, _SHAPE) from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise InvalidClient(malformed, _SHAPE)
    client_id = claims.get("sub")
    if not isinstance(client_id, str) or claims.get("iss") != client_id:
        raise InvalidClient(malformed, "does not have the client's ID in both iss and sub")
    if not isinstance(header.get("kid"), str):
        raise InvalidClient(malformed, "has no kid in its header")
    if "crit" in header:
        raise InvalidClient(malformed, _HEADER)
    if header.get("alg") not in ALGORITHMS:
        raise InvalidClient(malformed, f"has another alg in its header than {', '.join(ALGORITHMS)}")
    return _Unverified(client_id, header["kid"], header["alg"], claims, signed, signature)
