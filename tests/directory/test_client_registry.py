"""Clients and secrets, kept in real tables and a real vault and read back by the gateway's own directory."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from shared.directory.client import hint_of, matches, vault_name
from shared.directory.client_cache import ClientCache
from shared.directory.client_registry import MAX_LIVE_SECRETS, ClientRegistry, NewSecret
from shared.directory.errors import InvalidClientValue, InvalidTenantId, TooManySecrets, UnknownClient
from shared.directory.key_sets import KeySets
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import Row, Table, TableAccount
from shared.stores.vault import Vault
from tests.deployment import Deployment

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
OTHER_TENANT = "0d4b7a8e-5ac5-4f0e-8a59-0c1a7a2b6f10"


async def works(cache: ClientCache, new: NewSecret) -> bool:
    found = await cache.secret(new.client_id, new.secret_id)
    return found is not None and matches(new.client_secret, found[1].value, found[1].tags)


async def test_a_client_is_made_changed_disabled_and_let_in_again(
    clients: ClientRegistry, table: Table, vault: Vault, deployment: Deployment
) -> None:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)
    before = datetime.now(UTC)
    new = await clients.create(" Care app ", "Ada", [f"{{{TENANT.upper()}}}", TENANT], expires=expires)

    async def is_kept_as(*columns: object) -> bool:
        client = await clients.get(new.client_id)
        assert (client.name, client.owner, client.tenants, client.enabled) == columns
        return await works(ClientCache(table, vault, lambda: KeySets(deployment.settings), deployment.settings), new)

    assert await is_kept_as("Care app", "Ada", frozenset({TENANT}), True)
    (secret,) = (await clients.get(new.client_id)).secrets
    assert (secret.id, secret.expires, secret.hint) == (new.secret_id, expires, hint_of(new.client_secret))
    assert secret.created is not None
    assert before <= secret.created <= datetime.now(UTC)
    stored = await vault.get(vault_name(new.client_id, new.secret_id))
    assert stored is not None
    assert stored.properties.expires == expires
    both = frozenset({TENANT, OTHER_TENANT})
    await clients.change(new.client_id, tenants=f"{TENANT}, {OTHER_TENANT.upper()}")
    assert await is_kept_as("Care app", "Ada", both, True)
    await clients.change(new.client_id, name="Ward app", owner="Grace")
    assert await is_kept_as("Ward app", "Grace", both, True)
    await clients.set_enabled(new.client_id, False)
    assert not await is_kept_as("Ward app", "Grace", both, False)
    await clients.set_enabled(new.client_id, True)
    assert await is_kept_as("Ward app", "Grace", both, True)
    for tenants, reached in (("*", True), ((), False)):
        other = await clients.create("Care app", "Ada", tenants)
        assert (await clients.get(other.client_id)).may_reach(TENANT) is reached


async def test_a_secret_is_nowhere_but_in_its_answer(
    clients: ClientRegistry, table: Table, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "shared"):
        new = await clients.create("Care app", "Ada", "*")
    value = new.client_secret.partition(".")[2]
    assert len(value) == 43
    stored = await vault.get(vault_name(new.client_id, new.secret_id))
    assert stored is not None
    rows = await table.partition(new.client_id)
    assert len(rows) == 2
    for text in (repr(new), stored.value, repr(rows), caplog.text):
        assert value not in text
    assert stored.value not in repr(rows)


async def test_a_deletion_that_stopped_half_way_is_done_again_and_the_other_secret_works_on(
    clients: ClientRegistry, table: Table, vault: Vault, deployment: Deployment
) -> None:
    old = await clients.create("Care app", "Ada", "*")
    new = await clients.add_secret(old.client_id)
    await vault.delete(vault_name(old.client_id, old.secret_id))
    assert await clients.delete_secret(old.client_id, old.secret_id)
    assert not await clients.delete_secret(old.client_id, old.secret_id)
    cache = ClientCache(table, vault, lambda: KeySets(deployment.settings), deployment.settings)
    assert not await works(cache, old)
    assert await works(cache, new)
    assert [secret.id for secret in (await clients.get(old.client_id)).secrets] == [new.secret_id]


async def test_a_client_has_five_live_secrets_at_most_and_expired_ones_do_not_count(
    clients: ClientRegistry, table: Table
) -> None:
    new = await clients.create("Care app", "Ada", "*")
    past = datetime.now(UTC) - timedelta(days=1)
    for number in range(MAX_LIVE_SECRETS):
        await table.insert({"PartitionKey": new.client_id, "RowKey": f"secret-old{number}", "Expires": past})
    for _ in range(MAX_LIVE_SECRETS - 1):
        await clients.add_secret(new.client_id)
    with pytest.raises(TooManySecrets, match="5 live secrets"):
        await clients.add_secret(new.client_id)
    await clients.delete_secret(new.client_id, new.secret_id)
    assert (await clients.add_secret(new.client_id)).client_id == new.client_id


async def test_a_deleted_client_leaves_neither_rows_nor_hashes(
    clients: ClientRegistry, table: Table, vault: Vault
) -> None:
    new = await clients.create("Care app", "Ada", "*")
    second = await clients.add_secret(new.client_id)
    await table.insert({"PartitionKey": new.client_id, "RowKey": "secret-Typed By Hand"})
    other = await clients.create("Other app", "Ada", "*")
    assert await clients.delete(new.client_id)
    assert await table.partition(new.client_id) == []
    for secret in (new, second):
        assert await vault.get(vault_name(secret.client_id, secret.secret_id)) is None
    assert not await clients.delete(new.client_id)
    assert (await clients.get(other.client_id)).name == "Other app"


async def test_what_is_no_value_or_unknown_is_refused_and_nothing_written(clients: ClientRegistry) -> None:
    for client_id in ("00000000-0000-0000-0000-000000000000", "x' or '1' eq '1", "", "A/B"):
        for call in (clients.get(client_id), clients.add_secret(client_id), clients.set_enabled(client_id, False)):
            with pytest.raises(UnknownClient):
                await call
    for client_id, secret_id in (("a", "b-c"), ("a/b", "c"), ("", ""), ("token", "")):
        assert not await clients.delete_secret(client_id, secret_id)
    for tenants in ("contoso", ["*", TENANT], f"{TENANT};{OTHER_TENANT}"):
        with pytest.raises(InvalidTenantId):
            await clients.create("Care app", "Ada", tenants)
    for name in ("", "  ", "a\x1b[31m", "a\nb", "x" * 201):  # printable and short
        with pytest.raises(InvalidClientValue, match="name"):
            await clients.create(name, "Ada", "*")
        with pytest.raises(InvalidClientValue, match="owner"):
            await clients.create("Care app", name, "*")
    with pytest.raises(InvalidClientValue, match="expired already"):
        await clients.create("Care app", "Ada", "*", expires=datetime.now(UTC))
    assert [client async for client in clients.list()] == []
    most = [str(uuid4()) for _ in range(800)]  # as many as fit into the column
    new = await clients.create("Care app", "Ada", most)
    assert (await clients.get(new.client_id)).tenants == frozenset(most)
    with pytest.raises(InvalidClientValue, match="800"):
        await clients.change(new.client_id, tenants=[*most, TENANT])


async def test_the_list_has_every_client_and_says_which_row_is_wrong(clients: ClientRegistry, table: Table) -> None:
    first = await clients.create("First", "Ada", "*")
    await clients.add_secret(first.client_id)
    second = await clients.create("Second", "Ada", "*")
    await table.insert({"PartitionKey": "typed", "RowKey": "client", "Tenants": "contoso"})
    await table.insert({"PartitionKey": "left-behind", "RowKey": "secret-a"})
    listed = dict([item async for item in clients.list()])
    assert set(listed) == {first.client_id, second.client_id, "typed"}
    assert listed[first.client_id] == await clients.get(first.client_id)
    assert str(listed["typed"]).startswith("table Clients, row (typed, client), column Tenants: ")
    await clients.set_enabled("typed", False)  # it can still be kept out
    assert ((await table.get("typed", "client")) or {})["Enabled"] is False


async def test_a_client_whose_columns_are_typed_oddly_is_read_and_can_be_changed(
    clients: ClientRegistry, table: Table
) -> None:
    number = 12_345_678_901
    await table.insert({"PartitionKey": "odd", "RowKey": "client", "name": number, "TENANTS": " * ", "enabled": "No"})
    assert (await clients.get("odd")).name == "12345678901"
    await clients.set_enabled("odd", True)
    client = await clients.get("odd")
    assert (client.name, client.tenants, client.enabled) == ("12345678901", None, True)


async def test_two_people_at_once_cannot_add_a_sixth_secret(
    service: TableAccount, table_name: str, vault: Vault, clients: ClientRegistry
) -> None:
    """All of them count before any of them writes."""
    new = await clients.create("Care app", "Ada", "*")
    for _ in range(MAX_LIVE_SECRETS - 2):
        await clients.add_secret(new.client_id)
    people = 3
    counted = asyncio.Barrier(people)

    class Counting(Table):
        async def insert_together(self, *rows: Row, unchanged: Row | None = None) -> None:
            await counted.wait()
            await super().insert_together(*rows, unchanged=unchanged)

    registries = [ClientRegistry(Counting(service, table_name), vault) for _ in range(people)]
    outcomes = await asyncio.gather(*(each.add_secret(new.client_id) for each in registries), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NewSecret", "StoreConflict", "StoreConflict"]
    live = {secret.id for secret in (await clients.get(new.client_id)).secrets}
    assert len(live) == MAX_LIVE_SECRETS
    held = {secret.name async for secret in vault.secrets() if new.client_id in secret.name}
    assert held == {vault_name(new.client_id, secret_id) for secret_id in live}


async def test_a_secret_is_not_added_to_a_client_that_was_deleted_meanwhile(
    service: TableAccount, table_name: str, table: Table, vault: Vault, clients: ClientRegistry
) -> None:
    new = await clients.create("Care app", "Ada", "*")

    class Interrupted(Table):
        async def insert_together(self, *rows: Row, unchanged: Row | None = None) -> None:
            await clients.delete(new.client_id)
            await super().insert_together(*rows, unchanged=unchanged)

    with pytest.raises(StoreConflict):
        await ClientRegistry(Interrupted(service, table_name), vault).add_secret(new.client_id)
    assert await table.partition(new.client_id) == []


@pytest.mark.parametrize("written", [False, True])
async def test_a_creation_that_stops_half_way_leaves_nothing(
    service: TableAccount, table_name: str, table: Table, vault: Vault, clients: ClientRegistry, written: bool
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
    assert await clients.create("Care app", "Ada", "*")
