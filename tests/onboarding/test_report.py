"""The report on a provider, for programs and for people."""

import json
from dataclasses import replace

import pytest

from shared.directory.provider import BatchMode
from shared.fhir.interface import types
from shared.fhir.versions import FhirVersion
from shared.onboarding import report as reports
from shared.onboarding.problem import Problem, ProblemKind
from shared.onboarding.report import (
    BatchReport,
    CallReport,
    FieldReport,
    PagingReport,
    Report,
    ResourceReport,
    StatementReport,
    Status,
    Verdict,
    summary,
    to_json,
)

CALL = CallReport("GET Patient/[id]", True, 200, "application/fhir+json", 12.345, 3)
PATIENT = ResourceReport("Patient", Status.WORKS, False, (CALL,), 3, True, (FieldReport("name.given", True, 3, 3),))
REPORT = Report(
    "72f988bf-86f1-41af-91ab-2d7cd011db47",
    "Riverside",
    FhirVersion.STU3,
    StatementReport((CALL,), "3.0.2", ("json",), ()),
    (PATIENT,),
    BatchReport(BatchMode.NATIVE),
    PagingReport(2, (CALL,)),
)
CALL_JSON = {
    "call": "GET Patient/[id]",
    "works": True,
    "status": 200,
    "media_type": "application/fhir+json",
    "p50_ms": 12.3,
    "repeats": 3,
}


def test_the_keys_for_programs_are_these() -> None:
    problem = Problem(ProblemKind.REFUSED, "GET Patient/[id]", "400")
    report = replace(REPORT, resources=(replace(PATIENT, problems=(problem,)),))
    assert json.loads(json.dumps(to_json(report))) == {
        "tenant_id": "72f988bf-86f1-41af-91ab-2d7cd011db47",
        "name": "Riverside",
        "version": "stu3",
        "verdict": "loads-with-gaps",
        "statement": {"fhir_version": "3.0.2", "formats": ["json"], "calls": [CALL_JSON], "problems": []},
        "resources": [
            {
                "type": "Patient",
                "standing": "works",
                "spare": False,
                "entries": 3,
                "total": True,
                "calls": [CALL_JSON],
                "fields": [{"path": "name.given", "required": True, "present": 3, "entries": 3, "share": 1.0}],
                "problems": [
                    {
                        "problem": "refused",
                        "call": "GET Patient/[id]",
                        "text": "the server refuses this call (400)",
                        "hint": "ask the server's owner to support the call as the app makes it",
                    }
                ],
            }
        ],
        "batch": {"mode": "native", "calls": [], "problems": []},
        "paging": {"pages": 2, "calls": [CALL_JSON], "problems": []},
    }


def test_the_same_problem_of_several_types_is_one_sentence() -> None:
    missing = (Problem(ProblemKind.NOT_FOUND, "x", "404"),)
    resources = (
        PATIENT,
        ResourceReport("Condition", Status.MISSING, problems=missing),
        ResourceReport("Coverage", Status.MISSING, problems=missing),
        ResourceReport("Observation", Status.UNCHECKED),
        ResourceReport("Encounter", Status.SLOW, calls=(replace(CALL, milliseconds=2345.6),)),
        ResourceReport(
            "MedicationRequest",
            Status.WORKS,
            fields=(FieldReport("authoredOn", True, 7, 10), FieldReport("a|b", False, 0, 1)),
        ),
    )
    report = replace(REPORT, resources=resources)
    assert report.verdict is Verdict.LOADS_WITH_GAPS
    assert report.gaps == 5
    assert summary(report).splitlines() == [
        "Riverside (FHIR STU3): the app will load, with gaps.",
        "Conditions, Coverages: there is nothing at this address (404).",
        "Slow: Encounters (2.3 s).",
        "Medications lack authoredOn in 3 of 10 entries.",
        "Recommended, but not always there: a or b of Medications (0 of 1 entry).",
        "Not checked: Observations.",
    ]


@pytest.mark.parametrize(
    "patient",
    [
        replace(PATIENT, status=Status.FAILED),
        replace(PATIENT, status=Status.UNCHECKED),
        replace(PATIENT, fields=(FieldReport("gender", True, 0, 3),)),
    ],
)
def test_without_a_usable_patient_the_app_does_not_load(patient: ResourceReport) -> None:
    report = replace(REPORT, resources=(patient,))
    assert report.verdict is Verdict.DOES_NOT_LOAD
    assert summary(report).startswith("Riverside (FHIR STU3): the app will not load.")


@pytest.mark.parametrize("kind", ProblemKind)
def test_every_problem_has_a_text_and_says_what_to_do(kind: ProblemKind) -> None:
    problem = Problem(kind, "x", "DETAIL")
    assert not problem.text[0].isupper()
    assert not problem.text.endswith(".")
    assert problem.hint
    assert "{" not in problem.text + problem.hint


def test_every_type_of_the_interface_has_a_name_for_people() -> None:
    assert set(reports._NAMES) == {"statement", "batch", "paging"}.union(*map(types, FhirVersion))
