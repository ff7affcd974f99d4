"""Charts made of the hospitals' own resources, and what the demo says when it fails."""

import json
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from app.chart import Chart, chart
from app.client import Resource
from app.record import PatientRecord
from app.render import render, sparkline
from local.hospitals.hospital import HOSPITALS, Hospital
from local.hospitals.people import people
from local.hospitals.resources import resources

PROJECT = Path(__file__).parents[2]
TODAY = date(2026, 6, 15)


def record_of_ruth_black(hospital: Hospital) -> PatientRecord:
    by_type: dict[str, list[Resource]] = {}
    for resource in resources(hospital, TODAY):
        if resource["id"].split("-")[1:2] in ([], ["1001"]):
            by_type.setdefault(resource["resourceType"], []).append(resource)
    by_type["Encounter"].reverse()
    patient = next(patient for patient in by_type["Patient"] if patient["id"] == "1001")
    return PatientRecord(patient, by_type, {"resourceType": "Location", "name": "Ward 1"})


@pytest.fixture(params=HOSPITALS, ids=lambda hospital: hospital.key)
def hospital(request: pytest.FixtureRequest) -> Hospital:
    assert isinstance(request.param, Hospital)
    return request.param


def test_every_version_gives_the_chart_that_the_hospital_keeps(hospital: Hospital) -> None:
    person = next(people(hospital, TODAY))
    found = chart(record_of_ruth_black(hospital))
    assert found.missing() == []
    assert (found.hospital, found.mrn, found.gender) == (hospital.name, person.mrn, person.gender)
    assert found.name == " ".join(filter(None, (person.prefix, *person.given, person.family)))
    assert found.doctor.startswith("Dr. ")
    assert sum(len(vital.readings) for vital in found.vitals) == len(person.vitals) == 84
    assert [problem.name for problem in found.problems] == [problem.codes[0].display for problem in person.problems]
    assert all(problem.severity and problem.recorded for problem in found.problems)
    assert [(allergy.substance, allergy.reaction, allergy.criticality) for allergy in found.allergies] == [
        (allergy.substance.display, allergy.manifestation.display, "high" if allergy.severe else "low")
        for allergy in person.allergies
    ]
    assert [(order.name, order.dosage, order.written) for order in found.medications] == [
        (order.medication.display, order.dosage, order.written.isoformat()) for order in person.prescriptions
    ]
    assert all(order.prescriber.startswith("Dr. ") for order in found.medications)
    assert [visit.type for visit in found.encounters] == [visit.type.display for visit in reversed(person.visits)]
    assert found.encounters[0].location == hospital.wards[person.visits[-1].ward]
    (coverage,) = found.coverage
    assert (coverage.plan, coverage.subscriber) == (person.insurance.plan, person.insurance.subscriber)


def test_a_chart_is_shown_whole(hospital: Hospital) -> None:
    found = chart(record_of_ruth_black(hospital))
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(found, hospital.version.name, TODAY))
    shown = console.export_text()
    pressure = next(vital for vital in found.vitals if vital.name == "Blood pressure")
    for text in (
        found.name,
        found.mrn,
        f"{found.age(TODAY)} years",
        pressure.readings[-1].text,
        found.allergies[0].substance,
        found.medications[0].dosage,
        "since 2026-06-01",
        found.coverage[0].plan,
    ):
        assert text in shown


def test_what_is_not_there_is_named() -> None:
    empty = Chart("", "", "", "", "", "", "", (), (), (), (), (), ())
    assert empty.missing() == [
        "name",
        "gender",
        "date of birth",
        "MRN",
        "last known location",
        "vital signs",
        "problems",
        "medications",
        "encounters",
        "coverage",
    ]


@pytest.mark.parametrize(("born", "age"), [("2020-06-15", 6), ("2020-06-16", 5), ("2025-12-31", 0)])
def test_an_age_is_in_whole_years(born: str, age: int) -> None:
    assert Chart("", "", "", born, "", "", "", (), (), (), (), (), ()).age(TODAY) == age


@given(st.lists(st.floats(-1000, 1000), min_size=1))
def test_a_sparkline_has_a_bar_for_each_value_in_their_order(values: list[float]) -> None:
    bars = sparkline(values)
    assert len(bars) == len(values)
    by_value = [bar for _, bar in sorted(zip(values, bars, strict=True))]
    assert by_value == sorted(by_value)
    if min(values) < max(values):
        assert {"▁", "█"} <= set(bars)


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local", "demo", "--folder", str(folder)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)


def test_without_a_stack_the_demo_says_how_to_start_one(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert (done.returncode, done.stderr) == (1, "Error: start it first: make run\n")


def test_when_the_stack_has_stopped_the_demo_says_how_to_start_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        base = f"http://127.0.0.1:{server.getsockname()[1]}"
    tenant = {"tenant_id": "t", "name": "n", "version": "r4", "base": f"{base}/r4"}
    content = {"base_url": base, "client_id": "c", "client_secret": "s", "tenants": [tenant], "portal_url": None}
    (tmp_path / "demo.json").write_text(json.dumps(content))
    done = demo(tmp_path)
    assert (done.returncode, done.stderr) == (1, f"Error: {base} does not answer. Start it first: make run\n")
