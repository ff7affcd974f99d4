"""OAuth errors of the token endpoint (RFC 6749 section 5.2) and the authorization endpoint (section 4.1.2.1)."""

from collections.abc import Mapping

import orjson

from shared.error_kind import ErrorKind
from shared.message import Response

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthError(Exception):
    """On the wire `{"error": ..., "error_description": ..., "error_uri": "https://gateway.example/#invalid_scope"}`.

    The description is ASCII without `"` and `\\`. `kind` is for those who keep the gateway.
    """

    error: str
    status = 400
    kind = ErrorKind.TOKEN_REQUEST_MALFORMED

    def __init__(self, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.description = description
        self.headers = dict(headers or {})

    def response(self, public_base_url: str) -> Response:
        """The error as it goes over the wire; the gateway's page at / has a row for each in its table of errors."""
        uri = f"{public_base_url}/#{self.error}"
        body = orjson.dumps({"error": self.error, "error_description": self.description, "error_uri": uri})
        return Response(self.status, {"Content-Type": "application/json", **NO_STORE, **self.headers}, body)


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated or malformed, or the client authenticates in two ways."""

    error = "invalid_request"


class MethodNotAllowed(InvalidRequest):
    """The endpoint does not take this HTTP method."""

    status = 405


class NotFound(InvalidRequest):
    """There is no such endpoint."""

    status = 404


class LengthRequired(InvalidRequest):
    """A body without Content-Length, which the Functions host can lose."""

    status = 411


class InvalidClient(OAuthError):
    """Client authentication failed; the response does not say why. `reason` goes on from "the assertion ..."."""

    error = "invalid_client"
    status = 401
    kind = ErrorKind.CLIENT_UNKNOWN

    def __init__(self, kind: ErrorKind = ErrorKind.CLIENT_UNKNOWN, reason: str = "") -> None:
        self.kind, self.reason = kind, reason
        # RFC 9110 section 15.5.2: a 401 names the way to authenticate, whether or not the header was used.
        super().__init__("client authentication failed", {"WWW-Authenticate": 'Basic realm="token", charset="UTF-8"'})


class UnsupportedGrantType(OAuthError):
    """Anything but client_credentials."""

    error = "unsupported_grant_type"


class UnsupportedResponseType(OAuthError):
    """Anything, at the authorization endpoint."""

    error = "unsupported_response_type"


class InvalidScope(OAuthError):
    """No tenant, several, one that is unknown or not this client's, or a scope that is no SMART system scope."""

    error = "invalid_scope"


class InvalidTarget(OAuthError):
    """A `resource` that is repeated, names no tenant, or another one than the scope (RFC 8707 section 2)."""

    error = "invalid_target"


class TargetRefused(InvalidTarget):
    """TenantRefused, where the tenant was named by `resource` alone."""

    kind = ErrorKind.TENANT_REFUSED

    def __init__(self) -> None:
        super().__init__("resource must name one tenant that this client may reach")


class TenantRefused(InvalidScope):
    """The client may not reach the tenant, or there is no such tenant; the response does not say which."""

    kind = ErrorKind.TENANT_REFUSED

    def __init__(self) -> None:
        super().__init__("the scope must name one tenant that this client may reach")


class TemporarilyUnavailable(OAuthError):
    """Key Vault or Table Storage did not answer, and nothing remembered can serve."""

    error = "temporarily_unavailable"
    status = 503
    kind = ErrorKind.STORE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("try again in a few seconds", {"Retry-After": "5"})


class ServerError(OAuthError):
    """An error of the gateway itself; the log has it."""

    error = "server_error"
    status = 500
    kind = ErrorKind.INTERNAL

    def __init__(self) -> None:
        super().__init__("the request failed inside the gateway")
