"""`./gateway tenant`, run as a process on real stores."""

import socket
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import trustme

from admin.tenant_list import STATES
from admin.tenants import kebab_case
from local.vault.server import VaultServer
from shared.directory.tenant_columns import COLUMNS
from shared.onboarding.hospital_state import State
from shared.stores.tables import TENANTS
from tests.admin.command_line import CommandLine
from tests.admin.conftest import held
from tests.deployment import Deployment

BASE_URL = "https://fhir.riverside.example/stu3"
WITH_SECRET = f"tenant set --base-url {BASE_URL} --auth basic --secret-value-from - --auth-secret"


@pytest.fixture
def tenant() -> str:
    return str(uuid4())


async def test_every_column_can_be_set_and_changed(admin: CommandLine, tenant: str, deployment: Deployment) -> None:
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
    assert {*columns, "AuthHeader"} == set(COLUMNS)
    options = [f"--{kebab_case(name)}={value}" for name, value in columns.items() if name != "Enabled"]
    shown = await admin.json("tenant set --enabled=false", tenant, "r4", *options)
    for name, value in {**columns, "ExtraHeaders": "Redox-Source-Id", "Types": "Observation,Patient"}.items():
        found = shown[kebab_case(name).replace("-", "_")]
        assert (",".join(sorted(found)) if isinstance(found, list) else found) == value
    row = await deployment.table(TENANTS).get(tenant, "r4")
    assert row == {"PartitionKey": tenant, "RowKey": "r4", **columns}
    removed = [f"--{name}=" for name in ("auth-token-url", "auth-client-id", "auth-scope", "auth-key-id")]
    changed = await admin.json("tenant set --auth header --auth-header X-Key", tenant, "r4", *removed)
    assert (changed["auth"], changed["auth_header"], changed["auth_secret"]) == ("header", "X-Key", "riverside")
    assert changed["auth_token_url"] is None
    assert {name.replace("-", "_") for name in map(kebab_case, COLUMNS)} == set(changed) - {"tenant_id", "version"}


async def test_a_tenant_and_a_version_may_be_in_capitals_and_braces(admin: CommandLine, tenant: str) -> None:
    typed = f"{{{tenant.upper()}}}"
    on_loopback = "http://127.0.0.1:8101/fhir"
    made = await admin("tenant set -v --local --json --name Riverside", typed, "STU3", "--base-url", on_loopback)
    assert (made.json["tenant_id"], made.json["version"], made.json["base_url"]) == (tenant, "stu3", on_loopback)
    assert [(line["subject"], line["detail"]) for line in made.audit] == [(f"{tenant}/stu3", "Name, BaseUrl")]
    (shown,) = await admin.json("tenant show", tenant)
    assert shown.items() >= made.json.items()
    for word, enabled in (("disable", False), ("enable", True)):
        assert (await admin("tenant --local", word, tenant, "stu3")).stdout == f"Tenant {tenant} is {word}d for stu3.\n"
        shown = await admin.json("tenant show", typed, "Stu3")
        assert (shown["enabled"], shown["name"]) == (enabled, "Riverside")
    assert "add --yes" in await admin.error("tenant remove", tenant, "stu3", code=2)
    removed = await admin.json("tenant remove --yes", typed, "stu3")
    assert removed == {"tenant_id": tenant, "version": "stu3", "removed": True}
    for line in ("show", "disable", "enable", "remove --yes"):
        assert await admin.error(f"tenant {line}", tenant, "stu3") == f"tenant {tenant} has no row for stu3"


async def test_an_error_names_what_is_wrong_and_writes_nothing(admin: CommandLine, tenant: str) -> None:
    error = await admin.error("tenant set --auth basic", tenant, "stu3", "--base-url", BASE_URL)
    assert error == f"table Tenants, row ({tenant}, stu3), column AuthSecret: is needed by Auth=basic"
    assert await admin.error("tenant show", tenant) == f"there is no row for tenant {tenant}"
    for line in ("tenant show", "tenant set --name x", "tenant remove --yes"):
        version = [] if line == "tenant show" else ["stu3"]
        error = await admin.error(line, "contoso\x1b[31m", *version)
        assert error.startswith("'contoso\\x1b[31m' is not a tenant ID")


async def test_a_row_typed_by_hand_has_its_problem(admin: CommandLine, deployment: Deployment, tenant: str) -> None:
    typed = {"PartitionKey": tenant.upper(), "RowKey": "stu3", "BaseUrl": BASE_URL, "Acess": "write"}
    await deployment.table(TENANTS).insert(typed)
    (item,) = [item for item in await admin.json("tenant list") if item["tenant_id"] == tenant.upper()]
    assert item["state"] == "problem"
    assert "column Acess: is not a column of this table" in item["reason"]
    for_people = (await admin("tenant list --local")).stdout
    assert any(tenant.upper() in line and "Acess" in line for line in for_people.splitlines())
    assert await admin.json("tenant show", tenant) == [item]
    assert "column Acess" in await admin.error("tenant show", tenant, "stu3")
    await deployment.table(TENANTS).delete(tenant.upper(), "stu3")


async def test_a_list_tells_states_and_may_be_filtered(admin: CommandLine) -> None:
    """By name; what a hospital's state is, tests/portal/test_hospital_state.py shows."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}/fhir"
        ids = {"Willow": str(uuid4()), "ash": str(uuid4()), "Birch": str(uuid4())}
        for name, version, options in (
            ("Willow", "stu3", ()),
            ("ash", "r4", ("--enabled=false",)),
            ("Birch", "r4", ()),
        ):
            url = gone if name == "Birch" else BASE_URL
            row = (ids[name], version, "--base-url", url, "--name", f"{name} hospital of trees", *options)
            await admin.json("tenant set", *row)
        assert (await admin("tenant verify --local", ids["Birch"], "r4")).code == 1
    for arguments, names in (
        ((), ["ash", "Birch", "Willow"]),
        (("--state", "failing"), ["Birch"]),
        (("--state", "never-checked"), ["Willow"]),
        (("--state", "off"), ["ash"]),
        (("--version", "r4"), ["ash", "Birch"]),
        (("--version", "r4", "--state", "never-checked"), []),
        (("--search", f"{{{ids['ash'].upper()}}}"), ["ash"]),
        (("--search", gone), ["Birch"]),
    ):
        listed = await admin.json("tenant list", *arguments)
        assert [item["name"].split()[0] for item in listed if item["tenant_id"] in ids.values()] == names
        if "--search" not in arguments:
            found = await admin.json("tenant list --search TREES", *arguments)
            assert [item["name"].split()[0] for item in found] == names
    shown = await admin.json("tenant show", ids["Birch"], "r4")
    assert (shown["state"], shown["verdict"]) == ("failing", "does-not-load")
    assert shown["reason"].endswith("checked just now")
    for_people = (await admin("tenant list --local --search trees")).stdout.splitlines()
    assert [line.split()[6] for line in for_people[1:]] == ["off", "failing", "never-checked"]
    assert [shown["reason"][:20] in line for line in for_people[1:]] == [False, True, False]
    for id, version in zip(ids.values(), ("stu3", "r4", "r4"), strict=True):
        await admin.json("tenant remove --yes", id, version)


async def test_credentials_that_end_soon_are_listed_once_checked(admin: CommandLine, deployment: Deployment) -> None:
    ids, now = {name: str(uuid4()) for name in ("soon", "late", "unchecked")}, datetime.now(UTC)
    for name, days in {"soon": 9, "late": 60, "unchecked": 9}.items():
        await deployment.vault.set(secret := f"{name}-{ids[name]}", "a:b", expires=now + timedelta(days=days))
        row = (ids[name], "r4", "--base-url", BASE_URL, "--auth=basic", "--auth-secret", secret)
        await admin.json("tenant set", *row)
    for name in ("soon", "late"):
        assert (await admin("tenant verify --local", ids[name], "r4")).code == 1
    ends = f"soon-{ids['soon']} on {now + timedelta(days=9):%Y-%m-%d}"
    listed = [item for item in await admin.json("tenant list --expiring") if item["tenant_id"] in ids.values()]
    assert [(item["tenant_id"], item["expiring"]) for item in listed] == [(ids["soon"], ends)]
    assert [(await admin.json("tenant show", id, "r4"))["expiring"] for id in ids.values()] == [ends, None, None]
    assert ends in (await admin("tenant list --local --expiring")).stdout
    for id in ids.values():
        await admin.json("tenant remove --yes", id, "r4")


def test_the_states_are_those_of_the_portal() -> None:
    assert set(STATES) == {state.code for state in State}


async def test_a_credential_is_stored(admin: CommandLine, vault_server: VaultServer, tenant: str) -> None:
    name = f"riverside-{tenant}"
    for content, value in (
        (b"gateway:p4ss:word\n", "gateway:p4ss:word"),
        (b"\xef\xbb\xbfgateway:p4ss\r\n", "gateway:p4ss"),
        ("gateway:p4ss\n".encode("utf-16"), "gateway:p4ss"),
    ):
        made = await admin(WITH_SECRET, name, tenant, "stu3", "-v", "--local", stdin=content)
        assert (made.code, held(vault_server)[name]) == (0, value), made.stderr
        assert "p4ss" not in made.stdout + made.stderr
        assert [line["action"] for line in made.audit] == ["tenant.set-secret", "tenant.set"]
    file = admin.folder / f"{tenant}.txt"
    pair = trustme.CA().issue_cert("gateway.example.com").private_key_and_cert_chain_pem.bytes().rstrip()
    file.write_bytes(pair)
    changed = await admin.json("tenant set --auth mtls", tenant, "stu3", "--secret-value-from", str(file))
    assert (changed["auth"], changed["auth_secret"], held(vault_server)[name]) == ("mtls", name, pair.decode())


async def test_a_deleted_secret_is_in_the_way(admin: CommandLine, deployment: Deployment, tenant: str) -> None:
    name = f"riverside-{tenant}"
    await deployment.vault.set(name, "gateway:old")
    await deployment.vault.delete(name)
    error = await admin.error(WITH_SECRET, name, tenant, "stu3", stdin=b"gateway:new")
    assert f"az keyvault secret recover --vault-name 127 --name {name}" in error
    assert "has no row for stu3" in await admin.error("tenant show", tenant, "stu3")


async def test_what_can_be_no_credential_is_refused(admin: CommandLine, vault_server: VaultServer, tenant: str) -> None:
    before = held(vault_server)
    for content in (b"", b"\r\n", b"\xff\xfe", b"x:" + b"x" * 25_600, b"p4ssw0rd"):
        error = await admin.error(WITH_SECRET, f"riverside-{tenant}", tenant, "stu3", stdin=content)
        assert error.startswith("--secret-value-from: ")
        assert "credential" in error
        assert "p4ss" not in error
    for name in ("token-signing-key", "client-a-b"):
        error = await admin.error(WITH_SECRET, name, tenant, "stu3", stdin=b"stolen")
        assert "column AuthSecret: names a secret that the gateway keeps for itself" in error
    options = ("--base-url", BASE_URL, "--secret-value-from", "-")
    assert "--auth-secret" in await admin.error("tenant set", tenant, "stu3", *options, stdin=b"secret")
    assert held(vault_server) == before
