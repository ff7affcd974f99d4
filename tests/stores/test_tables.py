import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.data.tables import (
    AccountSasPermissions,
    EdmType,
    EntityProperty,
    ResourceTypes,
    UpdateMode,
    generate_account_sas,
)
from azure.data.tables.aio import TableClient, TableServiceClient
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from shared.stores import table_account
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import Table, TableAccount, etag_of, table_service
from tests.deployment import Deployment
from tests.directory.conftest import service as service
from tests.directory.conftest import table as table
from tests.directory.conftest import table_name as table_name
from tests.raw_server import raw_server


@pytest.fixture
def missing_table(service: TableAccount) -> Table:
    return Table(service, f"T{uuid.uuid4().hex}")


@pytest.fixture
async def sdk(deployment: Deployment, table_name: str) -> AsyncIterator[TableClient]:
    """The same table by Azure's SDK."""
    async with TableServiceClient.from_connection_string(deployment.settings.tables) as service:
        yield service.get_table_client(table_name)


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


# Of what Table Storage takes in a key; `/ \\ # ?` and control characters it does not.
keys = st.text(st.characters(exclude_categories=("C",), exclude_characters="/\\#?"), max_size=40)
times = st.datetimes(datetime(1601, 1, 1), timezones=st.just(UTC))
values = st.one_of(
    st.text(max_size=40).filter(lambda text: "\0" not in text),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    times,
    st.binary(max_size=40),
    st.uuids(),
)


@given(keys, keys, st.dictionaries(st.from_regex(r"[A-Z][a-z_]{2,8}", fullmatch=True), values))
@settings(max_examples=200, deadline=None)
async def test_rows_are_the_same_as_the_sdk_reads_and_writes_them(
    table: Table, sdk: TableClient, partition: str, row_key: str, columns: dict[str, object]
) -> None:
    def for_sdk(value: object) -> object:
        return EntityProperty(value, EdmType.INT64) if type(value) is int else value

    written = row(partition, row_key, **columns)
    await table.put(written)
    read = await sdk.get_entity(partition, row_key)
    assert {name: getattr(value, "value", value) for name, value in read.items()} == written
    await sdk.upsert_entity({name: for_sdk(value) for name, value in written.items()}, mode=UpdateMode.REPLACE)
    assert await table.get(partition, row_key) == written
    assert written in await table.partition(partition)
    named = {"partition": partition, "row": row_key}
    found = table.where("PartitionKey eq @partition and RowKey eq @row", named, [*written])
    assert [each async for each in found] == [written]
    await table.delete(partition, row_key)
    assert await table.get(partition, row_key) is None


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
    for typed in ("x", "*\r\nX: y", "\u00e4", "\ud800", ""):  # by whoever filled in a form
        with pytest.raises(StoreConflict):
            await table.replace({**read, "A": "3"}, typed)
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


async def test_an_account_that_does_not_answer_or_refuses_is_unavailable(deployment: Deployment) -> None:
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;"
    before, _, rest = deployment.settings.tables.partition("AccountKey=")
    other_key = f"{before}AccountKey=b3RoZXI=;{rest.partition(';')[2]}"
    for connection_string in (nowhere, other_key):
        async with table_service(structs.replace(deployment.settings, tables=connection_string)) as service:
            table = Table(service, "Tenants")
            reads = (table.create(), table.get("p", "r"), table.partition("p"))
            writes = (table.insert(row()), table.put(row()), table.replace(row(), '"e"'), table.delete("p", "r"))
            for call in (*reads, *writes, table.insert_together(row())):
                with pytest.raises(StoreUnavailable) as raised:
                    await call
                assert "127.0.0.1" not in str(raised.value)


async def test_a_shared_access_signature_lets_in(deployment: Deployment, table: Table, table_name: str) -> None:
    parts = dict(part.split("=", 1) for part in deployment.settings.tables.strip(";").split(";"))
    signature = generate_account_sas(
        AzureNamedKeyCredential(parts["AccountName"], parts["AccountKey"]),
        ResourceTypes(service=True, object=True),
        AccountSasPermissions(read=True, list=True, add=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    tables = f"TableEndpoint={parts['TableEndpoint']};SharedAccessSignature={signature}"
    async with table_service(structs.replace(deployment.settings, tables=tables)) as service:
        let_in = Table(service, table_name)
        await let_in.insert_together(row(), row(row="r2"))
        assert await let_in.get("p", "r2") == row(row="r2")
        with pytest.raises(StoreUnavailable, match="answered 403"):
            await let_in.delete("p", "r")


class Identity:
    """A credential that counts how often it is asked; `error` is what it raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.error = error

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        self.asked += scopes
        if self.error is not None:
            raise self.error
        return AccessToken(f"token-{len(self.asked)}", int(time.time()) + 3600)

    async def close(self) -> None: ...


async def test_a_sign_in_that_failed_is_told_from_an_answer(deployment: Deployment) -> None:
    signed_out = Identity(ClientAuthenticationError("no token"))
    async with table_service(structs.replace(deployment.settings, tables="https://127.0.0.1:1"), signed_out) as service:
        with pytest.raises(StoreUnavailable, match="nobody is signed in"):
            await Table(service, "Tenants").get("p", "r")


Answer = Callable[[web.Request], web.Response]


@asynccontextmanager
async def scripted(deployment: Deployment, identity: Identity, answer: Answer) -> AsyncIterator[Table]:
    """A table of a service that answers what it is told to."""

    async def respond(request: web.Request) -> web.Response:
        await request.read()
        return answer(request)

    runner = web.ServerRunner(web.Server(respond))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with table_service(structs.replace(deployment.settings, tables=url), identity) as service:
            yield Table(service, "Tenants")
    finally:
        await runner.cleanup()


async def test_a_token_is_asked_for_once_for_many_requests_and_anew_when_it_is_refused(deployment: Deployment) -> None:
    good, seen = ["token-1"], set[str | None]()

    def answer(request: web.Request) -> web.Response:
        seen.add(request.headers.get("x-ms-version"))
        let_in = request.headers["Authorization"] == f"Bearer {good[0]}"
        return web.json_response(row()) if let_in else web.Response(status=401)

    identity = Identity()
    async with scripted(deployment, identity, answer) as table:
        assert await asyncio.gather(*(table.get("p", "r") for _ in range(20))) == [row()] * 20
        assert (seen, identity.asked) == ({"2019-02-02"}, ["https://storage.azure.com/.default"])
        good[0] = "token-2"
        assert await table.get("p", "r") == row()
        good[0] = "none"
        with pytest.raises(StoreUnavailable, match="answered 401"):
            await table.get("p", "r")


Call = Callable[[Table], Coroutine[Any, Any, object]]
_CALLS: Mapping[str, Call] = {
    "get": lambda table: table.get("p", "r"),
    "put": lambda table: table.put(row()),
    "insert": lambda table: table.insert(row()),
    "replace": lambda table: table.replace(row(), '"e"'),
    "transaction": lambda table: table.insert_together(row()),
}


@pytest.mark.parametrize(
    ("call", "status", "headers", "attempts"),
    [
        *[(call, 503, {}, 3) for call in _CALLS],
        *[(call, 429, {"Retry-After": "600"}, 1) for call in _CALLS],
        *[(call, 403, {}, 1) for call in _CALLS],
        *[(call, 307, {"Location": "/"}, 1) for call in _CALLS],
        *[(call, 500, {}, 3 if call in ("get", "put") else 1) for call in _CALLS],
        *[(call, 0, {}, 3 if call in ("get", "put") else 1) for call in _CALLS],
    ],
)
async def test_a_request_is_sent_again_only_where_that_can_do_no_harm(
    deployment: Deployment, call: str, status: int, headers: Mapping[str, str], attempts: int
) -> None:
    """A write whose first attempt may have got through would meet itself, and pass for somebody else's."""
    seen: list[str] = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request.method)
        if not status and request.transport is not None:
            request.transport.abort()
        return web.Response(status=status or 200, headers=headers)

    async with scripted(deployment, Identity(), answer) as table:
        with pytest.raises(StoreUnavailable, match=f"answered {status}" if status else "did not answer") as raised:
            await _CALLS[call](table)
        assert getattr(raised.value.__cause__, "status_code", 0) == status  # by which a command says what to do
    assert len(seen) == attempts


async def test_a_response_that_holds_no_rows_is_unavailable(deployment: Deployment) -> None:
    for body in (
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"value": [1]}',
        b'{"A@odata.type": "Edm.Guid", "A": "x"}',
    ):
        async with scripted(deployment, Identity(), lambda _, body=body: web.Response(body=body)) as table:
            for call in (table.partition("p"), table.exists()):
                with pytest.raises(StoreUnavailable):
                    await call


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
@pytest.mark.parametrize(("status", "body"), [(200, b"<html>Sign in"), (200, b""), (206, b"{}"), (299, b"")])
async def test_what_does_not_say_that_it_was_done_was_not(
    deployment: Deployment, call: Call, status: int, body: bytes
) -> None:
    async with scripted(deployment, Identity(), lambda _: web.Response(status=status, body=body)) as table:
        with pytest.raises(StoreUnavailable):
            await call(table)


async def test_a_transaction_is_done_when_each_of_its_parts_is(deployment: Deployment) -> None:
    async with scripted(deployment, Identity(), lambda _: web.Response(status=202, body=b"HTTP/1.1 204 Done")) as table:
        await table.insert_together(row())
        with pytest.raises(StoreUnavailable):
            await table.insert_together(row(), row(row="r2"))


async def test_another_row_than_the_one_asked_for_is_unavailable(deployment: Deployment) -> None:
    """As it would come from a connection that two requests' responses got mixed up on."""
    for other in (row("q"), row("p", "s"), {"RowKey": "r"}, {}):
        answer = {**other, "value": [other]}
        async with scripted(deployment, Identity(), lambda _, answer=answer: web.json_response(answer)) as table:
            with pytest.raises(StoreUnavailable):
                await table.get("p", "r")
            if other.get("PartitionKey") != "p":
                for call in (table.partition("p"), table.first("p", 1)):
                    with pytest.raises(StoreUnavailable):
                        await call


async def test_a_scan_that_leads_back_ends(deployment: Deployment) -> None:
    asked: list[str] = []

    def answer(request: web.Request) -> web.Response:
        asked.append(request.query_string)
        further = {"": "a&b", "NextPartitionKey=a%26b": "c"}.get(request.query_string, "a&b")
        return web.json_response({"value": [row()]}, headers={"x-ms-continuation-NextPartitionKey": further})

    async with scripted(deployment, Identity(), answer) as table:
        with pytest.raises(StoreUnavailable, match="before"):
            _ = [found async for found in table.scan()]
    assert asked == ["", "NextPartitionKey=a%26b", "NextPartitionKey=c"]


@pytest.mark.parametrize(
    ("piece", "pause", "error"), [(b" " * 1_000_000, 0, "InvalidResponse"), (b" ", 0.01, "TimeoutError")]
)
async def test_a_response_without_end_is_given_up(
    monkeypatch, deployment: Deployment, piece: bytes, pause: float, error: str
) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n{")
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    monkeypatch.setattr(table_account, "_BODY_SECONDS", 20 if pause == 0 else 0.3)
    async with raw_server() as server:
        server.script = endless
        async with table_service(structs.replace(deployment.settings, tables=server.origin), Identity()) as service:
            with pytest.raises(StoreUnavailable, match=error):
                await Table(service, "Tenants").get("p", "r")


@pytest.mark.parametrize("etag", ["", "*", 'W/"a"\r\nX: y', '"a", "b"', "a", 'W/"\xe9"'])
async def test_what_is_no_etag_is_that_of_no_row(table: Table, etag: str) -> None:
    await table.put(row(A="1"))
    for change in (table.replace(row(A="2"), etag), table.delete("p", "r", etag)):
        with pytest.raises(StoreConflict):
            await change
    assert await table.get("p", "r") == row(A="1")


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


async def test_many_reads_at_once_take_no_connection_each(deployment: Deployment) -> None:
    connections = set[object]()

    def answer(request: web.Request) -> web.Response:
        connections.add(request.transport)
        return web.json_response(row())

    async with scripted(deployment, Identity(), answer) as table:
        assert await asyncio.gather(*(table.get("p", "r") for _ in range(500))) == [row()] * 500
    assert 10 < len(connections) <= 100
