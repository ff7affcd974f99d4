"""The write side of the table `Tenants`: which FHIR server belongs to a tenant, as people keep it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from shared.azure.tables import Table, etag_of
from shared.directory.provider import Provider, Row, RowError
from shared.directory.refusals import InvalidTenantId
from shared.directory.tenant_id import parse_tenant_id
from shared.directory.tenant_row import KEY_COLUMNS, TABLE, parse_provider, parse_version
from shared.fhir.versions import FhirVersion

RowKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Change:
    """A row as it will be, the provider it describes, and the row it was read from, if there is one."""

    row: Row
    provider: Provider
    read: Row | None


class TenantRegistry:
    """The rows of the table `Tenants`. Every method may raise StoreUnavailable.

    A tenant's id may be given in any spelling (InvalidTenantId when it is no GUID), and rows are found whose keys a
    person typed in another. `local` (a laptop) also allows http URLs on loopback.
    """

    def __init__(self, table: Table, *, local: bool) -> None:
        self._table = table
        self._local = local

    async def list(self) -> AsyncIterator[tuple[RowKey, Provider | RowError]]:
        """Every row by its keys as they were typed: the provider it describes, or why it can't be used."""
        async for row in self._table.scan():
            try:
                yield _key(row), parse_provider(row, local=self._local)
            except RowError as error:
                yield _key(row), error

    async def get(self, tenant: str, version: FhirVersion) -> Provider | None:
        """The provider of a tenant for a version, switched on or not. Raises RowError when its row can't be used."""
        row = await self._read(_tenant_id(tenant), version)
        return None if row is None else parse_provider(row, local=self._local)

    async def preview(self, tenant: str, version: FhirVersion, changes: Mapping[str, str | None]) -> Provider:
        """What `set` would make of a row, with the same errors, without writing it."""
        return (await self._changed(tenant, version, changes)).provider

    async def set(self, tenant: str, version: FhirVersion, changes: Mapping[str, str | None]) -> Provider:
        """Makes a row or changes one: columns by name, as text; None or "" removes a column.

        The row is checked as a whole before it is written, under its canonical keys. Raises RowError when it could not
        be used, and StoreConflict when it was changed meanwhile.
        """
        change = await self._changed(tenant, version, changes)
        if change.read is None:
            await self._table.insert(change.row)
        elif _key(change.read) == _key(change.row):
            await self._table.replace(change.row, etag_of(change.read))
        else:
            # The new row first: a failure between the two leaves two rows and an error that says so, never none.
            await self._table.insert(change.row)
            await self._table.delete(*_key(change.read), etag_of(change.read))
        return change.provider

    async def remove(self, tenant: str, version: FhirVersion) -> bool:
        """Removes a tenant's row for a version, and any second one; False when there was none."""
        keys = await self._keys(_tenant_id(tenant), version)
        for key in keys:
            await self._table.delete(*key)
        return bool(keys)

    async def _changed(self, tenant: str, version: FhirVersion, changes: Mapping[str, str | None]) -> _Change:
        key = (_tenant_id(tenant), version.value)
        read = await self._read(key[0], version)
        row: dict[str, object] = dict(read or {})
        for column, value in changes.items():
            row[column] = (value or "").strip()
        row = {column: value for column, value in row.items() if value != ""} | dict(zip(KEY_COLUMNS, key, strict=True))
        provider = parse_provider(row, local=self._local)
        return _Change(_typed(row, provider), provider, read)

    async def _read(self, tenant: str, version: FhirVersion) -> Row | None:
        keys = await self._keys(tenant, version)
        if len(keys) > 1:
            raise RowError(TABLE, keys[1], "RowKey", f"is the tenant's second row for {version.value}: remove one")
        return await self._table.get(*keys[0]) if keys else None

    async def _keys(self, tenant: str, version: FhirVersion) -> tuple[RowKey, ...]:
        """The keys, in any spelling, of a tenant's rows for a version."""
        wanted = (tenant, version)
        rows = self._table.scan([*KEY_COLUMNS])
        return tuple([key async for row in rows if _meaning(key := _key(row)) == wanted])


def _key(row: Row) -> RowKey:
    return str(row["PartitionKey"]), str(row["RowKey"])


def _meaning(key: RowKey) -> tuple[str | None, FhirVersion | None]:
    return parse_tenant_id(key[0]), parse_version(key[1])


def _typed(row: Row, provider: Provider) -> Row:
    """The row with the types a person sees in Storage Explorer: a boolean, numbers, and text."""
    types: Mapping[str, object] = {
        "Enabled": provider.enabled,
        "TimeoutSeconds": provider.timeout_seconds,
        "MaxConcurrent": provider.max_concurrent,
    }
    return {column: types.get(column, value) for column, value in row.items()}


def _tenant_id(text: str) -> str:
    tenant = parse_tenant_id(text)
    if tenant is None:
        raise InvalidTenantId(text)
    return tenant
