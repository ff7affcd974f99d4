"""Tables of a test's own in Azurite, and the rooms of the directory on them."""

import uuid
from collections.abc import AsyncIterator

import pytest

from shared.directory.client_registry import ClientRegistry
from shared.directory.tenant_registry import TenantRegistry
from shared.stores.tables import Table, TableAccount, table_service
from shared.stores.vault import Vault
from tests.deployment import Deployment


@pytest.fixture
async def service(deployment: Deployment) -> AsyncIterator[TableAccount]:
    async with table_service(deployment.settings) as service:
        yield service


@pytest.fixture
def table_name() -> str:
    return f"T{uuid.uuid4().hex}"


@pytest.fixture
async def table(service: TableAccount, table_name: str) -> Table:
    """A table of this test's own, empty."""
    table = Table(service, table_name)
    await table.create()
    return table


@pytest.fixture
def vault(deployment: Deployment) -> Vault:
    return deployment.vault


@pytest.fixture
def registry(table: Table) -> TenantRegistry:
    return TenantRegistry(table, local=False)


@pytest.fixture
def clients(table: Table, vault: Vault) -> ClientRegistry:
    return ClientRegistry(table, vault)
