"""The tenants as requests read them: the table `Tenants`, remembered for a while."""

import logging
from collections.abc import Iterable, Mapping

from shared.directory.errors import NoSuchVersion, RowError, UnknownTenant
from shared.directory.provider import Provider
from shared.directory.tenant_columns import KEY_COLUMNS
from shared.directory.tenant_row import parse_provider, parse_version
from shared.directory.typed_text import parse_tenant_id
from shared.fhir.versions import FhirVersion
from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.tables import TENANTS, Row, Table

_SIZE = 20_000

_log = logging.getLogger(__name__)

_Keys = Mapping[str, tuple[tuple[str, str], ...]]
_TenantRows = tuple[tuple[FhirVersion, Provider | RowError], ...]
"""What a tenant's rows that are not switched off say: a provider for a version, or why its row can't be used.

In the order of the versions. A dict of one or two would take twice as much, for each tenant in use.
"""


class TenantCache:
    """The directory of tenants. A change in a row is seen within `CACHE_SECONDS`.

    A tenant's rows are read under its canonical key. Only when that does not lead to a provider are keys looked at
    that a person typed otherwise (capitals, braces, spaces): an index of those is one scan of the table's keys, so
    nobody waits for it whose row is where it should be.
    """

    def __init__(self, table: Table, settings: Settings) -> None:
        self._table = table
        self._local = settings.local
        fresh, stale = settings.cache_seconds, settings.stale_seconds
        self._rows: Cache[str, _TenantRows] = Cache(self._load, fresh_seconds=fresh, stale_seconds=stale, size=_SIZE)
        # What these two hold was read one after the other, so each may be half as old.
        self._all_rows: Cache[str, _TenantRows] = Cache(
            self._load_all, fresh_seconds=fresh / 2, stale_seconds=stale, size=_SIZE
        )
        self._misspelt: Cache[str, _Keys] = Cache(
            self._load_misspelt, fresh_seconds=fresh / 2, stale_seconds=stale, size=1
        )

    async def known(self, tenant: str) -> bool:
        """Whether a row that is switched on names this tenant."""
        rows = await self._rows.get(tenant)
        if not rows:
            rows = await self._all_rows.get(tenant)
        return bool(rows)

    async def provider(self, tenant: str, version: FhirVersion) -> Provider:
        """The provider of a tenant for a version.

        Raises UnknownTenant, NoSuchVersion, RowError when this very row can't be used, or StoreUnavailable.
        """
        rows = await self._rows.get(tenant) or ()
        found = _found(rows, version)
        if found is None:
            rows = await self._all_rows.get(tenant) or ()
            found = _found(rows, version)
        if found is None:
            raise NoSuchVersion(tuple(of for of, _ in rows)) if rows else UnknownTenant
        if isinstance(found, RowError):
            raise found.with_traceback(None)  # it is raised again and again, and would keep every request's frames
        return found

    async def is_current(self, key: tuple[str, FhirVersion, str], older_than: float) -> bool:
        """Whether the row of a provider's `key`, read again if that was so many seconds ago and where the table
        answers, still leads to that key. Raises StoreUnavailable.
        """
        tenant, version, _ = key
        rows = await self._rows.renew(tenant, older_than=older_than)
        if _found(rows or (), version) is None:
            await self._all_rows.renew(tenant, older_than=older_than)
        try:
            return (await self.provider(tenant, version)).key == key
        except (UnknownTenant, NoSuchVersion, RowError):
            return False

    async def _load(self, tenant: str) -> _TenantRows | None:
        rows = await self._table.partition(tenant)
        return _tenant_rows(rows, local=self._local) if rows else None

    async def _load_all(self, tenant: str) -> _TenantRows | None:
        misspelt = (await self._misspelt.get("") or {}).get(tenant, ())
        rows = await self._table.partition(tenant)
        rows += [row for key in misspelt if (row := await self._table.get(*key)) is not None]
        return _tenant_rows(rows, local=self._local) if rows else None

    async def _load_misspelt(self, _: str) -> _Keys:
        index: dict[str, tuple[tuple[str, str], ...]] = {}
        async for row in self._table.scan(list(KEY_COLUMNS)):
            key = (str(row["PartitionKey"]), str(row["RowKey"]))
            tenant = parse_tenant_id(key[0])
            if tenant is not None and tenant != key[0]:
                index[tenant] = (*index.get(tenant, ()), key)
        return index


def _tenant_rows(rows: Iterable[Row], *, local: bool) -> _TenantRows:
    providers: dict[FhirVersion, Provider | RowError] = {}
    for row in rows:
        key = (str(row["PartitionKey"]), str(row["RowKey"]))
        version = parse_version(row["RowKey"])
        if version is None:
            _log.error("row left out: %s", RowError(TENANTS, key, ("RowKey", "is no FHIR version")))
            continue
        if version in providers:
            providers[version] = RowError(TENANTS, key, ("RowKey", f"is the tenant's second row for {version.value}"))
            continue
        try:
            providers[version] = parse_provider(row, local=local)
        except RowError as error:
            providers[version] = error
    return tuple(
        (version, found)
        for version in FhirVersion
        if (found := providers.get(version)) is not None and (isinstance(found, RowError) or found.enabled)
    )


def _found(rows: _TenantRows, version: FhirVersion) -> Provider | RowError | None:
    for of, found in rows:
        if of is version:
            return found
    return None
