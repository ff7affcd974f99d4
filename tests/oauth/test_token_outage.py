"""What the token endpoint does while a store does not answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local.azurite.table_service import TableService
from shared.oauth.signing_keys import rotate
from tests.oauth.conftest import Start, WatchedVault, granted, refused

NOWHERE = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;"


class Line:
    """A line to a port of this machine, which can be made to carry nothing."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.dead = False
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            self._tasks.add(asyncio.create_task(self._carry(source, sink)))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if not self.dead:
                    sink.write(data)
        finally:
            sink.close()


async def test_with_remembered_stores_it_goes_on_through_an_outage(
    start: Start, watched_vault: WatchedVault, table_service: TableService
) -> None:
    line = Line(table_service.port)
    async with line.running() as port:
        through_line = table_service.connection_string.replace(f":{table_service.port}/", f":{port}/")
        server = start(through_line, CACHE_SECONDS="1", STALE_SECONDS="900")
        await rotate(server.vault, server.settings)
        client, tenant = await server.client(), await server.tenant()
        token = await server.token(client, tenant)

        line.dead, watched_vault.status = True, 503
        await asyncio.sleep(1.1)

        for _ in range(3):
            granted(await server.ask(client, tenant))
        assert (await server.application.tokens.verify(token)).tenant == tenant
        assert await server.application.clients.secret(client.client_id, client.secret_id) is not None
        assert (await server.send(method="GET", path="/oauth2/keys")).status == 200

        line.dead, watched_vault.status = False, 200
        granted(await server.ask(client, tenant))


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_vault_that_refuses_makes_it_503(start: Start, watched_vault: WatchedVault, status: int) -> None:
    server = start()
    await rotate(server.vault, server.settings)
    client, tenant = await server.client(), await server.tenant()
    watched_vault.status = status
    answer = await server.ask(client, tenant)
    assert refused(answer) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "5"
    watched_vault.status = 200
    granted(await server.ask(client, tenant))


async def test_a_vault_that_asks_for_a_long_wait_is_not_waited_for(start: Start, watched_vault: WatchedVault) -> None:
    server = start()
    await rotate(server.vault, server.settings)
    client, tenant = await server.client(), await server.tenant()
    watched_vault.status, watched_vault.headers = 429, {"Retry-After": "600"}
    async with asyncio.timeout(60):
        assert refused(await server.ask(client, tenant)) == (503, "temporarily_unavailable")


async def test_tables_that_refuse_connections_make_it_503(start: Start) -> None:
    server = start(NOWHERE)
    await rotate(server.vault, server.settings)
    assert refused(await server.ask(await server.client(), await server.tenant())) == (503, "temporarily_unavailable")


async def test_tables_that_hang_make_it_503(start: Start, table_service: TableService) -> None:
    line = Line(table_service.port)
    line.dead = True
    async with line.running() as port, asyncio.timeout(60):
        server = start(table_service.connection_string.replace(f":{table_service.port}/", f":{port}/"))
        answer = await server.ask(await server.client(), await server.tenant())
        assert refused(answer) == (503, "temporarily_unavailable")


async def test_a_request_that_is_given_up_is_not_audited_as_a_success(
    start: Start, table_service: TableService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    line = Line(table_service.port)
    line.dead = True
    async with line.running() as port:
        server = start(table_service.connection_string.replace(f":{table_service.port}/", f":{port}/"))
        asked = asyncio.create_task(server.ask(await server.client(), await server.tenant()))
        await asyncio.sleep(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    (audited,) = (record.getMessage() for record in caplog.records if record.name == "gateway.audit")
    assert '"status":500' in audited
    assert '"client":""' in audited
