"""The content of a vault: secrets, their versions, and the deleted secrets that can be recovered."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from local import secret_file

RECOVERABLE_DAYS = 90

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_MAX_VALUE_BYTES = 25 * 1024
_MAX_TAGS = 15


class VaultError(Exception):
    """A request that Key Vault refuses, with the HTTP status and the codes of its response."""

    def __init__(
        self, message: str, status: int = 400, code: str = "BadParameter", inner_code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.inner_code = inner_code


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One value of a secret, with its properties. Times are Unix seconds."""

    name: str
    id: str
    value: str
    created: int
    updated: int
    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """All versions of a name, the latest last; `deleted` is the Unix second of its deletion, until it is recovered."""

    versions: tuple[SecretVersion, ...]
    deleted: int | None = None

    @property
    def latest(self) -> SecretVersion:
        return self.versions[-1]


class Store:
    """The secrets of one vault, kept in a file that is replaced at each change.

    Names are compared without case. Each method raises the VaultError that stands for Key Vault's response.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file, if there is one."""
        self._path = path
        content = path.read_bytes() if path.exists() else b"{}"
        self._secrets = msgspec.json.decode(content, type=dict[str, Secret])

    def set(self, name: str, value: str, **properties: Any) -> SecretVersion:
        """Makes a new version, which is the latest from now on; nothing carries over from the one before.

        `properties`, here and in `update`, are those of `SecretVersion` from `enabled` on.
        """
        secret = self._secrets.get(_key(name))
        if secret and secret.deleted is not None:
            message = f"Secret {name} is deleted but recoverable: until it is recovered or purged, its name is taken."
            raise VaultError(message, 409, "Conflict", "ObjectIsDeletedButRecoverable")
        if len(value.encode("utf-8", "surrogatepass")) > _MAX_VALUE_BYTES:
            raise VaultError(f"The secret value must not be longer than {_MAX_VALUE_BYTES} bytes.")
        _check_tags(properties)
        now = int(time.time())
        # The name is spelt as it was first.
        name = secret.latest.name if secret else name
        version = SecretVersion(name, uuid4().hex, value, created=now, updated=now, **properties)
        self._put(Secret((*secret.versions, version) if secret else (version,)))
        return version

    def get(self, name: str, version: str = "") -> SecretVersion:
        """The latest version or the one named; also before its `not_before` and after its `expires`, as Key Vault."""
        found = _version(self._live(name), version)
        if not found.enabled:
            raise VaultError("Operation get is not allowed on a disabled secret.", 403, "Forbidden", "SecretDisabled")
        return found

    def update(self, name: str, version: str = "", **changes: Any) -> SecretVersion:
        """Changes the properties of the latest version or of the one named."""
        secret = self._live(name)
        _check_tags(changes)
        old = _version(secret, version)
        new = replace(old, updated=int(time.time()), **changes)
        self._put(replace(secret, versions=tuple(new if each is old else each for each in secret.versions)))
        return new

    def delete(self, name: str) -> Secret:
        """Deletes all versions, so that they can be recovered."""
        secret = replace(self._live(name), deleted=int(time.time()))
        self._put(secret)
        return secret

    def deleted(self, name: str) -> Secret:
        """The deleted secret of that name."""
        secret = self._secrets.get(_key(name))
        if not secret or secret.deleted is None:
            raise VaultError(f"Deleted Secret not found: {name}", 404, "SecretNotFound")
        return secret

    def recover(self, name: str) -> SecretVersion:
        """Undoes a deletion; returns the latest version."""
        secret = replace(self.deleted(name), deleted=None)
        self._put(secret)
        return secret.latest

    def purge(self, name: str) -> None:
        """Forgets a deleted secret, and frees its name."""
        self.deleted(name)
        self._save({key: secret for key, secret in self._secrets.items() if key != _key(name)})

    def secrets(self, deleted: bool = False) -> dict[str, Secret]:
        """The secrets that are deleted, or those that are not, by their names in lower case, sorted."""
        secrets = sorted(self._secrets.items())
        return {name: secret for name, secret in secrets if (secret.deleted is not None) == deleted}

    def versions(self, name: str) -> dict[str, SecretVersion]:
        """The versions of a secret by their ids, sorted: so in no order of time, as in Key Vault; none if unknown."""
        secret = self.secrets().get(_key(name))
        return {version.id: version for version in sorted(secret.versions, key=attrgetter("id"))} if secret else {}

    def _live(self, name: str) -> Secret:
        secret = self._secrets.get(_key(name))
        if not secret or secret.deleted is not None:
            raise _not_found(name)
        return secret

    def _put(self, secret: Secret) -> None:
        self._save(self._secrets | {_key(secret.latest.name): secret})

    def _save(self, secrets: dict[str, Secret]) -> None:
        secret_file.write(self._path, msgspec.json.format(msgspec.json.encode(secrets)))
        self._secrets = secrets


def _key(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise VaultError(f"The request URI contains an invalid name: {name}")
    return name.lower()


def _version(secret: Secret, version: str) -> SecretVersion:
    if not version:
        return secret.latest
    found = next((each for each in secret.versions if each.id == version), None)
    if found is None:
        raise _not_found(f"{secret.latest.name}/{version}")
    return found


def _not_found(name: str) -> VaultError:
    return VaultError(f"A secret with (name/id) {name} was not found in this key vault.", 404, "SecretNotFound")


def _check_tags(properties: Mapping[str, Any]) -> None:
    if len(properties.get("tags", ())) > _MAX_TAGS:
        raise VaultError(f"A secret must not have more than {_MAX_TAGS} tags.")
