import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from local.vault.server import VaultServer
from local.vault.store import Store
from shared.settings import Settings
from shared.stores.errors import SecretNameHeld, StoreConflict, StoreUnavailable
from shared.stores.vault import Vault
from tests.deployment import GATEWAY, SwitchedVault
from tests.directory.conftest import vault as vault

NOW = datetime.now(UTC).replace(microsecond=0)


def vault_at(url: str, folder: Path) -> Vault:
    environment = {"PUBLIC_BASE_URL": GATEWAY, "TABLES_ENDPOINT": "https://account.table.core.windows.net"}
    return Vault(Settings.from_environment({**environment, "KEY_VAULT_URL": url, "LOCAL_VAULT": str(folder)}))


@pytest.fixture
def name() -> str:
    return f"test-{uuid4()}"


async def test_a_secret_comes_back_with_its_properties(vault: Vault, name: str) -> None:
    expires = NOW + timedelta(days=1)
    active = NOW + timedelta(hours=1)
    made = await vault.set(name, "välue\n", active_from=active, expires=expires, tags={"algorithm": "sha256"})
    found = await vault.get(name)
    assert found is not None
    assert "välue" not in repr(found)
    assert (made.usable(NOW), made.usable(expires)) == (True, False)
    assert (found.value, found.tags, found.properties) == ("välue\n", {"algorithm": "sha256"}, made)
    assert (made.name, made.enabled, made.active_from, made.expires) == (name, True, active, expires)
    assert made.created >= NOW


async def test_the_latest_version_or_the_one_named_and_all_names(vault: Vault, name: str) -> None:
    first, second = await vault.set(name, "1"), await vault.set(name, "2")
    found = [await vault.get(name), await vault.get(name, first.version), await vault.get(name, second.version)]
    assert [secret and secret.value for secret in found] == ["2", "1", "2"]
    assert {version.version for version in await vault.versions(name)} == {first.version, second.version}
    names = {f"{name}-{number}" for number in range(30)}
    for each in names:
        await vault.set(each, "x")
    assert names <= {found.name async for found in vault.secrets()}


@pytest.mark.parametrize("order", [1, -1])
async def test_of_two_versions_made_at_once_the_one_to_be_active_later_is_newer(
    vault: Vault, name: str, order: int
) -> None:
    for _ in range(5):  # until two are made within the same second
        times = [NOW + timedelta(hours=hours) for hours in (1, 2)][::order]
        soon, later = [await vault.set(name, "x", active_from=time) for time in times][::order]
        if soon.created == later.created:
            break
    assert soon.created == later.created
    listed = [version.version for version in await vault.versions(name)]
    assert listed.index(later.version) < listed.index(soon.version)


async def test_what_is_not_there_deleted_disabled_or_expired_is_none(vault: Vault, name: str) -> None:
    for absent in (name, "", "a/b", "..", "a?b", "a" * 128, "ü", "a_b", "a\n"):
        assert await vault.get(absent) is None
    assert await vault.versions(name) == []
    assert not await vault.delete(name)
    with pytest.raises(StoreConflict):
        await vault.disable(name, "0" * 32)
    version = await vault.set(name, "x", expires=NOW - timedelta(seconds=1))
    assert await vault.get(name) is None
    version = await vault.set(name, "x")
    assert await vault.get(name) is not None
    await vault.disable(name, version.version)
    assert await vault.get(name) is None
    await vault.set(name, "x")
    assert await vault.get(name, version.version) is None
    assert await vault.held(name) is None
    assert await vault.delete(name)
    assert await vault.get(name) is None
    assert await vault.versions(name) == []
    with pytest.raises(SecretNameHeld) as raised:  # by the deleted secret, and is told with the way out
        await vault.set(name, "x")
    for command in ("recover", "purge"):
        assert f"az keyvault secret {command} --vault-name 127 --name {name}" in str(raised.value)
    assert await vault.held(name) == str(raised.value)
    assert isinstance(raised.value, StoreConflict)


async def test_a_refusal_has_its_status(tmp_path: Path) -> None:
    async with SwitchedVault(tmp_path, mode=403).running() as refusing:
        vault = vault_at(refusing.url, tmp_path)
        with pytest.raises(StoreUnavailable, match="Key Vault answered 403"):
            await vault.get("name")
        await vault.close()


async def test_a_vault_that_does_not_answer_or_refuses_is_unavailable(
    vault_server: VaultServer, tmp_path: Path, name: str
) -> None:
    (tmp_path / "ca.pem").write_bytes((vault_server.folder / "ca.pem").read_bytes())
    (tmp_path / "token").write_text("another")
    for failing in (vault_at("https://127.0.0.1:1", vault_server.folder), vault_at(vault_server.url, tmp_path)):
        for call in (failing.get(name), failing.versions(name), failing.set(name, "x"), failing.delete(name)):
            with pytest.raises(StoreUnavailable) as raised:
                await call
            assert name not in str(raised.value)
            assert "127.0.0.1" not in str(raised.value)
        await failing.close()


class _Challenging(SwitchedVault):
    """Turns one request away with a challenge, as a vault whose tokens ended does."""

    challenged = False

    @web.middleware
    async def _switch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "Authorization" not in request.headers:
            return await handler(request)
        if len(self.asked) == 55 and not self.challenged:
            self.challenged = True
            return await handler(request.clone(headers={}))
        self.asked.append(f"{request.method} {request.path}")
        return await handler(request)


async def test_requests_at_once_on_a_cold_client_are_each_sent_once_and_get_their_own_response(tmp_path: Path) -> None:
    """Key Vault's SDK before 4.12 mixed requests up that waited for the same challenge (azure-sdk-for-python#47742)."""
    store = Store(tmp_path / "secrets.json")
    for number in range(20):
        store.set(f"old-{number}", f"value {number}")
    async with _Challenging(tmp_path).running() as server:
        cold = vault_at(server.url, tmp_path)
        read, written, listed = await asyncio.gather(
            asyncio.gather(*(cold.get(f"old-{number}") for number in range(20))),
            asyncio.gather(*(cold.set(f"new-{number}", f"value {number}") for number in range(15))),
            asyncio.gather(*(cold.versions(f"old-{number}") for number in range(15))),
        )
        assert [secret and secret.value for secret in read] == [f"value {number}" for number in range(20)]
        assert [version.name for version in written] == [f"new-{number}" for number in range(15)]
        assert [[version.name for version in versions] for versions in listed] == [[f"old-{n}"] for n in range(15)]
        assert len(server.asked) == 50
        again = await asyncio.gather(*(cold.set(f"newer-{number}", "value") for number in range(15)))
        await cold.close()
        assert [version.name for version in again] == [f"newer-{number}" for number in range(15)]
        assert server.challenged
        assert len(server.asked) == 65
        puts = [asked for asked in server.asked if asked.startswith("PUT")]
        assert len({*puts}) == len(puts) == 30
