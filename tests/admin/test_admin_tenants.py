"""`./gateway tenant`, run as a process on real stores."""

from pathlib import Path
from uuid import uuid4

import pytest

from admin.tenants import kebab_case
from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from local.vault.store import SecretNotFound, Store
from shared.settings import Settings
from shared.stores.tables import TENANTS, Table, table_service
from shared.stores.vault import Vault
from tests.admin.command_line import CommandLine, settings_of

BASE_URL = "https://fhir.riverside.example/stu3"


@pytest.fixture
def tenant() -> str:
    return str(uuid4())


def vault_of(server: VaultServer) -> Store:
    """What the vault holds now."""
    return Store(server.folder / "secrets.json")


async def test_set_makes_a_row_and_show_shows_it(admin: CommandLine, tenant: str) -> None:
    made = await admin("--local", "--json", "tenant", "set", tenant, "stu3", "--base-url", BASE_URL)
    assert made.code == 0, made.stderr
    assert (made.json["tenant_id"], made.json["version"], made.json["base_url"]) == (tenant, "stu3", BASE_URL)
    assert (await admin("--local", "--json", "tenant", "show", tenant, "stu3")).json == made.json
    assert (await admin("--local", "--json", "tenant", "show", tenant)).json == [made.json]
    assert [(line["actor"], line["action"], line["subject"], line["detail"]) for line in made.audit] == [
        ("ada", "tenant.set", f"{tenant}/stu3", "BaseUrl")
    ]


async def test_every_column_can_be_set_and_changed(
    admin: CommandLine, tenant: str, own_tables: TableService, vault_server: VaultServer
) -> None:
    columns = {
        "BaseUrl": BASE_URL,
        "Name": "Riverside",
        "Enabled": False,
        "Auth": "private_key_jwt",
        "AuthTokenUrl": "https://auth.riverside.example/token",
        "AuthClientId": "gateway",
        "AuthScope": "system/*.read",
        "AuthSecret": "riverside",
        "AuthKeyId": "2026",
        "AuthCertificate": "riverside-tls",
        "ExtraHeaders": '{"Redox-Source-Id": "s"}',
        "Batch": "split",
        "Search": "post",
        "Total": "accurate",
        "PageOrigins": "https://pages.riverside.example",
        "Access": "write",
        "Types": "Patient,Observation",
        "Operations": "Patient/$everything",
        "TimeoutSeconds": 2.5,
        "MaxConcurrent": 8,
    }
    options = [
        f"--{kebab_case(column)}={str(value).lower() if column == 'Enabled' else value}"
        for column, value in columns.items()
    ]
    assert (await admin("--local", "tenant", "set", tenant, "r4", *options)).code == 0
    async with table_service(Settings.from_environment(settings_of(own_tables, vault_server))) as service:
        row = await Table(service, TENANTS).get(tenant, "r4")
    assert row == {"PartitionKey": tenant, "RowKey": "r4", **columns}
    header = ["--auth", "header", "--auth-header", "X-Key"]
    removed = [f"--{name}=" for name in ("auth-token-url", "auth-client-id", "auth-scope", "auth-key-id")]
    changed = (await admin("--local", "--json", "tenant", "set", tenant, "r4", *header, *removed)).json
    assert (changed["auth"], changed["auth_header"], changed["auth_secret"]) == ("header", "X-Key", "riverside")
    assert changed["auth_token_url"] is None


async def test_a_local_stack_takes_providers_on_loopback(admin: CommandLine, tenant: str) -> None:
    options = ["--base-url", "http://127.0.0.1:8101/fhir", "--timeout-seconds", "2", "--auth", "basic"]
    answer = await admin("--local", "--json", "tenant", "set", tenant, "stu3", *options, "--auth-secret", "riverside")
    assert (answer.json["base_url"], answer.json["timeout_seconds"]) == ("http://127.0.0.1:8101/fhir", 2.0)


async def test_a_tenant_and_a_version_may_be_in_capitals_and_braces(admin: CommandLine, tenant: str) -> None:
    typed = f"{{{tenant.upper()}}}"
    made = await admin("--local", "--json", "tenant", "set", typed, "STU3", "--base-url", BASE_URL)
    assert (made.json["tenant_id"], made.json["version"]) == (tenant, "stu3")
    assert (await admin("--local", "--json", "tenant", "disable", typed, "Stu3")).json["enabled"] is False
    removed = await admin("--local", "--json", "tenant", "remove", typed, "stu3", "--yes")
    assert removed.json == {"tenant_id": tenant, "version": "stu3", "removed": True}
    assert removed.audit[0]["subject"] == f"{tenant}/stu3"


async def test_an_error_names_row_and_column_and_writes_nothing(admin: CommandLine, tenant: str) -> None:
    answer = await admin("--local", "tenant", "set", tenant, "stu3", "--base-url", BASE_URL, "--auth", "basic")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr == (
        f"Error: table Tenants, row ({tenant}, stu3), column AuthSecret: is needed by Auth=basic\n"
    )
    assert (await admin("--local", "tenant", "show", tenant)).code == 1


@pytest.mark.parametrize("command", [["show"], ["disable"], ["enable"], ["remove", "--yes"]])
async def test_a_row_that_is_not_there_is_one_line(admin: CommandLine, tenant: str, command: list[str]) -> None:
    answer = await admin("--local", "tenant", command[0], tenant, "stu3", *command[1:])
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr == f"Error: tenant {tenant} has no row for stu3\n"


@pytest.mark.parametrize("command", [["show"], ["set", "stu3", "--name", "x"], ["remove", "stu3", "--yes"]])
async def test_what_is_no_tenant_id_is_one_line(admin: CommandLine, command: list[str]) -> None:
    answer = await admin("--local", "tenant", command[0], "contoso\x1b[31m", *command[1:])
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: 'contoso\\x1b[31m' is not a tenant ID")
    assert answer.stderr.count("\n") == 1


async def test_disable_and_enable_keep_the_row(admin: CommandLine, tenant: str) -> None:
    options = ["--base-url", BASE_URL, "--name", "Riverside"]
    assert (await admin("--local", "tenant", "set", tenant, "stu3", *options)).code == 0
    for word, enabled in (("disable", False), ("enable", True)):
        answer = await admin("--local", "tenant", word, tenant, "stu3")
        assert answer.stdout == f"Tenant {tenant} is {word}d for stu3.\n"
        shown = (await admin("--local", "--json", "tenant", "show", tenant, "stu3")).json
        assert (shown["enabled"], shown["name"]) == (enabled, "Riverside")


async def test_removing_needs_a_yes_when_there_is_no_terminal(admin: CommandLine, tenant: str) -> None:
    assert (await admin("--local", "tenant", "set", tenant, "stu3", "--base-url", BASE_URL)).code == 0
    assert (await admin("--local", "tenant", "remove", tenant, "stu3")).code == 2
    assert (await admin("--local", "tenant", "show", tenant, "stu3")).code == 0


async def test_list_shows_what_is_wrong_with_a_row_typed_by_hand(
    admin: CommandLine, own_tables: TableService, vault_server: VaultServer, tenant: str
) -> None:
    typed = {"PartitionKey": tenant.upper(), "RowKey": "stu3", "BaseUrl": BASE_URL, "Acess": "write"}
    async with table_service(Settings.from_environment(settings_of(own_tables, vault_server))) as service:
        await Table(service, TENANTS).insert(typed)
    listed = (await admin("--local", "--json", "tenant", "list")).json
    (item,) = [item for item in listed if item["tenant_id"] == tenant.upper()]
    assert "column Acess: is not a column of this table" in item["problem"]
    for_people = (await admin("--local", "tenant", "list")).stdout
    assert any(tenant.upper() in line and "Acess" in line for line in for_people.splitlines())
    assert (await admin("--local", "--json", "tenant", "show", tenant)).json == [item]
    assert "column Acess" in (await admin("--local", "tenant", "show", tenant, "stu3")).stderr


async def test_a_credential_is_stored_under_the_rows_name(
    admin: CommandLine, vault_server: VaultServer, tenant: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("gateway:p4ss:word\n")
    name = f"riverside-{tenant}"
    options = ["--base-url", BASE_URL, "--auth", "basic", "--auth-secret", name]
    made = await admin("--local", "tenant", "set", tenant, "stu3", *options, "--secret-value-from", str(file))
    assert made.code == 0, made.stderr
    assert vault_of(vault_server).get(name).value == "gateway:p4ss:word"
    assert "p4ss" not in made.stdout + made.stderr
    assert [line["action"] for line in made.audit] == ["tenant.set-secret", "tenant.set"]

    for value, content in (
        ("gateway:new", b"gateway:new"),
        ("gateway:newer", b"\xef\xbb\xbfgateway:newer\r\n"),
        ("gateway:newest", "gateway:newest\n".encode("utf-16")),
    ):
        change = ("tenant", "set", tenant, "stu3", "--secret-value-from", "-")
        changed = await admin("--local", *change, stdin=content)
        assert changed.code == 0, changed.stderr
        assert vault_of(vault_server).get(name).value == value


async def test_a_deleted_secret_in_the_way_is_told_with_the_way_out_and_nothing_is_changed(
    admin: CommandLine, own_tables: TableService, vault_server: VaultServer, tenant: str
) -> None:
    name = f"riverside-{tenant}"
    options = ["--base-url", BASE_URL, "--auth", "basic", "--auth-secret", name, "--secret-value-from", "-"]
    vault = Vault(Settings.from_environment(settings_of(own_tables, vault_server)))
    await vault.set(name, "gateway:old")
    await vault.delete(name)
    await vault.close()
    answer = await admin("--local", "tenant", "set", tenant, "stu3", *options, stdin=b"gateway:new")
    assert (answer.code, answer.stdout, answer.audit, answer.stderr.count("\n")) == (1, "", [], 1)
    assert f"az keyvault secret recover --vault-name 127 --name {name}" in answer.stderr
    assert (await admin("--local", "tenant", "show", tenant, "stu3")).code == 1


async def test_a_certificate_for_mutual_tls_is_stored_too(
    admin: CommandLine, vault_server: VaultServer, tenant: str
) -> None:
    name = f"tls-{tenant}"
    options = ["--base-url", BASE_URL, "--auth", "mtls", "--auth-secret", name, "--secret-value-from", "-"]
    made = await admin("--local", "--json", "tenant", "set", tenant, "stu3", *options, stdin=b"-----BEGIN\nx\n-----\n")
    assert (made.json["auth"], made.json["auth_secret"]) == ("mtls", name)
    assert vault_of(vault_server).get(name).value == "-----BEGIN\nx\n-----"


@pytest.mark.parametrize("name", ["token-signing-key", "client-a-b"])
async def test_a_credential_never_replaces_a_secret_of_the_gateways_own(
    admin: CommandLine, vault_server: VaultServer, tenant: str, name: str
) -> None:
    before = vault_of(vault_server).secrets()
    options = ["--base-url", BASE_URL, "--auth", "basic", "--auth-secret", name, "--secret-value-from", "-"]
    answer = await admin("--local", "tenant", "set", tenant, "stu3", *options, stdin=b"stolen")
    assert (answer.code, answer.stdout) == (1, "")
    assert "column AuthSecret: names a secret that the gateway keeps for itself" in answer.stderr
    assert vault_of(vault_server).secrets() == before


@pytest.mark.parametrize("credential", [b"", b"\r\n", b"\xff\xfe", b"x" * 25_601])
async def test_what_can_be_no_credential_is_refused(
    admin: CommandLine, vault_server: VaultServer, tenant: str, credential: bytes
) -> None:
    name = f"riverside-{tenant}"
    options = ["--base-url", BASE_URL, "--auth", "basic", "--auth-secret", name, "--secret-value-from", "-"]
    answer = await admin("--local", "tenant", "set", tenant, "stu3", *options, stdin=credential)
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: --secret-value-from: a credential")
    with pytest.raises(SecretNotFound):
        vault_of(vault_server).get(name)


async def test_a_credential_needs_a_name(admin: CommandLine, tenant: str) -> None:
    options = ["--base-url", BASE_URL, "--secret-value-from", "-"]
    answer = await admin("--local", "tenant", "set", tenant, "stu3", *options, stdin=b"secret")
    assert (answer.code, answer.stderr.count("\n")) == (1, 1)
    assert "--auth-secret" in answer.stderr
