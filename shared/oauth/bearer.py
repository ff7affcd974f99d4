"""The bearer token of a request (RFC 6750): in the Authorization header, and nowhere else."""

from collections.abc import Mapping

from shared.fhir.errors import FhirError

_CHALLENGE = 'Bearer realm="fhir"'
_HEADER = "Authorization: Bearer [token]"


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token in the header `authorization`.

    Raises FhirError (section 3): 401 without an error code when there are no credentials or others than a token, 401
    invalid_token for a JWT that `Bearer` does not stand before, 400 invalid_request when the header is not one token.
    """
    authorization = headers.get("authorization", "").strip()
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        if authorization.count(".") == 2:
            raise _refused(401, "login", "invalid_token", f"The token must be sent as {_HEADER}.")
        diagnostics = f"Get a token at the token URL of the statement, and send it as {_HEADER}."
        raise FhirError(401, "login", diagnostics, {"WWW-Authenticate": _CHALLENGE})
    token = token.strip()
    if not token or " " in token or "," in token:
        raise _refused(400, "invalid", "invalid_request", "The Authorization header must hold one bearer token.")
    return token


def invalid_token() -> FhirError:
    """The token is malformed, expired or revoked; which of these is not told."""
    return _refused(401, "login", "invalid_token", "The access token is not valid. Get a new one.")


def _refused(status: int, code: str, error: str, diagnostics: str) -> FhirError:
    challenge = f'{_CHALLENGE}, error="{error}", error_description="{diagnostics}"'
    return FhirError(status, code, diagnostics, {"WWW-Authenticate": challenge})
