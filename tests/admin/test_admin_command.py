"""What all commands share: help, settings, errors."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from uuid import uuid4

import click

from admin.cli import cli
from shared.stores.tables import CLIENTS
from tests.admin.command_line import CommandLine, commands
from tests.deployment import Deployment

PROJECT = Path(__file__).parents[2]


def test_every_command_has_help_options_and_examples_of_itself() -> None:
    for path, command in commands(cli):
        assert command.help, path
        assert f"./gateway {' '.join(path)}" in (command.epilog or "")
        options = [option for option in command.params if isinstance(option, click.Option)]
        if path[0] != "azure":  # nothing of it is on this machine
            assert {"local", "json"} <= {str(option.name) for option in options}, path
        assert all(option.help for option in options), path


async def test_a_setting_that_cannot_be_used_is_one_line(new_stack: CommandLine, environment: dict[str, str]) -> None:
    settings = new_stack.folder / "local.settings.json"
    for content, says in (
        ("{", "can't be read as JSON"),
        ("[]", "can't be read as JSON"),
        ('{"Values": {"CACHE_SECONDS": 5}}', "Values must be an object of texts"),
        ('{"Values": {"LOCAL_VAULT": "vault"}}', "KEY_VAULT_URL is not set"),
    ):
        settings.write_text(content)
        assert says in await new_stack.error("tenant list")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for name, value, says in (
            # What is asked for this machine never reaches a vault that the environment names.
            ("LOCAL_VAULT", "", "local.settings.json has no LOCAL_VAULT: start the local stack with make run"),
            ("LOCAL_VAULT", "nowhere", "LOCAL_VAULT"),
            ("TABLES_CONNECTION_STRING", "AccountName=only", "TABLES_CONNECTION_STRING"),
            ("KEY_VAULT_URL", f"https://127.0.0.1:{closed.getsockname()[1]}", "Key Vault did not answer"),
        ):
            new_stack.configure(environment | {name: value})
            error = await new_stack.error("keys list")
            assert error.startswith(says)
    assert error.endswith("is the local stack running? Start it with make run")
    settings.unlink()
    missing = await new_stack("tenant list")
    assert missing.stderr == "Error: PUBLIC_BASE_URL is not set (for the stack on this machine add --local)\n"


async def test_local_and_json_stand_before_or_after_any_part_of_the_command(admin: CommandLine) -> None:
    lines = ("--local --json tenant list", "tenant list --json --local", "tenant --local list --json")
    for line in (*lines, "--json tenant --local --json list --local", "--json doctor --local"):
        result = await admin(line)
        assert (isinstance(result.json, list), result.stderr) == (True, "")


async def test_a_name_that_the_terminal_lacks_ends_no_command(admin: CommandLine) -> None:
    """Neither halfway through a change nor while it is found."""
    tenant, narrow = str(uuid4()), {"PYTHONIOENCODING": "cp1252"}
    row = f"{tenant} r4 --base-url https://fhir.example.com/r4 --name"
    changed = await admin(f"tenant set --verbose --local {row}", "Zoë 病院 ☃", environment=narrow)
    assert (changed.code, [line["action"] for line in changed.audit]) == (0, ["tenant.set"])
    for command in ("tenant list", f"tenant show {tenant} r4", "tenant export"):
        assert tenant in (await admin(f"--local {command}", environment=narrow)).stdout
    assert (await admin.json("tenant show", tenant, "r4"))["name"] == "Zoë 病院 ☃"
    await admin.json("tenant remove --yes", tenant, "r4")


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
    create = ("client", "create", "--name", "A", "--owner", "ada", "--tenants", "*", "--local", "--json")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _ON_WINDOWS, *create), cwd=admin.folder, env=environment, stdout=PIPE, stderr=DEVNULL
    )
    stdout, _ = await process.communicate()
    assert (await admin.json("client show", json.loads(stdout)["client_id"]))["tenants"] == "*"


async def test_names_cannot_steer_the_terminal(admin: CommandLine, deployment: Deployment) -> None:
    """What was typed into the table by hand is shown without escape sequences, and not taken for markup."""
    row = {"PartitionKey": "steering", "RowKey": "client", "Name": "\x1b[31m\x9b31m[bold]red", "Tenants": "*"}
    await deployment.table(CLIENTS).put(row)
    for command in ("client list", "client show steering", "client list --json"):
        shown = (await admin(command, "--local")).stdout
        assert "[bold]red" in shown
        assert not any(character in shown for character in "\x1b\x9b")


def test_the_package_needs_no_azure_sdk_to_help() -> None:
    """`--help` answers at once: the SDKs cost more than all the rest."""
    script = "import sys, admin.cli; print(*(name for name in sys.modules if name.startswith(('azure', 'rich'))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"\n"
