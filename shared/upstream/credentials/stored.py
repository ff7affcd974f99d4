"""Credentials as people store them: the form that a row expects of one, the refusal of any other, and their ends."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from shared.directory.provider import AuthKind, ProviderAuth
from shared.stores.vault import Vault
from shared.upstream.credentials.client_certificate import certificate_end, client_context
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


class StoredCredential(NamedTuple):
    """A secret that a row names: when it was stored, None where there is none to use, and when it ends, if it does."""

    name: str
    stored: datetime | None
    ends: datetime | None


async def stored_credentials(vault: Vault, auth: ProviderAuth) -> Sequence[StoredCredential]:
    """The secrets that a row names. No value is read but a certificate's. Raises StoreUnavailable."""
    return await asyncio.gather(*(_stored_credential(vault, auth, name) for name in auth.secrets))


async def _stored_credential(vault: Vault, auth: ProviderAuth, name: str) -> StoredCredential:
    versions = await vault.versions(name)
    if not versions or not versions[0].usable(datetime.now(UTC)):
        return StoredCredential(name, None, None)
    ends = {versions[0].expires, await stored_certificate_end(vault, name) if name == auth.certificate else None}
    return StoredCredential(name, versions[0].created, min(filter(None, ends), default=None))


async def stored_certificate_end(vault: Vault, name: str) -> datetime | None:
    """When a certificate in the vault ends by itself; None where none can be used: the check tells that.

    Raises StoreUnavailable.
    """
    if secret := await vault.get(name):
        with suppress(ValueError):
            return await asyncio.to_thread(certificate_end, secret.value)
    return None


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
