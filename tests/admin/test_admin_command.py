"""What all commands share: help, settings, errors."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from azure.data.tables.aio import TableServiceClient

from admin.cli import cli
from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from tests.admin.command_line import CommandLine, settings_of


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its words."""
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, command


@pytest.mark.parametrize(("path", "command"), [pytest.param(*each, id=" ".join(each[0])) for each in commands(cli)])
def test_every_command_has_help_options_and_examples_of_itself(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    assert f"python -m admin {' '.join(path)}" in (command.epilog or "")
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert {"local", "json"} <= {str(option.name) for option in options} or path == ("completion",)
    assert all(option.help for option in options)


async def test_help_needs_no_settings(tmp_path: Path) -> None:
    answer = await CommandLine(tmp_path)("tenant", "set", "--help")
    assert (answer.code, answer.stderr) == (0, "")
    assert "--base-url URL" in answer.stdout


async def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    answer = await CommandLine(tmp_path)("tenant", "list")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr == "Error: PUBLIC_BASE_URL is not set (for the stack on this machine add --local)\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "can't be read as JSON"),
        ("[]", "can't be read as JSON"),
        ('{"Values": {"CACHE_SECONDS": 5}}', "Values must be an object of texts"),
        ('{"Values": {"LOCAL_VAULT": "vault"}}', "KEY_VAULT_URL is not set"),
    ],
)
async def test_local_settings_that_cannot_be_used_are_one_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "local.settings.json").write_text(content)
    answer = await CommandLine(tmp_path)("--local", "tenant", "list")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: ")
    assert says in answer.stderr
    assert answer.stderr.count("\n") == 1


async def test_local_settings_without_the_local_vault_are_refused(
    tmp_path: Path, own_tables: TableService, vault_server: VaultServer
) -> None:
    admin = CommandLine(tmp_path)
    elsewhere = {"LOCAL_VAULT": "", "PUBLIC_BASE_URL": "https://gateway.example"}
    admin.configure(settings_of(own_tables, vault_server) | elsewhere)
    answer = await admin("--local", "tenant", "list")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: local.settings.json has no LOCAL_VAULT: ")


async def test_a_vault_that_does_not_run_is_one_line(
    tmp_path: Path, own_tables: TableService, vault_server: VaultServer
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        admin = CommandLine(tmp_path)
        url = f"https://127.0.0.1:{closed.getsockname()[1]}"
        admin.configure(settings_of(own_tables, vault_server) | {"KEY_VAULT_URL": url})
        answer = await admin("--local", "keys", "list")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: Key Vault did not answer")
    assert answer.stderr.endswith("is the local stack running? Start it with make run\n")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "value"), [("LOCAL_VAULT", "nowhere"), ("TABLES_CONNECTION_STRING", "AccountName=only")]
)
async def test_a_setting_that_leads_nowhere_is_named(
    tmp_path: Path, own_tables: TableService, vault_server: VaultServer, setting: str, value: str
) -> None:
    admin = CommandLine(tmp_path)
    admin.configure(settings_of(own_tables, vault_server) | {setting: value})
    answer = await admin("--local", "tenant", "list")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"Error: {setting}")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["client", "list"], ["tenant", "list"], ["keys", "list"]])
async def test_json_goes_before_the_command_or_after_it(admin: CommandLine, command: list[str]) -> None:
    before = await admin("--local", "--json", *command)
    after = await admin(*command, "--json", "--local")
    assert isinstance(before.json, list)
    assert before.json == after.json
    assert (before.stderr, after.stderr) == ("", "")


async def test_names_cannot_steer_the_terminal(admin: CommandLine, own_tables: TableService) -> None:
    """What was typed into the table by hand is shown without escape sequences, and not taken for markup."""
    async with TableServiceClient.from_connection_string(own_tables.connection_string) as service:
        row = {"PartitionKey": "steering", "RowKey": "client", "Name": "\x1b[31m\x9b31m[bold]red", "Tenants": "*"}
        await service.get_table_client("Clients").upsert_entity(row)
    for command in (["client", "list"], ["client", "show", "steering"], ["--json", "client", "list"]):
        shown = (await admin("--local", *command)).stdout
        assert "[bold]red" in shown
        assert not any(character in shown for character in "\x1b\x9b")


def test_the_package_needs_no_azure_sdk_to_help() -> None:
    """`--help` answers at once: the SDKs cost more than all the rest."""
    script = "import sys, admin.cli; print(*(name for name in sys.modules if name.startswith(('azure', 'rich'))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"\n"
