"""Shared by all commands: global options, the session, and errors as one line."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from admin.output import Output, printable
from admin.session import Session, open_session, read_settings
from shared.directory.errors import Refusal, RowError
from shared.settings import SettingError
from shared.stores.errors import StoreConflict, StoreUnavailable

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

PROGRAM = "./gateway"

_LOCAL_ADVICE = "is the local stack running? Start it with make run"
_AZURE_ADVICE = (
    "check KEY_VAULT_URL and TABLES_ENDPOINT, and that you are signed in (az login) with the roles "
    "Key Vault Secrets Officer and Storage Table Data Contributor"
)


@dataclass(slots=True)
class GlobalOptions:
    """`--local`, `--json` and `--verbose`, from any place on the line."""

    local: bool = False
    json: bool = False
    verbose: bool = False


class _StandardError(logging.Handler):
    """Writes to sys.stderr as it is at the time: a progress bar replaces it for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # a change goes on, whoever has stopped to read of it
            sys.stderr.write(f"{self.format(record)}\n")


def log_to_standard_error() -> None:
    """Has warnings there, and audit lines where they are asked for."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[_StandardError()])
    # The one line of the error holds already what the SDKs log.
    logging.getLogger("azure").setLevel(logging.CRITICAL)


class CouldNotRun(click.ClickException):
    """A failure with exit code 2, as of a command that is not well formed."""

    exit_code = 2


YES = click.option("--yes", is_flag=True, help="Do not ask.")


def global_options(function: F) -> F:
    """Adds `--local`, `--json` and `--verbose`."""

    def switch(context: click.Context, option: click.Parameter, given: bool) -> None:
        if given:
            setattr(context.ensure_object(GlobalOptions), str(option.name), True)

    options: dict[str, Any] = {"is_flag": True, "expose_value": False, "callback": switch}
    function = click.option(
        "-v", "--verbose", help="Print the audit line of each change on standard error.", **options
    )(function)
    function = click.option("--json", help="Print JSON on standard output.", **options)(function)
    return click.option("--local", help="Use the stack on this machine (local.settings.json).", **options)(function)


def with_session(
    function: Callable[Concatenate[Session, P], Awaitable[None]],
    failure: type[click.ClickException] = click.ClickException,
) -> Callable[P, None]:
    """A command's function: opens a session for it and awaits it; an error is one line, by `failure`."""

    @global_options
    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        options = click.get_current_context().ensure_object(GlobalOptions)
        logging.getLogger("gateway.audit").setLevel(logging.INFO if options.verbose else logging.ERROR)

        async def work() -> None:
            async with open_session(read_settings(local=options.local), Output(as_json=options.json)) as session:
                await function(session, *args, **kwargs)

        try:
            asyncio.run(work())
        except (Refusal, RowError, SettingError, StoreConflict, StoreUnavailable) as error:
            raise failure(_message(error, local=options.local)) from error

    return run


def _message(error: Exception, *, local: bool) -> str:
    """A line; of a row of which several columns are wrong, one more for each of them."""
    if isinstance(error, RowError) and len(error.problems) > 1:
        columns = (f"  {column}: {problem}" for column, problem in error.problems)
        return "\n".join(map(printable, (f"{error.row}: {len(error.problems)} columns are wrong", *columns)))
    return printable(f"{error}{_advice(error, local=local)}")


def _advice(error: Exception, *, local: bool) -> str:
    """The fix, where the error itself does not name it."""
    if isinstance(error, SettingError):
        return "" if local else " (for the stack on this machine add --local)"
    if isinstance(error, StoreUnavailable) and not _names_the_fix(error):
        return f": {_LOCAL_ADVICE if local else _AZURE_ADVICE}"
    return ""


def _names_the_fix(error: StoreUnavailable) -> bool:
    """Whether the message names the fix: the store responded, and lacks a table or a key."""
    from azure.core.exceptions import ResourceNotFoundError

    return error.__cause__ is None or isinstance(error.__cause__, ResourceNotFoundError)


def confirm(question: str, *, yes: bool) -> None:
    """Asks on the terminal unless `yes`; anything but a yes ends the command."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CouldNotRun("this needs a yes, and there is no terminal to ask on: add --yes")
    click.confirm(question, abort=True, err=True)


def examples(*lines: str) -> str:
    """A help text's examples, one on each line (click would fill them into a paragraph without the \\b)."""
    return "\b\nExamples:\n" + "\n".join(f"  {PROGRAM} {line}" for line in lines)
