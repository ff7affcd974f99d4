"""`completion`: the Tab key, for a shell function that stands for `python -m admin`."""

import re
import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from admin.command import examples

VARIABLE = "_GATEWAY_ADMIN_COMPLETE"
"""Asks the command line for completions, in the environment."""

_NAME = "gateway-admin"
_PROJECT = Path(__file__).parents[1]
_SHELLS: dict[str, tuple[type[ShellComplete], str]] = {
    "bash": (BashComplete, '{name}() {{ {command} "$@"; }}'),
    "zsh": (ZshComplete, '{name}() {{ {command} "$@"; }}'),
    "fish": (FishComplete, "function {name}; {command} $argv; end"),
}


@click.command(
    epilog=examples(
        "admin completion bash >> ~/.bashrc",
        "admin completion zsh >> ~/.zshrc",
        "admin completion fish > ~/.config/fish/conf.d/gateway-admin.fish",
    )
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints a script for a shell's start-up file: gateway-admin with completion by the Tab key.

    The script makes gateway-admin a function that stands for python -m admin, in any folder; of that itself a
    shell can complete nothing, since its words come after the name of another command.
    """
    kind, function = _SHELLS[shell]
    command = shlex.join(["env", f"PYTHONPATH={_PROJECT}", sys.executable, "-m", "admin"])
    source = kind(context.find_root().command, {}, _NAME, VARIABLE).source()
    # click's script runs the command of that name by env, which knows no functions, and zsh's first looks for it.
    source = re.sub(rf"(?<= )(\$1|{_NAME})(?=\))", lambda _: command, source).replace("$+commands[", "$+functions[")
    click.echo(f"{function.format(name=_NAME, command=command)}\n{source}")
