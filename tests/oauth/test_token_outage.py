"""What the token endpoint does while a store does not answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local.azurite.table_service import TableService
from shared.oauth.signing_keys import rotate
from tests.deployment import Deployment, SwitchedVault
from tests.oauth.conftest import Start, granted, refused

NOWHERE = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;"


class Line:
    """A line to a port of this machine, which can be made to carry nothing."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.dead = False
        self.tables = ""
        """A connection string that leads over it."""
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


@pytest.fixture
async def line(table_service: TableService) -> AsyncIterator[Line]:
    line = Line(table_service.port)
    async with line.running() as port:
        line.tables = table_service.connection_string.replace(f":{table_service.port}/", f":{port}/")
        yield line


@pytest.fixture
async def home(start: Start) -> Deployment:
    """An instance whose stores answer, with a signing key."""
    home = start()
    await rotate(home.vault, home.settings)
    return home


async def test_with_remembered_stores_it_goes_on_through_an_outage(
    home: Deployment, own_vault: SwitchedVault, line: Line
) -> None:
    server = home.instance(TABLES_CONNECTION_STRING=line.tables, CACHE_SECONDS="1", STALE_SECONDS="900")
    client, tenant = await home.client(), await home.tenant()
    token = await server.token(tenant, client=client)

    line.dead, own_vault.mode = True, 503
    await asyncio.sleep(1.1)

    for _ in range(3):
        granted(await server.request_token(client, tenant))
    assert (await server.application.tokens.verify(token)).tenant == tenant
    assert await server.application.clients.secret(client.client_id, client.secret_id) is not None
    assert (await server.oauth(method="GET", path="/oauth2/keys")).status == 200

    line.dead, own_vault.mode = False, "pass"
    granted(await server.request_token(client, tenant))


@pytest.mark.parametrize(
    ("mode", "headers"), [(401, {}), (403, {}), (429, {"Retry-After": "600"}), (500, {}), (503, {}), ("refuse", {})]
)
async def test_a_vault_that_refuses_makes_it_503_whatever_wait_it_asks_for(
    home: Deployment, own_vault: SwitchedVault, mode: int | str, headers: dict[str, str]
) -> None:
    client, tenant = await home.client(), await home.tenant()
    server = home.instance()
    own_vault.mode, own_vault.headers = mode, headers
    async with asyncio.timeout(60):
        response = await server.request_token(client, tenant)
    assert refused(response) == (503, "temporarily_unavailable")
    assert response.headers["Retry-After"] == "5"
    own_vault.mode = "pass"
    granted(await server.request_token(client, tenant))


@pytest.mark.parametrize("hang", [False, True])
async def test_tables_that_refuse_connections_or_hang_make_it_503(home: Deployment, line: Line, hang: bool) -> None:
    line.dead = True
    server = home.instance(TABLES_CONNECTION_STRING=line.tables if hang else NOWHERE)
    client, tenant = await home.client(), await home.tenant()
    async with asyncio.timeout(60):
        assert refused(await server.request_token(client, tenant)) == (503, "temporarily_unavailable")


async def test_a_request_that_is_given_up_is_not_audited_as_a_success(
    home: Deployment, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    client, tenant = await home.client(), await home.tenant()
    line.dead = True
    server = home.instance(TABLES_CONNECTION_STRING=line.tables)
    request = asyncio.create_task(server.request_token(client, tenant))
    await asyncio.sleep(0.1)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    (audited,) = (record.getMessage() for record in caplog.records if record.name == "gateway.audit")
    assert '"status":500' in audited
    assert '"client":""' in audited
