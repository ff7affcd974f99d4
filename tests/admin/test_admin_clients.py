"""`./gateway client`, run as a process on real stores."""

from datetime import UTC, datetime, timedelta

import pytest

from local.vault.server import VaultServer
from local.vault.store import Store
from shared.directory.client import hash_of, hint_of, vault_name
from tests.admin.command_line import CommandLine

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
UNKNOWN = "00000000-0000-0000-0000-000000000000"
CREATE = ("--local", "--json", "client", "create", "--name", "Care app", "--owner", "ada@example.com")


async def create(admin: CommandLine, *options: str) -> dict[str, str]:
    """A new client, as the command prints it."""
    answer = await admin(*CREATE, "--tenants", "*", *options)
    assert answer.code == 0, answer.stderr
    created: dict[str, str] = answer.json
    return created


async def test_create_prints_the_secret_once_to_standard_output(admin: CommandLine) -> None:
    answer = await admin(*CREATE[:1], *CREATE[2:], "--tenants", f"{{{TENANT.upper()}}}")
    assert answer.code == 0
    fields = dict(line.split(None, 2)[::2] for line in answer.stdout.splitlines() if line.startswith("client secret"))
    (secret,) = fields.values()
    assert len(secret) == 54
    assert "not shown again" in answer.stderr
    assert secret not in answer.stderr
    assert answer.stdout.count(secret) == 1


async def test_create_leaves_one_audit_line_without_the_secret(admin: CommandLine) -> None:
    answer = await admin(*CREATE, "--tenants", "*")
    new = answer.json
    assert answer.audit == [
        {
            "event": "change",
            "actor": "ada",
            "action": "client.create",
            "subject": new["client_id"],
            "detail": f"secret {new['secret_id']}",
        }
    ]
    assert new["client_secret"].partition(".")[2] not in answer.stderr


async def test_the_vault_holds_the_hash_of_what_was_printed(admin: CommandLine, vault_server: VaultServer) -> None:
    new = await create(admin)
    stored = Store(vault_server.folder / "secrets.json").get(vault_name(new["client_id"], new["secret_id"]))
    assert stored.value == hash_of(new["client_secret"])


async def test_show_has_the_client_and_its_secrets_but_no_secret(admin: CommandLine) -> None:
    new = await create(admin, "--expires", "90d")
    answer = await admin("--local", "--json", "client", "show", new["client_id"])
    shown = answer.json
    assert (shown["name"], shown["owner"], shown["tenants"]) == ("Care app", "ada@example.com", "*")
    (secret,) = shown["secrets"]
    assert (secret["secret_id"], secret["hint"]) == (new["secret_id"], hint_of(new["client_secret"]))
    assert (secret["expires"], secret["last_used"]) == (new["expires"], None)
    assert new["client_secret"] not in answer.stdout
    for_people = await admin("--local", "client", "show", new["client_id"])
    assert new["secret_id"] in for_people.stdout
    assert "\x1b" not in for_people.stdout


async def test_expires_takes_days_or_the_last_day(admin: CommandLine) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    in_days = datetime.fromisoformat((await create(admin, "--expires", "90d"))["expires"])
    assert before <= in_days - timedelta(days=90) <= datetime.now(UTC)
    assert (await create(admin, "--expires", "2999-01-31"))["expires"] == "2999-01-31T23:59:59+00:00"
    assert (await create(admin))["expires"] is None


@pytest.mark.parametrize("expiry", ["soon", "90", "2999-02-30", "29990131", "-1d", "99999d"])
async def test_an_expiry_that_is_none_is_said_to_be(admin: CommandLine, expiry: str) -> None:
    answer = await admin(*CREATE, "--tenants", "*", "--expires", expiry)
    assert (answer.code, answer.stdout) == (2, "")
    assert "90d" in answer.stderr


async def test_an_expiry_in_the_past_is_refused(admin: CommandLine) -> None:
    answer = await admin(*CREATE, "--tenants", "*", "--expires", "2020-01-31")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr == "Error: the secret would have expired already: give a time to come\n"


async def test_list_has_every_client(admin: CommandLine) -> None:
    first, second = await create(admin), await create(admin)
    listed = {item["client_id"]: item for item in (await admin("client", "list", "--json", "--local")).json}
    assert {first["client_id"], second["client_id"]} <= set(listed)
    assert listed[first["client_id"]]["enabled"] is True
    lines = (await admin("--local", "client", "list")).stdout.splitlines()
    (line,) = [line for line in lines if first["client_id"] in line]
    assert "Care app" in line
    assert "ada@example.com" in line


async def test_set_changes_what_is_given(admin: CommandLine) -> None:
    new = await create(admin)
    answer = await admin("--local", "--json", "client", "set", new["client_id"], "--tenants", TENANT.upper())
    assert (answer.json["name"], answer.json["tenants"]) == ("Care app", [TENANT])
    assert answer.audit[0]["detail"] == "Tenants"
    assert (await admin("--local", "client", "set", new["client_id"])).code == 2


async def test_a_secret_is_added_and_the_old_one_deleted(admin: CommandLine, vault_server: VaultServer) -> None:
    old = await create(admin)
    new = (await admin("--local", "--json", "client", "add-secret", old["client_id"], "--expires", "30d")).json
    answer = await admin("--local", "--json", "client", "delete-secret", old["client_id"], old["secret_id"], "--yes")
    assert answer.json == {"client_id": old["client_id"], "secret_id": old["secret_id"], "deleted": True}
    (left,) = (await admin("--local", "--json", "client", "show", old["client_id"])).json["secrets"]
    assert left["secret_id"] == new["secret_id"]
    held = Store(vault_server.folder / "secrets.json").secrets()
    assert vault_name(old["client_id"], new["secret_id"]) in held
    assert vault_name(old["client_id"], old["secret_id"]) not in held


async def test_a_sixth_secret_is_refused_in_one_line(admin: CommandLine) -> None:
    new = await create(admin)
    for _ in range(4):
        assert (await admin("--local", "client", "add-secret", new["client_id"])).code == 0
    answer = await admin("--local", "client", "add-secret", new["client_id"])
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr == "Error: the client has 5 live secrets, the most it may have: delete one first\n"


async def test_deleting_needs_a_yes_when_there_is_no_terminal(admin: CommandLine) -> None:
    new = await create(admin)
    for command in (["delete-secret", new["client_id"], new["secret_id"]], ["delete", new["client_id"]]):
        answer = await admin("--local", "client", *command)
        assert (answer.code, answer.stdout) == (2, "")
        assert answer.stderr == "Error: this needs a yes, and there is no terminal to ask on: add --yes\n"
    shown = (await admin("--local", "--json", "client", "show", new["client_id"])).json
    assert len(shown["secrets"]) == 1


async def test_deleting_asks_on_a_terminal(admin: CommandLine) -> None:
    new = await create(admin)
    command = ("--local", "--json", "client", "delete-secret", new["client_id"], new["secret_id"])
    refused = await admin(*command, terminal=b"n\n")
    assert (refused.code, refused.stdout) == (1, "")
    assert new["secret_id"] in refused.stderr
    assert refused.audit == []
    agreed = await admin(*command, terminal=b"y\n")
    assert agreed.json["deleted"] is True


async def test_a_deleted_client_is_gone(admin: CommandLine) -> None:
    new = await create(admin)
    assert (await admin("--local", "client", "delete", new["client_id"], "--yes")).code == 0
    again = await admin("--local", "client", "delete", new["client_id"], "--yes")
    assert (again.code, again.stderr) == (1, f"Error: there is no client '{new['client_id']}'\n")


async def test_disable_and_enable(admin: CommandLine) -> None:
    new = await create(admin)
    for word, enabled in (("disable", False), ("enable", True)):
        answer = await admin("--local", "client", word, new["client_id"])
        assert answer.stdout == f"Client {new['client_id']} is {word}d.\n"
        assert [line["action"] for line in answer.audit] == [f"client.{word}"]
        assert (await admin("--local", "--json", "client", "show", new["client_id"])).json["enabled"] is enabled


@pytest.mark.parametrize(
    "command",
    [
        ["show", UNKNOWN],
        ["add-secret", UNKNOWN],
        ["disable", UNKNOWN],
        ["enable", UNKNOWN],
        ["set", UNKNOWN, "--name", "App"],
        ["delete", UNKNOWN, "--yes"],
        ["delete-secret", UNKNOWN, "abc", "--yes"],
    ],
)
async def test_an_unknown_client_is_one_line(admin: CommandLine, command: list[str]) -> None:
    answer = await admin("--local", "client", *command)
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: ")
    assert UNKNOWN in answer.stderr
    assert answer.stderr.count("\n") == 1


async def test_what_is_no_tenant_id_is_one_line(admin: CommandLine) -> None:
    answer = await admin(*CREATE, "--tenants", f"{TENANT},contoso")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: 'contoso' is not a tenant ID")
