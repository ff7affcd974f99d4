import json
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome as R4OperationOutcome
from fhir.resources.STU3.operationoutcome import OperationOutcome as Stu3OperationOutcome
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.errors import FhirError
from shared.fhir.outcome import error_response, format_for_errors, operation_outcome
from shared.fhir.versions import FhirFormat, FhirVersion


@pytest.mark.parametrize("model", [Stu3OperationOutcome, R4OperationOutcome])
def test_an_outcome_is_valid(model: type[R4OperationOutcome] | type[Stu3OperationOutcome]) -> None:
    outcome = operation_outcome("too-costly", "Too much", severity="warning")

    assert model.model_validate(outcome).model_dump(mode="json", exclude_none=True) == outcome


def test_an_error_becomes_its_status_headers_and_outcome() -> None:
    error = FhirError(405, "not-supported", 'Only "GET" & <HEAD>', {"Allow": "GET"})

    as_json = error_response(error, FhirVersion.DSTU2, FhirFormat.JSON)
    as_xml = error_response(error, FhirVersion.R4, FhirFormat.XML)

    assert as_json.status == as_xml.status == 405
    assert as_json.headers == {
        "Allow": "GET",
        "Content-Type": "application/json+fhir; charset=utf-8",
        "Cache-Control": "no-store",
    }
    assert as_xml.headers["Content-Type"] == "application/fhir+xml; charset=utf-8"
    assert json.loads(as_json.body) == operation_outcome("not-supported", 'Only "GET" & <HEAD>')
    diagnostics = ElementTree.fromstring(as_xml.body).find("*/{http://hl7.org/fhir}diagnostics")  # noqa: S314
    assert diagnostics is not None
    assert diagnostics.get("value") == 'Only "GET" & <HEAD>'


@pytest.mark.parametrize(
    ("query", "accept", "format"),
    [
        ("_format=xml", "application/json", FhirFormat.XML),
        ("", "application/xml", FhirFormat.XML),
        ("", "application/fhir+xml;fhirVersion=9.9", FhirFormat.XML),
        ("_format=json", "application/xml", FhirFormat.JSON),
        ("_format=html", "application/xml", FhirFormat.JSON),
        ("", "text/html", FhirFormat.JSON),
        ("", "*/*", FhirFormat.JSON),
        ("", None, FhirFormat.JSON),
    ],
)
def test_an_error_is_xml_only_for_who_asks_for_it(query: str, accept: str | None, format: FhirFormat) -> None:
    assert format_for_errors(query, accept) is format


@given(st.text(max_size=200), st.none() | st.text(max_size=200))
def test_every_request_has_a_format_for_its_errors(query: str, accept: str | None) -> None:
    assert format_for_errors(query, accept) in FhirFormat
