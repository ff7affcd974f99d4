"""Whose credentials are good, and how little a refusal tells (RFC 6749 section 5.2)."""

import dataclasses
import json
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlencode

import pytest

from shared.directory.client import ALGORITHM_TAG, hash_of, new_client_secret, vault_name
from shared.oauth.signing_keys import rotate
from shared.stores.tables import CLIENTS
from tests.deployment import Credentials, Deployment, SwitchedVault
from tests.oauth.conftest import Start, granted, refused, until

PAST = datetime.now(UTC) - timedelta(minutes=1)
FUTURE = datetime.now(UTC) + timedelta(hours=1)


async def responds(status: int, server: Deployment, client: Credentials, tenant: str) -> bool:
    return (await server.request_token(client, tenant)).status == status


async def secret_is_gone(server: Deployment, client: Credentials) -> bool:
    return await server.application.clients.secret(client.client_id, client.secret_id) is None


async def delete_row(server: Deployment, client: Credentials) -> None:
    await server.table(CLIENTS).delete(client.client_id, f"secret-{client.secret_id}")


async def delete_hash(server: Deployment, client: Credentials) -> None:
    assert await server.vault.delete(vault_name(client.client_id, client.secret_id))


async def bad_clients(server: Deployment) -> dict[str, Credentials]:
    """Credentials that must fail, by what is wrong with them."""
    good = await server.client()
    client_id, secret = good.client_id, good.client_secret
    bad = {
        "unknown client": Credentials("0" * 32, secret),
        "client id in capitals": Credentials(client_id.upper(), secret),
        "client id that is no id": Credentials("x' or PartitionKey ne '", secret),
        "no client id": Credentials("", secret),
        "wrong secret": Credentials(client_id, f"{good.secret_id}.{'A' * 43}"),
        "secret cut short": Credentials(client_id, secret[:-1]),
        "secret with more after it": Credentials(client_id, f"{secret}A"),
        "unknown secret id": Credentials(client_id, new_client_secret()),
        "secret id in capitals": Credentials(client_id, secret.replace(good.secret_id, good.secret_id.upper())),
        "secret without id": Credentials(client_id, secret.partition(".")[2]),
        "secret id that is no id": Credentials(client_id, f"a/{secret}"),
        "secret with an empty id": Credentials(client_id, "." + secret),
        "the hash itself": Credentials(client_id, hash_of(secret)),
        "another client's secret": Credentials(client_id, (await server.client()).client_secret),
        "disabled client": await server.client(Enabled=False),
        "row that can't be read": await server.client(Enabled="perhaps"),
        "row with a misspelt column": await server.client(Enabeld=False),
    }
    secret = await server.add_secret(client_id, expires=PAST, vault_expires=FUTURE)
    bad["expired by its row"] = Credentials(client_id, secret)
    secret = await server.add_secret(client_id, expires=FUTURE, vault_expires=PAST)
    bad["expired in the vault"] = Credentials(client_id, secret)
    bad["deleted from the vault"] = await server.client()
    await delete_hash(server, bad["deleted from the vault"])
    bad["deleted from the table"] = await server.client()
    await delete_row(server, bad["deleted from the table"])
    bad["client deleted"] = await server.client()
    await server.table(CLIENTS).delete(bad["client deleted"].client_id, "client")
    bad["disabled in the vault"] = disabled = await server.client()
    name = vault_name(disabled.client_id, disabled.secret_id)
    await server.vault.disable(name, (await server.vault.versions(name))[0].version)
    bad["hash of another algorithm"] = other = await server.client()
    name = vault_name(other.client_id, other.secret_id)
    await server.vault.set(name, hash_of(other.client_secret), tags={"algorithm": "md5"})
    bad["hash without algorithm"] = untagged = await server.client()
    await server.vault.set(vault_name(untagged.client_id, untagged.secret_id), hash_of(untagged.client_secret))
    return bad


async def test_every_failure_is_one_and_the_same_response(server: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    tenant = await server.tenant()
    expected = await server.oauth("grant_type=client_credentials&client_id=nobody&client_secret=none")
    assert refused(expected) == (401, "invalid_client")
    known = await server.client()
    wrong = dataclasses.replace(known, client_secret=f"{known.secret_id}.{'A' * 43}")
    assert await server.request_token(wrong, "nonsense") == expected  # the scope is not looked at
    for problem, credentials in (await bad_clients(server)).items():
        assert await server.request_token(credentials, tenant) == expected, problem
        body = urlencode({"grant_type": "client_credentials", "scope": tenant})
        assert await server.oauth(body, authorization=credentials.basic()) == expected, problem
    assert "client), column Enabled: must be true or false" in caplog.text


async def test_a_failure_is_told_only_at_whole_steps_of_time(server: Deployment) -> None:
    client = await server.client()
    for credentials in (Credentials("nobody", "a.b"), Credentials(client.client_id, f"{client.secret_id}.wrong")):
        began = time.monotonic()
        await server.request_token(credentials, "")
        assert time.monotonic() - began > 0.19


async def test_the_vault_is_not_asked_about_made_up_ids(start: Start, own_vault: SwitchedVault) -> None:
    server = start()
    await rotate(server.vault, server.settings)
    client, tenant = await server.client(), await server.tenant()
    own_vault.asked.clear()

    for made_up in ("nobody", client.client_id):
        for _ in range(3):
            assert await responds(401, server, Credentials(made_up, new_client_secret()), tenant)
    assert own_vault.asked == []

    for _ in range(3):
        granted(await server.request_token(client, tenant))
        assert await responds(401, server, Credentials(client.client_id, f"{client.secret_id}.wrong"), tenant)
    name = vault_name(client.client_id, client.secret_id)
    assert own_vault.asked.count(f"/secrets/{name}/") == 1


@pytest.mark.parametrize("delete", [delete_row, delete_hash])
async def test_a_deleted_secret_ends_and_the_other_works_on(
    server: Deployment, delete: Callable[[Deployment, Credentials], Awaitable[None]]
) -> None:
    old, tenant = await server.client(), await server.tenant()
    new = Credentials(old.client_id, await server.add_secret(old.client_id))
    granted(await server.request_token(old, tenant))
    granted(await server.request_token(new, tenant))
    assert not await secret_is_gone(server, old)

    await delete(server, old)

    # Tokens obtained with it end, too: the gateway asks for the secret with every token.
    await until(lambda: secret_is_gone(server, old), "the directory does not know the secret any more")
    await until(lambda: responds(401, server, old, tenant), "the secret is refused")
    granted(await server.request_token(new, tenant))
    assert not await secret_is_gone(server, new)


async def test_a_secret_works_at_once_and_ends_when_it_expires_though_its_client_is_remembered(start: Start) -> None:
    server = start(CACHE_SECONDS="3600")
    await rotate(server.vault, server.settings)
    tenant = await server.tenant()
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    by_row, by_vault = await server.client(), await server.client()
    await server.add_secret(by_row.client_id, by_row.client_secret, expires=soon)
    await server.add_secret(by_vault.client_id, by_vault.client_secret, vault_expires=soon)
    for client in (by_row, by_vault):
        granted(await server.request_token(client, tenant))
    new = Credentials(by_row.client_id, await server.add_secret(by_row.client_id))
    await until(lambda: responds(200, server, new, tenant), "the new secret works")
    for client in (by_row, by_vault):
        await until(partial(responds, 401, server, client, tenant), "it has expired")
        assert await secret_is_gone(server, client)
    granted(await server.request_token(new, tenant))


async def test_a_client_that_is_switched_off_ends_and_comes_back_and_its_hash_may_be_replaced(
    server: Deployment,
) -> None:
    client, tenant = await server.client(), await server.tenant()
    granted(await server.request_token(client, tenant))
    row = await server.table(CLIENTS).get(client.client_id, "client")
    assert row is not None
    await server.table(CLIENTS).put({**row, "Enabled": False})
    await until(lambda: responds(401, server, client, tenant), "a client that is off is refused")
    assert await secret_is_gone(server, client)
    await server.table(CLIENTS).put({**row, "Enabled": True})
    await until(lambda: responds(200, server, client, tenant), "a client that is on is served")

    replaced = Credentials(client.client_id, f"{client.secret_id}.{'B' * 43}")
    name = vault_name(client.client_id, client.secret_id)
    await server.vault.set(name, hash_of(replaced.client_secret), tags=ALGORITHM_TAG)
    await until(lambda: responds(200, server, replaced, tenant), "the new value works")
    assert await responds(401, server, client, tenant)


async def test_what_is_audited_names_a_client_that_is_known_and_a_secret_that_is_right(
    server: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    client, off, tenant = await server.client(), await server.client(Enabled=False), await server.tenant()
    wrong = dataclasses.replace(client, client_secret=f"{client.secret_id}.{'A' * 43}")
    with caplog.at_level(logging.INFO, "gateway.audit"):
        await server.request_token(client, tenant)
        await server.request_token(client, "nonsense")
        await server.request_token(wrong, tenant)
        await server.oauth("grant_type=client_credentials", authorization=wrong.basic())
        await server.oauth(f"client_id={off.client_id}")
        await server.request_token(Credentials("client-that-is-unknown", "secret"), tenant)
        await server.request_token(Credentials(wrong.client_secret, ""), tenant)
        await server.oauth("\0", x_request_id="its-own")
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.audit"]
    told = [tuple(line[name] for name in ("client", "secret", "tenant", "status", "error", "kind")) for line in lines]
    assert told == [
        (client.client_id, client.secret_id, tenant, 200, "", ""),
        (client.client_id, client.secret_id, "", 400, "invalid_scope", "token-request-malformed"),
        *[(client.client_id, "", "", 401, "invalid_client", "secret-wrong")] * 2,
        (off.client_id, "", "", 401, "invalid_client", "client-disabled"),
        *[("", "", "", 401, "invalid_client", "client-unknown")] * 3,
    ]
    assert len({line["request"] for line in lines}) == len(lines)
    assert lines[-1]["request"] == "its-own"
    for sent in (client.client_secret, wrong.client_secret, "nonsense", "that-is"):
        assert sent not in caplog.text
