"""OperationOutcome: how an error reads under a FHIR base (http://hl7.org/fhir/R4/operationoutcome.html)."""

from typing import Any

import orjson

from shared.fhir.errors import FhirError
from shared.fhir.negotiation import content_type, requested_format
from shared.fhir.versions import FhirFormat, FhirVersion
from shared.fhir.xml_writer import to_xml
from shared.message import Response


def operation_outcome(code: str, diagnostics: str, severity: str = "error") -> dict[str, Any]:
    """An OperationOutcome of one issue, which reads the same in DSTU2, STU3 and R4."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "diagnostics": diagnostics}],
    }


def format_for_errors(query: str, accept: str | None) -> FhirFormat:
    """The format of an error, never raising: XML where the raw `query` or Accept asks for it, else JSON."""
    return requested_format(query, accept) or FhirFormat.JSON


def error_response(error: FhirError, version: FhirVersion, format: FhirFormat) -> Response:
    """The answer that `error` stands for: its status and headers, and its OperationOutcome in `format`."""
    outcome = operation_outcome(error.code, error.diagnostics)
    return Response(
        error.status,
        {**error.headers, "Content-Type": content_type(version, format), "Cache-Control": "no-store"},
        to_xml(outcome) if format is FhirFormat.XML else orjson.dumps(outcome),
    )
