"""Tables for people: as much of each row as the width has room for, and no id or word in two pieces."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from admin.output import Columns, title

_GAP = "  "
_MIN_CUT = 14
_FAIR_CUT = 26  # before a column that can be done without has room


@dataclass(frozen=True, slots=True)
class Table:
    """A table's lines, and the columns that it has no room for; the heading is "" where a row is several lines."""

    heading: str
    lines: Iterator[str]
    dropped: Sequence[str]


def table(columns: Columns, rows: Sequence[Mapping[str, str]], width: int | None) -> Table:
    """The rows, of one line each without a width; with one, what is empty in all rows is left out."""
    names = [name for name in columns.names if width is None or (any(row[name] for row in rows))] or columns.names[:1]
    notes = [] if width is None else [name for name in names if name in columns.notes]
    names = [name for name in names if name not in notes]
    natural = {name: max(map(cell_len, [title(name), *(row[name] for row in rows)])) for name in names}
    widths, dropped = (natural, []) if width is None else _fitted(natural, columns, width)
    if width is not None and any(name in dropped for name in names[: columns.needed]):
        return Table("", _stacked(rows, names, notes, width), [])
    heading = _line({name: title(name) for name in names}, widths)
    return Table(heading, _lines(rows, widths, notes, width), dropped)


def wrapped(text: str, width: int | None, indent: str) -> list[str]:
    """A text's lines, all but the first one indented; a word that is longer than the width stays whole."""
    if width is None:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def _fitted(natural: Mapping[str, int], columns: Columns, width: int) -> tuple[Mapping[str, int], Sequence[str]]:
    """The widths of the columns that there is room for, and the names of the others."""
    widths: dict[str, int] = {}
    room = width + len(_GAP)

    def widen(most: int) -> None:
        nonlocal room
        for name in widths:
            more = max(0, min(natural[name] - widths[name], most - widths[name], room))
            widths[name] += more
            room -= more

    for place, name in enumerate(natural):
        least = min(natural[name], _MIN_CUT) if name in columns.cut else natural[name]
        if place == columns.needed:
            widen(_FAIR_CUT)
        if least + len(_GAP) <= room:
            widths[name] = least
            room -= least + len(_GAP)
    widen(width)
    return widths, [name for name in natural if name not in widths]


def _lines(
    rows: Sequence[Mapping[str, str]], widths: Mapping[str, int], notes: Sequence[str], width: int | None
) -> Iterator[str]:
    for row in rows:
        yield _line(row, widths)
        yield from _noted(row, notes, width)


def _line(row: Mapping[str, str], widths: Mapping[str, int]) -> str:
    return _GAP.join(_cell(row[name], width) for name, width in widths.items()).rstrip()


def _cell(text: str, width: int) -> str:
    missing = width - cell_len(text)
    return f"{text}{' ' * missing}" if missing >= 0 else f"{set_cell_size(text, width - 3)}..."


def _stacked(
    rows: Sequence[Mapping[str, str]], names: Sequence[str], notes: Sequence[str], width: int
) -> Iterator[str]:
    """The first column on a line of its own, and the others below it."""
    for row in rows:
        yield row[names[0]]
        rest = ", ".join(f"{title(name)} {row[name]}" for name in names[1:] if row[name])
        yield from wrapped(f"{_GAP}{rest}", width, 2 * _GAP)
        yield from _noted(row, notes, width)


def _noted(row: Mapping[str, str], notes: Sequence[str], width: int | None) -> Iterator[str]:
    for name in notes:
        if row[name]:
            yield from wrapped(f"{_GAP}{title(name)}: {row[name]}", width, 2 * _GAP)
