"""The report on a provider, for programs and for people."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.provider import BatchMode
from shared.directory.tenant_columns import COLUMNS
from shared.fhir.interface import types
from shared.fhir.versions import FhirVersion
from shared.onboarding import report as reports
from shared.onboarding.problem import Mender, Problem, ProblemKind
from shared.onboarding.report import FieldReport, Report, ResourceReport, Status, to_json

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


KINDS = st.lists(st.sampled_from(ProblemKind), max_size=5)


@given(KINDS, KINDS, st.booleans(), st.booleans())
def test_the_hospital_is_told_of_its_own_problems_alone(
    statement: list[ProblemKind], patient: list[ProblemKind], works: bool, lacks: bool
) -> None:
    """And the two lists together are all problems, each once."""
    call = replace(CALL, works=works)
    fields = (FieldReport("name.given", True, 0 if lacks else 1, 1),)
    told = [[Problem(kind, "GET x", "DETAIL") for kind in kinds] for kinds in (statement, patient)]
    found = replace(
        report(ResourceReport("Patient", Status.WORKS, entries=1, fields=fields, problems=tuple(told[1]))),
        statement=replace(STATEMENT, calls=(call,), problems=tuple(told[0])),
    )
    ours, hospitals = found.to_mend(Mender.ADMIN), found.to_mend(Mender.HOSPITAL)
    text, columns = reports.summary(found), {*COLUMNS, "Key Vault", "credential"}
    assert sorted(map(repr, [*ours, *hospitals])) == sorted(map(repr, found.problems()))
    assert all(problem.text in text for _, problem in hospitals)
    assert not any(problem.text in text for _, problem in ours if problem.kind is not ProblemKind.NO_TOTAL)
    assert not any(re.search(rf"\b{column}\b", text) for column in columns)
    assert ("will" in text.splitlines()[0]) is (found.settled and not ours)
    assert found.settled or text.count("\n") == 0
    if not works and ProblemKind.NOT_JSON not in {*statement, *patient}:
        assert hospitals == []
    shown = to_json(found)
    menders = [
        problem["mender"] for section in (shown["statement"], *shown["resources"]) for problem in section["problems"]
    ]
    assert menders.count("hospital") == len(hospitals)


ADMINS = """
NO_CREDENTIAL CREDENTIAL_REFUSED OUT_OF_SCOPE THROTTLED TIMEOUT REDIRECT NOT_LET_THROUGH OTHER_TYPES WRONG_VERSION
GET_REFUSED NO_PATIENT NO_TOTAL NO_ENTRIES NO_LOCATION REFERENCE_ELSEWHERE BASE_ELSEWHERE PAGE_ELSEWHERE NO_PAGES
BATCH_UNSUPPORTED"""


def test_what_a_setting_of_the_gateway_may_have_caused_is_the_admins() -> None:
    assert {kind.name for kind in ProblemKind if kind.mender is Mender.ADMIN} == set(ADMINS.split())


def test_every_type_of_the_interface_has_a_name_for_people() -> None:
    assert set(reports._NAMES) == {"statement", "batch", "paging"}.union(*map(types, FhirVersion))
