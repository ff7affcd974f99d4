"""`completion`: the Tab key in bash, zsh and fish."""

import os
import shlex
import sys

import click
from click.shell_completion import shell_complete

from admin.command import PROGRAM, examples, global_options
from admin.session import PROJECT

_VARIABLE = "_GATEWAY_COMPLETE"

_ADD_TO_PATH = {
    "bash": 'export PATH="$PATH":{}\n',
    "zsh": 'export PATH="$PATH":{}\n',
    "fish": "set --export --append PATH {}\n",
}


@click.command(
    epilog=examples(
        "completion bash >> ~/.bashrc",
        "completion zsh >> ~/.zshrc",
        "completion fish > ~/.config/fish/conf.d/gateway.fish",
    )
)
@click.argument("shell", type=click.Choice(list(_ADD_TO_PATH)))
@global_options
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints a script for a shell's start-up file, with which the Tab key completes commands.

    The script also puts this folder on the PATH, so that gateway works in any folder.
    """
    if (PROJECT / "gateway").exists():  # pip puts its gateway on the PATH itself
        click.echo(_ADD_TO_PATH[shell].format(shlex.quote(str(PROJECT))), nl=False)
    shell_complete(context.find_root().command, {}, "gateway", _VARIABLE, f"{shell}_source")


def complete(cli: click.Command) -> None:
    """Ends the process with completions, if the environment asks for them (click's protocol)."""
    if instruction := os.environ.get(_VARIABLE):
        sys.exit(shell_complete(cli, {}, PROGRAM, _VARIABLE, instruction))
