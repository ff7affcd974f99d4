import json

import pytest

from shared.fhir.batch_response import EntryResponse, batch_response
from shared.fhir.versions import FhirFormat, FhirVersion

ONE, OTHER = "https://gateway.example/r4/Patient/1", "https://gateway.example/r4/Patient/2"


@pytest.mark.parametrize("format", FhirFormat)
@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ([ONE, OTHER], [ONE, OTHER]),
        ([ONE, OTHER, ONE, ONE], [ONE, OTHER, None, None]),
        ([None, None, ONE], [None, None, ONE]),
    ],
)
def test_a_full_url_stands_once(format: FhirFormat, asked: list[str | None], named: list[str | None]) -> None:
    assert b"entry" not in batch_response([], FhirVersion.R4, format)
    body = b"{}" if format is FhirFormat.JSON else b"<Patient/>"
    bundle = batch_response((EntryResponse(200, body, url) for url in asked), FhirVersion.R4, format)
    if format is FhirFormat.JSON:
        assert [entry.get("fullUrl") for entry in json.loads(bundle)["entry"]] == named
    else:
        assert [url for url in named if url] == [part.split(b'"')[1].decode() for part in bundle.split(b"<fullUrl")[1:]]


@pytest.mark.parametrize(
    ("document", "inside"),
    [
        (b"<?xml version='1.0'?>\n<!-- a--b --><Patient id='1'/>", b"<Patient id='1'/>"),
        (
            b'<Patient xmlns:s="u" s:schemaLocation="a >b" id="1"><x/></Patient>',
            b'<Patient xmlns:s="u" id="1"><x/></Patient>',
        ),
        (b"<Patient id='s:schemaLocation=\"\"' />", b"<Patient id='s:schemaLocation=\"\"' />"),
    ],
)
def test_a_documents_root_stands_in_an_entry_without_what_only_a_document_has(document: bytes, inside: bytes) -> None:
    bundle = batch_response([EntryResponse(200, document)], FhirVersion.R4, FhirFormat.XML)
    assert b"<resource>" + inside + b"</resource>" in bundle
