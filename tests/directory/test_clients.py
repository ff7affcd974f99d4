"""The directory of clients: table and vault together. How it looks to a client is tested with the token endpoint."""

import uuid
from collections.abc import AsyncIterator

import pytest
from azure.data.tables.aio import TableServiceClient

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.directory.client import vault_name
from shared.directory.client_cache import ClientCache
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Table
from shared.stores.vault import Vault


class Directory:
    """What is kept, and what an instance knows of it."""

    def __init__(self, table: Table, settings: Settings) -> None:
        self.table = table
        self.vault = Vault(settings)
        self.clients = ClientCache(table, self.vault, settings)

    async def client(self, *secret_ids: str, **columns: object) -> str:
        client_id = uuid.uuid4().hex
        await self.table.put({"PartitionKey": client_id, "RowKey": "client", "Tenants": "*", **columns})
        for secret_id in secret_ids:
            await self.vault.set(vault_name(client_id, secret_id), f"hash of {secret_id}")
            await self.table.put({"PartitionKey": client_id, "RowKey": f"secret-{secret_id}"})
        return client_id


@pytest.fixture
async def directory(table_service: TableService, vault_server: VaultServer) -> AsyncIterator[Directory]:
    settings = Settings.from_environment(
        {
            "PUBLIC_BASE_URL": "https://gateway.example",
            "KEY_VAULT_URL": vault_server.url,
            "TABLES_CONNECTION_STRING": table_service.connection_string,
            "LOCAL_VAULT": str(vault_server.folder),
        }
    )
    async with TableServiceClient.from_connection_string(table_service.connection_string) as service:
        table = Table(service, f"T{uuid.uuid4().hex}")
        await table.create()
        directory = Directory(table, settings)
        yield directory
        await directory.vault.close()


async def test_a_client_comes_with_the_hash_of_the_secret_asked_for(directory: Directory) -> None:
    client_id = await directory.client("s1", "s2", Name="App")
    for secret_id in ("s1", "s2"):
        found = await directory.clients.secret(client_id, secret_id)
        assert found is not None
        client, stored = found
        assert (client.id, client.name, stored.value) == (client_id, "App", f"hash of {secret_id}")
    known = await directory.clients.get(client_id)
    assert known is not None
    assert {secret.id for secret in known.secrets} == {"s1", "s2"}


async def test_what_is_not_there_is_none(directory: Directory) -> None:
    client_id = await directory.client("s1")
    await directory.table.put({"PartitionKey": client_id, "RowKey": "secret-nohash"})
    for secret_id in ("s2", "", "S1", "nohash", "../s1", "s1\n"):
        assert await directory.clients.secret(client_id, secret_id) is None
    for unknown in ("nobody", "", client_id.upper(), f"{client_id}\n", "x' or true or '"):
        assert await directory.clients.get(unknown) is None
        assert await directory.clients.secret(unknown, "s1") is None


async def test_a_client_that_is_off_or_can_not_be_read_is_none_and_the_log_says_why(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    off = await directory.client("s1", Enabled=False)
    broken = await directory.client("s1", Enabled="perhaps")
    for client_id in (off, broken):
        assert await directory.clients.get(client_id) is None
        assert await directory.clients.secret(client_id, "s1") is None
    assert f"table Clients, row ({broken}, client), column Enabled: must be true or false" in caplog.text
    assert off not in caplog.text


async def test_a_hash_of_one_client_is_never_found_for_another(directory: Directory) -> None:
    await directory.client("s1")
    other = await directory.client()
    assert await directory.clients.secret(other, "s1") is None


async def test_an_outage_is_no_absence(directory: Directory, vault_server: VaultServer) -> None:
    settings = Settings.from_environment(
        {
            "PUBLIC_BASE_URL": "https://gateway.example",
            "KEY_VAULT_URL": "https://127.0.0.1:1",
            "TABLES_ENDPOINT": "https://account.table.core.windows.net",
            "LOCAL_VAULT": str(vault_server.folder),
        }
    )
    unreachable = Vault(settings)
    client_id = await directory.client("s1")
    with pytest.raises(StoreUnavailable):
        await ClientCache(directory.table, unreachable, settings).secret(client_id, "s1")
    await unreachable.close()
