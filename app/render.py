"""A chart on the terminal, as a clinician wants to read it."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.chart import Chart, Row, Vital

_BARS = "▁▂▃▄▅▆▇█"
_PLACE_OF_STATUS = {"active": 0, "completed": 1}


def render(chart: Chart, version: str, today: date) -> RenderableType:
    """The whole chart; `version` is the FHIR version it came in."""
    parts: list[RenderableType] = [_header(chart, today), Text(), _vitals(chart.vitals)]
    for section, rows in chart.sections.items():
        shown = [_with_period(row) if section == "encounter" else row for row in sorted(rows, key=_active_first)]
        columns = list(shown[0]) if shown else [section]
        parts.append(_table([columns[0].capitalize(), *columns[1:]], (list(row.values()) for row in shown)))
    return Panel(Group(*parts), title=Text(f"{chart.patient['hospital']} · {version}"), padding=(1, 2))


def sparkline(values: Sequence[float]) -> str:
    """A bar for each value, between the lowest and the highest; all in the middle when there is no difference."""
    low, high = min(values), max(values)
    if low == high:
        return _BARS[len(_BARS) // 2] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def _header(chart: Chart, today: date) -> Text:
    patient = chart.patient
    return Text.assemble(
        (patient["name"], "bold"),
        f"   {patient['gender']}, {chart.age(today)} years, born {patient['born']}   MRN {patient['mrn']}\n",
        f"{patient['doctor'] or 'no doctor named'}   last known location: ",
        (chart.last_location or "none", "bold"),
    )


def _vitals(vitals: Iterable[Vital]) -> Table:
    return _table(("Vital sign", "latest", "unit", "at", "trend by day", "range"), map(_vital, vitals))


def _vital(vital: Vital) -> tuple[str, ...]:
    latest = vital.readings[-1]
    days = [reading.value for reading in {reading.taken.date(): reading for reading in vital.readings}.values()]
    span = f"{min(days):g} to {max(days):g}"
    return vital.name, latest.text, vital.unit, f"{latest.taken:%Y-%m-%d %H:%M}", sparkline(days), span


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 1, 0), collapse_padding=True, header_style="dim", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    cells = [[Text(cell, "bold" if place == 0 else "") for place, cell in enumerate(row)] for row in rows]
    for row in cells or [[Text("none known")]]:
        table.add_row(*row)
    return table


def _active_first(row: Row) -> int:
    return _PLACE_OF_STATUS.get(row.get("status", ""), len(_PLACE_OF_STATUS))


def _with_period(encounter: Row) -> Row:
    start, end = encounter["from"], encounter["until"]
    days = [datetime.fromisoformat(moment).date().isoformat() for moment in (start, end) if moment]
    when = " to ".join(dict.fromkeys(days)) if end else f"since {days[0]}" if days else ""
    return {name: encounter[name] for name in ("encounter", "status")} | {"when": when, "where": encounter["where"]}
