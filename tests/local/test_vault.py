"""The stand-in, through the SDK that the gateway uses."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.secrets.aio import SecretClient
from hypothesis import given, settings
from hypothesis import strategies as st

from local.vault.certificates import server_context
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


# Without the SDK


VERSION = {"api-version": "7.4"}


@pytest.fixture(scope="module")
async def wire(vault_server: VaultServer) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=vault_server.folder / "ca.pem")
    authorization = {"Authorization": f"Bearer {(vault_server.folder / 'token').read_text()}"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(vault_server.url, connector=connector, headers=authorization) as session:
        yield session


async def error_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body = await response.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "innererror"}
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic d3Jvbmc=", "Bearer wröng"])
async def test_without_the_token_every_path_is_challenged(wire: aiohttp.ClientSession, authorization: str) -> None:
    for path in ("/secrets", "/secrets/some-name", "/nowhere"):
        async with wire.get(path, headers={"Authorization": authorization}) as response:
            assert response.status == 401
            challenge = response.headers["WWW-Authenticate"]
            assert challenge.startswith('Bearer authorization="https://login.microsoftonline.com/')
            assert challenge.endswith('resource="https://vault.azure.net"')
            assert (await error_of(response))["code"] == "Unauthorized"


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        *(("GET", "/secrets", query, 400) for query in ({}, {"api-version": ""}, {"api-version": "newest"})),
        *(("GET", "/secrets", VERSION | {"maxresults": size}, 400) for size in ("0", "26", "9" * 5000)),
        *(("GET", "/secrets", VERSION | {"$skiptoken": token}, 400) for token in ("a", "_w", "ü")),
        ("GET", "/keys", VERSION, 404),
        ("POST", "/secrets/some-name", VERSION, 405),
    ],
)
async def test_what_is_not_the_protocol_gets_an_error_in_its_shape(
    wire: aiohttp.ClientSession, method: str, path: str, query: dict[str, str], status: int
) -> None:
    async with wire.request(method, path, params=query) as response:
        assert response.status == status
        await error_of(response)


async def test_only_set_and_get_answer_with_the_value(wire: aiohttp.ClientSession) -> None:
    with_value = []
    for method, path in (
        *((method, "/secrets/told") for method in ("PUT", "PATCH", "GET")),
        *(("GET", "/secrets/told/versions"), ("GET", "/secrets"), ("DELETE", "/secrets/told")),
        *(("GET", "/deletedsecrets/told"), ("GET", "/deletedsecrets"), ("POST", "/deletedsecrets/told/recover")),
    ):
        body = {"value": "hush-hush"} if method == "PUT" else {}
        async with wire.request(method, path, params=VERSION, json=body) as response:
            assert response.status == 200
            if "hush-hush" in await response.text():
                with_value.append((method, path))
    assert with_value == [("PUT", "/secrets/told"), ("GET", "/secrets/told")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
attributes = json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(("enabled", "nbf", "exp"), json_values))
fields = {"contentType": json_values, "tags": json_values, "attributes": attributes}
bodies = json_values | st.fixed_dictionaries({}, optional=fields | {"value": st.text() | json_values})


@settings(max_examples=60)
@given(body=bodies)
async def test_any_json_is_taken_and_comes_back_or_is_refused(wire: aiohttp.ClientSession, body: object) -> None:
    async with wire.put("/secrets/anything", params=VERSION, json=body) as response:
        if response.status != 200:
            assert response.status == 400
            assert (await error_of(response))["code"] == "BadParameter"
            return
        made = await response.json()
    assert isinstance(body, dict)
    assert made["value"] == body["value"]
    assert made.get("contentType") == body.get("contentType")
    async with wire.get(f"/secrets/anything/{made['id'].rsplit('/', 1)[1]}", params=VERSION) as response:
        assert await response.json() == made if made["attributes"]["enabled"] else response.status == 403


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[" * 100_000, b"\xff", b'{"value": ' + b"9" * 5000 + b"}", b'{"value": "x", "tags": {"a": 1}}'),
        *(
            b'{"value": "x", "attributes": {"%s}}' % part
            for part in (b'exp": true', b'nbf": "1700000000"', b'enabled": 1')
        ),
        *(b'{"value": "x", "attributes": []}', b'{"value": "x", "contentType": 1}'),
    ],
)
async def test_a_malformed_body_is_refused(wire: aiohttp.ClientSession, body: bytes) -> None:
    async with wire.put("/secrets/anything", params=VERSION, data=body) as response:
        assert response.status == 400
        assert (await error_of(response))["code"] == "BadParameter"


# Its certificate


BROKEN = b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n"


def issued(days: int) -> tuple[bytes, bytes]:
    authority, now = trustme.CA(), datetime.now(UTC)
    begin, end = now - timedelta(days=30), now + timedelta(days=days)
    certificate = authority.issue_cert("127.0.0.1", not_before=begin, not_after=end)
    return authority.cert_pem.bytes(), certificate.private_key_and_cert_chain_pem.bytes()


@pytest.mark.parametrize(
    ("files", "is_kept"),
    [
        *((issued(8), True), (issued(6), False), (issued(-1), False)),
        *(((broken, issued(300)[1]), False) for broken in (b"", BROKEN)),
        *(((issued(300)[0], broken), False) for broken in (b"", BROKEN)),
    ],
)
def test_a_certificate_that_ends_soon_or_is_broken_is_made_anew(tmp_path: Path, files: Any, is_kept: bool) -> None:
    paths = tmp_path / "ca.pem", tmp_path / "server.pem"
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    server_context(tmp_path)
    assert [path.read_bytes() == content for path, content in zip(paths, files, strict=True)] == [is_kept] * 2
