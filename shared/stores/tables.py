"""Table Storage: rows in and out, with ETags."""

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from urllib.parse import quote

import orjson
from msgspec import Struct

from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.table_account import TableAccount as TableAccount
from shared.stores.table_account import TableResponse
from shared.stores.table_account import table_service as table_service
from shared.stores.table_rows import Row as Row
from shared.stores.table_rows import condition, key, read_row, read_rows, written
from shared.stores.table_rows import etag_of as etag_of

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
_CONFLICTS = (409, 412)
_DELETED_AT_ONCE = 32
_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e]*"')  # RFC 9110 section 8.8.3
_DONE = {"GET": (200,), "POST": (201, 202, 204), "PUT": (204,), "DELETE": (204,)}
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3})", re.MULTILINE)
_CONTINUATION = ("NextPartitionKey", "NextRowKey")
_JSON = {"Content-Type": "application/json", "Prefer": "return-no-content"}


class _Status(Exception):
    """A response that is neither of success nor one that has a meaning here: the cause of a StoreUnavailable."""

    def __init__(self, status_code: int) -> None:
        super().__init__(status_code)
        self.status_code = status_code


class _Operation(Struct, frozen=True):
    """A part of a transaction."""

    method: str
    row: Row
    etag: str = ""


class Table:
    """One table. Every method raises StoreUnavailable when Table Storage does not answer as it should."""

    def __init__(self, account: TableAccount, name: str) -> None:
        self._account = account
        self._name = name
        self._path = f"/{name}"
        self._store = f"Table Storage ({name})"

    async def create(self) -> None:
        """Makes the table if it is not there."""
        try:
            await self._send("POST", "/Tables", headers=_JSON, body=orjson.dumps({"TableName": self._name}))
        except StoreConflict:
            return

    async def exists(self) -> bool:
        """Whether the table is there: what reads and scans take for an empty one may be none."""
        named = condition("TableName eq @name", {"name": self._name})
        return bool(self._rows(await self._send("GET", "/Tables", f"$filter={named}")))

    async def get(self, partition: str, row: str) -> Row | None:
        """One row, or None; its ETag is `etag_of(row)`."""
        response = await self._send("GET", self._path + key(partition, row))
        if response.status == _NOT_FOUND:
            return None
        try:
            found = read_row(response.body)
        except ValueError as error:
            raise self._unreadable(response) from error
        return self._asked_for([found], {"PartitionKey": partition, "RowKey": row})[0]

    async def partition(self, partition: str) -> list[Row]:
        """All rows of one partition."""
        rows = [row async for row in self._query(_partition(partition))]
        return self._asked_for(rows, {"PartitionKey": partition})

    async def scan(self, columns: list[str] | None = None) -> AsyncIterator[Row]:
        """Every row of the table, all its columns or those named, 1,000 a request."""
        async for row in self._query("", columns):
            yield row

    async def where(self, filter: str, parameters: Mapping[str, object], columns: list[str]) -> AsyncIterator[Row]:
        """The rows that an OData `filter` matches, whose `@names` are the `parameters`; those columns of them."""
        async for row in self._query(f"$filter={condition(filter, parameters)}", columns):
            yield row

    async def first(self, partition: str, count: int, after: str = "") -> list[Row]:
        """The first rows of one partition whose keys come after that one, at most `count` of them."""
        rows: list[Row] = []
        filter = condition("PartitionKey eq @key and RowKey gt @after", {"key": partition, "after": after})
        async with aclosing(self._query(f"$filter={filter}&$top={count}")) as found:
            async for row in found:
                rows.append(row)
                if len(rows) == count:
                    break
        return self._asked_for(rows, {"PartitionKey": partition})

    async def insert(self, row: Row) -> None:
        """Adds a row; StoreConflict when it is there already."""
        await self._needed("POST", self._path, written(row))

    async def insert_together(self, *rows: Row, unchanged: Row | None = None) -> None:
        """Adds rows of one partition, all or none; StoreConflict when one is there already.

        `unchanged` is a row of the partition as it was read: StoreConflict when it was written to since, or is gone.
        It counts as written to from then on, so of two who decided on the same state only the first succeeds.
        """
        operations = [_Operation("POST", row) for row in rows]
        if unchanged is not None:
            operations.append(_Operation("PATCH", _keys(unchanged), etag_of(unchanged)))
        await self._submit(operations)

    async def delete_read(self, read: Row, *, replacing: Row | None = None, etag: str = "") -> None:
        """Deletes a row as it was read and writes `replacing`, of the same partition, over its `etag`: both or neither.

        StoreConflict when one was written to since, or is gone.
        """
        operations = [_Operation("DELETE", read, etag_of(read))]
        if replacing is not None:
            operations.append(_Operation("PUT", replacing, etag))
        await self._submit(operations)

    async def put(self, row: Row) -> None:
        """Writes a row over whatever is there, all its columns."""
        await self._needed("PUT", self._path_of(row), written(row), repeatable=True)

    async def replace(self, row: Row, etag: str) -> None:
        """Writes a row only if it still has this ETag; StoreConflict otherwise."""
        headers = {**_JSON, "If-Match": self._sendable(etag)}
        response = await self._send("PUT", self._path_of(row), headers=headers, body=written(row))
        if response.status == _NOT_FOUND:
            raise StoreConflict(self._store)

    async def delete(self, partition: str, row: str, etag: str | None = None) -> None:
        """Removes a row, only with this ETag if one is given (StoreConflict otherwise); no error if it is gone."""
        headers = {"If-Match": "*" if etag is None else self._sendable(etag)}
        await self._send("DELETE", self._path + key(partition, row), headers=headers, repeatable=True)

    async def delete_where(self, filter: str, parameters: Mapping[str, object]) -> int:
        """Removes the rows that an OData `filter` matches, and returns their number."""
        deleted, keys = 0, list[tuple[str, str]]()
        async for row in self.where(filter, parameters, ["PartitionKey", "RowKey"]):
            keys.append((str(row["PartitionKey"]), str(row["RowKey"])))
            if len(keys) == _DELETED_AT_ONCE:
                await self.delete_all(keys)
                deleted += len(keys)
                keys.clear()
        await self.delete_all(keys)
        return deleted + len(keys)

    async def delete_all(self, keys: Sequence[tuple[str, str]]) -> None:
        """Removes rows, each by its partition and its row; no error if one is gone."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            await asyncio.gather(*(self.delete(*key) for key in keys[start : start + _DELETED_AT_ONCE]))

    async def _query(self, query: str, columns: Sequence[str] | None = None) -> AsyncGenerator[Row]:
        selected = f"$select={','.join(columns)}" if columns is not None else ""
        pages, further = set[str](), ""
        while further not in pages:
            pages.add(further)
            response = await self._send("GET", f"{self._path}()", "&".join(filter(None, (query, selected, further))))
            if response.status == _NOT_FOUND:
                return  # the table itself is not there yet
            for row in self._rows(response):
                yield row
            next_keys = {name: response.headers.get(f"x-ms-continuation-{name}") for name in _CONTINUATION}
            further = "&".join(f"{name}={quote(value, safe='')}" for name, value in next_keys.items() if value)
            if not further:
                return
        raise StoreUnavailable(f"{self._store} answered with a page that it had answered with before")

    async def _needed(self, method: str, path: str, body: bytes, *, repeatable: bool = False) -> None:
        """A write to a table that has to be there."""
        response = await self._send(method, path, headers=_JSON, body=body, repeatable=repeatable)
        if response.status == _NOT_FOUND:
            raise self._missing()

    async def _submit(self, operations: Sequence[_Operation]) -> None:
        """A transaction ("entity group transaction"): all its operations are done, or none."""
        boundary = uuid.uuid4().hex
        parts = b"".join(self._part(boundary, each) for each in operations)
        body = (
            f"--batch_{boundary}\r\nContent-Type: multipart/mixed; boundary=changeset_{boundary}\r\n\r\n".encode()
            + parts
            + f"--changeset_{boundary}--\r\n--batch_{boundary}--\r\n".encode()
        )
        headers = {"Content-Type": f"multipart/mixed; boundary=batch_{boundary}"}
        response = await self._send("POST", "/$batch", headers=headers, body=body)
        statuses = [int(status) for status in _STATUS.findall(response.body)]
        status = max(statuses, default=response.status)
        if status < 300:
            if len(statuses) != len(operations):
                raise self._unreadable(response)
            return
        if status == _NOT_FOUND and b"TableNotFound" in response.body:
            raise self._missing()
        if status == _NOT_FOUND or status in _CONFLICTS:
            raise StoreConflict(self._store)
        raise StoreUnavailable(f"{self._store} answered {status}")

    def _part(self, boundary: str, operation: _Operation) -> bytes:
        path = self._path if operation.method == "POST" else self._path_of(operation.row)
        head = (
            f"--changeset_{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
            f"{operation.method} {self._account.url}{path} HTTP/1.1\r\nDataServiceVersion: 3.0\r\n"
            "Accept: application/json;odata=minimalmetadata\r\n"
        )
        if operation.etag:
            head += f"If-Match: {self._sendable(operation.etag)}\r\n"
        if operation.method == "DELETE":
            return f"{head}\r\n\r\n".encode()
        head += "Content-Type: application/json\r\nPrefer: return-no-content\r\n\r\n"
        return head.encode() + written(operation.row) + b"\r\n"

    async def _send(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        repeatable: bool = False,
    ) -> TableResponse:
        """A response of success, or a 404. Raises StoreConflict for what was changed meanwhile, or StoreUnavailable."""
        response = await self._account.send(
            self._store, method, path, query, headers, body, repeatable=repeatable or method == "GET"
        )
        if response.status in _DONE[method] or response.status == _NOT_FOUND:
            return response
        if response.status in _CONFLICTS:
            raise StoreConflict(self._store)
        raise StoreUnavailable(f"{self._store} answered {response.status}") from _Status(response.status)

    def _sendable(self, etag: str) -> str:
        """An ETag that came by a form may be any text: what is none is that of no row."""
        if not _ETAG.fullmatch(etag):
            raise StoreConflict(self._store)
        return etag

    def _rows(self, response: TableResponse) -> list[Row]:
        try:
            return read_rows(response.body)
        except ValueError as error:
            raise self._unreadable(response) from error

    def _asked_for(self, rows: list[Row], keys: Row) -> list[Row]:
        """The rows, whose tenant is in their keys: one that answers another request must not pass for this one's."""
        if any(row.get(name) != value for row in rows for name, value in keys.items()):
            raise StoreUnavailable(f"{self._store} answered with another row")
        return rows

    def _path_of(self, row: Row) -> str:
        return self._path + key(str(row["PartitionKey"]), str(row["RowKey"]))

    def _unreadable(self, response: TableResponse) -> StoreUnavailable:
        return StoreUnavailable(f"{self._store} answered {response.status} with something else than rows")

    def _missing(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self._store}: there is no such table, run ./gateway init")


def _partition(partition: str) -> str:
    return f"$filter={condition('PartitionKey eq @key', {'key': partition})}"


def _keys(row: Row) -> Row:
    return {name: row[name] for name in ("PartitionKey", "RowKey")}
