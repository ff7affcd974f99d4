"""The servers, a gateway in front of them that is served over HTTP, and the two sides that are compared."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.directory.provider import BatchMode
from tests.conformance import servers
from tests.conformance.servers import SERVERS, Running, Server
from tests.conformance.side import Side
from tests.conformance.table import Cells
from tests.deployment import Credentials, Deployment


@dataclass(frozen=True)
class Gateway:
    """A running gateway: `accounts` has a tenant and a client of it alone, by a server's key and its way of batches."""

    origin: str
    accounts: Mapping[tuple[str, BatchMode], tuple[str, Credentials]]
    session: aiohttp.ClientSession

    def base(self, server: Server) -> str:
        return f"{self.origin}/{server.version.value}"

    async def token(self, server: Server, mode: BatchMode) -> str:
        """A new access token for a server's tenant."""
        tenant, client = self.accounts[server.key, mode]
        async with self.session.post(f"{self.origin}/oauth2/token", data=client.form(tenant)) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["access_token"])

    async def sides(self, server: Server, mode: BatchMode, base: str) -> tuple[Side, Side]:
        """A server itself, at its `base`, and the gateway's base with a token for its tenant."""
        headers = {"Authorization": f"Bearer {await self.token(server, mode)}"}
        direct = Side(self.session, base, server.version, uuid.uuid4().hex)
        return direct, Side(self.session, self.base(server), server.version, uuid.uuid4().hex, headers)


@asynccontextmanager
async def served(
    bases: Mapping[str, str], table_service: TableService, vault_server: VaultServer
) -> AsyncIterator[Gateway]:
    """A gateway in front of the servers whose keys and bases are given, for as long as the block runs."""
    port = servers.free_port()
    origin = f"http://127.0.0.1:{port}"
    accounts: dict[tuple[str, BatchMode], tuple[str, Credentials]] = {}
    async with (
        Deployment.on(vault_server, table_service.connection_string, PUBLIC_BASE_URL=origin) as deployment,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        for server in (server for server in SERVERS if server.key in bases):
            for mode in BatchMode:
                tenant = await deployment.tenant(
                    bases[server.key], server.version.value, Batch=mode.value, Access="write"
                )
                accounts[server.key, mode] = tenant, await deployment.client(tenant)
        await deployment.host(port)
        yield Gateway(origin, accounts, session)


@pytest.fixture(scope="session")
async def running_servers() -> AsyncIterator[Running]:
    async with servers.running() as running:
        yield running


@pytest.fixture(scope="session")
async def gateway(
    running_servers: Running, table_service: TableService, vault_server: VaultServer
) -> AsyncIterator[Gateway]:
    async with served(running_servers.bases, table_service, vault_server) as gateway:
        yield gateway


Sides = Callable[[Server, BatchMode], Awaitable[tuple[Side, Side]]]


@pytest.fixture
def sides(gateway: Gateway, running_servers: Running) -> Sides:
    """Makes the two sides of a server; one that can't run here skips the test, with the reason."""

    async def make(server: Server, mode: BatchMode) -> tuple[Side, Side]:
        if server.key in running_servers.unavailable:
            pytest.skip(running_servers.unavailable[server.key])
        return await gateway.sides(server, mode, running_servers.bases[server.key])

    return make


@pytest.fixture(params=SERVERS, ids=lambda server: server.key)
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn."""
    server: Server = request.param
    return server


@pytest.fixture(scope="session")
def cells() -> Cells:
    """The cells of the published table that the run found."""
    return {}
