"""A chart on the terminal, as a clinician wants to read it."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.chart import Chart, Medication, Vital

_BARS = "▁▂▃▄▅▆▇█"
_PLACE_OF_STATUS = {"active": 0, "completed": 1}


def render(chart: Chart, version: str, today: date) -> RenderableType:
    """The whole chart; `version` is the FHIR version it came in."""
    parts: list[RenderableType] = [_header(chart, today), Text(), _vitals(chart.vitals)]
    allergies = (
        (allergy.substance, allergy.criticality, allergy.reaction, allergy.recorded) for allergy in chart.allergies
    )
    problems = ((problem.name, problem.severity, problem.recorded) for problem in chart.problems)
    medications = (
        (order.name, order.dosage, order.status, order.written, order.prescriber)
        for order in sorted(chart.medications, key=_active_first)
    )
    encounters = (
        (visit.type, visit.status, _period(visit.start, visit.end), visit.location) for visit in chart.encounters
    )
    coverage = ((item.payer, item.plan, item.subscriber, item.end) for item in chart.coverage)
    parts += [
        _table(("Allergy", "criticality", "reaction", "recorded"), allergies),
        _table(("Problem", "severity", "recorded"), problems),
        _table(("Medication", "dosage", "status", "written", "by"), medications),
        _table(("Encounter", "status", "when", "where"), encounters),
        _table(("Coverage", "plan", "subscriber", "until"), coverage),
    ]
    return Panel(Group(*parts), title=Text(f"{chart.hospital} · {version}"), padding=(1, 2))


def sparkline(values: Sequence[float]) -> str:
    """A bar for each value, between the lowest and the highest; all in the middle when there is no difference."""
    low, high = min(values), max(values)
    if low == high:
        return _BARS[len(_BARS) // 2] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def _header(chart: Chart, today: date) -> Text:
    return Text.assemble(
        (chart.name, "bold"),
        f"   {chart.gender}, {chart.age(today)} years, born {chart.born}   MRN {chart.mrn}\n",
        f"{chart.doctor or 'no doctor named'}   last known location: ",
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


def _active_first(order: Medication) -> int:
    return _PLACE_OF_STATUS.get(order.status, len(_PLACE_OF_STATUS))


def _period(start: str, end: str) -> str:
    days = [datetime.fromisoformat(moment).date().isoformat() for moment in (start, end) if moment]
    return " to ".join(dict.fromkeys(days)) if end else f"since {days[0]}" if days else ""
