"""The command line on real stores."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableServiceClient

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from local.vault.store import Store
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES
from shared.stores.vault import Vault
from tests.admin.command_line import CommandLine
from tests.deployment import Deployment


def held(server: VaultServer) -> dict[str, str]:
    """What the vault holds now."""
    store = Store(server.folder / "secrets.json")
    return {name: store.get(name).value for name in store.secrets()}


@pytest.fixture(scope="session")
def admin(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line on the stores that all tests share."""
    admin = CommandLine(tmp_path_factory.mktemp("admin"))
    admin.configure(deployment.environment)
    return admin


@pytest.fixture(scope="session")
async def own_tables(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The connection string of a table service for tests that need all of its tables to themselves."""
    service = await TableService.start(tmp_path_factory.mktemp("admin-tables"))
    yield service.connection_string
    await service.stop()


@pytest.fixture
async def environment(own_tables: str, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The settings of a stack that has seen nothing yet."""
    vault = await VaultServer.start(tmp_path / "vault")
    stores = {"KEY_VAULT_URL": vault.url, "LOCAL_VAULT": str(vault.folder), "TABLES_CONNECTION_STRING": own_tables}
    environment = {"PUBLIC_BASE_URL": "http://127.0.0.1:7071", **stores}
    async with TableServiceClient.from_connection_string(own_tables) as tables:
        for name in ALL_TABLES:
            with suppress(ResourceNotFoundError):
                await tables.delete_table(name)
    yield environment
    await vault.stop()


@pytest.fixture
def new_stack(environment: dict[str, str], tmp_path: Path) -> CommandLine:
    """The command line on a stack that has seen nothing yet."""
    admin = CommandLine(tmp_path)
    admin.configure(environment)
    return admin


@pytest.fixture
async def vault(environment: dict[str, str]) -> AsyncIterator[Vault]:
    """The vault of the new stack."""
    vault = Vault(Settings.from_environment(environment))
    yield vault
    await vault.close()
