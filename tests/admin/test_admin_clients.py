"""`./gateway client`, run as a process on real stores."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.vault.server import VaultServer
from shared.directory.client import hash_of, hint_of, vault_name
from shared.directory.client_keys import key_set_text, parse_key_set
from tests.admin.command_line import CommandLine
from tests.admin.conftest import held
from tests.directory.test_client_keys import pem, private_pem
from tests.oauth.keyed_app import P384, RSA, jwk, key_set

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
UNKNOWN = "00000000-0000-0000-0000-000000000000"
New = dict[str, Any]
CREATE = "client create --name 'Care app' --owner ada@example.com --tenants *"


@pytest.fixture
async def new(admin: CommandLine) -> New:
    """A new client, as the command prints it."""
    created: New = await admin.json(CREATE)
    return created


def name_of(new: New) -> str:
    """The name of a secret in the vault."""
    return vault_name(new["client_id"], new["secret_id"])


async def test_create_prints_the_secret_once_and_keeps_its_hash(admin: CommandLine, vault_server: VaultServer) -> None:
    create = ("client", "create", "--name", "A", "--owner", "Ada", "--tenants", TENANT, "--allow-unknown")
    for_people = await admin("--local", *create)
    (line,) = [line for line in for_people.stdout.splitlines() if line.startswith("client secret")]
    secret = line.split()[-1]
    assert (len(secret), for_people.stdout.count(secret)) == (54, 1)
    assert "not shown again" in for_people.stdout
    assert for_people.stderr == ""

    new = await admin.json(CREATE)
    assert held(vault_server)[name_of(new)] == hash_of(new["client_secret"])


async def test_show_and_list_have_the_client_and_its_secrets_but_no_secret(admin: CommandLine, new: New) -> None:
    shown = await admin.json("client show", new["client_id"])
    assert (shown["name"], shown["owner"], shown["tenants"]) == ("Care app", "ada@example.com", "*")
    (secret,) = shown["secrets"]
    assert (secret["secret_id"], secret["hint"]) == (new["secret_id"], hint_of(new["client_secret"]))
    assert (secret["expires"], secret["last_used"]) == (None, None)
    assert new["client_secret"] not in str(shown)
    listed = {item["client_id"]: item for item in await admin.json("client list")}
    assert listed[new["client_id"]]["enabled"] is True
    listed_words = {"Care", "app", "ada@example.com", new["client_id"]}
    for line, words in ((f"client show {new['client_id']}", {new["secret_id"]}), ("client list", listed_words)):
        for_people = (await admin(line, "--local")).stdout
        assert any(words <= set(found.split()) for found in for_people.splitlines())
        assert "\x1b" not in for_people


async def test_expires_takes_days_or_the_last_day(admin: CommandLine) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    in_days = datetime.fromisoformat((await admin.json(CREATE, "--expires", "90d"))["expires"])
    assert before <= in_days - timedelta(days=90) <= datetime.now(UTC)
    assert (await admin.json(CREATE, "--expires", "2999-01-31"))["expires"] == "2999-01-31T23:59:59+00:00"
    past = await admin.error(CREATE, "--expires", "2020-01-31")
    assert past == "the secret would have expired already: give a time to come"
    for expiry in ("soon", "90", "2999-02-30", "29990131", "-1d", "99999d"):
        wrong = await admin(CREATE, "--expires", expiry)
        assert (wrong.code, wrong.stdout, "90d" in wrong.stderr) == (2, "", True), expiry


async def test_set_changes_what_is_given(admin: CommandLine, new: New) -> None:
    line = ("client set --local --json", new["client_id"], "--tenants", f"{{{TENANT.upper()}}}")
    assert (await admin.error(*line)).startswith(f"there is no hospital {TENANT}: add its row first")
    result = await admin(*line, "--allow-unknown", "-v")
    assert (result.json["name"], result.json["tenants"]) == ("Care app", [TENANT])
    assert result.audit[0]["detail"] == "Tenants"
    assert (await admin("--local client set", new["client_id"])).code == 2


async def test_a_secret_is_added_and_another_deleted(admin: CommandLine, vault_server: VaultServer, new: New) -> None:
    id, old = new["client_id"], new["secret_id"]
    added = await admin.json("client add-secret --expires 30d --label 'test server'", id)
    deleted = await admin.json("client delete-secret --yes", id, old)
    assert deleted == {"client_id": id, "secret_id": old, "deleted": True}
    (left,) = (await admin.json("client show", id))["secrets"]
    assert (left["secret_id"], left["label"]) == (added["secret_id"], "test server")
    assert name_of(added) in (stored := held(vault_server))
    assert name_of(new) not in stored
    for _ in range(4):
        await admin.json("client add-secret", id)
    sixth = await admin.error("client add-secret", id)
    assert sixth == "the client has 5 live secrets, the most it may have: delete one first"


async def test_deleting_asks_on_a_terminal_and_needs_a_yes_without_one(admin: CommandLine, new: New) -> None:
    id, secret = new["client_id"], new["secret_id"]
    for command in (f"client delete-secret {id} {secret}", f"client delete {id}"):
        unasked = await admin.error(command, code=2)
        assert unasked == "this needs a yes, and there is no terminal to ask on: add --yes"
    command = f"client delete-secret {id} {secret} --local --json"
    refused = await admin(command, terminal=b"n\n")
    assert (refused.code, refused.stdout, refused.audit) == (1, "", [])
    assert secret in refused.stderr
    assert len((await admin.json("client show", id))["secrets"]) == 1
    assert (await admin(command, terminal=b"y\n")).json["deleted"] is True


async def test_disable_enable_and_delete(admin: CommandLine, new: New) -> None:
    id = new["client_id"]
    for word, enabled in (("disable", False), ("enable", True)):
        result = await admin("--local client", word, id)
        assert result.stdout == f"Client {id} is {word}d.\n"
        assert (await admin.json("client show", id))["enabled"] is enabled
    assert (await admin.json("client delete --yes", id))["deleted"] is True
    assert await admin.error("client delete --yes", id) == f"there is no client '{id}'"


async def test_what_is_no_client_or_no_tenant_is_one_line(admin: CommandLine) -> None:
    for line in ("show", "add-secret", "disable", "enable", "set --name App", "delete --yes", "delete-secret --yes"):
        more = ["abc"] if line.startswith("delete-secret") else []
        assert UNKNOWN in await admin.error(f"client {line}", UNKNOWN, *more)
    wrong = await admin.error("client create --name App --owner Ada --tenants", f"{TENANT},contoso")
    assert wrong.startswith("'contoso' is not a tenant ID")


async def test_a_list_is_by_name_and_may_be_filtered(admin: CommandLine) -> None:
    named = {
        "zebra": ("grace@example.com", "20d"),
        "Apple": ("Grace@example.com", "60d"),
        "mango": ("edsger@example.com", "20d"),
    }
    ids = {}
    for name, (owner, expires) in named.items():
        create = ("client", "create", "--name", f"{name} list", "--owner", owner, "--tenants=*", "--expires", expires)
        ids[name] = (await admin.json(*create))["client_id"]
    for arguments, names in (
        ((), ["Apple", "mango", "zebra"]),
        (("--owner", "grace"), ["Apple", "zebra"]),
        (("--expiring",), ["mango", "zebra"]),
        (("--expiring", "--owner=GRACE@"), ["zebra"]),
        (("--search", "appl"), ["Apple"]),
        (("--search", ids["mango"][:18]), ["mango"]),
        (("--owner", "nobody"), []),
    ):
        listed = await admin.json("client", "list", *arguments)
        assert [item["name"] for item in listed if item["client_id"] in ids.values()] == [
            f"{name} list" for name in names
        ]
    expires = (datetime.now(UTC) + timedelta(days=20)).date()
    for_people = (await admin("client list --local --expiring --search zebra")).stdout
    assert f" on {expires}" in for_people


async def test_keys_are_taken_from_a_file_replaced_and_removed_and_the_audit_line_names_them(
    admin: CommandLine,
) -> None:
    (first,), (second,) = parse_key_set(key_set_text(pem(P384))), parse_key_set(key_set(jwk(RSA)))
    create, known = "client create --name A --owner Ada --tenants * --jwks -", ("-v", "--json", "--local")
    made = await admin(create, *known, stdin=pem(P384).encode())
    change = ("client set", made.json["client_id"], "--jwks")
    assert (made.json["secrets"], made.json["keys"]) == ([], [{"kid": first.id, "key_id": first.id}])
    assert made.audit[-1]["detail"] == f"Jwks, key {first.id} added"
    result = await admin(*change, "-", *known, stdin=json.dumps(jwk(RSA)).encode())
    assert [key["kid"] for key in result.json["keys"]] == ["one"]
    assert result.audit[-1]["detail"] == f"Jwks, key {second.id} added, key {first.id} removed"
    assert "holds a private key" in await admin.error(*change, "-", stdin=private_pem(RSA).encode())
    assert "needs its public keys" in await admin.error(create)
    result = await admin(*change, "", *known)
    assert (result.json["keys"], result.audit[-1]["detail"]) == ([], f"Jwks, key {second.id} removed")
