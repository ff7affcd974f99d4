"""Charts made of the hospitals' own resources."""

import io
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from app.chart import Chart, chart
from app.client import PatientRecord, Resource
from app.render import render, sparkline
from local.hospitals.hospital import HOSPITALS, NORTHGATE, Hospital
from local.hospitals.resources import resources

TODAY = date(2026, 6, 15)
EMPTY = Chart({}, "", (), {})


def record_of_ruth_black(hospital: Hospital) -> PatientRecord:
    by_type: dict[str, list[Resource]] = {}
    for resource in resources(hospital, TODAY):
        if resource["id"].split("-")[1:2] in ([], ["1001"]):
            by_type.setdefault(resource["resourceType"], []).append(resource)
    by_type["Encounter"].reverse()
    patient = next(patient for patient in by_type["Patient"] if patient["id"] == "1001")
    return PatientRecord(patient, by_type, {"resourceType": "Location", "name": "Ward 1"})


def test_every_version_gives_the_same_whole_chart_which_is_shown() -> None:
    charts = [chart(record_of_ruth_black(replace(NORTHGATE, version=each.version))) for each in HOSPITALS]
    for encounter in charts[-1].sections["encounter"][1:]:
        assert encounter["status"] == "completed"  # R5's word for a finished one
        encounter["status"] = "finished"
    assert charts == [charts[0]] * len(charts)
    found = charts[0]
    patient, sections = found.patient, found.sections
    assert found.missing() == []
    assert (patient["hospital"], patient["gender"]) == (NORTHGATE.name, "female")
    assert (patient["name"][:5], patient["name"][-6:]) == ("Ruth ", " Black")
    assert (patient["mrn"][:4], patient["doctor"][:4]) == ("NCH-", "Dr. ")
    assert [len(vital.readings) for vital in found.vitals] == [14] * 6
    first = sections["encounter"][0]
    assert (first["status"], first.pop("until"), first["where"] in NORTHGATE.wards) == ("in-progress", "", True)
    assert sections["coverage"][0]["subscriber"].startswith("SUB")
    assert all(all(row.values()) for rows in sections.values() for row in rows)

    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(chart(record_of_ruth_black(NORTHGATE)), "R4", TODAY))
    shown = console.export_text()
    pressure = next(vital for vital in found.vitals if vital.name == "Blood pressure")
    texts = [
        patient["name"],
        patient["mrn"],
        f"{found.age(TODAY)} years",
        pressure.readings[-1].text,
        "since 2026-06-01",
    ]
    texts += [sections["allergy"][0]["allergy"], sections["medication"][0]["dosage"], sections["coverage"][0]["plan"]]
    assert [text for text in texts if text not in shown] == []


def test_what_is_not_there_is_named() -> None:
    needed = "name, gender, born, mrn, last location, vital signs, problem, medication, encounter, coverage"
    assert ", ".join(EMPTY.missing()) == needed


@pytest.mark.parametrize(("born", "age"), [("2020-06-15", 6), ("2020-06-16", 5), ("2025-12-31", 0)])
def test_an_age_is_in_whole_years(born: str, age: int) -> None:
    assert replace(EMPTY, patient={"born": born}).age(TODAY) == age


@given(st.lists(st.floats(-1000, 1000), min_size=1))
def test_a_sparkline_has_a_bar_for_each_value_in_their_order(values: list[float]) -> None:
    bars = sparkline(values)
    by_value = [bar for _, bar in sorted(zip(values, bars, strict=True))]
    assert by_value == sorted(by_value)
    assert min(values) == max(values) or {"▁", "█"} <= set(bars)
