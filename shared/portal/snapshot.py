"""A table as a person saw it, so that what they write on it is refused when someone else was quicker."""

from collections.abc import AsyncIterator, Iterable

from azure.data.tables.aio import TableServiceClient

from shared.stores.tables import Row, Table


class Snapshot(Table):
    """These rows of a table, as they were read; what is written goes to the table itself.

    A registry on top of it decides on these rows and replaces them by their ETags, so it raises StoreConflict if any
    of them was changed since, however long ago it was read.
    """

    def __init__(self, service: TableServiceClient, name: str, rows: Iterable[Row]) -> None:
        super().__init__(service, name)
        self._rows = {(str(row["PartitionKey"]), str(row["RowKey"])): row for row in rows}

    async def get(self, partition: str, row: str) -> Row | None:
        """One of the rows, or None."""
        return self._rows.get((partition, row))

    async def scan(self, columns: list[str] | None = None) -> AsyncIterator[Row]:
        """The rows, with all their columns."""
        for row in self._rows.values():
            yield row
