"""The directory of clients: table and vault together. How it looks to a client is tested with the token endpoint."""

import uuid

import pytest

from shared.directory.client import vault_name
from shared.directory.client_cache import ClientCache
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Table
from shared.stores.vault import Vault
from tests.deployment import Deployment


async def stored(table: Table, vault: Vault, *secret_ids: str, **columns: object) -> str:
    """The id of a new client."""
    client_id = uuid.uuid4().hex
    await table.put({"PartitionKey": client_id, "RowKey": "client", "Tenants": "*", **columns})
    for secret_id in secret_ids:
        await vault.set(vault_name(client_id, secret_id), f"hash of {secret_id}")
        await table.put({"PartitionKey": client_id, "RowKey": f"secret-{secret_id}"})
    return client_id


async def test_a_client_comes_with_the_hash_of_a_secret_and_what_is_not_there_is_none(
    cache: ClientCache, table: Table, vault: Vault
) -> None:
    client_id = await stored(table, vault, "s1", "s2", Name="App")
    await table.put({"PartitionKey": client_id, "RowKey": "secret-nohash"})
    await stored(table, vault, "s3")
    for secret_id in ("s1", "s2"):
        found = await cache.secret(client_id, secret_id)
        assert found is not None
        client, hash = found
        assert (client.id, client.name, hash.value) == (client_id, "App", f"hash of {secret_id}")
    for secret_id in ("s3", "", "S1", "nohash", "../s1", "s1\n"):
        assert await cache.secret(client_id, secret_id) is None
    for unknown in ("nobody", "", client_id.upper(), f"{client_id}\n", "x' or true or '"):
        assert await cache.get(unknown) is None
        assert await cache.secret(unknown, "s1") is None


async def test_a_client_that_is_off_or_can_not_be_read_is_none_and_the_log_says_why(
    cache: ClientCache, table: Table, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    off = await stored(table, vault, "s1", Enabled=False)
    broken = await stored(table, vault, "s1", Enabled="perhaps")
    for client_id in (off, broken):
        assert await cache.get(client_id) is None
        assert await cache.secret(client_id, "s1") is None
    assert f"table Clients, row ({broken}, client), column Enabled: must be true or false" in caplog.text
    assert off not in caplog.text


async def test_an_outage_is_no_absence(table: Table, vault: Vault, deployment: Deployment) -> None:
    client_id = await stored(table, vault, "s1")
    unreachable = deployment.instance(KEY_VAULT_URL="https://127.0.0.1:1")
    with pytest.raises(StoreUnavailable):
        await ClientCache(table, unreachable.vault, unreachable.settings).secret(client_id, "s1")
