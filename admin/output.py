"""What a command answers: aligned text and tables for people, JSON for programs; notes go to standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeGuard

import click

Fields = Mapping[str, object]

_NO_TERMINAL_WIDTH = 500  # a row a line, for grep
_MOST_LISTED = 2


class Output:
    """Standard output, as JSON or for people. Whatever people typed is shown without control characters."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def record(self, fields: Fields) -> None:
        """One thing: a JSON object, or a line for each field that has a value and a table for each that has records."""
        if self._as_json:
            _print_json(fields)
            return
        lines = {
            _title(name): value for name, value in fields.items() if value not in (None, ()) and not _is_records(value)
        }
        width = max(map(len, lines), default=0)
        for title, value in lines.items():
            click.echo(f"{title:<{width}}  {_text(value)}")
        for value in fields.values():
            if _is_records(value):
                click.echo()
                _print_table(value, tuple(value[0]))

    def records(self, items: Sequence[Fields], columns: Sequence[str]) -> None:
        """Many things: a JSON array with all their fields, or a table of the columns named."""
        if self._as_json:
            _print_json(items)
        else:
            _print_table(items, columns)

    def result(self, fields: Fields, sentence: str) -> None:
        """What was done: a JSON object, or a sentence."""
        if self._as_json:
            _print_json(fields)
        else:
            click.echo(printable(sentence))

    def note(self, text: str) -> None:
        """Something the person should know, on standard error."""
        click.echo(printable(text), err=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar on standard error, if that is a terminal, while `total` things are done: call it for each."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True, soft_wrap=True)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)


def printable(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _print_table(items: Sequence[Fields], columns: Sequence[str]) -> None:
    # Only tables need it, and it takes longer to import than everything else that --help needs.
    from rich import box
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(markup=False, emoji=False, highlight=False, width=None if terminal else _NO_TERMINAL_WIDTH)
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
    for column in columns:
        table.add_column(_title(column), overflow="fold")
    for item in items:
        table.add_row(*(_cell(item.get(column)) for column in columns))
    console.print(table)


def _print_json(value: object) -> None:
    # ASCII only, so that no name can steer a terminal.
    click.echo(json.dumps(value, indent=2, default=_plain))


def _is_records(value: object) -> TypeGuard[Sequence[Fields]]:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Mapping)


def _title(name: str) -> str:
    return name.replace("_", " ")


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
    return printable(str(value))


def _cell(value: object) -> str:
    """A table's cell: a long list, or one of records, is told by its length."""
    if isinstance(value, tuple) or (isinstance(value, frozenset) and len(value) > _MOST_LISTED):
        return str(len(value))
    return _text(value)
