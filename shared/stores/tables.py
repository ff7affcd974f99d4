"""Table Storage: rows in and out, with ETags."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import (
    EdmType,
    EntityProperty,
    TableEntity,
    TableErrorCode,
    TableTransactionError,
    TransactionOperation,
    UpdateMode,
)
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.settings import Settings
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.sdk import CLIENT_OPTIONS, translated

if TYPE_CHECKING:
    from shared.stores.identity import Credential

TENANTS = "Tenants"
CLIENTS = "Clients"
PAGES = "Pages"
USAGE = "Usage"
TRAFFIC = "Traffic"
REVOKED = "Revoked"
ASSERTIONS = "Assertions"
CHECKS = "Checks"
ACTIVITY = "Activity"
ALL_TABLES = (TENANTS, CLIENTS, PAGES, USAGE, TRAFFIC, REVOKED, ASSERTIONS, CHECKS, ACTIVITY)
_NOT_FOUND = 404
_DELETED_AT_ONCE = 32

Row = Mapping[str, object]
"""The columns of a row by name, `PartitionKey` and `RowKey` among them."""


def table_service(settings: Settings, credential: "Credential | None" = None) -> TableServiceClient:
    """A client of the account that the settings name: by connection string, or by its endpoint and `credential`.

    The credential stays the caller's to close.
    """
    if "=" in settings.tables:
        return TableServiceClient.from_connection_string(settings.tables, **CLIENT_OPTIONS)
    return TableServiceClient(settings.tables, credential=credential, **CLIENT_OPTIONS)  # type: ignore[arg-type]


class Table:
    """One table. Every method raises StoreUnavailable when Table Storage does not answer as it should."""

    def __init__(self, service: TableServiceClient, name: str) -> None:
        self._client: TableClient = service.get_table_client(name)
        self._service = service
        self._store = f"Table Storage ({name})"

    async def create(self) -> None:
        """Makes the table if it is not there."""
        with translated(self._store):
            await self._service.create_table_if_not_exists(self._client.table_name)

    async def exists(self) -> bool:
        """Whether the table is there: what reads and scans take for an empty one may be none."""
        with translated(self._store):
            named = self._service.query_tables("TableName eq @name", parameters={"name": self._client.table_name})
            return any([True async for _ in named])

    async def get(self, partition: str, row: str) -> Row | None:
        """One row, or None; its ETag is `etag_of(row)`."""
        try:
            with translated(self._store):
                return _row(await self._client.get_entity(partition, row))
        except ResourceNotFoundError:
            return None

    async def partition(self, partition: str) -> list[Row]:
        """All rows of one partition."""
        return [row async for row in self._query("PartitionKey eq @key", {"key": partition}, None)]

    async def scan(self, columns: list[str] | None = None) -> AsyncIterator[Row]:
        """Every row of the table, all its columns or those named, 1,000 a request."""
        async for row in self._query("", {}, columns):
            yield row

    async def where(self, filter: str, parameters: Mapping[str, object], columns: list[str]) -> AsyncIterator[Row]:
        """The rows that an OData `filter` matches, whose `@names` are the `parameters`; those columns of them."""
        async for row in self._query(filter, parameters, columns):
            yield row

    async def first(self, partition: str, count: int, after: str = "") -> list[Row]:
        """The first rows of one partition whose keys come after that one, at most `count` of them."""
        rows: list[Row] = []
        named = {"key": partition, "after": after}
        filter = "PartitionKey eq @key and RowKey gt @after"
        async with aclosing(self._query(filter, named, None, page=count)) as found:
            async for row in found:
                rows.append(row)
                if len(rows) == count:
                    break
        return rows

    async def insert(self, row: Row) -> None:
        """Adds a row; StoreConflict when it is there already."""
        with self._needed():
            await self._client.create_entity(_entity(row))

    async def insert_together(self, *rows: Row, unchanged: Row | None = None) -> None:
        """Adds rows of one partition, all or none; StoreConflict when one is there already.

        `unchanged` is a row of the partition as it was read: StoreConflict when it was written to since, or is gone.
        It counts as written to from then on, so of two who decided on the same state only the first succeeds.
        """
        operations: list[Any] = [(TransactionOperation.CREATE, _entity(row)) for row in rows]
        if unchanged is not None:
            condition = {"mode": UpdateMode.MERGE, **_unchanged(etag_of(unchanged))}
            operations.append((TransactionOperation.UPDATE, _keys(unchanged), condition))
        await self._submit(operations)

    async def delete_read(self, read: Row, *, replacing: Row | None = None, etag: str = "") -> None:
        """Deletes a row as it was read and writes `replacing`, of the same partition, over its `etag`: both or neither.

        StoreConflict when one was written to since, or is gone.
        """
        operations: list[Any] = [(TransactionOperation.DELETE, _keys(read), _unchanged(etag_of(read)))]
        if replacing is not None:
            condition = {"mode": UpdateMode.REPLACE, **_unchanged(etag)}
            operations.append((TransactionOperation.UPDATE, _entity(replacing), condition))
        await self._submit(operations)

    async def _submit(self, operations: list[Any]) -> None:
        with self._needed():
            try:
                await self._client.submit_transaction(operations)
            except TableTransactionError as error:
                if error.status_code != _NOT_FOUND:
                    raise
                code = getattr(error, "error_code", None)  # not among its declared fields
                if code == TableErrorCode.TABLE_NOT_FOUND:
                    raise ResourceNotFoundError from error
                raise StoreConflict(self._store) from error

    async def put(self, row: Row) -> None:
        """Writes a row over whatever is there, all its columns."""
        with self._needed():
            await self._client.upsert_entity(_entity(row), mode=UpdateMode.REPLACE)

    async def replace(self, row: Row, etag: str) -> None:
        """Writes a row only if it still has this ETag; StoreConflict otherwise."""
        try:
            with translated(self._store):
                await self._client.update_entity(_entity(row), mode=UpdateMode.REPLACE, **_unchanged(etag))
        except ResourceNotFoundError as error:
            raise StoreConflict(self._store) from error

    async def delete(self, partition: str, row: str, etag: str | None = None) -> None:
        """Removes a row, only with this ETag if one is given (StoreConflict otherwise); no error if it is gone."""
        with translated(self._store):
            await self._client.delete_entity(partition, row, **({} if etag is None else _unchanged(etag)))

    async def delete_where(self, filter: str, parameters: Mapping[str, object]) -> int:
        """Removes the rows that an OData `filter` matches, and returns their number."""
        deleted, keys = 0, list[tuple[str, str]]()

        async def delete() -> int:
            await asyncio.gather(*(self.delete(*key) for key in keys))
            return len(keys)

        async for row in self.where(filter, parameters, ["PartitionKey", "RowKey"]):
            keys.append((str(row["PartitionKey"]), str(row["RowKey"])))
            if len(keys) == _DELETED_AT_ONCE:
                deleted += await delete()
                keys.clear()
        return deleted + await delete()

    @contextmanager
    def _needed(self) -> Iterator[None]:
        """As `translated`, for writes: a table that is not there takes nothing."""
        try:
            with translated(self._store):
                yield
        except ResourceNotFoundError as error:
            raise StoreUnavailable(f"{self._store}: there is no such table, run ./gateway init") from error

    async def _query(
        self, filter: str, parameters: Mapping[str, object], columns: list[str] | None, page: int | None = None
    ) -> AsyncGenerator[Row]:
        try:
            with translated(self._store):
                options: dict[str, Any] = {"select": columns, "results_per_page": page}
                async for row in self._client.query_entities(filter, parameters=dict(parameters), **options):
                    yield _row(row)
        except ResourceNotFoundError:
            return  # the table itself is not there yet


def _keys(row: Row) -> dict[str, object]:
    return {key: row[key] for key in ("PartitionKey", "RowKey")}


def _unchanged(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _entity(row: Row) -> dict[str, Any]:
    """The row as the SDK takes it, which refuses a number of more than 32 bits unless it is wrapped."""
    return {column: _wrapped(value) for column, value in row.items()}


def _wrapped(value: object) -> object:
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        return EntityProperty(value, EdmType.INT64)
    return value


def _row(entity: TableEntity) -> Row:
    """The row with 64-bit numbers, which the SDK wraps, as numbers."""
    for column, value in entity.items():
        if isinstance(value, EntityProperty):
            entity[column] = value.value
    return entity


def etag_of(row: Row) -> str:
    """The ETag a row was read with."""
    metadata = getattr(row, "metadata", None)
    if not isinstance(metadata, Mapping):
        raise TypeError("the row was not read from a table")
    return str(metadata["etag"])
