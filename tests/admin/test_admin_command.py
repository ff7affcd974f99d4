"""What all commands share: help, settings, errors."""

import ast
import importlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import click
import pytest
from azure.data.tables.aio import TableServiceClient

from admin.cli import cli
from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from tests.admin.command_line import CommandLine, settings_of

PROJECT = Path(__file__).parents[2]


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
    assert f"./gateway {' '.join(path)}" in (command.epilog or "")
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert {"local", "json"} <= {str(option.name) for option in options}
    assert all(option.help for option in options)


_UNREGISTERED = """
import importlib, pkgutil, click, admin, admin.__main__
def below(command):
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from below(child)
known = {id(command) for command in below(admin.__main__.cli)}
for found in pkgutil.iter_modules(admin.__path__):
    for name, value in vars(importlib.import_module(f"admin.{found.name}")).items():
        if isinstance(value, click.Command) and id(value) not in known:
            print(f"{found.name}.{name}")
"""


def test_the_command_line_has_every_command_there_is() -> None:
    """In a process of its own: no test may have added to what `./gateway` has."""
    done = subprocess.run([sys.executable, "-c", _UNREGISTERED], capture_output=True, check=True, text=True)
    assert done.stdout == ""


def test_no_test_puts_a_command_line_together() -> None:
    """Tests have the command line as a whole, or run it: a part of it may not be reachable."""
    for file in (PROJECT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            assert not (isinstance(node, ast.Attribute) and node.attr == "add_command"), file
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "admin":
                module = importlib.import_module(str(node.module))
                for name in (alias.name for alias in node.names):
                    command = isinstance(getattr(module, name), click.Command)
                    assert not command or (node.module, name) == ("admin.cli", "cli"), f"{file}: {name}"


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


@pytest.mark.parametrize(
    "line",
    [
        "--local --json tenant list",
        "tenant list --json --local",
        "tenant --local list --json",
        "--json tenant --local --json list --local",
        "--json doctor --local",
    ],
)
async def test_local_and_json_stand_before_or_after_any_part_of_the_command(admin: CommandLine, line: str) -> None:
    response = await admin(*line.split())
    assert isinstance(response.json, list)
    assert response.stderr == ""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8:strict", "shift_jis"])
async def test_a_name_that_the_terminal_lacks_ends_no_command(admin: CommandLine, encoding: str) -> None:
    """Neither halfway through a change nor while it is told."""
    tenant, environment = str(uuid4()), {"PYTHONIOENCODING": encoding}
    base = ("--base-url", "https://fhir.example.com/r4")
    changed = await admin(
        *("--local", "tenant", "set", tenant, "r4", *base, "--name", "Zoë 病院 ☃"), environment=environment
    )
    assert (changed.code, [line["action"] for line in changed.audit]) == (0, ["tenant.set"])
    for command in (["tenant", "list"], ["tenant", "show", tenant, "r4"], ["tenant", "export"], ["doctor"]):
        shown = await admin("--local", *command, environment=environment)
        assert tenant in shown.stdout or command == ["doctor"]
    assert (await admin("--local", "--json", "tenant", "show", tenant, "r4")).json["name"] == "Zoë 病院 ☃"
    assert (await admin("--local", "tenant", "remove", tenant, "r4", "--yes")).code == 0


_ON_WINDOWS = """
import os, sys, click.core, admin.__main__
class Windows:
    name = "nt"
    def __getattr__(self, name):
        return getattr(os, name)
click.core.os = Windows()
admin.__main__.main()
"""


async def test_an_asterisk_is_no_pattern_on_windows(admin: CommandLine) -> None:
    """Its shells leave patterns to the program, and click would put the folder's files in the asterisk's place."""
    command = ("--local", "--json", "client", "create", "--name", "A", "--owner", "ada", "--tenants", "*")
    made = await admin.run("-c", _ON_WINDOWS, *command)
    assert made.code == 0, made.stderr
    client = made.json["client_id"]
    assert (await admin("--local", "--json", "client", "show", client)).json["tenants"] == "*"


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
