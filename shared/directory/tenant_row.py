"""Rows of the table `Tenants` as people type them, read into providers."""

import json
import re
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, urlsplit

from shared.directory.errors import RowError
from shared.directory.provider import Access, AuthKind, BatchMode, Provider, ProviderAuth, SearchMethod
from shared.directory.tenant_columns import (
    AUTH_COLUMNS,
    COLUMNS,
    DEFAULT_MAX_CONCURRENT,
    KEY_COLUMNS,
    MUTUAL_TLS,
    TABLE,
)
from shared.directory.typed_text import canonical, column_text, flag, is_text, parse_tenant_id, unknown_column
from shared.fhir.interface import types as interface_types
from shared.fhir.spelling import misspelt_operations, unknown_types
from shared.fhir.versions import FhirVersion
from shared.settings import is_loopback

if TYPE_CHECKING:  # the command line's --help does without the Azure SDKs
    from shared.stores.tables import Row

_STORE_COLUMNS = {*KEY_COLUMNS, "Timestamp", "etag"}

_SECRET_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_PATH = re.compile(r"[A-Za-z0-9._~:/-]*")
_NETLOC = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_TYPE = re.compile(r"[A-Za-z]{1,64}")
_OPERATION = re.compile(r"([A-Za-z]{1,64})/\$([A-Za-z][A-Za-z0-9-]{0,63})")
_MAX_PAGE_ORIGINS = 10
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_RESERVED_SECRETS = re.compile(r"(?i)client-.*|token-signing-key|portal-cookie-key")
_MANAGED_HEADERS = frozenset(
    "accept accept-encoding authorization connection content-encoding content-length content-type cookie expect host "  # noqa: SIM905
    "keep-alive te trailer transfer-encoding upgrade".split()
)
_AZURE_FHIR = ".azurehealthcareapis.com"
_AUDIENCE = re.compile(r"https://([A-Za-z0-9.-]+)(?:/[A-Za-z0-9._~/-]*)?")
_AUTH_PARTS = tuple(column for column in COLUMNS if column.startswith("Auth") and column != "Auth")
_OPEN = ProviderAuth()
_NONE = frozenset[str]()
_E = TypeVar("_E", bound=Enum)
_T = TypeVar("_T")


def parse_version(row_key: object) -> FhirVersion | None:
    """The FHIR version a RowKey names, in any case and with spaces around it; None when it names none."""
    try:
        return FhirVersion(str(row_key).strip().lower())
    except ValueError:
        return None


def parse_provider(row: "Row", *, local: bool) -> Provider:
    """The provider a row describes.

    `local` (a laptop) also allows http URLs on loopback. Raises RowError, which names the row and every column that
    something is wrong with: an unknown one, a missing or malformed value, or an `Auth*` column that the row's kind of
    authentication does not use.
    """
    return _RowReader(row, local).provider()


class _RowReader:
    def __init__(self, row: "Row", local: bool) -> None:
        self._key = (str(row.get("PartitionKey", "")), str(row.get("RowKey", "")))
        self._row = canonical(row, COLUMNS)
        self._local = local
        self._problems: dict[str, str] = {}

    def provider(self) -> Provider:
        tenant, version = parse_tenant_id(self._key[0]), parse_version(self._key[1])
        if tenant is None:
            self._problems["PartitionKey"] = "is not a tenant GUID"
        if version is None:
            self._problems["RowKey"] = f"is none of {_names(FhirVersion)}"
        named = (column for column in self._row if column not in _STORE_COLUMNS and not column.startswith("odata."))
        self._problems |= {column: problem for column in named if (problem := unknown_column(column, COLUMNS))}
        base_url = self._read("BaseUrl", self._base_url, "")
        if not base_url:
            self._problems.setdefault("BaseUrl", "is missing")
        types = self._read("Types", partial(self._types, version), _NONE)
        types = types or (interface_types(version) if version else _NONE)
        of = _NONE if "Types" in self._problems else types
        provider = Provider(
            tenant=tenant or "",
            version=version or FhirVersion.STU3,
            base_url=base_url,
            name=self._read("Name", str, "") or tenant or "",
            enabled=self._read("Enabled", self._enabled, True),
            auth=self._auth(base_url),
            extra_headers=self._read("ExtraHeaders", self._extra_headers, ()),
            batch=self._choice("Batch", BatchMode.NATIVE),
            access=self._choice("Access", Access.READ),
            types=types,
            timeout_seconds=self._read("TimeoutSeconds", self._timeout, None),
            max_concurrent=self._read("MaxConcurrent", self._max_concurrent, DEFAULT_MAX_CONCURRENT),
            search=self._choice("Search", SearchMethod.GET),
            accurate_total=self._read("Total", self._accurate_total, False),
            operations=self._read("Operations", partial(self._operations, version, of), _NONE),
            page_origins=self._read("PageOrigins", self._page_origins, ()),
        )
        if self._problems:
            place = {column: number for number, column in enumerate((*KEY_COLUMNS, *COLUMNS))}
            ordered = sorted(self._problems.items(), key=lambda problem: place.get(problem[0], len(place)))
            raise RowError(TABLE, self._key, *ordered)
        return provider

    def _read(self, column: str, read: Callable[[str], _T], default: _T) -> _T:
        """What `read` makes of a column's text; the default when that is empty, or wrong, which is noted."""
        if self._row.get(column) is None:  # as most columns of most rows, and each request to a cold row waits for this
            return default
        try:
            text = self._text(column)
            return read(text) if text else default
        except RowError as error:
            self._problems.setdefault(*error.problems[0])
            return default

    def _error(self, column: str, problem: str) -> RowError:
        return RowError(TABLE, self._key, (column, problem))

    def _text(self, column: str) -> str:
        value = self._row.get(column)
        if not is_text(value):
            raise self._error(column, "has a type that it can't have: make it a String")
        text = column_text(value)
        try:
            text.encode()
        except UnicodeEncodeError:  # what Python makes of an argument's bytes that are no text
            raise self._error(column, "has bytes of another encoding than the terminal's: type it again") from None
        return text

    def _base_url(self, text: str) -> str:
        parts = self._url("BaseUrl", text)
        if parts.query or parts.fragment:
            raise self._error("BaseUrl", "must end with the path: no query, no fragment")
        path = parts.path.rstrip("/")
        if path.endswith("/metadata"):
            raise self._error("BaseUrl", "is the FHIR base URL: leave out /metadata")
        if not _PATH.fullmatch(path) or any(not segment.strip(".") for segment in path.split("/")[1:]):
            raise self._error("BaseUrl", "has a path with empty or dot segments, or characters that a base can't have")
        return f"{parts.scheme}://{parts.netloc}{path}"

    def _url(self, column: str, text: str) -> SplitResult:
        """The URL of a column, https (or http on loopback, on a laptop), with its scheme and host in lower case."""
        if not _VISIBLE.fullmatch(text) or "\\" in text:
            raise self._error(column, "is not a URL")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise self._error(column, "is not a URL") from None
        if not _NETLOC.fullmatch(parts.netloc) or port == 0:
            raise self._error(column, "is not a URL with a host and without credentials")
        if parts.scheme != "https" and not (self._local and parts.scheme == "http" and is_loopback(parts.hostname)):
            raise self._error(column, "must begin with https://")
        return parts._replace(netloc=parts.netloc.lower())

    def _auth(self, base_url: str) -> ProviderAuth:
        name = self._read("Auth", self._auth_name, AuthKind.NONE.value)
        if "Auth" in self._problems:
            name = ""
        required, _ = AUTH_COLUMNS.get(name, (_NONE, _NONE))
        text = {
            column: text
            for column in _AUTH_PARTS
            if (text := self._read(column, partial(self._auth_text, column, name, base_url), ""))
        }
        for column in required - text.keys():
            self._problems.setdefault(column, f"is needed by Auth={name}")
        if name == MUTUAL_TLS:
            return ProviderAuth(certificate=text.get("AuthSecret"))
        if not text and name == AuthKind.NONE.value:
            return _OPEN
        return ProviderAuth(
            kind=AuthKind(name or "none"),
            token_url=text.get("AuthTokenUrl"),
            client_id=text.get("AuthClientId"),
            scope=text.get("AuthScope"),
            header=text.get("AuthHeader"),
            secret=text.get("AuthSecret"),
            key_id=text.get("AuthKeyId"),
            certificate=text.get("AuthCertificate"),
        )

    def _auth_name(self, text: str) -> str:
        name = text.lower()
        if name not in AUTH_COLUMNS:
            raise self._error("Auth", f"must be one of {', '.join(AUTH_COLUMNS)}")
        return name

    def _auth_text(self, column: str, auth: str, base_url: str, text: str) -> str:
        """What one of the `Auth*` columns says; `auth` is "" when `Auth` itself is wrong, `base_url` likewise."""
        required, optional = AUTH_COLUMNS.get(auth, (frozenset(), frozenset({column})))
        if column not in required | optional:
            raise self._error(column, f"is not used by Auth={auth}: empty it, or set Auth")
        match column:
            case "AuthTokenUrl":
                return self._url(column, text).geturl()
            case "AuthSecret" | "AuthCertificate":
                self._check_secret_name(column, text)
            case "AuthHeader" if not _TOKEN.fullmatch(text):
                raise self._error(column, "is not a header name")
            case "AuthHeader" if text.lower() in _MANAGED_HEADERS - {"authorization", "cookie"}:
                raise self._error(column, "is a header that the gateway sets itself")
            case "AuthScope" if auth == AuthKind.MANAGED_IDENTITY.value:
                self._check_audience(text, base_url)
        return text

    def _check_audience(self, scope: str, base_url: str) -> None:
        """The gateway's own identity also opens its vault and tables: its token for these must not go to a provider.

        So the audience is the provider's own host, or any of Azure's FHIR services if that is what the provider is. An
        application (`api://`) it can't be: for `api://AzureADTokenExchange` the identity's token opens other accounts.
        """
        audience = _AUDIENCE.fullmatch(scope)
        host, provider = audience[1].lower() if audience else "", urlsplit(base_url).hostname or ""
        of_azure = all(f".{name}".endswith(_AZURE_FHIR) for name in (host, provider))
        if not host or (provider and host != provider and not of_azure):
            raise self._error("AuthScope", "must be one scope, the provider's own, such as <BaseUrl>/.default")

    def _check_secret_name(self, column: str, name: str) -> None:
        if not _SECRET_NAME.fullmatch(name):
            raise self._error(column, "is not the name of a Key Vault secret: 1 to 127 letters, digits and hyphens")
        if _RESERVED_SECRETS.fullmatch(name):
            raise self._error(column, "names a secret that the gateway keeps for itself")

    def _extra_headers(self, text: str) -> tuple[tuple[str, str], ...]:
        try:
            headers = json.loads(text)
        except (ValueError, RecursionError):
            raise self._error("ExtraHeaders", 'is not JSON such as {"Redox-Source-Id": "..."}') from None
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise self._error("ExtraHeaders", "must be a JSON object of header names and text values")
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name) or not _PRINTABLE.fullmatch(value):
                raise self._error("ExtraHeaders", "has a name or value that can't stand in a header")
            if name.lower() in _MANAGED_HEADERS or name.lower().startswith(("x-forwarded-", "proxy-")):
                raise self._error("ExtraHeaders", f"has {name}, which the gateway sets itself")
        return tuple(headers.items())

    def _types(self, version: FhirVersion | None, text: str) -> frozenset[str]:
        names = _items(text)
        if not all(map(_TYPE.fullmatch, names)):
            raise self._error("Types", "must be a comma list of resource types such as Patient,Observation")
        if problem := unknown_types(names, version):
            raise self._error("Types", problem)
        return frozenset(names)

    def _accurate_total(self, text: str) -> bool:
        if text.lower() != "accurate":
            raise self._error("Total", "must be accurate, or empty")
        return True

    def _operations(self, version: FhirVersion | None, types: frozenset[str], text: str) -> frozenset[str]:
        """The operations; of `types`, unless these are not known."""
        names = _items(text)
        operations = [_OPERATION.fullmatch(name) for name in names]
        if not all(operations):
            raise self._error("Operations", "must be a comma list such as Patient/$everything,Observation/$lastn")
        found = [(operation[1], operation[2]) for operation in operations if operation]
        of = [type for type, _ in found]
        if problem := unknown_types(of, version) or misspelt_operations([name for _, name in found]):
            raise self._error("Operations", problem)
        if types and not types.issuperset(of):
            raise self._error("Operations", "names a type that is not among the row's Types")
        return frozenset(names)

    def _page_origins(self, text: str) -> tuple[str, ...]:
        origins = []
        for item in _items(text):
            url = self._url("PageOrigins", item.rstrip("/"))
            if url.path or url.query or url.fragment:
                raise self._error("PageOrigins", "must be a comma list of origins such as https://pages.example.com")
            default = f":{443 if url.scheme == 'https' else 80}"
            origins.append(f"{url.scheme}://{url.netloc.removesuffix(default)}")
        if len(origins) > _MAX_PAGE_ORIGINS:
            raise self._error("PageOrigins", f"may name {_MAX_PAGE_ORIGINS} origins")
        return tuple(dict.fromkeys(origins))

    def _timeout(self, text: str) -> float:
        if not re.fullmatch(r"\d{1,3}(\.\d{1,3})?", text) or not 0.1 <= float(text) <= 220:
            raise self._error("TimeoutSeconds", "must be a number of seconds from 0.1 to 220")
        return float(text)

    def _max_concurrent(self, text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,5}(\.0)?", text) or not 1 <= float(text) <= 10_000:
            raise self._error("MaxConcurrent", "must be a whole number from 1 to 10000")
        return int(float(text))

    def _enabled(self, text: str) -> bool:
        found = flag(text)
        if found is None:
            raise self._error("Enabled", "must be true or false")
        return found

    def _choice(self, column: str, default: _E) -> _E:
        choices = type(default)

        def read(text: str) -> _E:
            try:
                return choices(text.lower())
            except ValueError:
                raise self._error(column, f"must be one of {_names(choices)}") from None

        return self._read(column, read, default)


def _items(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _names(choices: type[Enum]) -> str:
    return ", ".join(choice.value for choice in choices)
