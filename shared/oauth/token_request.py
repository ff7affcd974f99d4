"""The token request (RFC 6749 sections 2.3.1, 3.2 and 4.4.2), parsed; nothing is checked against a store here."""

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from shared.message import Request
from shared.oauth.errors import InvalidClient, InvalidRequest, LengthRequired, OAuthError, UnsupportedGrantType

MAX_BODY_BYTES = 16_384
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_PARAMETERS = frozenset(
    {"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope"}
)
# Microsoft's published sample of the app's token request spells it with a hyphen.
_ALIASES = {"grant-type": "grant_type"}
_VISIBLE = re.compile(r"[\x20-\x7e]*")  # RFC 6749 appendix A: VSCHAR


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A well-formed request for client credentials. `scope` is "" when none was sent."""

    client_id: str
    client_secret: str = field(repr=False)
    scope: str


def parse_token_request(request: Request) -> TokenRequest:
    """The request's credentials and scope.

    Takes a form or a JSON object; an empty parameter counts as absent and an unknown one is ignored (section 3.2).
    Raises InvalidRequest, InvalidClient or UnsupportedGrantType.
    """
    _refuse_parameters_in_url(request.query)
    parameters = _parameters(request)
    client_id, client_secret = _credentials(_authorization(request), parameters)
    grant_type = parameters.get("grant_type")
    if grant_type is None:
        raise InvalidRequest("grant_type is missing")
    if grant_type != "client_credentials":
        raise UnsupportedGrantType("grant_type must be client_credentials")
    return TokenRequest(client_id, client_secret, parameters.get("scope", ""))


def claimed_client_id(request: Request) -> str:
    """The client that a refused request says it comes from; "" where that can't be read. It proves nothing."""
    try:
        authorization = _authorization(request)
        return _basic(authorization)[0] if authorization else _parameters(request).get("client_id", "")
    except OAuthError:
        return ""


def _authorization(request: Request) -> str | None:
    """The header `authorization`; one that is empty, as some clients send it, counts as absent."""
    return request.headers.get("authorization", "").strip() or None


def _refuse_parameters_in_url(query: str) -> None:
    names = (part.partition("=")[0] for part in query.split("&"))
    if any(_ALIASES.get(name, name) in _PARAMETERS for name in map(_decode, names)):
        raise InvalidRequest("parameters go into the body, not the URL")


def _parameters(request: Request) -> dict[str, str]:
    if not request.body and "transfer-encoding" in request.headers and "content-length" not in request.headers:
        # What the Functions host makes of a body that was sent in chunks (azure-functions-host#7930).
        raise LengthRequired("the body came empty, as it was sent in chunks: send it whole, with a Content-Length")
    if len(request.body) > MAX_BODY_BYTES:
        raise InvalidRequest("the body is too large")
    media_type, _, options = request.headers.get("content-type", "").partition(";")
    charset = re.search(r'(?i)charset\s*=\s*"?([^\s";]+)', options)
    # The media types have no such parameter, and ASCII reads the same in what clients name there.
    if charset and charset[1].lower() not in ("utf-8", "utf8") and not request.body.isascii():
        raise InvalidRequest("the body must be UTF-8")
    match media_type.strip().lower():
        case "application/x-www-form-urlencoded":
            return _collect(_form_pairs(request.body))
        case "application/json":
            return _collect(_json_pairs(request.body))
    raise InvalidRequest(f"Content-Type must be {_FORM} or {_JSON}")


def _collect(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in pairs:
        known = _ALIASES.get(name, name)
        if known not in _PARAMETERS or not value:
            continue
        if known in parameters:
            raise InvalidRequest(f"{known} is repeated")
        if not _VISIBLE.fullmatch(value):
            raise InvalidRequest(f"{known} has a character that is not allowed in it")
        parameters[known] = value
    return parameters


def _form_pairs(body: bytes) -> Iterable[tuple[str, str]]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    for part in text.split("&"):
        name, _, value = part.partition("=")
        yield _decode(name), _decode(value)


def _json_pairs(body: bytes) -> Iterable[tuple[str, str]]:
    try:
        pairs = json.loads(body.decode(), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not a JSON object in UTF-8") from None
    if not isinstance(pairs, tuple):
        raise InvalidRequest("the body is not a JSON object")
    for name, value in pairs:
        if value is None:
            continue
        if not isinstance(value, str):
            if _ALIASES.get(name, name) in _PARAMETERS:
                raise InvalidRequest("parameters must be text")
            continue
        yield name, value


def _credentials(authorization: str | None, parameters: dict[str, str]) -> tuple[str, str]:
    """The client's id and secret, by exactly one of the two ways there are (section 2.3.1)."""
    client_id = parameters.get("client_id")
    client_secret = parameters.get("client_secret")
    assertion = "client_assertion" in parameters or "client_assertion_type" in parameters
    ways = (authorization is not None) + (client_secret is not None) + assertion
    if ways > 1:
        raise InvalidRequest("the client authenticates in more than one way")
    if authorization is not None:
        basic_id, basic_secret = _basic(authorization)
        if client_id not in (None, basic_id):
            raise InvalidRequest("client_id differs from the one in the Authorization header")
        return basic_id, basic_secret
    if client_id is None or client_secret is None:
        raise InvalidClient
    return client_id, client_secret


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        raise InvalidClient from None
    name, colon, secret = text.partition(":")
    if not colon:
        raise InvalidClient
    return _decode(name), _decode(secret)


def _decode(text: str) -> str:
    """One application/x-www-form-urlencoded name or value, decoded."""
    if "%" not in text and "+" not in text:
        return text
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError:
        raise InvalidRequest("a parameter is not UTF-8") from None
