"""Access tokens: signed JWTs with the tenant in their scope (RFC 9068), sent as bearer tokens (RFC 6750)."""

import hashlib
import random
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from shared.error_kind import ErrorKind
from shared.fhir.errors import FhirError
from shared.fhir.scopes import Scope, parse_scope
from shared.oauth.jws import decoded, encoded, is_by_es256, signed_by_es256
from shared.oauth.signing_keys import ALGORITHM, SigningKey, SigningKeys
from shared.settings import Settings

_TYPE = "at+jwt"
LEEWAY_SECONDS = 5
"""By which clocks may differ."""
_MAX_LENGTH = 4096
_TEXTS = ("iss", "aud", "sub", "client_id", "jti", "scope", "sid")
_REMEMBERED = 20_000
_CHALLENGE = 'Bearer realm="fhir"'
_HEADER = "Authorization: Bearer [token]"


class InvalidToken(Exception):
    """The token is malformed, forged, expired or not meant for this gateway.

    `grant` is what one stood for that was good once. What ended it, `kind`, is for those who keep the gateway.
    """

    grant: "Grant | None" = None
    kind = ErrorKind.TOKEN_INVALID


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for: a client acting for one tenant within `scopes` (all if none), by a secret or key of it.

    One that was read from a token has the token's own id and times (`jti`, `iat` and `exp`, in seconds since 1970).
    """

    client_id: str
    credential_id: str
    tenant: str
    scopes: tuple[Scope, ...]
    token_id: str = field(default="", compare=False)
    issued_at: int = field(default=0, compare=False)
    expires: int = field(default=0, compare=False)

    def scope(self) -> str:
        """The claim and parameter `scope`: the tenant's GUID, then the SMART scopes."""
        return " ".join((self.tenant, *map(str, self.scopes)))


class EndedToken(InvalidToken):
    """The token is this gateway's own and was good: it has expired, or was ended before."""

    def __init__(self, grant: Grant, kind: ErrorKind) -> None:
        super().__init__()
        self.grant = grant
        self.kind = kind


class AccessTokens:
    """Issues and verifies the deployment's access tokens: ES256, issuer and audience are `PUBLIC_BASE_URL`.

    Verified tokens are remembered (at most 20,000, by their SHA-256) until they expire or their key leaves the ring.
    Whether they were ended before they expired is not decided here (see LiveTokens), and is not remembered with them.
    """

    def __init__(self, keys: SigningKeys, settings: Settings) -> None:
        self._keys = keys
        self._issuer = settings.public_base_url
        self._lifetime = settings.token_lifetime_seconds
        self._verified: OrderedDict[bytes, tuple[str, Grant]] = OrderedDict()

    async def issue(self, grant: Grant) -> tuple[str, int]:
        """A new token for a grant, and its lifetime in seconds. Raises StoreUnavailable without a signing key."""
        now = datetime.now(UTC)
        key = (await self._keys.ring()).signer(now)
        issued_at = int(now.timestamp())
        claims = {
            "iss": self._issuer,
            "aud": self._issuer,
            "sub": grant.client_id,
            "client_id": grant.client_id,
            "iat": issued_at,
            "exp": issued_at + self._lifetime,
            # Unique, no secret: asking the kernel for it would let other threads of the worker take over meanwhile.
            "jti": f"{random.getrandbits(128):032x}",
            "scope": grant.scope(),
            "sid": grant.credential_id,
        }
        return _signed(claims, key), self._lifetime

    async def verify(self, token: str) -> Grant:
        """The grant a token stands for (RFC 9068 section 4). Raises InvalidToken or StoreUnavailable."""
        if len(token) > _MAX_LENGTH:
            raise InvalidToken
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()  # it takes a tenth of a token's memory
        remembered = self._verified.get(digest)
        if remembered is not None:
            self._verified.move_to_end(digest)
            kid, grant = remembered
            if time.time() < grant.expires + LEEWAY_SECONDS and (await self._keys.ring()).find(kid) is not None:
                return grant
            self._verified.pop(digest, None)
        kid, grant = await self._verify(token)
        self._verified[digest] = kid, grant
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return grant

    async def _verify(self, token: str) -> tuple[str, Grant]:
        try:  # token.encode: of undecodable bytes servers hand on lone surrogates
            signed, _, mark = token.encode().rpartition(b".")
            head, _, payload = signed.partition(b".")
            kid, signature = _kid(head), decoded(mark)
            key = await self._keys.find(kid)
            if key is None or not is_by_es256(signed, signature, key.public_key):
                raise InvalidToken
            claims = orjson.loads(decoded(payload))
        except ValueError:
            raise InvalidToken from None
        now = time.time()
        grant = _grant(claims, self._issuer, now)
        if grant.expires <= now - LEEWAY_SECONDS:
            raise EndedToken(grant, ErrorKind.TOKEN_EXPIRED)
        return kid, grant


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token in the header `authorization`, and nowhere else: `Authorization: Bearer eyJhbGciOiJFUzI1NiIs...`.

    Raises FhirError (section 3): 401 without an error code when there are no credentials or others than a token, 401
    invalid_token for a JWT that `Bearer` does not stand before, 400 invalid_request when the header is not one token.
    """
    authorization = headers.get("authorization", "").strip()
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        if authorization.count(".") == 2:
            raise _refused(401, "login", "invalid_token", f"The token must be sent as {_HEADER}.")
        diagnostics = f"Get a token at the token URL of the statement, and send it as {_HEADER}."
        raise FhirError(401, "login", diagnostics, {"WWW-Authenticate": _CHALLENGE}, ErrorKind.NO_TOKEN)
    token = token.strip()
    if not token or " " in token or "," in token:
        raise _refused(400, "invalid", "invalid_request", "The Authorization header must hold one bearer token.")
    return token


def invalid_token(kind: ErrorKind) -> FhirError:
    """The token is malformed, expired or revoked; which of these is not told."""
    return _refused(401, "login", "invalid_token", "The access token is not valid. Get a new one.", kind)


def _signed(claims: dict[str, object], key: SigningKey) -> str:
    return signed_by_es256(_header(key.kid) + b"." + encoded(orjson.dumps(claims)), key.private_key).decode()


@lru_cache(maxsize=64)
def _kid(head: bytes) -> str:
    """The key that a token's first part names; all tokens of a key have the same. Raises ValueError."""
    header = orjson.loads(decoded(head))
    if not isinstance(header, dict) or header.keys() != {"alg", "typ", "kid"} or not isinstance(header["kid"], str):
        raise ValueError("another header than ours")
    if header["alg"] != ALGORITHM or header["typ"] != _TYPE:
        raise ValueError("another kind of token")
    return str(header["kid"])


@lru_cache(maxsize=16)
def _header(kid: str) -> bytes:
    """The header of every token that a key signs, encoded."""
    return encoded(orjson.dumps({"alg": ALGORITHM, "typ": _TYPE, "kid": kid}))


def _grant(claims: Any, issuer: str, now: float) -> Grant:
    """What claims stand for that one of our keys signed (RFC 9068 section 4), expired or not. Raises InvalidToken."""
    if not isinstance(claims, dict) or not all(isinstance(claims.get(name), str) for name in _TEXTS):
        raise InvalidToken
    issued_at, expires, begins = claims.get("iat"), claims.get("exp"), claims.get("nbf", 0)
    if type(issued_at) is not int or type(expires) is not int or type(begins) is not int:
        raise InvalidToken
    if claims["iss"] != issuer or claims["aud"] != issuer or claims["sub"] != claims["client_id"]:
        raise InvalidToken
    if max(issued_at, begins) > now + LEEWAY_SECONDS:
        raise InvalidToken
    tenant, *names = claims["scope"].split(" ")
    scopes = tuple(found for name in names if (found := parse_scope(name)) is not None)
    if len(scopes) != len(names):
        raise InvalidToken
    client_id, credential_id = sys.intern(claims["client_id"]), sys.intern(claims["sid"])  # one text for many tokens
    return Grant(client_id, credential_id, tenant, scopes, claims["jti"], issued_at, expires)


def _refused(status: int, code: str, error: str, diagnostics: str, kind: ErrorKind = ErrorKind.NO_TOKEN) -> FhirError:
    challenge = f'{_CHALLENGE}, error="{error}", error_description="{diagnostics}"'
    return FhirError(status, code, diagnostics, {"WWW-Authenticate": challenge}, kind)
