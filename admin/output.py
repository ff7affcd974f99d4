"""The output of a command: aligned text and tables for people, JSON for programs."""

import json
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeGuard

import click

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table, the most important first.

    On a terminal where the first `needed` have no room beside each other, a row is several lines. Those in `cut` may
    be shortened. Those in `notes` are sentences, which on a terminal stand below their row.
    """

    names: Sequence[str]
    needed: int = 1
    cut: Collection[str] = ()
    notes: Collection[str] = ()


class Output:
    """Standard output, as JSON or for people. What people typed is printed without control characters."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def record(self, fields: Fields) -> None:
        """Prints a JSON object, or a line for each field that has a value and a table for each that has records."""
        if self.as_json:
            _print_json(fields)
            return
        from admin.table import wrapped

        lines = {
            title(name): value for name, value in fields.items() if value not in (None, ()) and not _is_records(value)
        }
        column = max(map(len, lines), default=0)
        width = _width()
        indent = " " * (column + 2 if (width or 0) > 2 * column else 2)
        for name, value in lines.items():
            click.echo("\n".join(wrapped(f"{name:<{column}}  {_text(value)}", width, indent)))
        for value in fields.values():
            if _is_records(value):
                click.echo()
                _print_table(value, Columns(tuple(value[0])))

    def records(self, items: Sequence[Fields], columns: Columns) -> None:
        """Prints a JSON array of objects with all their fields, or a table of `columns`."""
        if self.as_json:
            _print_json(items)
        else:
            _print_table(items, columns)

    def result(self, fields: Fields, *sentences: str) -> None:
        """Prints what was done: a JSON object, or sentences, a line each."""
        if self.as_json:
            _print_json(fields)
        else:
            click.echo("\n".join(map(printable, sentences)))

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar on standard error, if that is a terminal, while `total` things are done: call it for each."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True, soft_wrap=True)
        with Progress(
            *columns, console=console, transient=True, disable=not total or not console.is_interactive
        ) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)


class State(StrEnum):
    """The result of a check; `SKIPPED` when there was nothing to check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of the check of a `subject`; `fix` is what a person can do, "" for nothing."""

    state: State
    subject: str
    text: str
    fix: str = ""


_COLORS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red", State.SKIPPED: "bright_black"}


class Findings:
    """Prints findings as they come, or all as JSON at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._all: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """Prints a finding."""
        self._all.append(finding)
        if self._as_json:
            return
        from admin.table import wrapped

        state, width = click.style(f"{finding.state.value:<5}", fg=_COLORS[finding.state]), _width()
        text = f"{finding.subject:<14} {printable(finding.text)}"
        for number, line in enumerate(wrapped(text, width and max(width - 6, 1), " " * 15)):
            click.echo(f"{'' if number else state:<5} {line}")
        if finding.fix:
            click.echo(f"{'':<20} fix: {printable(finding.fix)}")

    def end(self) -> None:
        """Ends the command, with 1 if a finding is a failure."""
        if self._as_json:
            Output(as_json=True).records([asdict(finding) for finding in self._all], Columns(()))
        click.get_current_context().exit(any(finding.state is State.FAIL for finding in self._all))


def printable(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def counted(number: int, what: str) -> str:
    """Such as `1 row` and `2 rows`."""
    return f"{number} {what}{'s' * (number != 1)}"


def title(name: str) -> str:
    """A field's name as people read it."""
    return name.replace("_", " ")


def _print_table(items: Sequence[Fields], columns: Columns) -> None:
    from admin.table import table

    width = _width()
    if width is not None and not items:
        click.echo("There are none.")
        return
    rows = [{name: _cell(item.get(name)) for name in columns.names} for item in items]
    found = table(columns, rows, width)
    if found.heading:
        click.secho(found.heading, bold=True)
    click.echo("".join(f"{line}\n" for line in found.lines), nl=False)
    if found.dropped:
        click.echo(f"Not shown, for want of width: {', '.join(map(title, found.dropped))}. --json has all.")


def _width() -> int | None:
    """The terminal's, None where standard output is none: there a row is a line, for grep."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _print_json(value: object) -> None:
    # ASCII only, so that no name can steer a terminal.
    click.echo(json.dumps(value, indent=2, default=_plain))


def _is_records(value: object) -> TypeGuard[Sequence[Fields]]:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Mapping)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(_text, value))) or "none"
    encoding = sys.stdout.encoding or "utf-8"  # what it lacks is as wide as it will be shown
    return printable(str(value)).encode(encoding, "backslashreplace").decode(encoding)


def _cell(value: object) -> str:
    """A table's cell; a list is shown by its length."""
    if isinstance(value, tuple | frozenset):
        return str(len(value))
    return _text(value)
