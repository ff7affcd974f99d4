"""The servers, a gateway in front of them that is served over HTTP, and the rows that lead from one to the other."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.directory.client_registry import ClientRegistry
from shared.directory.provider import BatchMode
from shared.directory.tenant_registry import TenantRegistry
from shared.oauth.signing_keys import SECRET_NAME, rotate
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, TENANTS, Table, table_service
from shared.stores.vault import Vault
from tests.conformance import servers
from tests.conformance.servers import SERVERS, Running, Server
from tests.conformance.side import Side
from tests.conformance.table import Cells


@dataclass(frozen=True)
class Account:
    """A tenant, and the client that may reach it and no other."""

    tenant: str
    client_id: str
    client_secret: str


@dataclass(frozen=True)
class Gateway:
    """A running gateway: `accounts` has a tenant for each server (by its key) and way of batches."""

    origin: str
    accounts: Mapping[tuple[str, BatchMode], Account]

    def base(self, server: Server) -> str:
        return f"{self.origin}/{server.version.value}"

    @property
    def token_url(self) -> str:
        return f"{self.origin}/oauth2/token"

    async def token(self, session: aiohttp.ClientSession, account: Account) -> str:
        """A new access token for an account's tenant."""
        form = {
            "grant_type": "client_credentials",
            "client_id": account.client_id,
            "client_secret": account.client_secret,
            "scope": account.tenant,
        }
        async with session.post(self.token_url, data=form) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["access_token"])


@pytest.fixture(scope="session")
async def running_servers() -> AsyncIterator[Running]:
    async with servers.running() as running:
        yield running


@asynccontextmanager
async def served(
    bases: Mapping[str, str], table_service: TableService, vault_server: VaultServer
) -> AsyncIterator[Gateway]:
    """A gateway in front of the servers whose keys and bases are given, for as long as the block runs."""
    port = servers.free_port()
    origin = f"http://127.0.0.1:{port}"
    environment = {
        "PUBLIC_BASE_URL": origin,
        "KEY_VAULT_URL": vault_server.url,
        "LOCAL_VAULT": str(vault_server.folder),
        "TABLES_CONNECTION_STRING": table_service.connection_string,
    }
    gateway = await _seed(Settings.from_environment(environment), bases, origin)
    command = (sys.executable, "-m", "local.functions_host", "--port", str(port))
    async with servers.process(command, f"{origin}/health", **environment):
        yield gateway


@pytest.fixture(scope="session")
async def gateway(
    running_servers: Running, table_service: TableService, vault_server: VaultServer
) -> AsyncIterator[Gateway]:
    async with served(running_servers.bases, table_service, vault_server) as gateway:
        yield gateway


async def _seed(settings: Settings, bases: Mapping[str, str], origin: str) -> Gateway:
    vault = Vault(settings)
    accounts: dict[tuple[str, BatchMode], Account] = {}
    async with table_service(settings) as tables:
        await asyncio.gather(*(Table(tables, name).create() for name in ALL_TABLES))
        registry = TenantRegistry(Table(tables, TENANTS), local=True)
        clients = ClientRegistry(Table(tables, CLIENTS), vault)
        for server in (server for server in SERVERS if server.key in bases):
            for mode in BatchMode:
                tenant = str(uuid.uuid4())
                columns = {"BaseUrl": bases[server.key], "Batch": mode.value, "Access": "write"}
                await registry.set(tenant, server.version, columns)
                client = await clients.create("Conformance", "Tests", tenant)
                accounts[server.key, mode] = Account(tenant, client.client_id, client.client_secret)
        if not await vault.versions(SECRET_NAME):
            await rotate(vault, settings)
    await vault.close()
    return Gateway(origin, accounts)


@pytest.fixture(scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


Sides = Callable[[Server, BatchMode], Awaitable[tuple[Side, Side]]]


async def two_sides(
    server: Server, mode: BatchMode, base: str, gateway: Gateway, session: aiohttp.ClientSession
) -> tuple[Side, Side]:
    """The two sides of a server: itself, at its base, and the gateway's base with a token for its tenant."""
    token = await gateway.token(session, gateway.accounts[server.key, mode])
    headers = {"Authorization": f"Bearer {token}"}
    direct = Side(session, base, server.version, uuid.uuid4().hex)
    return direct, Side(session, gateway.base(server), server.version, uuid.uuid4().hex, headers)


@pytest.fixture
async def sides(gateway: Gateway, running_servers: Running, session: aiohttp.ClientSession) -> Sides:
    """Makes the two sides of a server that runs."""

    async def make(server: Server, mode: BatchMode) -> tuple[Side, Side]:
        return await two_sides(server, mode, running_servers.bases[server.key], gateway, session)

    return make


@pytest.fixture(params=SERVERS, ids=lambda server: server.key)
def server(request: pytest.FixtureRequest, running_servers: Running) -> Server:
    """Each server in turn; one that can't run here is skipped, with the reason."""
    server: Server = request.param
    if server.key in running_servers.unavailable:
        pytest.skip(running_servers.unavailable[server.key])
    return server


@pytest.fixture(scope="session")
def cells() -> Cells:
    """What the run found."""
    return {}
