"""OAuth client credentials with a signed assertion (RFC 7523, section 2.2; SMART Backend Services)."""

import asyncio
import time
import uuid

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared.upstream.credentials.client_account import ClientAccount
from shared.upstream.credentials.client_secret import client_credentials_form
from shared.upstream.credentials.errors import CredentialError
from shared.upstream.credentials.token import IssuedToken, parse_token
from shared.upstream.credentials.token_endpoint import TokenEndpoint

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# SMART allows 300 s; the rest is for a provider whose clock is behind ours.
_ASSERTION_SECONDS = 240


class PrivateKeyJwt:
    """The secret is the client's private key: a PEM, or a JWK whose `kid` stands in for a missing `key_id`."""

    def __init__(self, endpoint: TokenEndpoint, client: ClientAccount, scope: str | None, key_id: str | None) -> None:
        self._endpoint = endpoint
        self._client = client
        self._scope = scope
        self._key_id = key_id

    async def issue(self) -> IssuedToken:
        """A token for the client; raises CredentialError or StoreUnavailable."""
        secret = await self._client.secret()
        try:
            # In a thread: OpenSSL checks an RSA key when it reads it, which takes long enough to be felt by others.
            assertion = await asyncio.to_thread(
                signed_assertion, secret, self._client.id, self._endpoint.url, self._key_id
            )
        except ValueError as error:
            raise CredentialError(f"Key Vault secret {self._client.secret_name} {error}") from None
        form = client_credentials_form(self._scope)
        form |= {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}
        return parse_token(await self._endpoint.post(form=form))


def signed_assertion(key: str, client_id: str, audience: str, key_id: str | None) -> str:
    """A JWT signed by `key`: RS384 for RSA, ES384 for P-384, ES256 for P-256; ValueError for anything else."""
    private_key, jwk_id = _private_key(key)
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + _ASSERTION_SECONDS,
    }
    kid = key_id or jwk_id
    headers = {"kid": kid} if kid else None
    return jwt.encode(claims, private_key, algorithm=_algorithm(private_key), headers=headers)


def _private_key(text: str) -> tuple[RSAPrivateKey | EllipticCurvePrivateKey, str | None]:
    try:
        if text.lstrip().startswith("{"):
            jwk = orjson.loads(text)
            kid = jwk.get("kid")
            key, key_id = jwt.PyJWK(jwk).key, kid if isinstance(kid, str) else None
        else:
            key, key_id = load_pem_private_key(text.encode(), password=None), None
    except Exception:
        # cryptography and PyJWT raise errors of many types here, and some quote the key.
        raise ValueError("is neither a private key in PEM (without a password) nor a JWK") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise ValueError("is not a private key of RSA, P-256 or P-384")
    return key, key_id


def _algorithm(key: RSAPrivateKey | EllipticCurvePrivateKey) -> str:
    if isinstance(key, RSAPrivateKey):
        return "RS384"
    if isinstance(key.curve, SECP384R1):
        return "ES384"
    if isinstance(key.curve, SECP256R1):
        return "ES256"
    raise ValueError("is not a private key of RSA, P-256 or P-384")
