"""A new secret on its way from the form that made it to the page that shows it: in a sealed cookie, for ten minutes.

The cookie is encrypted and authenticated (Fernet: AES-128-CBC with HMAC-SHA-256) under a key that stands in Key Vault
alone, so it opens on each instance of this deployment's portal and nowhere else; only for the person who made the
secret, and only for that secret's page. On the wire, with `<page>` the path of the secret's page:

    Set-Cookie: portal-secret=gAAAAAB...; Path=<page>; HttpOnly; SameSite=Strict; Max-Age=600; Secure
"""

from dataclasses import asdict
from datetime import UTC, datetime

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.directory.client_registry import NewSecret
from shared.portal.rendering import ROOT
from shared.portal.request import PortalRequest, cookie_value
from shared.stores.vault import Vault

KEY_NAME = "portal-cookie-key"
_COOKIE = "portal-secret"
_SECONDS = 600
_MAX_KEYS = 3


def secret_path(client_id: str, secret_id: str) -> str:
    """The page of a new secret, below the portal's root."""
    return f"/clients/{client_id}/secrets/{secret_id}"


class SecretCookies:
    """Seals new secrets into cookies and opens them. `secure` says that browsers come by https."""

    def __init__(self, vault: Vault, *, secure: bool) -> None:
        self._vault = vault
        self._secure = "; Secure" if secure else ""

    async def key(self) -> MultiFernet:
        """What seals, the newest key first; made when there is none. Raises StoreUnavailable.

        It is read anew each time: two instances that make the first key at once then both have both.
        """
        if not (keys := await self._keys()):
            await self._vault.set(KEY_NAME, Fernet.generate_key().decode())
            keys = await self._keys()
        return MultiFernet(keys)

    def sealed(self, key: MultiFernet, request: PortalRequest, new: NewSecret) -> str:
        """The `Set-Cookie` value (RFC 6265) that shows a secret to the person who made it, on its page alone."""
        content = orjson.dumps([request.principal.id, asdict(new)])
        # Without "=", which the host would percent-encode.
        return self._cookie(new.client_id, new.secret_id, key.encrypt(content).decode().rstrip("="), _SECONDS)

    async def opened(self, request: PortalRequest) -> NewSecret | None:
        """The secret in the request's cookie, if its path is that secret's and it is this person's; else None."""
        sealed = cookie_value(request.cookies, _COOKIE)
        if not sealed:
            return None
        token = (sealed + "=" * (-len(sealed) % 4)).encode(errors="replace")
        try:
            content = (await self.key()).decrypt(token, ttl=_SECONDS)
        except InvalidToken:
            return None
        person, fields = orjson.loads(content)
        expires = fields.pop("expires")
        new = NewSecret(**fields, expires=datetime.fromisoformat(expires).astimezone(UTC) if expires else None)
        place = (request.principal.id, request.parameters["client"], request.parameters["secret"])
        return new if (person, new.client_id, new.secret_id) == place else None

    def forgotten(self, request: PortalRequest) -> str:
        """The `Set-Cookie` value that ends the cookie of the path's secret."""
        return self._cookie(request.parameters["client"], request.parameters["secret"], "", 0)

    async def _keys(self) -> list[Fernet]:
        versions = (await self._vault.versions(KEY_NAME))[:_MAX_KEYS]
        found = [await self._vault.get(KEY_NAME, version.version) for version in versions]
        return [Fernet(secret.value) for secret in found if secret is not None]

    def _cookie(self, client_id: str, secret_id: str, value: str, seconds: int) -> str:
        path = f"{ROOT}{secret_path(client_id, secret_id)}"
        return f"{_COOKIE}={value}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={seconds}{self._secure}"
