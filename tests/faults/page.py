"""The tables of `docs/reliability.md`, as runs of the suites write them."""

import re
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_HEADS = {
    "faults": ("Fault", "Requests", "Seen by this tenant", "Within (s)", "Seen by others", "Lost"),
    "attacks": ("Attack", "Tried", "Outcome"),
    "fuzzing": ("Surface", "Cases", "Different", "2xx, 3xx", "4xx", "5xx", "Wrong"),
    "differential": ("Way", "Cases", "Passed on", "Refused", "Passed on, and beyond HAPI", "Read differently"),
    "shapes": (
        "Shape",
        "Way",
        "Answered",
        "Longest work without a pause (ms)",
        "Processor (ms/MB)",
        "Peak memory (bodies)",
        "Slowest for others (ms)",
    ),
    "soak": ("Figure", "Value"),
}

_rows: dict[str, list[tuple[str, ...]]] = {}


def note(table: str, *cells: object) -> None:
    """A row of one of the page's tables."""
    row = tuple(str(cell) for cell in cells)
    assert len(row) == len(_HEADS[table]), row
    _rows.setdefault(table, []).append(row)


def note_fault(
    fault: str, requests: object, seen: str, within: str = "-", others: str = "the same", lost: str = "nothing"
) -> None:
    """A row of the table of faults."""
    note("faults", fault, requests, seen, within, others, lost)


def write() -> None:
    """Puts the tables that this run filled between their marks."""
    text = _PAGE.read_text()
    for table, rows in _rows.items():
        head = _HEADS[table]
        lines = [head, ("---",) * len(head), *rows]
        content = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        mark = re.compile(rf"(<!-- {table} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert mark.search(text), table
        text = mark.sub(lambda found, content=content: found[1] + content + found[2], text)  # type: ignore[misc]
    _PAGE.write_text(text)
