"""The stand-in, through the SDK that the gateway uses."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.secrets.aio import SecretClient

from local.vault.server import VaultServer


class FixedToken:
    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self._token, int(datetime.now(UTC).timestamp()) + 3600)

    async def close(self) -> None: ...

    async def __aenter__(self) -> "FixedToken":
        return self

    async def __aexit__(self, *raised: object) -> None: ...


def client_of(server: VaultServer) -> SecretClient:
    credential, ca = FixedToken((server.folder / "token").read_text()), str(server.folder / "ca.pem")
    return SecretClient(server.url, credential, verify_challenge_resource=False, connection_verify=ca)


@pytest.fixture
async def vault(vault_server: VaultServer) -> AsyncIterator[SecretClient]:
    async with client_of(vault_server) as client:
        yield client


def codes(error: HttpResponseError) -> tuple[str | None, str | None]:
    assert error.error
    return error.error.code, error.error.innererror.get("code")


async def test_a_secret_comes_back_as_it_was_set_and_a_new_version_takes_nothing_over(
    vault: SecretClient, vault_server: VaultServer
) -> None:
    expires = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    tags = {"algorithm": "sha256"}
    made = await vault.set_secret("round-trip", "välue\n", tags=tags, content_type="text/plain", expires_on=expires)
    found = await vault.get_secret("round-trip")
    assert (found.value, found.id, found.properties.tags) == ("välue\n", made.id, tags)
    assert found.id == f"{vault_server.url}/secrets/round-trip/{made.properties.version}"
    assert (found.properties.content_type, found.properties.expires_on) == ("text/plain", expires)
    assert (found.properties.recovery_level, found.properties.recoverable_days) == ("Recoverable+Purgeable", 90)
    assert (found.properties.enabled, found.properties.created_on) == (True, made.properties.updated_on)

    await vault.set_secret("Round-Trip", "new")
    latest = await vault.get_secret("ROUND-TRIP")
    assert (latest.value, latest.name) == ("new", "round-trip")
    assert (latest.properties.tags, latest.properties.content_type) == ({}, None)
    assert (await vault.get_secret("round-trip", made.properties.version)).value == "välue\n"


async def test_unknown_names_and_versions_are_not_found_and_a_disabled_one_forbidden(vault: SecretClient) -> None:
    made = await vault.set_secret("switched", "x")
    for name, version in (("unknown", None), ("switched", "0" * 32)):
        with pytest.raises(ResourceNotFoundError) as unknown:
            await vault.get_secret(name, version)
        assert codes(unknown.value) == ("SecretNotFound", None)
    await vault.update_secret_properties("switched", enabled=False)
    for version in (None, made.properties.version):
        with pytest.raises(HttpResponseError) as disabled:
            await vault.get_secret("switched", version)
        assert (disabled.value.status_code, *codes(disabled.value)) == (403, "Forbidden", "SecretDisabled")
    await vault.update_secret_properties("switched", enabled=True)
    assert (await vault.get_secret("switched")).value == "x"


async def test_an_update_changes_what_it_names_in_one_version_only(vault: SecretClient) -> None:
    first = await vault.set_secret("updated", "1", tags={"keep": "me"})
    second = await vault.set_secret("updated", "2")
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    changes = {"not_before": soon, "content_type": "text/plain"}
    changed = await vault.update_secret_properties("updated", first.properties.version, **changes)
    assert (changed.tags, changed.not_before, changed.content_type) == ({"keep": "me"}, soon, "text/plain")
    old = await vault.get_secret("updated", first.properties.version)
    assert (old.value, old.properties.not_before) == ("1", soon)
    latest = await vault.get_secret("updated")
    assert (latest.id, latest.properties.not_before) == (second.id, None)
    await vault.update_secret_properties("updated", first.properties.version, tags={})
    assert (await vault.get_secret("updated", first.properties.version)).properties.tags == {}


async def test_a_deleted_secret_is_gone_its_name_taken_until_it_is_recovered_or_purged(vault: SecretClient) -> None:
    first = await vault.set_secret("deleted", "1")
    await vault.set_secret("deleted", "2")
    for missing in (vault.purge_deleted_secret, vault.recover_deleted_secret, vault.get_deleted_secret):
        with pytest.raises(ResourceNotFoundError):
            await missing("deleted")

    deleted = await vault.delete_secret("deleted")
    assert deleted.deleted_date
    assert deleted.scheduled_purge_date == deleted.deleted_date + timedelta(days=90)
    for gone in (vault.get_secret, vault.delete_secret):
        with pytest.raises(ResourceNotFoundError):
            await gone("deleted")
    with pytest.raises(ResourceExistsError) as raised:
        await vault.set_secret("Deleted", "3")
    assert codes(raised.value) == ("Conflict", "ObjectIsDeletedButRecoverable")
    assert (await vault.get_deleted_secret("deleted")).recovery_id == deleted.recovery_id is not None
    assert "deleted" in [secret.name async for secret in vault.list_deleted_secrets()]
    assert "deleted" not in [secret.name async for secret in vault.list_properties_of_secrets()]
    assert [version async for version in vault.list_properties_of_secret_versions("deleted")] == []

    await vault.recover_deleted_secret("deleted")
    assert (await vault.get_secret("deleted")).value == "2"
    assert (await vault.get_secret("deleted", first.properties.version)).value == "1"
    await vault.delete_secret("deleted")
    await vault.purge_deleted_secret("deleted")
    await vault.set_secret("deleted", "3")
    assert len([version async for version in vault.list_properties_of_secret_versions("deleted")]) == 1


async def test_lists_come_in_pages_of_25_or_less_and_hold_each_item_once(vault: SecretClient) -> None:
    versions = {(await vault.set_secret("paged", str(number))).properties.version for number in range(30)}
    names = {f"listed-{number}" for number in range(30)}
    for name in names:
        await vault.set_secret(name, "x")

    versions_found = vault.list_properties_of_secret_versions("paged").by_page()
    pages = [[version.version async for version in page] async for page in versions_found]
    assert [len(page) for page in pages] == [25, 5]
    assert {version for page in pages for version in page} == versions

    small = vault.list_properties_of_secrets(max_page_size=7)
    listed = [[secret.name async for secret in page] async for page in small.by_page()]
    assert {len(page) for page in listed[:-1]} == {7}
    flat = [name for page in listed for name in page]
    assert len(flat) == len(set(flat))
    assert names <= set(flat)


async def test_malformed_names_and_what_is_over_a_limit_is_refused(vault: SecretClient) -> None:
    await vault.set_secret("limits", "x" * 25 * 1024, tags={str(number): "" for number in range(15)})
    for name, value in (*((name, "x") for name in ("a_b", "a.b", "a" * 128, "ünï")), ("limits", "ü" * 13 * 1024)):
        with pytest.raises(HttpResponseError, match="BadParameter"):
            await vault.set_secret(name, value)
    with pytest.raises(HttpResponseError, match="BadParameter"):
        await vault.update_secret_properties("limits", tags={str(number): "" for number in range(16)})


async def test_a_restart_keeps_secrets_versions_deletions_token_and_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    server = await VaultServer.start(folder)
    async with client_of(server) as client:
        first = await client.set_secret("kept", "1", tags={"a": "b"})
        await client.set_secret("kept", "2", expires_on=datetime(2030, 1, 1, tzinfo=UTC))
        await client.set_secret("dropped", "x")
        await client.delete_secret("dropped")
    await server.stop()
    ca = (folder / "ca.pem").read_bytes()

    again = await VaultServer.start(folder)
    try:
        async with client_of(again) as client:
            assert (await client.get_secret("kept")).properties.expires_on == datetime(2030, 1, 1, tzinfo=UTC)
            assert (await client.get_secret("kept", first.properties.version)).properties.tags == {"a": "b"}
            assert [secret.name async for secret in client.list_deleted_secrets()] == ["dropped"]
    finally:
        await again.stop()
    assert (folder / "ca.pem").read_bytes() == ca
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in folder.iterdir()} == {"token", "ca.pem", "server.pem", "secrets.json"}
    assert not any(file.stat().st_mode & 0o077 for file in folder.iterdir())
