"""The tenants' rows as the portal reads them: a list to search and page, one row by its key, and a row's address."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.directory.activity import ActivityLog
from shared.directory.client import Client
from shared.directory.errors import RowError
from shared.directory.provider import Provider
from shared.directory.tenant_columns import ALL_COLUMNS, COLUMNS, KEY_COLUMNS, Column
from shared.directory.tenant_registry import TenantRegistry
from shared.directory.tenant_row import parse_provider, parse_version
from shared.directory.typed_text import canonical, column_text, parse_tenant_id
from shared.fhir.versions import FhirVersion
from shared.portal.errors import NotFound
from shared.portal.request import PortalRequest
from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.tables import Row, Table, etag_of

# A table of 10,000 rows is read in 1.2 s and takes 0.7 s to parse: not for every page and letter searched.
READ_AHEAD = 1 / 6
"""The share of CACHE_SECONDS from which on a list is read anew, beside the page that shows it as it was."""
_ROWS_AT_ONCE = 200  # are parsed in 15 ms

Key = tuple[str, FhirVersion]
"""What names a row: the tenant's GUID, and the version."""


def tenant_path(tenant: str, version: FhirVersion) -> str:
    """The page of a tenant's row, below the portal's root."""
    return f"/tenants/{tenant}/{version.value}"


def tenant_of(request: PortalRequest) -> Key:
    """The tenant and the version that the path names in any spelling. Raises NotFound when it names none."""
    tenant, version = parse_tenant_id(request.parameters["tenant"]), parse_version(request.parameters["version"])
    if tenant is None or version is None:
        raise NotFound
    return tenant, version


def path_of(request: PortalRequest) -> str:
    """The page of the row that the path names. Raises NotFound when it names none."""
    return tenant_path(*tenant_of(request))


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """A row of the list. `key` is as it was typed; `problem` says why the gateway can't use the row, or is empty.

    `tenant` and `version` are what the key means, and None when it means nothing. `binding` is the provider's.
    """

    key: tuple[str, str]
    tenant: str | None
    version: FhirVersion | None
    name: str
    host: str
    enabled: bool
    problem: str
    binding: str

    @property
    def searched(self) -> str:
        """The texts that a search looks in, in lower case."""
        return "\n".join((self.tenant or self.key[0], self.name, self.host)).lower()

    @property
    def choice(self) -> str:
        """The row as the value of a form's field, `<tenant>/<version>`; "" where its key names none."""
        return f"{self.tenant}/{self.version.value}" if self.tenant and self.version else ""

    @property
    def path(self) -> str | None:
        """The row's page below the portal's root, if its key names a tenant and a version."""
        if self.tenant is None or self.version is None:
            return None
        return tenant_path(self.tenant, self.version)


class TenantList:
    """The rows of the table `Tenants`; changes of another instance are seen within CACHE_SECONDS."""

    def __init__(self, table: Table, settings: Settings, activity: ActivityLog) -> None:
        self.registry = TenantRegistry(table, local=settings.local)
        self._table = table
        self._local = settings.local
        self._activity = activity
        self._read: Mapping[tuple[object, object], tuple[str, TenantEntry]] = {}
        self._entries: Cache[str, Sequence[TenantEntry]] = Cache(
            self._load, fresh_seconds=settings.cache_seconds, ahead=READ_AHEAD, stale_seconds=0, size=1
        )

    async def entries(self) -> Sequence[TenantEntry]:
        """The rows by name. Raises StoreUnavailable."""
        return await self._entries.get("") or ()

    async def names(self) -> Mapping[str, str]:
        """The name of each tenant that has a row. Raises StoreUnavailable."""
        return {entry.tenant: entry.name for entry in await self.entries() if entry.tenant is not None}

    async def reachable(self, client: Client) -> Sequence[TenantEntry]:
        """The hospitals that a client may reach and that are served, by name. Raises StoreUnavailable."""
        served = [entry for entry in await self.entries() if entry.path and entry.enabled and not entry.problem]
        return [entry for entry in served if entry.tenant is not None and client.may_reach(entry.tenant)]

    async def row(self, tenant: str, version: FhirVersion) -> Row | None:
        """A tenant's row as it is now, also when its key or columns were typed in another spelling."""
        row = await self._table.get(tenant, version.value)
        if row is None:
            typed = [(str(row["PartitionKey"]), str(row["RowKey"])) async for row in self._table.scan([*KEY_COLUMNS])]
            meant = (key for key in typed if (parse_tenant_id(key[0]), parse_version(key[1])) == (tenant, version))
            key = next(meant, None)
            row = await self._table.get(*key) if key is not None else None
        return None if row is None else canonical(row, COLUMNS)

    async def stored(self, request: PortalRequest) -> Row:
        """The row that the path names, as `row`. Raises NotFound."""
        row = await self.row(*tenant_of(request))
        if row is None:
            raise NotFound
        return row

    def parsed(self, row: Row) -> tuple[Provider | None, RowError | None]:
        """The provider a row describes, or why it describes none."""
        try:
            return parse_provider(row, local=self._local), None
        except RowError as error:
            return None, error

    async def set(self, key: Key, rows: Sequence[Row], changes: Mapping[str, str | None]) -> None:
        """Changes the row that was read, or makes one where there was none; else raises StoreConflict."""
        await self.registry.write(self.registry.changed(key, rows, changes))

    async def changed(self, request: PortalRequest, action: str, key: Key, detail: str = "") -> None:
        """Tells the audit log of a change, and lets the list be read anew."""
        self.expire()
        subject = f"{key[0]}/{key[1].value}"
        await self._activity.change(
            actor=request.principal.user_name, action=f"tenant.{action}", subject=subject, detail=detail
        )

    def expire(self) -> None:
        """Lets the list be read anew, after a change."""
        self._entries.expire("", reload=True)

    async def _load(self, _: str) -> Sequence[TenantEntry]:
        entries: dict[tuple[object, object], tuple[str, TenantEntry]] = {}
        async for row in self._table.scan():
            key, etag = (row["PartitionKey"], row["RowKey"]), etag_of(row)
            known = self._read.get(key)
            entries[key] = known if known and known[0] == etag else (etag, _entry(row, local=self._local))
            if len(entries) % _ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._read = entries
        return sorted((entry for _, entry in entries.values()), key=lambda entry: (entry.name.lower(), entry.key))


def _entry(row: Row, *, local: bool) -> TenantEntry:
    key = (str(row["PartitionKey"]), str(row["RowKey"]))
    row = canonical(row, COLUMNS)
    enabled, problem, binding = True, "", ""
    try:
        provider = parse_provider(row, local=local)
        enabled, binding = provider.enabled, provider.binding
    except RowError as error:
        problem = error.sentence
    return TenantEntry(
        key=key,
        tenant=parse_tenant_id(key[0]),
        version=parse_version(key[1]),
        name=column_text(row.get("Name")) or key[0],
        host=_host(column_text(row.get("BaseUrl"))),
        enabled=enabled,
        problem=problem,
        binding=binding,
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def name_of(row: Row) -> str:
    """The tenant's name; its GUID as it was typed where there is none."""
    return column_text(row.get("Name")) or str(row["PartitionKey"])


def column_texts(row: Row) -> Mapping[str, str]:
    """Every column of a row as its field has it: "" for one that is not there, or says what holds without it."""
    return {column.name: _field_text(column, column_text(row.get(column.name))) for column in ALL_COLUMNS}


def _field_text(column: Column, text: str) -> str:
    if not column.choices:
        return text
    choice = text.strip().lower()
    return "" if choice == column.default else choice
