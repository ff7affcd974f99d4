"""Token requests to a provider's token endpoint: one class for each way to authenticate there.

OAuth client credentials (RFC 6749, section 4.4) with a client secret in the body, by HTTP Basic, or with a signed
assertion, and Redox's legacy API key.
"""

import asyncio
import re
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, urlencode

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct

from shared.content_coding import Decoder, TooLarge, Undecodable
from shared.http_client import HttpClient
from shared.http_connection import HttpError, HttpResponse
from shared.upstream.credentials.access_token import DEFAULT_LIFETIME, IssuedToken, parse_token, token_value
from shared.upstream.credentials.credential import CredentialError, RowSecret, basic_authorization

_MAX_BYTES = 65_536
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 240  # SMART allows 300; the rest is for a provider whose clock is behind ours


class TokenEndpoint:
    """Posts to `url`, with the client certificate that `client_context` gives if the provider wants one."""

    def __init__(
        self, client: HttpClient, url: str, client_context: Callable[[], Awaitable[ssl.SSLContext | None]]
    ) -> None:
        self.url = url
        self._client = client
        self._client_context = client_context

    async def post(
        self,
        *,
        form: Mapping[str, str] | None = None,
        json: Mapping[str, str] | None = None,
        authorization: str | None = None,
    ) -> Mapping[str, object]:
        """The JSON object of a 200; anything else is a CredentialError, with the `error` code if there is one."""
        # No compression: it would let a few bytes become many before they can be counted.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if authorization is not None:
            headers["Authorization"] = authorization
        if form is not None:
            headers["Content-Type"], sent = "application/x-www-form-urlencoded", urlencode(form).encode()
        else:
            headers["Content-Type"], sent = "application/json", orjson.dumps(json)
        context = await self._client_context()
        try:
            # Fresh: an assertion may be shown once.
            with await self._client.request("POST", self.url, headers, sent, tls=context, fresh=True) as response:
                status = response.status
                body = await _read(response)
        except (OSError, HttpError) as error:
            # Not chained: an error may name the host.
            raise CredentialError(f"token endpoint can't be reached ({type(error).__name__})") from None
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = None
        if status != 200:
            code = found.get("error") if isinstance(found, dict) else None
            named = f" {code}" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
            raise CredentialError(f"token endpoint answered {status}{named}")
        if not isinstance(found, dict):
            raise CredentialError("token endpoint answered 200 with something that is not a JSON object")
        return found


async def _read(response: HttpResponse) -> bytes:
    """The body, which may be coded, though nobody asked for that."""
    body = bytearray()
    try:
        decoder = Decoder(",".join(response.headers.getall("Content-Encoding", [])), _MAX_BYTES)
        while part := await response.read():
            for piece in decoder.decode(part):
                body += piece
                if len(body) > _MAX_BYTES:
                    raise TooLarge
        decoder.end()
    except TooLarge:
        raise CredentialError(f"token endpoint answered with more than {_MAX_BYTES} bytes") from None
    except Undecodable:
        raise CredentialError("token endpoint answered in a content coding that can't be read") from None
    return bytes(body)


class ClientAccount(Struct, frozen=True):
    """The account that a token endpoint knows the gateway by: a client ID, and the Key Vault secret that proves it."""

    id: str
    secret: RowSecret


class _ClientCredentials(Struct, frozen=True):
    """A grant of client credentials; `scope` is sent only when the row has one."""

    endpoint: TokenEndpoint
    client: ClientAccount
    scope: str | None

    async def _token(self, *, authorization: str | None = None, **form: str) -> IssuedToken:
        """A token; `form` and `authorization` authenticate the client. Raises CredentialError."""
        form |= {"grant_type": "client_credentials"} | ({} if self.scope is None else {"scope": self.scope})
        return parse_token(await self.endpoint.post(form=form, authorization=authorization))


class ClientSecretPost(_ClientCredentials, frozen=True):
    """Client ID and secret in the body (`client_secret_post`)."""

    async def issue(self) -> IssuedToken:
        return await self._token(client_id=self.client.id, client_secret=await self.client.secret.value())


class ClientSecretBasic(_ClientCredentials, frozen=True):
    """Client ID and secret by HTTP Basic, each form-encoded (RFC 6749, section 2.3.1; `client_secret_basic`)."""

    async def issue(self) -> IssuedToken:
        secret = await self.client.secret.value()
        return await self._token(authorization=basic_authorization(quote_plus(self.client.id), quote_plus(secret)))


class PrivateKeyJwt(_ClientCredentials, frozen=True):
    """A signed assertion (RFC 7523, section 2.2; SMART Backend Services).

    The secret is the client's private key: a PEM, or a JWK whose `kid` stands in for a missing `key_id`.
    """

    key_id: str | None

    async def issue(self) -> IssuedToken:
        secret = await self.client.secret.value()
        try:
            # In a thread: OpenSSL checks an RSA key when it reads it, which takes long enough to be felt by others.
            assertion = await asyncio.to_thread(
                signed_assertion, secret, self.client.id, self.endpoint.url, self.key_id
            )
        except ValueError as error:
            raise CredentialError(f"Key Vault secret {self.client.secret.name} {error}") from None
        return await self._token(client_assertion_type=_ASSERTION_TYPE, client_assertion=assertion)


def signed_assertion(key: str, client_id: str, audience: str, key_id: str | None) -> str:
    """A JWT signed by `key`: RS384 for RSA, ES384 for P-384, ES256 for P-256; ValueError for anything else."""
    import jwt  # here and below: few providers need it, and it costs a start 20 ms

    private_key, jwk_id = _private_key(key)
    now = int(time.time())
    parties = {"iss": client_id, "sub": client_id, "aud": audience}
    claims = {**parties, "jti": str(uuid.uuid4()), "iat": now, "exp": now + _ASSERTION_SECONDS}
    kid = key_id or jwk_id
    headers = {"kid": kid} if kid else None
    return jwt.encode(claims, private_key, algorithm=_algorithm(private_key), headers=headers)


def _private_key(text: str) -> tuple[Any, str | None]:
    """The private key, of any type, and the `kid` of a JWK."""
    import jwt

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
    return key, key_id


def _algorithm(key: object) -> str:
    match key:
        case RSAPrivateKey():
            return "RS384"
        case EllipticCurvePrivateKey(curve=SECP384R1()):
            return "ES384"
        case EllipticCurvePrivateKey(curve=SECP256R1()):
            return "ES256"
    raise ValueError("is not a private key of RSA, P-256 or P-384")


class RedoxLegacy(Struct, frozen=True):
    """Redox's legacy API key, which is the row's client ID; the token URL ends in `/auth/authenticate`.

    `{"apiKey": "…", "secret": "…"}` gets `{"accessToken": "…", "expires": "2026-05-01T12:10:00.000Z"}`.
    """

    endpoint: TokenEndpoint
    client: ClientAccount

    async def issue(self) -> IssuedToken:
        found = await self.endpoint.post(json={"apiKey": self.client.id, "secret": await self.client.secret.value()})
        lifetime = redox_lifetime(found.get("expires"), datetime.now(UTC))
        return IssuedToken(token_value(found.get("accessToken")), lifetime)


def redox_lifetime(expires: object, now: datetime) -> float:
    """Seconds from `now` until the ISO 8601 time `expires`, which is UTC unless it says otherwise."""
    try:
        at = datetime.fromisoformat(expires) if isinstance(expires, str) else None
    except ValueError:
        at = None
    if at is None:
        return DEFAULT_LIFETIME
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
