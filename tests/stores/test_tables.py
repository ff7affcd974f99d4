import asyncio
import uuid
from datetime import UTC, datetime

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.data.tables import EdmType, EntityProperty
from azure.data.tables.aio import TableServiceClient

from local.azurite.table_service import TableService
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.sdk import CLIENT_OPTIONS
from shared.stores.tables import Table, etag_of
from tests.directory.conftest import service as service
from tests.directory.conftest import table as table
from tests.directory.conftest import table_name as table_name


@pytest.fixture
def missing_table(service: TableServiceClient) -> Table:
    return Table(service, f"T{uuid.uuid4().hex}")


def row(partition: str = "p", row: str = "r", **columns: object) -> dict[str, object]:
    return {"PartitionKey": partition, "RowKey": row, **columns}


async def test_a_row_comes_back_as_it_was_put_over_whatever_was_there(table: Table) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    written = row("it's & co", "' or 1 eq 1", Text="ü\n", Flag=False, Number=7, Share=1.5, At=at)
    await table.put(written | {"Other": "1"})
    await table.put(written)
    assert await table.get("it's & co", "' or 1 eq 1") == written
    assert await table.partition("it's & co") == [written]
    assert [found async for found in table.scan()] == [written]
    assert [found async for found in table.scan(["RowKey"])] == [{"RowKey": "' or 1 eq 1"}]
    await table.put(row(Number=EntityProperty(5, EdmType.INT64)))
    await table.put(row("P", Number=2**40))
    for partition, number in (("p", 5), ("P", 2**40)):
        for found in (await table.get(partition, "r"), *await table.partition(partition)):
            assert found == row(partition, Number=number)


async def test_a_scan_goes_beyond_the_thousand_rows_of_one_answer(table: Table) -> None:
    gate = asyncio.Semaphore(50)

    async def put(number: int) -> None:
        async with gate:
            await table.put(row(str(number % 7), str(number)))

    await asyncio.gather(*(put(number) for number in range(1_010)))
    assert len({found["RowKey"] async for found in table.scan(["RowKey"])}) == 1_010
    assert {found["RowKey"] for found in await table.partition("6")} == {str(number) for number in range(6, 1_010, 7)}


async def test_a_change_needs_the_etag_the_row_was_read_with(table: Table) -> None:
    await table.put(row(A="1"))
    read = await table.get("p", "r")
    assert read is not None
    with pytest.raises(TypeError):
        etag_of(row())  # which was not read
    await table.replace({**read, "A": "2"}, etag_of(read))
    for change in (table.replace({**read, "A": "3"}, etag_of(read)), table.delete("p", "r", etag_of(read))):
        with pytest.raises(StoreConflict):
            await change
    (again,) = await table.partition("p")
    assert again == row(A="2")
    await table.delete("p", "r", etag_of(again))
    with pytest.raises(StoreConflict):
        await table.replace(again, etag_of(again))
    assert await table.get("p", "r") is None
    await table.delete("p", "r")  # what is gone is no error
    await table.delete("p", "r", etag_of(again))


async def test_a_table_that_is_not_there_is_empty_and_takes_nothing(table: Table, missing_table: Table) -> None:
    assert [found async for found in missing_table.scan()] == []
    assert await missing_table.get("p", "r") is None
    assert await missing_table.partition("p") == []
    for write in (missing_table.insert(row()), missing_table.put(row()), missing_table.insert_together(row())):
        with pytest.raises(StoreUnavailable, match="no such table"):
            await write
    assert (await table.exists(), await missing_table.exists()) == (True, False)
    await table.create()  # twice is no error


async def test_an_account_that_does_not_answer_or_refuses_is_unavailable(table_service: TableService) -> None:
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;"
    before, _, rest = table_service.connection_string.partition("AccountKey=")
    other_key = f"{before}AccountKey=b3RoZXI=;{rest.partition(';')[2]}"
    for connection_string in (nowhere, other_key):
        async with TableServiceClient.from_connection_string(connection_string, **CLIENT_OPTIONS) as service:
            table = Table(service, "Tenants")
            reads = (table.create(), table.get("p", "r"), table.partition("p"))
            writes = (table.insert(row()), table.put(row()), table.replace(row(), "*"), table.delete("p", "r"))
            for call in (*reads, *writes):
                with pytest.raises(StoreUnavailable) as raised:
                    await call
                assert "127.0.0.1" not in str(raised.value)


class SignedOut:
    """A credential as azure.identity's are when nobody is signed in."""

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token from ...")

    async def close(self) -> None: ...

    async def __aenter__(self) -> "SignedOut":
        return self

    async def __aexit__(self, *error: object) -> None: ...


async def test_a_sign_in_that_failed_is_told_from_an_answer() -> None:
    async with TableServiceClient("https://127.0.0.1:1", credential=SignedOut()) as service:
        with pytest.raises(StoreUnavailable) as raised:
            await Table(service, "Tenants").get("p", "r")
    assert str(raised.value) == "Table Storage (Tenants): nobody is signed in, or not allowed"


async def test_rows_are_inserted_once_and_together_or_not_at_all(table: Table) -> None:
    """Of two who decided on the same row, too, only the first inserts."""
    await table.insert(row(row="a", Name="it"))
    read = await table.get("p", "a")
    assert read is not None
    await table.insert_together(row(row="b"), row(row="c"), unchanged=read)
    for conflict in (
        table.insert(row(row="a", Name="other")),
        table.insert_together(row(row="d"), row(row="b")),
        table.insert_together(row(row="d"), unchanged=read),
    ):
        with pytest.raises(StoreConflict):
            await conflict
    assert await table.get("p", "a") == read
    assert [found["RowKey"] async for found in table.scan()] == ["a", "b", "c"]
    await table.delete("p", "a")
    with pytest.raises(StoreConflict):
        await table.insert_together(row(row="d"), unchanged=read)
