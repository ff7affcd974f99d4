"""Client authentication by a signed assertion (RFC 7523 section 3; SMART App Launch 2.2, "Backend Services").

client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer
client_assertion=eyJhbGciOiJFUzM4NCIsImtpZCI6IjIwMjYtMTEifQ.eyJpc3MiOiI...
"""

import hashlib
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from shared.directory.client import Client
from shared.directory.client_cache import ClientCache
from shared.directory.client_keys import ALGORITHMS, ClientKey
from shared.directory.key_sets import KeySetUnavailable
from shared.error_kind import ErrorKind
from shared.oauth.errors import InvalidClient
from shared.stores.errors import StoreConflict
from shared.stores.tables import Table

_MAX_LENGTH = 8_192
_MAX_SECONDS = 300
_LEEWAY_SECONDS = 30  # by which clocks may differ
_MAX_JTI = 255
_REQUIRED = ["iss", "sub", "aud", "exp", "jti"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientAssertions:
    """Verifies assertions. Each is good once on all instances, by a row of the table `Assertions` (PartitionKey =
    client_id, RowKey = SHA-256 of the `jti`, `Expires`).
    """

    clients: ClientCache
    used: Table
    public_base_url: str

    async def verify(self, assertion: str) -> tuple[Client, ClientKey]:
        """The client that made the assertion, and the key it did by.

        Raises InvalidClient, whose kind says what is wrong to those who keep the gateway; StoreUnavailable when the
        directory does not answer, or the assertion can't be noted as used.
        """
        header, client_id = _unverified(assertion)
        try:
            found = await self.clients.key(client_id, header["kid"])
        except KeySetUnavailable as error:
            _log.warning("client %s: %s", client_id, error)
            raise InvalidClient(ErrorKind.KEYS_UNAVAILABLE) from error
        if found is None:
            raise InvalidClient(ErrorKind.ASSERTION_KEY_UNKNOWN)
        client, key = found
        claims = self._claims(assertion, key, header["alg"])
        await self._use(client.id, claims)
        return client, key

    def _claims(self, assertion: str, key: ClientKey, algorithm: str) -> dict[str, Any]:
        if algorithm not in key.algorithms:
            raise InvalidClient(ErrorKind.ASSERTION_SIGNATURE)
        try:
            claims: dict[str, Any] = jwt.decode(
                assertion,
                key.public_key,
                algorithms=[algorithm],
                leeway=_LEEWAY_SECONDS,
                options={"require": _REQUIRED, "verify_aud": False},
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError, jwt.InvalidIssuedAtError):
            raise InvalidClient(ErrorKind.ASSERTION_TIMES) from None
        except jwt.InvalidSignatureError:
            raise InvalidClient(ErrorKind.ASSERTION_SIGNATURE) from None
        except (jwt.PyJWTError, ValueError, OverflowError, TypeError):  # TypeError: a time that is a list
            raise InvalidClient(ErrorKind.ASSERTION_MALFORMED) from None
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) == 1:
            audience = audience[0]
        if audience not in (self.public_base_url, f"{self.public_base_url}/oauth2/token"):
            raise InvalidClient(ErrorKind.ASSERTION_AUDIENCE)
        if not isinstance(claims["exp"], int | float):
            raise InvalidClient(ErrorKind.ASSERTION_MALFORMED)
        if claims["exp"] > time.time() + _MAX_SECONDS + _LEEWAY_SECONDS:
            raise InvalidClient(ErrorKind.ASSERTION_TIMES)
        if not isinstance(claims["jti"], str) or not 1 <= len(claims["jti"]) <= _MAX_JTI:
            raise InvalidClient(ErrorKind.ASSERTION_MALFORMED)
        return claims

    async def _use(self, client_id: str, claims: dict[str, Any]) -> None:
        name = hashlib.sha256(claims["jti"].encode("utf-8", "surrogatepass")).hexdigest()
        expires = datetime.fromtimestamp(int(claims["exp"]) + _LEEWAY_SECONDS + 1, UTC)
        try:
            await self.used.insert({"PartitionKey": client_id, "RowKey": name, "Expires": expires})
        except StoreConflict:
            raise InvalidClient(ErrorKind.ASSERTION_REPLAYED) from None


def claimed_client(assertion: str) -> str:
    """The client that an assertion says it is of, "" where that can't be read. It proves nothing."""
    try:
        return _unverified(assertion)[1]
    except InvalidClient:
        return ""


def _unverified(assertion: str) -> tuple[dict[str, Any], str]:
    """The header, which names a key and an algorithm of ours, and the client that both `iss` and `sub` name.

    Whatever else the header holds (`jku`, `jwk`, `x5u`) leads nowhere; `crit` asks for what nobody here does.
    """
    if len(assertion) > _MAX_LENGTH:
        raise InvalidClient(ErrorKind.ASSERTION_MALFORMED)
    try:
        header = jwt.get_unverified_header(assertion)
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidClient(ErrorKind.ASSERTION_MALFORMED) from None
    client_id = claims.get("sub")
    named = isinstance(client_id, str) and claims.get("iss") == client_id and isinstance(header.get("kid"), str)
    if not named or header.get("alg") not in ALGORITHMS or "crit" in header:
        raise InvalidClient(ErrorKind.ASSERTION_MALFORMED)
    return header, str(client_id)
