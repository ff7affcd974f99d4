"""The settings of a deployment, read once from the environment."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from shared.fhir.versions import FhirVersion

_NETLOC = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_CONNECTION_STRING = re.compile(
    r"(?i)UseDevelopmentStorage=true|"
    r"(?=(.*;)?(AccountName|TableEndpoint)=)(?=(.*;)?(AccountKey|SharedAccessSignature)=)([a-z]+=[^;]+(;|$))+"
)


class SettingError(Exception):
    """A setting is missing or malformed; the message names it and says what it takes."""


class Settings(Struct, frozen=True):
    """Every setting the gateway reads; the README's table explains each.

    Durations are seconds. `tables` is either an account's https endpoint or a connection string.
    `local_vault` is the folder of the laptop's Key Vault stand-in and is set on a laptop only: `local` asks for it.
    """

    public_base_url: str
    key_vault_url: str
    tables: str
    default_fhir_version: FhirVersion
    token_lifetime_seconds: int
    cache_seconds: int
    stale_seconds: int
    upstream_timeout_seconds: float
    max_response_bytes: int
    clients_per_owner: int
    portal_auth: str
    local_vault: Path | None

    @property
    def local(self) -> bool:
        """Whether this is a laptop: provider URLs may be http on loopback, and the portal may sign in by itself."""
        return self.local_vault is not None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings in `environment`; raises SettingError for the first that is missing or malformed."""
        local_vault = _local_vault(environment)
        return cls(
            public_base_url=_origin(environment, "PUBLIC_BASE_URL", allow_http=local_vault is not None),
            key_vault_url=_origin(environment, "KEY_VAULT_URL"),
            tables=_tables(environment, local=local_vault is not None),
            default_fhir_version=_version(environment, "DEFAULT_FHIR_VERSION", FhirVersion.STU3),
            token_lifetime_seconds=_whole(environment, "TOKEN_LIFETIME_SECONDS", 3600, 60, 86_400),
            cache_seconds=_whole(environment, "CACHE_SECONDS", 60, 1, 3600),
            stale_seconds=_whole(environment, "STALE_SECONDS", 900, 0, 86_400),
            upstream_timeout_seconds=_whole(environment, "UPSTREAM_TIMEOUT_SECONDS", 30, 1, 220),
            max_response_bytes=_whole(environment, "MAX_RESPONSE_MB", 50, 1, 100) * 1_048_576,
            clients_per_owner=_whole(environment, "CLIENTS_PER_OWNER", 20, 1, 1000),
            portal_auth=_choice(environment, "PORTAL_AUTH", "off", ("off", "entra")),
            local_vault=local_vault,
        )


def is_loopback(host: str | None) -> bool:
    """Whether a URL's host is this machine by name or by an address of 127.0.0.0/8 or ::1."""
    if host in ("localhost", "127.0.0.1"):
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _local_vault(environment: Mapping[str, str]) -> Path | None:
    folder = environment.get("LOCAL_VAULT", "").strip()
    if not folder:
        return None
    if "WEBSITE_SITE_NAME" in environment:
        raise SettingError("LOCAL_VAULT is for a laptop: remove it from the app's settings")
    if not is_loopback(urlsplit(_origin(environment, "KEY_VAULT_URL")).hostname):
        raise SettingError("LOCAL_VAULT needs a KEY_VAULT_URL on this machine, such as https://127.0.0.1:8443")
    return Path(folder)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingError(f"{name} is not set")
    return value


def _origin(environment: Mapping[str, str], name: str, *, allow_http: bool = False) -> str:
    value = _required(environment, name).rstrip("/")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 (raises ValueError for a port that is no number)
    except ValueError:
        raise SettingError(f"{name} is not a URL") from None
    secure = parts.scheme == "https" or (allow_http and parts.scheme == "http" and is_loopback(parts.hostname))
    if not secure or not _NETLOC.fullmatch(parts.netloc) or value[len(parts.scheme) :] != f"://{parts.netloc}":
        raise SettingError(f"{name} must be an https URL without a path, such as https://gateway.example.com")
    return value


def _tables(environment: Mapping[str, str], *, local: bool) -> str:
    connection_string = environment.get("TABLES_CONNECTION_STRING", "").strip()
    if connection_string:
        if not _CONNECTION_STRING.fullmatch(connection_string):
            raise SettingError("TABLES_CONNECTION_STRING must be an account's connection string: AccountName=...;...")
        return connection_string
    if not environment.get("TABLES_ENDPOINT", "").strip():
        raise SettingError("TABLES_ENDPOINT is not set (on a laptop: TABLES_CONNECTION_STRING)")
    return _origin(environment, "TABLES_ENDPOINT", allow_http=local)


def _whole(environment: Mapping[str, str], name: str, default: int, minimum: int, maximum: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (re.fullmatch("[0-9]{1,9}", text) and minimum <= int(text) <= maximum):
        raise SettingError(f"{name} must be a whole number from {minimum} to {maximum}")
    return int(text)


def _choice(environment: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = environment.get(name, "").strip().lower() or default
    if value not in choices:
        raise SettingError(f"{name} must be one of {', '.join(choices)}")
    return value


def _version(environment: Mapping[str, str], name: str, default: FhirVersion) -> FhirVersion:
    return FhirVersion(_choice(environment, name, default.value, tuple(version.value for version in FhirVersion)))
