"""Key Vault secrets: values in and out, with their versions, expiry and soft delete."""

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.secrets import KeyVaultSecret, SecretProperties
from azure.keyvault.secrets.aio import SecretClient
from msgspec import Struct

from shared.settings import Settings
from shared.stores.errors import SecretNameHeld, StoreConflict
from shared.stores.identity import azure_credential
from shared.stores.sdk import CLIENT_OPTIONS, translated
from shared.stores.sdk_transport import sdk_transport

_STORE = "Key Vault"
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_FORBIDDEN = 403
_RECOVERABLE = "ObjectIsDeletedButRecoverable"


class SecretVersion(Struct, frozen=True):
    """One version of a secret, without its value. Times are UTC."""

    name: str
    version: str
    enabled: bool
    created: datetime
    active_from: datetime
    expires: datetime | None

    def usable(self, now: datetime) -> bool:
        """Enabled and not expired. Key Vault hands out expired secrets all the same, so whoever reads one asks."""
        return self.enabled and (self.expires is None or now < self.expires)


class Secret(Struct, frozen=True):
    """A version of a secret with its value."""

    properties: SecretVersion
    value: str
    tags: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Secret({self.properties!r})"


class Vault:
    """The deployment's Key Vault. Every method raises StoreUnavailable when it does not answer as it should.

    `credential` is who the process is towards Azure; other stores borrow it, and `close` ends it.
    """

    def __init__(self, settings: Settings) -> None:
        self.credential = azure_credential(settings)
        options: dict[str, Any] = dict(CLIENT_OPTIONS)
        tls = None
        if settings.local_vault is not None:
            authority = settings.local_vault / "ca.pem"
            tls = ssl.create_default_context(cafile=authority)
            options |= {"connection_verify": str(authority), "verify_challenge_resource": False}
        options["transport"] = sdk_transport(tls)
        self._client = SecretClient(settings.key_vault_url, self.credential, **options)

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.close()
        await self.credential.close()

    async def get(self, name: str, version: str | None = None) -> Secret | None:
        """The latest version of a secret, or one named; None when there is none, it is deleted, disabled or expired."""
        if not _NAME.fullmatch(name):
            return None
        try:
            with translated(_STORE):
                found = await self._get(name, version)
        except ResourceNotFoundError:
            return None
        if found is None or found.value is None or not _version(found.properties).usable(datetime.now(UTC)):
            return None
        return Secret(_version(found.properties), found.value, found.properties.tags or {})

    async def versions(self, name: str) -> list[SecretVersion]:
        """Every version of a secret, newest first; empty when there is no such secret."""
        try:
            with translated(_STORE):
                found = [_version(item) async for item in self._client.list_properties_of_secret_versions(name)]
        except ResourceNotFoundError:
            return []
        # Key Vault tells times to the second: of two versions made in one, the one active later is newer.
        return sorted(found, key=lambda version: (version.created, version.active_from), reverse=True)

    async def secrets(self) -> AsyncIterator[SecretVersion]:
        """Every secret that is not deleted, as its latest version has it (but for the version, which is "")."""
        with translated(_STORE):
            async for item in self._client.list_properties_of_secrets():
                yield _version(item)

    async def set(
        self,
        name: str,
        value: str,
        *,
        active_from: datetime | None = None,
        expires: datetime | None = None,
        content_type: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> SecretVersion:
        """Adds a version, which is the latest from now on. SecretNameHeld when a deleted secret has the name."""
        with translated(_STORE):
            try:
                times: dict[str, Any] = {"not_before": active_from, "expires_on": expires}
                described: dict[str, Any] = {"content_type": content_type, "tags": dict(tags or {})}
                secret = await self._client.set_secret(name, value, **times, **described)
            except ResourceExistsError as error:
                raise SecretNameHeld(self._held(name, _inner_code(error))) from error
        return _version(secret.properties)

    async def held(self, name: str) -> str | None:
        """How to get a deleted secret back or rid of, as `set` says it; None when there is none of this name."""
        try:
            with translated(_STORE):
                await self._client.get_deleted_secret(name)
        except ResourceNotFoundError:
            return None
        return self._held(name, _RECOVERABLE)

    async def disable(self, name: str, version: str) -> None:
        """Makes one version unreadable, without deleting it; StoreConflict when it is gone."""
        try:
            with translated(_STORE):
                await self._client.update_secret_properties(name, version, enabled=False)
        except ResourceNotFoundError as error:
            raise StoreConflict(_STORE) from error

    async def delete(self, name: str) -> bool:
        """Deletes a secret, all versions (soft: it can be recovered for a time); False when there was none."""
        try:
            with translated(_STORE):
                await self._client.delete_secret(name)
        except ResourceNotFoundError:
            return False
        return True

    def _held(self, name: str, reason: str | None) -> str:
        if reason != _RECOVERABLE:
            return f"{_STORE}: the secret {name} is being deleted or recovered: wait a moment, and repeat"
        command = f"--vault-name {(urlsplit(self._client.vault_url).hostname or '').partition('.')[0]} --name {name}"
        return (
            f"{_STORE}: the secret {name} is deleted, and keeps its name. Get it back by az keyvault secret recover "
            f"{command}, or free the name by az keyvault secret purge {command}, wait a moment, and repeat"
        )

    async def _get(self, name: str, version: str | None) -> KeyVaultSecret | None:
        try:
            return await self._client.get_secret(name, version)
        except HttpResponseError as error:
            if error.status_code == _FORBIDDEN and _inner_code(error) == "SecretDisabled":
                return None
            raise


def _inner_code(error: HttpResponseError) -> str | None:
    inner: Any = getattr(error.error, "innererror", None)
    return str(inner.get("code")) if isinstance(inner, Mapping) else None


def _version(properties: SecretProperties) -> SecretVersion:
    created = properties.created_on or datetime.fromtimestamp(0, UTC)
    return SecretVersion(
        name=properties.name or "",
        version=properties.version or "",
        enabled=bool(properties.enabled),
        created=created,
        active_from=properties.not_before or created,
        expires=properties.expires_on,
    )
