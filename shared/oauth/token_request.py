"""Requests to the authorization server, parsed: for a token (RFC 6749 sections 3.2 and 4.4.2), and about one (RFC 7009
section 2.1, RFC 7662 section 2.1). Nothing is checked against a store here.
"""

import json
import re
from collections.abc import Iterable

from msgspec import Struct

from shared.directory.client import Client
from shared.directory.typed_text import parse_tenant_id
from shared.fhir.scopes import Scope, parse_scope
from shared.fhir.versions import FhirVersion
from shared.message import Request
from shared.oauth.client_authentication import (
    CREDENTIAL_PARAMETERS,
    Assertion,
    Credentials,
    form_decoded,
    parse_credentials,
    sent_credentials,
)
from shared.oauth.errors import (
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    LengthRequired,
    OAuthError,
    UnsupportedGrantType,
)

MAX_BODY_BYTES = 16_384
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_PARAMETERS = CREDENTIAL_PARAMETERS | {"grant_type", "resource", "scope", "token"}
# Microsoft's published sample of the app's token request spells it with a hyphen.
_ALIASES = {"grant-type": "grant_type"}
_CHARSET = re.compile(r'(?i)charset\s*=\s*"?([^\s";]+)')
_MAX_SCOPE_LENGTH = 1_500  # a token that holds it stays well below 4,096 characters
_MAX_TOLD = 10
_URN = "urn:uuid:"


class TokenRequest(Struct, frozen=True):
    """A well-formed request for client credentials. `scope` and `resource` are "" when none was sent."""

    credentials: Credentials | Assertion
    scope: str
    resource: str


def parse_token_request(request: Request) -> TokenRequest:
    """The request's credentials and scope.

    Takes a form or a JSON object; an empty parameter counts as absent and an unknown one is ignored (section 3.2):
    `grant_type=client_credentials&client_id=...&client_secret=...&scope=72f988bf-86f1-41af-91ab-2d7cd011db47`.
    Raises InvalidRequest, InvalidTarget, InvalidClient or UnsupportedGrantType.
    """
    parameters = _body_parameters(request)
    credentials = parse_credentials(request.headers, parameters)
    grant_type = parameters.get("grant_type")
    if grant_type is None:
        raise InvalidRequest("grant_type is missing")
    if grant_type != "client_credentials":
        raise UnsupportedGrantType("grant_type must be client_credentials")
    return TokenRequest(credentials, parameters.get("scope", ""), parameters.get("resource", ""))


def parse_about_token(request: Request) -> tuple[Credentials | Assertion, str]:
    """The credentials and the token of a request to revoke or to introspect it: `token=eyJhbGciOiJFUzI1NiIs...`.

    `token_type_hint` is ignored, as there is one type. Raises InvalidRequest or InvalidClient.
    """
    parameters = _body_parameters(request)
    credentials = parse_credentials(request.headers, parameters)
    if "token" not in parameters:
        raise InvalidRequest("token is missing")
    return credentials, parameters["token"]


def claimed_credentials(request: Request) -> Credentials:
    """The id and secret of a refused request, "" where one is missing or can't be read. They prove nothing."""
    try:
        return sent_credentials(request.headers, _parameters(request))
    except OAuthError:
        return Credentials("", "")


def parse_scope_request(scope: str) -> tuple[str | None, tuple[Scope, ...]]:
    """The tenant's GUID, if there is one, and the SMART scopes asked for, in their order (RFC 6749 section 3.3).

    Raises InvalidScope, which says what to do, for several tenants and for anything that is no SMART system scope: to
    leave out what isn't understood could grant more than was asked for.
    """
    if len(scope) > _MAX_SCOPE_LENGTH:
        raise InvalidScope("the scope is too long")
    tenants: set[str] = set()
    scopes: list[Scope] = []
    for name in scope.split():
        if (tenant := parse_tenant_id(name)) is not None:
            tenants.add(tenant)
        elif (found := parse_scope(name)) is not None:
            scopes.append(found)
        else:
            raise InvalidScope(
                "the scope takes the tenant's GUID (32 hexadecimal digits in 8-4-4-4-12), not its name or URL, and "
                "beside it SMART system scopes only, such as system/Patient.read"
            )
    if len(tenants) > 1:
        raise InvalidScope("the scope names several tenants: ask for a token for each")
    return next(iter(tenants), None), tuple(dict.fromkeys(scopes))


def parse_resource(resource: str, public_base_url: str) -> str | None:
    """The tenant that a `resource` names (RFC 8707 section 2); None for the gateway itself or one of its FHIR bases.

        resource=https://gateway.example.com/tenant/72f988bf-86f1-41af-91ab-2d7cd011db47
        resource=urn:uuid:72f988bf-86f1-41af-91ab-2d7cd011db47

    Raises InvalidTarget for anything else.
    """
    if not resource.strip():
        return None
    name, base = resource.strip().rstrip("/").lower(), public_base_url.lower()
    if name in (base, f"{base}/fhir", *(f"{base}/{version.value}" for version in FhirVersion)):
        return None
    for prefix in (f"{base}/tenant/", _URN):
        if name.startswith(prefix) and (tenant := parse_tenant_id(name.removeprefix(prefix))) is not None:
            return tenant
    raise InvalidTarget(f"resource must be {_named('<GUID>', public_base_url)}")


def only_tenant(client: Client, public_base_url: str) -> str:
    """The tenant of a client that names none. Raises InvalidScope, which tells a client of several which it has."""
    if client.only_tenant is not None:
        return client.only_tenant
    if client.tenants is None:
        raise InvalidScope(
            "the request names no tenant: send the tenant's GUID in the scope, or as resource "
            + _named("<GUID>", public_base_url)
        )
    if not client.tenants:
        raise InvalidScope("this client may reach no tenant yet: its owner can ask for access in the portal")
    first, *others = sorted(client.tenants)
    told = ", ".join([first, *others[: _MAX_TOLD - 1]])
    more = len(client.tenants) - _MAX_TOLD
    raise InvalidScope(
        f"this client may reach several tenants: send one GUID in the scope, or as resource "
        f"{_named(first, public_base_url)}; they are {told}" + (f" and {more} more" if more > 0 else "")
    )


def _named(tenant: str, public_base_url: str) -> str:
    return f"{public_base_url}/tenant/{tenant}"


def _body_parameters(request: Request) -> dict[str, str]:
    """The parameters of a request that has none in its URL."""
    names = (part.partition("=")[0] for part in request.query.split("&"))
    if request.query and any(_ALIASES.get(name, name) in _PARAMETERS for name in map(form_decoded, names)):
        raise InvalidRequest("parameters go into the body, not the URL")
    return _parameters(request)


def _parameters(request: Request) -> dict[str, str]:
    if not request.body and "transfer-encoding" in request.headers and "content-length" not in request.headers:
        # What the Functions host makes of a body that was sent in chunks (azure-functions-host#7930).
        raise LengthRequired("the body came empty, as it was sent in chunks: send it whole, with a Content-Length")
    if len(request.body) > MAX_BODY_BYTES:
        raise InvalidRequest("the body is too large")
    media_type, _, options = request.headers.get("content-type", "").partition(";")
    charset = _CHARSET.search(options)
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
        if known in parameters and known == "resource":  # which may be repeated (RFC 8707 section 2), but by no need
            raise InvalidTarget("resource is repeated: ask for a token for each tenant")
        if known in parameters:
            raise InvalidRequest(f"{known} is repeated")
        if not value.isascii() or not value.isprintable():  # RFC 6749 appendix A: VSCHAR
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
        yield form_decoded(name), form_decoded(value)


def _json_pairs(body: bytes) -> Iterable[tuple[str, str]]:
    try:
        pairs = json.loads(body.decode(), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not a JSON object in UTF-8") from None
    if not isinstance(pairs, tuple):
        raise InvalidRequest("the body is not a JSON object")
    for name, value in pairs:
        if isinstance(value, str):
            yield name, value
        elif value is not None and _ALIASES.get(name, name) in _PARAMETERS:
            raise InvalidRequest("parameters must be text")
