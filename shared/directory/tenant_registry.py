"""The write side of the table `Tenants`: which FHIR server belongs to a tenant, as people keep it."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.directory.errors import InvalidTenantId, RowError
from shared.directory.provider import Provider
from shared.directory.tenant_columns import COLUMNS, KEY_COLUMNS
from shared.directory.tenant_row import parse_provider, parse_version
from shared.directory.typed_text import canonical, column_text, parse_tenant_id
from shared.fhir.versions import FhirVersion
from shared.stores.tables import TENANTS, Row, Table, etag_of

RowKey = tuple[str, str]
RowMeaning = tuple[str, FhirVersion]
"""The canonical tenant id and the version that a row's keys stand for, however they were typed."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row as it will be, the provider it describes, and the row it was read from, if there is one.

    `needed` is False when the row that was read describes the same provider already.
    """

    row: Row
    provider: Provider
    read: Row | None
    needed: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the row will have otherwise than it had them."""
        read = self.read or {}
        return tuple(column for column in COLUMNS if column_text(self.row.get(column)) != column_text(read.get(column)))


class TenantRegistry:
    """The rows of the table `Tenants`. Every method may raise StoreUnavailable.

    A tenant's id may be given in any spelling (InvalidTenantId when it is no GUID), and rows are found whose keys a
    person typed in another. `local` (a laptop) also allows http URLs on loopback.
    """

    def __init__(self, table: Table, *, local: bool) -> None:
        self._table = table
        self.local = local

    async def list(self) -> AsyncIterator[tuple[RowKey, Provider | RowError]]:
        """Every row by its keys as they were typed: the provider it describes, or why it can't be used."""
        async for row in self._table.scan():
            yield _key(row), self.read(row)

    async def rows(self) -> Sequence[Row]:
        """Every row as it stands in the table, but for the case of its columns' names."""
        return [canonical(row, COLUMNS) async for row in self._table.scan()]

    def read(self, row: Row) -> Provider | RowError:
        """The provider that a row describes, or why it can't be used."""
        try:
            return parse_provider(row, local=self.local)
        except RowError as error:
            return error

    async def missing(self, tenants: Iterable[str]) -> Sequence[str]:
        """Those of some tenants, canonical, that no row names."""
        known = {parse_tenant_id(str(row["PartitionKey"])) async for row in self._table.scan(["PartitionKey"])}
        return [tenant for tenant in map(canonical_tenant_id, tenants) if tenant not in known]

    async def get(self, tenant: str, version: FhirVersion) -> Provider | None:
        """The provider of a tenant for a version, switched on or not. Raises RowError when its row can't be used."""
        row = _only(await self._read(canonical_tenant_id(tenant), version))
        return None if row is None else parse_provider(row, local=self.local)

    async def preview(self, tenant: str, version: FhirVersion, changes: Mapping[str, str | None]) -> Provider:
        """What `set` would make of a row, with the same errors, without writing it."""
        return (await self._changed(tenant, version, changes)).provider

    async def set(self, tenant: str, version: FhirVersion, changes: Mapping[str, str | None]) -> Provider:
        """Makes a row or changes one: columns by name, as text; None or "" removes a column.

        The row is checked as a whole before it is written, under its canonical keys. Raises RowError when it could not
        be used, and StoreConflict when it was changed meanwhile.
        """
        change = await self._changed(tenant, version, changes)
        await self.write(change)
        return change.provider

    def changed(self, meaning: RowMeaning, rows: Sequence[Row], changes: Mapping[str, str | None]) -> RowChange:
        """What `set` would write, given the `rows` that there are for a canonical tenant id and a version."""
        read = _only(rows)
        changed = {**(read or {}), **{column: (value or "").strip() for column, value in changes.items()}}
        row = {column: value for column, value in changed.items() if column_text(value)}
        row |= {"PartitionKey": meaning[0], "RowKey": meaning[1].value}
        provider = parse_provider(row, local=self.local)
        return RowChange(_typed(row, provider), provider, read, read is None or self.read(read) != provider)

    async def write(self, change: RowChange) -> None:
        """Writes a change, unless its row was written to since it was read: StoreConflict."""
        if change.read is None:
            await self._table.insert(change.row)
        elif _key(change.read) == _key(change.row):
            await self._table.replace(change.row, etag_of(change.read))
        else:
            # The new row first: a failure between the two leaves two rows and an error that says so, never none.
            await self._table.insert(change.row)
            await self._table.delete(*_key(change.read), etag_of(change.read))

    async def remove(self, tenant: str, version: FhirVersion) -> bool:
        """Removes a tenant's row for a version, and any second one; False when there was none."""
        keys = await self._keys(canonical_tenant_id(tenant), version)
        for key in keys:
            await self._table.delete(*key)
        return bool(keys)

    async def _changed(self, tenant: str, version: FhirVersion, changes: Mapping[str, str | None]) -> RowChange:
        meaning = (canonical_tenant_id(tenant), version)
        return self.changed(meaning, await self._read(*meaning), changes)

    async def _read(self, tenant: str, version: FhirVersion) -> Sequence[Row]:
        keys = await self._keys(tenant, version)
        return [canonical(row, COLUMNS) for key in keys if (row := await self._table.get(*key)) is not None]

    async def _keys(self, tenant: str, version: FhirVersion) -> tuple[RowKey, ...]:
        """The keys, in any spelling, of a tenant's rows for a version."""
        wanted = (tenant, version)
        rows = self._table.scan([*KEY_COLUMNS])
        return tuple([key async for row in rows if _meaning(key := _key(row)) == wanted])


def _key(row: Row) -> RowKey:
    return str(row["PartitionKey"]), str(row["RowKey"])


def by_meaning(rows: Iterable[Row]) -> Mapping[RowMeaning, Sequence[Row]]:
    """The rows of each tenant and version, more than one where somebody made a second; without those of neither."""
    found: defaultdict[RowMeaning, list[Row]] = defaultdict(list)
    for row in rows:
        tenant, version = _meaning(_key(row))
        if tenant is not None and version is not None:
            found[tenant, version].append(row)
    return found


def _only(rows: Sequence[Row]) -> Row | None:
    if len(rows) > 1:
        version = str(rows[1]["RowKey"]).strip().lower()
        raise RowError(TENANTS, _key(rows[1]), ("RowKey", f"is the tenant's second row for {version}: remove one"))
    return rows[0] if rows else None


def _meaning(key: RowKey) -> tuple[str | None, FhirVersion | None]:
    return parse_tenant_id(key[0]), parse_version(key[1])


def _typed(row: Row, provider: Provider) -> Row:
    """The row with the types a person sees in Storage Explorer: a boolean, numbers, and text whatever they chose."""
    types: Mapping[str, object] = {
        "Enabled": provider.enabled,
        "TimeoutSeconds": provider.timeout_seconds,
        "MaxConcurrent": provider.max_concurrent,
    }
    return {column: types.get(column, column_text(value)) for column, value in row.items()}


def canonical_tenant_id(text: str) -> str:
    """A tenant's GUID, given in any spelling. Raises InvalidTenantId."""
    tenant = parse_tenant_id(text)
    if tenant is None:
        raise InvalidTenantId(text)
    return tenant
