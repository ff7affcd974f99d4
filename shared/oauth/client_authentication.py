"""Client authentication (RFC 6749 section 2.3): credentials read from a request, and checked against the directory.

A client sends its id and secret (section 2.3.1), in the body or by HTTP Basic, each form-encoded, or else an assertion
that it signed (RFC 7523), in exactly one way:

    Authorization: Basic base64(<client_id>:<client_secret>)
"""

import base64
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from shared.directory.client import Client, matches, secret_id_of
from shared.directory.client_cache import ClientCache
from shared.error_kind import ErrorKind
from shared.oauth.client_assertion import ClientAssertions, claimed_client
from shared.oauth.errors import InvalidClient, InvalidRequest

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CREDENTIAL_PARAMETERS = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})


class Credentials(Struct, frozen=True):
    """A client's id and secret as a request sends them; nothing is known of them yet."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Credentials({self.client_id!r})"

    @property
    def secret_id(self) -> str:
        """The id of the secret; "" when the secret has none."""
        return secret_id_of(self.client_secret)


class Assertion(Struct, frozen=True):
    """A signed assertion as a request sends it; nothing is known of it yet."""

    jwt: str

    def __repr__(self) -> str:
        return "Assertion()"


def parse_credentials(headers: Mapping[str, str], parameters: Mapping[str, str]) -> Credentials | Assertion:
    """The credentials of a request with these headers and body parameters. Raises InvalidRequest or InvalidClient."""
    client_id, client_secret = parameters.get("client_id"), parameters.get("client_secret")
    basic = _authorization(headers)
    assertion = "client_assertion" in parameters or "client_assertion_type" in parameters
    if (basic is not None) + (client_secret is not None) + assertion > 1:
        raise InvalidRequest("the client authenticates in more than one way")
    if basic is not None:
        credentials = _basic_credentials(basic)
        if client_id not in (None, credentials.client_id):
            raise InvalidRequest("client_id differs from the one in the Authorization header")
        return credentials
    if assertion:
        return _assertion(parameters)
    if client_id is None or client_secret is None:
        raise InvalidClient
    return Credentials(client_id, client_secret)


def sent_credentials(headers: Mapping[str, str], parameters: Mapping[str, str]) -> Credentials:
    """The id and secret that stand in a refused request, "" for what is missing. Raises OAuthError."""
    basic = _authorization(headers)
    if basic:
        return _basic_credentials(basic)
    client_id = parameters.get("client_id") or claimed_client(parameters.get("client_assertion", ""))
    return Credentials(client_id, parameters.get("client_secret", ""))


async def authenticate(
    clients: ClientCache, assertions: ClientAssertions, credentials: Credentials | Assertion
) -> tuple[Client, str]:
    """The client these credentials belong to, and the id of its secret or key.

    Raises InvalidClient, the same for an unknown or disabled client, a wrong, expired, disabled or deleted secret, and
    an assertion that is good no more or never was; StoreUnavailable when the directory does not answer.
    """
    if isinstance(credentials, Assertion):
        client, key = await assertions.verify(credentials.jwt)
        return client, key.id
    found = await clients.secret(credentials.client_id, credentials.secret_id)
    if found is None:
        raise InvalidClient
    client, stored = found
    if not matches(credentials.client_secret, stored.value, stored.tags):
        raise InvalidClient
    return client, credentials.secret_id


def form_decoded(text: str) -> str:
    """One application/x-www-form-urlencoded name or value, decoded. Raises InvalidRequest."""
    if "%" not in text and "+" not in text:
        return text
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError:
        raise InvalidRequest("a parameter is not UTF-8") from None


def _assertion(parameters: Mapping[str, str]) -> Assertion:
    """Section 2.2 of RFC 7521: `client_id` is not needed, and must be the assertion's where it is sent."""
    assertion = parameters.get("client_assertion")
    if assertion is None or parameters.get("client_assertion_type") != JWT_BEARER:
        raise InvalidRequest(f"an assertion needs client_assertion, and client_assertion_type={JWT_BEARER}")
    client_id = parameters.get("client_id")
    if client_id is not None and client_id != claimed_client(assertion):
        raise InvalidClient(ErrorKind.ASSERTION_MALFORMED)
    return Assertion(assertion)


def _authorization(headers: Mapping[str, str]) -> str | None:
    """The header `authorization`; one that is empty, as some clients send it, counts as absent."""
    return headers.get("authorization", "").strip() or None


def _basic_credentials(authorization: str) -> Credentials:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        raise InvalidClient from None
    client_id, colon, secret = text.partition(":")
    if not colon:
        raise InvalidClient
    return Credentials(form_decoded(client_id), form_decoded(secret))
