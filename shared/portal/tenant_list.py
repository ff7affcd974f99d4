"""All tenants at a glance: the table's rows, remembered for a moment, to be searched and paged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.directory.columns import canonical, column_text
from shared.directory.provider import RowError
from shared.directory.tenant_id import parse_tenant_id
from shared.directory.tenant_row import COLUMNS, parse_provider, parse_version
from shared.fhir.versions import FhirVersion
from shared.portal.tenant_path import tenant_path
from shared.stores.cache import Cache
from shared.stores.tables import Row, Table

# A table of 10,000 rows is read in 1.2 s and needs 0.4 s to be understood: not for every page and letter searched.
_REMEMBERED_SECONDS = 10


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """A row in short. `key` is as it was typed; `problem` says why the gateway can't use the row, or is empty.

    `tenant` and `version` are what the key means, and None when it means nothing.
    """

    key: tuple[str, str]
    tenant: str | None
    version: FhirVersion | None
    name: str
    host: str
    enabled: bool
    problem: str

    @property
    def path(self) -> str | None:
        """The row's page below the portal's root, if its key names a tenant and a version."""
        if self.tenant is None or self.version is None:
            return None
        return tenant_path(self.tenant, self.version)


class TenantList:
    """The rows of the table `Tenants` by name; what another instance wrote is seen within ten seconds."""

    def __init__(self, table: Table, *, local: bool) -> None:
        self._table = table
        self._local = local
        self._entries: Cache[str, Sequence[TenantEntry]] = Cache(
            self._load, fresh_seconds=_REMEMBERED_SECONDS, stale_seconds=0, size=1
        )

    async def entries(self, search: str = "") -> Sequence[TenantEntry]:
        """The rows whose GUID, name or host contains the text in any case. Raises StoreUnavailable."""
        entries = await self._entries.get("") or ()
        wanted = search.strip().strip("{}").lower()
        if not wanted:
            return entries
        return [entry for entry in entries if any(wanted in text.lower() for text in _searched(entry))]

    async def names(self) -> Mapping[str, str]:
        """What people call each tenant that has a row. Raises StoreUnavailable."""
        return {entry.tenant: entry.name for entry in await self.entries() if entry.tenant is not None}

    def changed(self) -> None:
        """The next look reads the table again."""
        self._entries.expire("")

    async def _load(self, _: str) -> Sequence[TenantEntry]:
        entries = [_entry(row, local=self._local) async for row in self._table.scan()]
        return sorted(entries, key=lambda entry: (entry.name.lower(), entry.key))


def _entry(row: Row, *, local: bool) -> TenantEntry:
    key = (str(row["PartitionKey"]), str(row["RowKey"]))
    row = canonical(row, COLUMNS)
    enabled, problem = True, ""
    try:
        enabled = parse_provider(row, local=local).enabled
    except RowError as error:
        problem = f"{error.column} {error.problem}"
    return TenantEntry(
        key=key,
        tenant=parse_tenant_id(key[0]),
        version=parse_version(key[1]),
        name=column_text(row.get("Name")) or key[0],
        host=_host(column_text(row.get("BaseUrl"))),
        enabled=enabled,
        problem=problem,
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _searched(entry: TenantEntry) -> tuple[str, ...]:
    return (entry.tenant or entry.key[0], entry.name, entry.host)
