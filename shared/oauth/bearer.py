"""The bearer token of a request (RFC 6750): in the Authorization header, and nowhere else."""

from collections.abc import Mapping

from shared.fhir.errors import FhirError

_CHALLENGE = 'Bearer realm="fhir"'


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token in the header `authorization`.

    Raises FhirError (section 3): 401 without an error code when there are no credentials, 400 invalid_request when the
    header is not one token.
    """
    authorization = headers.get("authorization", "").strip()
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise FhirError(
            401, "login", "Get a token at the token URL of the statement.", {"WWW-Authenticate": _CHALLENGE}
        )
    token = token.strip()
    if not token or " " in token or "," in token:
        raise _refused(400, "invalid", "invalid_request", "The Authorization header must hold one bearer token.")
    return token


def invalid_token() -> FhirError:
    """The token is malformed, expired or revoked; which of these is not told."""
    return _refused(401, "login", "invalid_token", "The access token is not valid. Get a new one.")


def _refused(status: int, code: str, error: str, diagnostics: str) -> FhirError:
    return FhirError(status, code, diagnostics, {"WWW-Authenticate": f'{_CHALLENGE}, error="{error}"'})
