"""Credentials as people store them: the form that a row expects of one, and the refusal of any other text."""

import re

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.client_certificate import client_context
from shared.upstream.credentials.client_credentials import signed_assertion

MAX_BYTES = 25 * 1024  # of Key Vault

_CERTIFICATE = "a certificate with its private key, in PEM without a password"
_EXPECTED = {
    AuthKind.BASIC: "the password, as one line of text",
    AuthKind.HEADER: "the header's whole value, as one line in ASCII",
    AuthKind.ENTRA: "the client secret's value (not its ID), as one line of text",
    AuthKind.PRIVATE_KEY_JWT: "a private key (RSA, P-256 or P-384), in PEM without a password or as a JWK",
    AuthKind.REDOX_LEGACY: "the API key's secret, as one line of text",
}
_LINE = re.compile(r"[^\x00-\x1f\x7f]+")
_FORMS = {
    AuthKind.HEADER: re.compile(r"[\x20-\x7e]+"),
    AuthKind.ENTRA: re.compile(rf"(?!(?i:[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})$){_LINE.pattern}"),
}


def expected(auth: ProviderAuth, name: str) -> str:
    """The form of the value of a secret that the row names, such as `the password, as one line of text`."""
    if name == auth.certificate:
        return _CERTIFICATE
    if auth.kind is AuthKind.BASIC and auth.client_id is None:
        return "user:password, since the row has no client ID"
    return _EXPECTED.get(auth.kind, "the client secret, as one line of text")


def refusal(auth: ProviderAuth, name: str, value: str) -> str:
    """Why a text can't be the value of a secret that the row names, in words that follow its name; "" when it can.

    It tells nothing of the text. Reading a key or a certificate takes tens of milliseconds: not for an event loop.
    """
    if not 1 <= len(value.encode()) <= MAX_BYTES:
        return f"must be {expected(auth, name)}, of 1 to {MAX_BYTES} bytes"
    return "" if _has_form(auth, name, value) else f"must be {expected(auth, name)}"


def _has_form(auth: ProviderAuth, name: str, value: str) -> bool:
    try:
        if name == auth.certificate:
            client_context(value)
        elif auth.kind is AuthKind.PRIVATE_KEY_JWT:
            signed_assertion(value, "", "", None)
        elif auth.kind is AuthKind.BASIC and auth.client_id is None:
            return bool(_LINE.fullmatch(value)) and value.find(":") > 0
        else:
            return bool(_FORMS.get(auth.kind, _LINE).fullmatch(value))
    except ValueError:
        return False
    return True
