"""Clients and secrets, kept in real tables and a real vault and read back by the gateway's own directory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from azure.data.tables import EdmType, EntityProperty
from azure.data.tables.aio import TableServiceClient

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.directory.client import hint_of, matches, vault_name
from shared.directory.client_cache import ClientCache
from shared.directory.client_registry import MAX_LIVE_SECRETS, ClientRegistry, NewSecret
from shared.directory.errors import InvalidClientValue, InvalidTenantId, RowError, TooManySecrets, UnknownClient
from shared.settings import Settings
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import Row, Table
from shared.stores.vault import Vault

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
OTHER_TENANT = "0d4b7a8e-5ac5-4f0e-8a59-0c1a7a2b6f10"


@pytest.fixture(scope="module")
def settings(table_service: TableService, vault_server: VaultServer) -> Settings:
    return Settings.from_environment(
        {
            "PUBLIC_BASE_URL": "http://127.0.0.1:7071",
            "KEY_VAULT_URL": vault_server.url,
            "LOCAL_VAULT": str(vault_server.folder),
            "TABLES_CONNECTION_STRING": table_service.connection_string,
        }
    )


@pytest.fixture
async def service(table_service: TableService) -> AsyncIterator[TableServiceClient]:
    async with TableServiceClient.from_connection_string(table_service.connection_string) as service:
        yield service


@pytest.fixture
def table_name() -> str:
    return f"Clients{uuid4().hex}"


@pytest.fixture
async def table(service: TableServiceClient, table_name: str) -> Table:
    table = Table(service, table_name)
    await table.create()
    return table


@pytest.fixture
async def vault(settings: Settings) -> AsyncIterator[Vault]:
    vault = Vault(settings)
    yield vault
    await vault.close()


@pytest.fixture
def registry(table: Table, vault: Vault) -> ClientRegistry:
    return ClientRegistry(table, vault)


@pytest.fixture
def directory(table: Table, vault: Vault, settings: Settings) -> ClientCache:
    """The side of the gateway that reads."""
    return ClientCache(table, vault, settings)


async def works(directory: ClientCache, new: NewSecret) -> bool:
    found = await directory.secret(new.client_id, new.secret_id)
    return found is not None and matches(new.client_secret, found[1].value, found[1].tags)


async def test_a_new_clients_secret_works(registry: ClientRegistry, directory: ClientCache) -> None:
    new = await registry.create(" Care app ", "Ada", [f"{{{TENANT.upper()}}}", TENANT])
    client = await registry.get(new.client_id)
    assert (client.name, client.owner, client.tenants, client.enabled) == ("Care app", "Ada", frozenset({TENANT}), True)
    assert await works(directory, new)


async def test_a_client_for_all_tenants_reaches_any(registry: ClientRegistry) -> None:
    new = await registry.create("Care app", "Ada", "*")
    assert (await registry.get(new.client_id)).may_reach(OTHER_TENANT)


async def test_a_client_without_tenants_reaches_none(registry: ClientRegistry) -> None:
    new = await registry.create("Care app", "Ada", ())
    assert not (await registry.get(new.client_id)).may_reach(TENANT)


async def test_a_secret_is_nowhere_but_in_its_answer(
    registry: ClientRegistry, table: Table, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "shared"):
        new = await registry.create("Care app", "Ada", "*")
    value = new.client_secret.partition(".")[2]
    assert len(value) == 43
    stored = await vault.get(vault_name(new.client_id, new.secret_id))
    assert stored is not None
    rows = await table.partition(new.client_id)
    assert len(rows) == 2
    for text in (repr(new), stored.value, repr(rows), caplog.text):
        assert value not in text
    assert stored.value not in repr(rows)


async def test_the_rows_tell_a_secrets_creation_expiry_and_hint(registry: ClientRegistry) -> None:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)
    before = datetime.now(UTC)
    new = await registry.create("Care app", "Ada", "*", expires=expires)
    (secret,) = (await registry.get(new.client_id)).secrets
    assert (secret.id, secret.expires, secret.hint) == (new.secret_id, expires, hint_of(new.client_secret))
    assert secret.created is not None
    assert before <= secret.created <= datetime.now(UTC)


async def test_key_vault_knows_the_expiry_too(registry: ClientRegistry, vault: Vault) -> None:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)
    new = await registry.create("Care app", "Ada", "*", expires=expires)
    stored = await vault.get(vault_name(new.client_id, new.secret_id))
    assert stored is not None
    assert stored.properties.expires == expires


async def test_old_and_new_secret_overlap_until_the_old_one_is_deleted(
    registry: ClientRegistry, table: Table, vault: Vault, settings: Settings
) -> None:
    old = await registry.create("Care app", "Ada", "*")
    new = await registry.add_secret(old.client_id)
    directory = ClientCache(table, vault, settings)
    assert await works(directory, old)
    assert await works(directory, new)

    assert await registry.delete_secret(old.client_id, old.secret_id)
    directory = ClientCache(table, vault, settings)
    assert not await works(directory, old)
    assert await works(directory, new)


async def test_a_secret_is_deleted_once(registry: ClientRegistry) -> None:
    new = await registry.create("Care app", "Ada", "*")
    assert await registry.delete_secret(new.client_id, new.secret_id)
    assert not await registry.delete_secret(new.client_id, new.secret_id)


async def test_a_deletion_that_stopped_half_way_is_finished_by_the_next(registry: ClientRegistry, vault: Vault) -> None:
    new = await registry.create("Care app", "Ada", "*")
    await vault.delete(vault_name(new.client_id, new.secret_id))
    assert await registry.delete_secret(new.client_id, new.secret_id)
    assert (await registry.get(new.client_id)).secrets == ()


@pytest.mark.parametrize(("client_id", "secret_id"), [("a", "b-c"), ("a/b", "c"), ("", ""), ("token", "")])
async def test_ids_that_cannot_be_ours_delete_nothing(registry: ClientRegistry, client_id: str, secret_id: str) -> None:
    assert not await registry.delete_secret(client_id, secret_id)


async def test_a_client_has_five_live_secrets_at_most(registry: ClientRegistry) -> None:
    new = await registry.create("Care app", "Ada", "*")
    for _ in range(MAX_LIVE_SECRETS - 1):
        await registry.add_secret(new.client_id)
    with pytest.raises(TooManySecrets, match="5 live secrets"):
        await registry.add_secret(new.client_id)
    await registry.delete_secret(new.client_id, new.secret_id)
    assert (await registry.add_secret(new.client_id)).client_id == new.client_id


async def test_an_expired_secret_does_not_count(registry: ClientRegistry, table: Table) -> None:
    new = await registry.create("Care app", "Ada", "*")
    past = datetime.now(UTC) - timedelta(days=1)
    for number in range(MAX_LIVE_SECRETS):
        await table.insert({"PartitionKey": new.client_id, "RowKey": f"secret-old{number}", "Expires": past})
    assert (await registry.add_secret(new.client_id)).client_id == new.client_id


async def test_a_secret_that_would_have_expired_is_refused(registry: ClientRegistry) -> None:
    with pytest.raises(InvalidClientValue, match="expired already"):
        await registry.create("Care app", "Ada", "*", expires=datetime.now(UTC))
    assert [client async for client in registry.list()] == []


async def test_a_disabled_client_is_kept_out_and_let_in_again(
    registry: ClientRegistry, table: Table, vault: Vault, settings: Settings
) -> None:
    new = await registry.create("Care app", "Ada", "*")
    await registry.set_enabled(new.client_id, False)
    assert not await works(ClientCache(table, vault, settings), new)
    await registry.set_enabled(new.client_id, True)
    assert await works(ClientCache(table, vault, settings), new)


async def test_a_deleted_client_leaves_neither_rows_nor_hashes(
    registry: ClientRegistry, table: Table, vault: Vault
) -> None:
    new = await registry.create("Care app", "Ada", "*")
    second = await registry.add_secret(new.client_id)
    await table.insert({"PartitionKey": new.client_id, "RowKey": "secret-Typed By Hand"})
    other = await registry.create("Other app", "Ada", "*")
    assert await registry.delete(new.client_id)
    assert await table.partition(new.client_id) == []
    for secret in (new, second):
        assert await vault.get(vault_name(secret.client_id, secret.secret_id)) is None
    assert not await registry.delete(new.client_id)
    assert (await registry.get(other.client_id)).name == "Other app"


async def test_a_change_leaves_the_rest(registry: ClientRegistry, directory: ClientCache) -> None:
    new = await registry.create("Care app", "Ada", [TENANT])
    await registry.change(new.client_id, tenants=f"{TENANT}, {OTHER_TENANT.upper()}")
    client = await registry.get(new.client_id)
    assert (client.name, client.owner, client.tenants) == ("Care app", "Ada", frozenset({TENANT, OTHER_TENANT}))
    await registry.change(new.client_id, name="Ward app", owner="Grace")
    client = await registry.get(new.client_id)
    assert (client.name, client.owner, client.tenants) == ("Ward app", "Grace", frozenset({TENANT, OTHER_TENANT}))
    assert await works(directory, new)


async def test_a_change_that_meets_another_writes_nothing(service: TableServiceClient, vault: Vault) -> None:
    """The other change comes in between the read and the write of the first."""
    name = f"Clients{uuid4().hex}"
    await service.create_table(name)
    inner = ClientRegistry(Table(service, name), vault)
    new = await inner.create("Care app", "Ada", "*")

    class Interrupted(Table):
        async def replace(self, row: Row, etag: str) -> None:
            await inner.change(new.client_id, name="Second")
            await super().replace(row, etag)

    with pytest.raises(StoreConflict):
        await ClientRegistry(Interrupted(service, name), vault).change(new.client_id, name="First")
    assert (await inner.get(new.client_id)).name == "Second"


@pytest.mark.parametrize("client_id", ["00000000-0000-0000-0000-000000000000", "x' or '1' eq '1", "", "A/B"])
async def test_an_unknown_client_is_said_to_be_unknown(registry: ClientRegistry, client_id: str) -> None:
    with pytest.raises(UnknownClient):
        await registry.get(client_id)
    with pytest.raises(UnknownClient):
        await registry.add_secret(client_id)
    with pytest.raises(UnknownClient):
        await registry.set_enabled(client_id, False)


@pytest.mark.parametrize("tenants", ["contoso", ["*", TENANT], f"{TENANT};{OTHER_TENANT}"])
async def test_what_is_no_tenant_id_is_refused(registry: ClientRegistry, tenants: str | list[str]) -> None:
    with pytest.raises(InvalidTenantId):
        await registry.create("Care app", "Ada", tenants)


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[31m", "a\nb", "x" * 201])
async def test_a_name_is_printable_and_short(registry: ClientRegistry, name: str) -> None:
    with pytest.raises(InvalidClientValue, match="name"):
        await registry.create(name, "Ada", "*")
    with pytest.raises(InvalidClientValue, match="owner"):
        await registry.create("Care app", name, "*")


async def test_the_list_of_tenants_must_fit_into_its_column(registry: ClientRegistry) -> None:
    most = [str(uuid4()) for _ in range(800)]
    new = await registry.create("Care app", "Ada", most)
    assert (await registry.get(new.client_id)).tenants == frozenset(most)
    with pytest.raises(InvalidClientValue, match="800"):
        await registry.change(new.client_id, tenants=[*most, TENANT])


async def test_the_list_has_every_client_and_says_which_row_is_wrong(registry: ClientRegistry, table: Table) -> None:
    first = await registry.create("First", "Ada", "*")
    await registry.add_secret(first.client_id)
    second = await registry.create("Second", "Ada", "*")
    await table.insert({"PartitionKey": "typed", "RowKey": "client", "Tenants": "contoso"})
    await table.insert({"PartitionKey": "left-behind", "RowKey": "secret-a"})
    listed = dict([item async for item in registry.list()])
    assert set(listed) == {first.client_id, second.client_id, "typed"}
    assert listed[first.client_id] == await registry.get(first.client_id)
    wrong = listed["typed"]
    assert isinstance(wrong, RowError)
    assert wrong.column == "Tenants"


async def test_a_client_whose_row_is_wrong_can_still_be_kept_out(registry: ClientRegistry, table: Table) -> None:
    await table.insert({"PartitionKey": "typed", "RowKey": "client", "Tenants": "contoso"})
    await registry.set_enabled("typed", False)
    row = await table.get("typed", "client")
    assert row is not None
    assert row["Enabled"] is False


async def test_a_client_whose_columns_are_typed_oddly_is_read_and_can_be_changed(
    registry: ClientRegistry, table: Table
) -> None:
    number = EntityProperty(12_345_678_901, EdmType.INT64)
    await table.insert({"PartitionKey": "odd", "RowKey": "client", "name": number, "TENANTS": " * ", "enabled": "No"})
    assert (await registry.get("odd")).name == "12345678901"
    await registry.set_enabled("odd", True)
    client = await registry.get("odd")
    assert (client.name, client.tenants, client.enabled) == ("12345678901", None, True)


async def test_two_people_at_once_cannot_add_a_sixth_secret(
    service: TableServiceClient, table_name: str, vault: Vault, registry: ClientRegistry
) -> None:
    """All of them count before any of them writes."""
    new = await registry.create("Care app", "Ada", "*")
    for _ in range(MAX_LIVE_SECRETS - 2):
        await registry.add_secret(new.client_id)
    people = 3
    counted = asyncio.Barrier(people)

    class Counting(Table):
        async def insert_together(self, *rows: Row, unchanged: Row | None = None) -> None:
            await counted.wait()
            await super().insert_together(*rows, unchanged=unchanged)

    registries = [ClientRegistry(Counting(service, table_name), vault) for _ in range(people)]
    outcomes = await asyncio.gather(*(each.add_secret(new.client_id) for each in registries), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NewSecret", "StoreConflict", "StoreConflict"]
    live = {secret.id for secret in (await registry.get(new.client_id)).secrets}
    assert len(live) == MAX_LIVE_SECRETS
    held = {secret.name async for secret in vault.secrets() if new.client_id in secret.name}
    assert held == {vault_name(new.client_id, secret_id) for secret_id in live}


async def test_a_secret_is_not_added_to_a_client_that_was_deleted_meanwhile(
    service: TableServiceClient, table_name: str, table: Table, vault: Vault, registry: ClientRegistry
) -> None:
    new = await registry.create("Care app", "Ada", "*")

    class Interrupted(Table):
        async def insert_together(self, *rows: Row, unchanged: Row | None = None) -> None:
            await registry.delete(new.client_id)
            await super().insert_together(*rows, unchanged=unchanged)

    with pytest.raises(StoreConflict):
        await ClientRegistry(Interrupted(service, table_name), vault).add_secret(new.client_id)
    assert await table.partition(new.client_id) == []


@pytest.mark.parametrize("written", [False, True])
async def test_a_creation_that_stops_half_way_leaves_nothing(
    service: TableServiceClient,
    table_name: str,
    table: Table,
    vault: Vault,
    registry: ClientRegistry,
    written: bool,
) -> None:
    """The store fails, either before it wrote the rows or with the answer on its way."""
    before = {secret.name async for secret in vault.secrets()}

    class Failing(Table):
        async def insert_together(self, *rows: Row, unchanged: Row | None = None) -> None:
            if written:
                await super().insert_together(*rows, unchanged=unchanged)
            raise StoreUnavailable("no answer")

    with pytest.raises(StoreUnavailable):
        await ClientRegistry(Failing(service, table_name), vault).create("Care app", "Ada", "*")
    assert [row async for row in table.scan()] == []
    assert {secret.name async for secret in vault.secrets()} == before
    assert await registry.create("Care app", "Ada", "*")


async def test_changes_of_two_people_at_once_are_all_kept_or_told(registry: ClientRegistry) -> None:
    new = await registry.create("Care app", "Ada", "*")
    outcomes = await asyncio.gather(
        registry.change(new.client_id, name="Ward app"),
        registry.change(new.client_id, owner="Grace"),
        return_exceptions=True,
    )
    client = await registry.get(new.client_id)
    for outcome, kept in zip(outcomes, (client.name == "Ward app", client.owner == "Grace"), strict=True):
        assert kept is (outcome is None)
        assert outcome is None or isinstance(outcome, StoreConflict)
