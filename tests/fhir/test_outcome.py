import json
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome as R4OperationOutcome
from fhir.resources.STU3.operationoutcome import OperationOutcome as Stu3OperationOutcome
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.errors import FhirError
from shared.fhir.outcome import error_response, format_for_errors, operation_outcome, rewritten_outcome
from shared.fhir.versions import FhirFormat, FhirVersion


def test_an_error_becomes_its_status_headers_and_a_valid_outcome() -> None:
    error = FhirError(405, "not-supported", 'Only "GET" & <HEAD>', {"Allow": "GET"})
    as_json = error_response(error, FhirVersion.DSTU2, FhirFormat.JSON)
    as_xml = error_response(error, FhirVersion.R4, FhirFormat.XML)
    for response, media in ((as_json, "application/json+fhir"), (as_xml, "application/fhir+xml")):
        assert response.status == 405
        headers = {"Allow": "GET", "Cache-Control": "no-store", "Vary": "Authorization"}
        assert response.headers == {**headers, "Content-Type": f"{media}; charset=utf-8"}
    outcome = operation_outcome("not-supported", error.diagnostics)
    assert json.loads(as_json.body) == outcome
    for model in (Stu3OperationOutcome, R4OperationOutcome):
        assert model.model_validate(outcome).model_dump(mode="json", exclude_none=True) == outcome
    diagnostics = ElementTree.fromstring(as_xml.body).find("*/{http://hl7.org/fhir}diagnostics")  # noqa: S314
    assert diagnostics is not None
    assert diagnostics.get("value") == error.diagnostics


@pytest.mark.parametrize(
    ("query", "accept", "format"),
    [
        ("_format=xml", "application/json", FhirFormat.XML), ("", "application/xml", FhirFormat.XML),
        ("", "application/fhir+xml;fhirVersion=9.9", FhirFormat.XML),
        ("_format=json", "application/xml", FhirFormat.JSON), ("_format=html", "application/xml", FhirFormat.JSON),
        ("", "text/html", FhirFormat.JSON), ("", "*/*", FhirFormat.JSON), ("", None, FhirFormat.JSON),
    ],
)  # fmt: skip
def test_an_error_is_xml_only_for_who_asks_for_it(query: str, accept: str | None, format: FhirFormat) -> None:
    assert format_for_errors(query, accept) is format


DETAILS = {"coding": [{"system": "urn:a", "code": "b"}, {"code": "c", "display": "d"}], "text": '<&">\u00fc'}
ISSUE = {"severity": "error", "code": "value", "details": DETAILS, "diagnostics": "line\nbreak"}
ISSUE |= {"location": ["f:Patient[1]", "line 2"], "expression": ["Patient.name[0]"]}
OUTCOME = {"resourceType": "OperationOutcome", "issue": [ISSUE, {"severity": "information", "code": "informational"}]}


def test_an_outcome_is_the_same_in_either_format() -> None:
    xml = rewritten_outcome(json.dumps(OUTCOME).encode(), FhirFormat.JSON)
    assert xml.startswith(b'<?xml version="1.0" encoding="UTF-8"?><OperationOutcome xmlns="http://hl7.org/fhir">')
    assert json.loads(rewritten_outcome(xml, FhirFormat.XML)) == OUTCOME


def test_an_outcome_loses_only_what_is_not_of_its_issues() -> None:
    xml = b"""<?xml version="1.0"?><f:OperationOutcome xmlns:f="http://hl7.org/fhir"><f:id value="x"/>
        <f:text><f:status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p>code</p></div></f:text>
        <f:issue id="1"><f:severity value="fatal"><f:extension url="u"/></f:severity><f:code value="invalid"/>
        <f:diagnostics value="no"/></f:issue></f:OperationOutcome>"""
    issue = {"severity": "fatal", "code": "invalid", "diagnostics": "no"}
    assert json.loads(rewritten_outcome(xml, FhirFormat.XML)) == {**OUTCOME, "issue": [issue]}


NAMES = st.sampled_from(["issue", "severity", "code", "details", "coding", "text", "location", "x"])
ISSUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=15,
)


@given(ISSUES)
def test_any_outcome_becomes_one_of_the_other_format(issue: object) -> None:
    body = json.dumps({"resourceType": "OperationOutcome", "issue": issue}).encode()
    xml = ElementTree.fromstring(rewritten_outcome(body, FhirFormat.JSON))  # noqa: S314
    assert xml.findall("{http://hl7.org/fhir}issue/{http://hl7.org/fhir}severity")


def test_an_outcome_that_nobody_reads_is_not_rewritten() -> None:
    body = json.dumps({**OUTCOME, "issue": OUTCOME["issue"] * 2000}).encode()
    assert len(rewritten_outcome(body, FhirFormat.JSON)) < 400
