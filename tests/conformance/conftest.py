"""The servers, a gateway in front of them that is served over HTTP, and the rows that lead from one to the other."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp
import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.azure.tables import ALL_TABLES, CLIENTS, TENANTS, Table, table_service
from shared.azure.vault import Vault
from shared.directory.client_registry import ClientRegistry
from shared.directory.provider import BatchMode
from shared.directory.tenant_registry import TenantRegistry
from shared.oauth.signing_keys import SECRET_NAME, rotate
from shared.settings import Settings
from tests.conformance import servers
from tests.conformance.servers import SERVERS, Running, Server
from tests.conformance.side import Side
from tests.conformance.table import Cells

Tenants = Mapping[tuple[str, BatchMode], str]


@dataclass(frozen=True)
class Gateway:
    """A running gateway: its client may reach every tenant; `tenants` has one for each server and way of batches."""

    origin: str
    client_id: str
    client_secret: str
    tenants: Tenants

    def base(self, server: Server) -> str:
        return f"{self.origin}/{server.version.value}"

    @property
    def token_url(self) -> str:
        return f"{self.origin}/oauth2/token"

    async def token(self, session: aiohttp.ClientSession, tenant: str) -> str:
        """A new access token for a tenant."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "scope": tenant,
        }
        async with session.post(self.token_url, data=form) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["access_token"])


@pytest.fixture(scope="session")
async def running_servers() -> AsyncIterator[Running]:
    async with servers.running() as running:
        yield running


@pytest.fixture(scope="session")
async def gateway(
    running_servers: Running, table_service: TableService, vault_server: VaultServer
) -> AsyncIterator[Gateway]:
    port = servers.free_port()
    origin = f"http://127.0.0.1:{port}"
    environment = {
        "PUBLIC_BASE_URL": origin,
        "KEY_VAULT_URL": vault_server.url,
        "LOCAL_VAULT": str(vault_server.folder),
        "TABLES_CONNECTION_STRING": table_service.connection_string,
    }
    gateway = await _seed(Settings.from_environment(environment), running_servers.bases, origin)
    command = (sys.executable, "-m", "local.functions_host", "--port", str(port))
    async with servers.process(command, f"{origin}/health", **environment):
        yield gateway


async def _seed(settings: Settings, bases: Mapping[str, str], origin: str) -> Gateway:
    vault = Vault(settings)
    tenants: dict[tuple[str, BatchMode], str] = {}
    async with table_service(settings) as tables:
        await asyncio.gather(*(Table(tables, name).create() for name in ALL_TABLES))
        registry = TenantRegistry(Table(tables, TENANTS), local=True)
        for server in (server for server in SERVERS if server.key in bases):
            for mode in BatchMode:
                tenant = tenants[server.key, mode] = str(uuid.uuid4())
                columns = {"BaseUrl": bases[server.key], "Batch": mode.value, "Access": "write"}
                await registry.set(tenant, server.version, columns)
        client = await ClientRegistry(Table(tables, CLIENTS), vault).create("Conformance", "Tests", "*")
        if not await vault.versions(SECRET_NAME):
            await rotate(vault, settings)
    await vault.close()
    return Gateway(origin, client.client_id, client.client_secret, tenants)


@pytest.fixture(scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


Sides = Callable[[Server, BatchMode], Awaitable[tuple[Side, Side]]]


@pytest.fixture
async def sides(gateway: Gateway, running_servers: Running, session: aiohttp.ClientSession) -> Sides:
    """Makes the two sides of a server: itself, and the gateway's base with a token for its tenant."""

    async def make(server: Server, mode: BatchMode) -> tuple[Side, Side]:
        token = await gateway.token(session, gateway.tenants[server.key, mode])
        headers = {"Authorization": f"Bearer {token}"}
        direct = Side(session, running_servers.bases[server.key], server.version, uuid.uuid4().hex)
        return direct, Side(session, gateway.base(server), server.version, uuid.uuid4().hex, headers)

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
