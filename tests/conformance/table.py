"""The tables of `docs/conformance.md`, as a run writes them."""

import os
import re
from collections.abc import MutableMapping, Sequence
from pathlib import Path

Cells = MutableMapping[tuple[str, str], str]
"""What was found of an interaction (by its title) with a server (by its key)."""

NO_FHIR = "no FHIR: 502"
_PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def publish(lines: Sequence[Sequence[str]]) -> None:
    """Compares the page's table with the same first cell with these lines; WRITE_DOCS=1 writes them there first."""
    first, *others = (f"| {' | '.join(line)} |\n" for line in lines)
    table = "".join([first, f"|{' --- |' * len(lines[0])}\n", *others])
    page = _PAGE.read_text()
    if os.environ.get("WRITE_DOCS"):
        page = re.sub(rf"(?m)^\| {lines[0][0]} \|.*\n(?:\|.*\n)*", lambda _: table, page)
        _PAGE.write_text(page)
    assert table in page
