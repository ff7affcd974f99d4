"""The report on a provider, for programs and for people."""

import json
from pathlib import Path

import pytest

from shared.directory.provider import BatchMode
from shared.fhir.interface import types
from shared.fhir.versions import FhirVersion
from shared.onboarding import report as reports
from shared.onboarding.problem import Problem, ProblemKind
from shared.onboarding.report import FieldReport, Report, ResourceReport, Status

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CALL = reports.CallReport("GET metadata", True, 200, "application/fhir+json", 12.345, 3)
STATEMENT = reports.StatementReport((CALL,), "3.0.2", ("json",), ())


def report(*resources: ResourceReport) -> Report:
    batch, paging = reports.BatchReport(BatchMode.NATIVE), reports.PagingReport(2)
    return Report(TENANT, "Riverside", FhirVersion.STU3, STATEMENT, resources, batch, paging)


def test_the_keys_for_programs_are_these() -> None:
    problem = Problem(ProblemKind.REFUSED, "GET Patient/[id]", "400")
    fields = (FieldReport("name.given", True, 3, 3),)
    patient = ResourceReport("Patient", Status.WORKS, entries=3, total=True, fields=fields, problems=(problem,))
    documented = json.loads(Path(__file__).with_name("report.json").read_text())
    assert json.loads(json.dumps(reports.to_json(report(patient)))) == documented


def test_a_line_names_all_the_types_that_it_is_about() -> None:
    missing = (Problem(ProblemKind.NOT_FOUND, "x", "404"),)
    types = [ResourceReport(type, Status.MISSING, problems=missing) for type in ("Condition", "Coverage")]
    types += [ResourceReport(type, Status.UNCHECKED) for type in ("Observation", "Location")]
    fields = (FieldReport("authoredOn", False, 7, 10), FieldReport("a|b", False, 0, 1))
    types += [ResourceReport("MedicationRequest", Status.WORKS, fields=fields)]
    assert reports.summary(report(*types)).splitlines()[1:] == [
        "Conditions, Coverages: there is nothing at this address (404).",
        "Recommended, but not always there: "
        "authoredOn of Medications (7 of 10 entries), a or b of Medications (0 of 1 entry).",
        "Not checked: Observations, Locations.",
    ]


@pytest.mark.parametrize("kind", ProblemKind)
def test_every_problem_has_a_text_and_says_what_to_do(kind: ProblemKind) -> None:
    problem = Problem(kind, "x", "DETAIL")
    assert not problem.text[0].isupper()
    assert not problem.text.endswith(".")
    assert problem.hint
    assert "{" not in problem.text + problem.hint


def test_every_type_of_the_interface_has_a_name_for_people() -> None:
    assert set(reports._NAMES) == {"statement", "batch", "paging"}.union(*map(types, FhirVersion))
