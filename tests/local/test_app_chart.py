"""Charts made of the hospitals' own resources."""

import io
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from app.chart import Chart, chart
from app.client import Resource
from app.record import PatientRecord
from app.render import render, sparkline
from local.hospitals.hospital import HOSPITALS, NORTHGATE, RIVERSIDE, Hospital
from local.hospitals.resources import resources

TODAY = date(2026, 6, 15)
EMPTY = Chart("", "", "", "", "", "", "", (), (), (), (), (), ())
VERSIONS = [hospital.version for hospital in HOSPITALS]


def record_of_ruth_black(hospital: Hospital) -> PatientRecord:
    by_type: dict[str, list[Resource]] = {}
    for resource in resources(hospital, TODAY):
        if resource["id"].split("-")[1:2] in ([], ["1001"]):
            by_type.setdefault(resource["resourceType"], []).append(resource)
    by_type["Encounter"].reverse()
    patient = next(patient for patient in by_type["Patient"] if patient["id"] == "1001")
    return PatientRecord(patient, by_type, {"resourceType": "Location", "name": "Ward 1"})


def test_every_version_gives_the_same_whole_chart() -> None:
    charts = [chart(record_of_ruth_black(replace(NORTHGATE, version=version))) for version in VERSIONS]
    assert charts == [charts[0]] * len(charts)
    found = charts[0]
    assert found.missing() == []
    assert (found.hospital, found.gender) == (NORTHGATE.name, "female")
    assert (found.name[:5], found.name[-6:]) == ("Ruth ", " Black")
    assert (found.mrn[:4], found.doctor[:4]) == ("NCH-", "Dr. ")
    assert [len(vital.readings) for vital in found.vitals] == [14] * 6
    assert all(problem.severity and problem.recorded for problem in found.problems)
    assert all(allergy.reaction and allergy.criticality and allergy.recorded for allergy in found.allergies)
    assert all(order.dosage and order.written and order.prescriber for order in found.medications)
    assert (found.encounters[0].status, found.encounters[0].location in NORTHGATE.wards) == ("in-progress", True)
    assert found.coverage[0].subscriber.startswith("SUB")


def test_a_chart_is_shown_whole() -> None:
    found = chart(record_of_ruth_black(RIVERSIDE))
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(found, RIVERSIDE.version.name, TODAY))
    shown = console.export_text()
    pressure = next(vital for vital in found.vitals if vital.name == "Blood pressure")
    texts = [found.name, found.mrn, f"{found.age(TODAY)} years", pressure.readings[-1].text, "since 2026-06-01"]
    texts += [found.allergies[0].substance, found.medications[0].dosage, found.coverage[0].plan]
    assert [text for text in texts if text not in shown] == []


def test_what_is_not_there_is_named() -> None:
    needed = "name, gender, date of birth, MRN, last known location, vital signs, problems, medications, encounters"
    assert ", ".join(EMPTY.missing()) == f"{needed}, coverage"


@pytest.mark.parametrize(("born", "age"), [("2020-06-15", 6), ("2020-06-16", 5), ("2025-12-31", 0)])
def test_an_age_is_in_whole_years(born: str, age: int) -> None:
    assert replace(EMPTY, born=born).age(TODAY) == age


@given(st.lists(st.floats(-1000, 1000), min_size=1))
def test_a_sparkline_has_a_bar_for_each_value_in_their_order(values: list[float]) -> None:
    bars = sparkline(values)
    assert len(bars) == len(values)
    by_value = [bar for _, bar in sorted(zip(values, bars, strict=True))]
    assert by_value == sorted(by_value)
    if min(values) < max(values):
        assert {"▁", "█"} <= set(bars)
