"""Key Vault secrets: values in and out, with their versions, expiry and soft delete.

The requests are the gateway's own: a cold start needs two secrets before its first token, and Azure's SDK takes longer
to import than they do. https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups has them.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from shared.http_client import HttpClient
from shared.http_connection import HttpError
from shared.settings import Settings
from shared.stores.errors import SecretNameHeld, StoreConflict, StoreUnavailable
from shared.stores.identity import Bearer, azure_credential

_STORE = "Key Vault"
_API = "api-version=7.4"
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_RECOVERABLE = "ObjectIsDeletedButRecoverable"
_SECONDS = 5.0
_MAX_BYTES = 1_048_576  # of a response, which has 25 secrets at most
_PAUSES = (0.2, 0.4)  # seconds before the second and the third attempt: a request waits
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_NOTHING_DONE = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class SecretVersion:
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


@dataclass(frozen=True, slots=True)
class Secret:
    """A version of a secret with its value."""

    properties: SecretVersion
    value: str
    tags: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Secret({self.properties!r})"


class _Status(Exception):
    """A response that is no success."""

    def __init__(self, status_code: int, reason: str) -> None:
        self.status_code = status_code
        self.reason = reason  # innererror's code, "" without one
        super().__init__(f"{status_code} {reason}")


class Vault:
    """The deployment's Key Vault. Every method raises StoreUnavailable when it does not answer as it should.

    `credential` is who the process is towards Azure; other stores borrow it, and `close` ends it.
    """

    def __init__(self, settings: Settings) -> None:
        self.credential = azure_credential(settings)
        self._url = settings.key_vault_url
        self._host = urlsplit(self._url).hostname or ""
        # `vault.azure.net` of `name.vault.azure.net`; other clouds have other names.
        self._bearer = Bearer(self.credential, f"https://{self._host.partition('.')[2]}/.default")
        self._client = HttpClient()
        ca = settings.local_vault
        self._tls = None if ca is None else ssl.create_default_context(cafile=ca / "ca.pem")

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.close()
        await self.credential.close()

    async def get(self, name: str, version: str | None = None) -> Secret | None:
        """The latest version of a secret, or one named; None when there is none, it is deleted, disabled or expired."""
        if not _NAME.fullmatch(name):
            return None
        try:
            found = await self._ask("GET", f"/secrets/{name}/{version or ''}")
        except _Status as error:
            if error.status_code == 404 or (error.status_code, error.reason) == (403, "SecretDisabled"):
                return None
            raise _unavailable(error) from error
        properties, value = _version(found), found.get("value")
        if not isinstance(value, str) or not properties.usable(datetime.now(UTC)):
            return None
        return Secret(properties, value, found.get("tags") or {})

    async def versions(self, name: str) -> list[SecretVersion]:
        """Every version of a secret, newest first; empty when there is no such secret."""
        found = [version async for version in self._listed(f"/secrets/{name}/versions")]
        # Key Vault tells times to the second: of two versions made in one, the one active later is newer.
        return sorted(found, key=lambda version: (version.created, version.active_from), reverse=True)

    async def secrets(self) -> AsyncIterator[SecretVersion]:
        """Every secret that is not deleted, as its latest version has it (but for the version, which is "")."""
        async for version in self._listed("/secrets"):
            yield version

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
        times = {"nbf": active_from, "exp": expires}
        attributes = {key: int(time.timestamp()) for key, time in times.items() if time is not None}
        body = {"value": value, "attributes": attributes, "contentType": content_type, "tags": dict(tags or {})}
        try:
            return _version(await self._ask("PUT", f"/secrets/{name}", body))
        except _Status as error:
            if error.status_code == 409:
                raise SecretNameHeld(self._held(name, error.reason)) from error
            raise _unavailable(error) from error

    async def held(self, name: str) -> str | None:
        """How to get a deleted secret back or rid of, as `set` says it; None when there is none of this name."""
        found = await self._found("GET", f"/deletedsecrets/{name}")
        return None if found is None else self._held(name, _RECOVERABLE)

    async def disable(self, name: str, version: str) -> None:
        """Makes one version unreadable, without deleting it; StoreConflict when it is gone."""
        if await self._found("PATCH", f"/secrets/{name}/{version}", {"attributes": {"enabled": False}}) is None:
            raise StoreConflict(_STORE)

    async def delete(self, name: str) -> bool:
        """Deletes a secret, all versions (soft: it can be recovered for a time); False when there was none."""
        return await self._found("DELETE", f"/secrets/{name}") is not None

    def _held(self, name: str, reason: str) -> str:
        if reason != _RECOVERABLE:
            return f"{_STORE}: the secret {name} is being deleted or recovered: wait a moment, and repeat"
        command = f"--vault-name {self._host.partition('.')[0]} --name {name}"
        return (
            f"{_STORE}: the secret {name} is deleted, and keeps its name. Get it back by az keyvault secret recover "
            f"{command}, or free the name by az keyvault secret purge {command}, wait a moment, and repeat"
        )

    async def _listed(self, path: str) -> AsyncIterator[SecretVersion]:
        """The items of all pages; nothing where there is no such secret."""
        query, asked = _API, set[str]()
        while query and query not in asked:
            asked.add(query)
            page = await self._found("GET", path, query=query)
            if page is None:
                return
            with _readable():
                versions = [_version(item) for item in page["value"] or ()]
                # Only its query: a token goes to the vault and nowhere else.
                query = urlsplit(page.get("nextLink") or "").query
            for version in versions:
                yield version
        if query:
            raise StoreUnavailable(f"{_STORE} answered with a page that it had answered with before")

    async def _found(
        self, method: str, path: str, body: Mapping[str, object] | None = None, query: str = _API
    ) -> dict[str, Any] | None:
        """The response's object; None for a 404. Raises StoreConflict or StoreUnavailable."""
        try:
            return await self._ask(method, path, body, query)
        except _Status as error:
            if error.status_code == 404:
                return None
            if error.status_code in (409, 412):
                raise StoreConflict(_STORE) from error
            raise _unavailable(error) from error

    async def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, query: str = _API
    ) -> dict[str, Any]:
        """The object of a response of success. Raises _Status for any other, StoreUnavailable where there is none.

        What failed is sent again twice, a PUT, which adds a version, only when nothing came of it.
        """
        again = _NOTHING_DONE if method == "PUT" else _AGAIN
        pauses = iter(_PAUSES)
        told_anew = False
        while True:
            pause = next(pauses, None)
            try:
                status, headers, content = await self._send(method, f"{path}?{query}", body)
            except (OSError, HttpError) as error:
                if pause is None or method == "PUT":
                    raise StoreUnavailable(f"{_STORE} did not answer ({type(error).__name__})") from error
            else:
                if status == 401 and not told_anew:  # the token ended before its time
                    told_anew, pause = True, 0.0
                    self._bearer.expire()
                elif status not in again or pause is None or "Retry-After" in headers:
                    return _object(status, content)
            await asyncio.sleep(pause)

    async def _send(
        self, method: str, target: str, body: Mapping[str, object] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": "application/json", "Authorization": await self._bearer.authorization()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        sent = b"" if body is None else orjson.dumps(body)
        fresh, url = method == "PUT", self._url + target
        async with asyncio.timeout(_SECONDS):
            with await self._client.request(method, url, headers, sent, tls=self._tls, fresh=fresh) as response:
                return response.status, response.headers, await response.whole(_MAX_BYTES)


def _object(status: int, content: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        found = {}
        if status < 300:
            raise StoreUnavailable(f"{_STORE} answered {status} with something else than JSON")
    if status >= 300:
        error = found.get("error")
        inner = error.get("innererror") if isinstance(error, dict) else None
        raise _Status(status, str(inner.get("code")) if isinstance(inner, dict) else "")
    return found


def _unavailable(error: _Status) -> StoreUnavailable:
    return StoreUnavailable(f"{_STORE} answered {error.status_code}")


@contextmanager
def _readable() -> Iterator[None]:
    """Turns whatever befalls the reading of a response that is none of Key Vault's into StoreUnavailable."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, OSError) as error:
        raise StoreUnavailable(f"{_STORE} answered with something else than secrets") from error


@_readable()
def _version(item: Mapping[str, Any]) -> SecretVersion:
    """A version as the wire has it: `{"id": "https://name.vault.azure.net/secrets/<name>/<version>", ...}`."""
    _, _, name, *version = urlsplit(item["id"]).path.split("/")
    attributes = item["attributes"]
    created, active_from, expires = (
        None if (seconds := attributes.get(key)) is None else datetime.fromtimestamp(seconds, UTC)
        for key in ("created", "nbf", "exp")
    )
    created = created or datetime.fromtimestamp(0, UTC)
    return SecretVersion(
        name, "".join(version), bool(attributes.get("enabled")), created, active_from or created, expires
    )
