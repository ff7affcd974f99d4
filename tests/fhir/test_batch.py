import json

import pytest

from shared.fhir.batch import MAX_ENTRIES, BatchEntry, RefusedEntry, batch_body, batch_entries, bundle_kind
from shared.fhir.batch_response import EntryResponse, batch_response
from shared.fhir.document import Bundle, Resource, run
from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind
from shared.fhir.json_document import read
from shared.fhir.rewriting import LinkMap
from shared.fhir.versions import FhirFormat, FhirVersion
from shared.fhir.xml_document import read as read_xml

PROVIDER = "https://provider.example/fhir"
UP = LinkMap(("https://gateway.example/stu3", "https://gateway.example/fhir"), PROVIDER)


def entries_of(document: dict[str, object]) -> tuple[BatchEntry | RefusedEntry, ...]:
    bundle = run(read(json.dumps(document).encode())).bundle
    assert bundle is not None
    return run(batch_entries(bundle, UP))


def requests_of(document: dict[str, object]) -> list[BatchEntry]:
    entries = entries_of(document)
    assert all(isinstance(entry, BatchEntry) for entry in entries), entries
    return [entry for entry in entries if isinstance(entry, BatchEntry)]


def refusal(document: dict[str, object]) -> FhirError:
    (refused,) = (entry for entry in entries_of(document) if isinstance(entry, RefusedEntry))
    return refused.error


def batch(*requests: dict[str, object]) -> dict[str, object]:
    return {"resourceType": "Bundle", "type": "batch", "entry": [{"request": request} for request in requests]}


def test_a_bundle_is_a_batch_or_a_transaction() -> None:
    assert bundle_kind(Resource("Bundle", 0, 0, Bundle("batch"))) is InteractionKind.BATCH
    assert bundle_kind(Resource("Bundle", 0, 0, Bundle("transaction"))) is InteractionKind.TRANSACTION
    for resource in (Resource("Patient", 0, 0), Resource("Bundle", 0, 0, Bundle("message"))):
        with pytest.raises(FhirError) as caught:
            bundle_kind(resource)
        assert caught.value.status == 400


def test_the_entries_of_a_batch_are_requests_in_its_order() -> None:
    one, search = requests_of(
        batch({"method": "GET", "url": "Patient/1"}, {"method": "GET", "url": "Condition?patient=1&_count=5"})
    )
    assert (one.index, one.interaction.kind, one.query) == (0, InteractionKind.READ, "")
    assert (search.index, search.interaction.type, search.query) == (1, "Condition", "patient=1&_count=5")
    assert entries_of({"resourceType": "Bundle", "type": "batch"}) == ()
    empty = batch_body(InteractionKind.BATCH, [], FhirFormat.JSON, FhirVersion.R4)
    assert empty == b'{"resourceType":"Bundle","type":"batch"}'


@pytest.mark.parametrize(
    "url",
    ["Patient/1", "/Patient/1", "https://gateway.example/stu3/Patient/1", "https://gateway.example/fhir/Patient/1/"],
)
def test_an_entry_is_relative_or_below_the_gateways_bases(url: str) -> None:
    (entry,) = requests_of(batch({"method": "GET", "url": url}))
    assert entry.interaction.path == "Patient/1"


@pytest.mark.parametrize(
    "url",
    [
        "", "//evil.example/Patient/1", "https://evil.example/Patient/1", "https://gateway.example/fhir2/Patient/1",
        "https://gateway.example/fhirPatient/1", "Patient?x=1#y", "https://gateway.example/stu3//Patient/1",
        "https://gateway.example/stu3@evil.example/Patient", "https://gateway.example/stu3/../r4/Patient/1",
        "../r4/Patient/1", "Patient/..", "Patient/1#x", "Patient?name=a b", "Patient?name=Müller",
        "Patient/1\r\nHost: evil.example", "Patient?x=\n", "/\\evil.example/Patient", "urn:uuid:1", "Patient/1/2",
        None,
    ],
)  # fmt: skip
def test_an_entry_that_leads_elsewhere_is_named_and_refused(url: object) -> None:
    error = refusal(batch({"method": "GET", "url": "Patient/1"}, {"method": "GET", "url": url}))
    assert error.status in (400, 404)
    assert error.diagnostics.startswith("Bundle.entry[1]: ")
    assert "evil" not in error.diagnostics


@pytest.mark.parametrize(
    ("request_", "type"),
    [
        (None, None), ({"url": "Patient/1"}, None), ({"method": "CONNECT", "url": "Patient/1"}, None),
        ({"method": "POST", "url": "/"}, None), ({"method": "POST", "url": UP.sources[0]}, None),
        ({"method": "POST", "url": "Patient"}, None), ({"method": "POST", "url": "Patient"}, "Practitioner"),
        ({"method": "PATCH", "url": "Patient/1"}, "Patient"), ({"method": "GET", "url": "Patient/1"}, "Patient"),
        ({"method": "POST", "url": "Patient/_search"}, "Parameters"),
        # conditions that are no headers
        *(({"method": "GET", "url": "Patient/1", **condition}, None) for condition in (
            {"ifMatch": "1\r\nAuthorization: x"}, {"ifNoneExist": "name=Müller"}, {"ifModifiedSince": "yesterday"},
            {"ifModifiedSince": "2020-02-29T01:30:00"}, {"ifModifiedSince": "0001-01-01T00:00:00+02:00"},
        )),
    ],
)  # fmt: skip
def test_a_malformed_entry_is_refused_by_itself(request_: dict[str, object] | None, type: str | None) -> None:
    entry = {"request": request_} | ({"resource": {"resourceType": type}} if type else {})
    assert refusal({"resourceType": "Bundle", "type": "batch", "entry": [entry]}).status in (400, 405)


@pytest.mark.parametrize(
    ("method", "url", "type", "kind"),
    [
        ("POST", "Patient", "Patient", "create"), ("PUT", "Patient/1", "Patient", "update"),
        ("PATCH", "Patient/1", "Binary", "patch"), ("PATCH", "Patient/1", "Parameters", "patch"),
        ("POST", "Patient/_search", None, "search-type"), ("DELETE", "Patient/1", None, "delete"),
    ],
)  # fmt: skip
def test_an_entry_carries_the_resource_that_goes_with_it(method: str, url: str, type: str | None, kind: str) -> None:
    entry = {"request": {"method": method, "url": url}} | ({"resource": {"resourceType": type}} if type else {})
    (found,) = requests_of({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert found.interaction.kind is InteractionKind(kind)
    assert (found.resource and found.resource.type) == type


def test_a_batch_of_too_many_entries_is_too_costly() -> None:
    requests: list[dict[str, object]] = [{"method": "GET", "url": "Patient/1"}] * (MAX_ENTRIES + 1)
    assert len(entries_of(batch(*requests[1:]))) == MAX_ENTRIES
    with pytest.raises(FhirError) as caught:
        entries_of(batch(*requests))
    assert (caught.value.status, caught.value.code) == (413, "too-costly")


def test_the_conditions_of_an_entry_become_headers() -> None:
    request: dict[str, object] = {"method": "GET", "url": "Patient/1", "ifNoneMatch": 'W/"1"', "ifMatch": 'W/"2"'}
    (entry,) = requests_of(batch(request | {"ifModifiedSince": "2020-02-29T01:30:00.5+02:00"}))
    since = "Fri, 28 Feb 2020 23:30:00 GMT"
    assert entry.headers == {"if-none-match": 'W/"1"', "if-match": 'W/"2"', "if-modified-since": since}


@pytest.mark.parametrize("format", FhirFormat)
def test_what_goes_up_is_written_from_what_was_judged(format: FhirFormat) -> None:
    base = UP.sources[0]
    sent = batch(
        {"method": "GET", "url": f"{base}/Patient?x=%7C&organization={base}/Organization/1"},
        {"method": "POST", "url": "/Patient/", "ifNoneExist": "identifier=a|<&\"'b"},
        {"method": "GET", "url": "Patient/1", "ifModifiedSince": "2020-02-29T01:30:00Z", "ifMatch": 'W/"2"'},
    )
    second = sent["entry"][1]  # type: ignore[index]
    second |= {"fullUrl": "https://gateway.example/fhir/Patient/x", "resource": {"resourceType": "Patient"}}
    contents = {1: b'{"resourceType":"Patient","a":1.10}' if format is FhirFormat.JSON else b"<Patient/>"}
    entries = [(entry, contents.get(entry.index)) for entry in requests_of(sent)]
    create = entries[1][0].interaction
    assert (create.conditional, create.criteria) == (True, "identifier=a|<&\"'b")
    written = batch_body(InteractionKind.TRANSACTION, entries, format, FhirVersion.STU3)
    read_again = run(read(written) if format is FhirFormat.JSON else read_xml(written))
    bundle = read_again.bundle
    assert bundle is not None
    assert (bundle.type, bundle.links) == ("transaction", ())
    resource = bundle.entries[1].resource
    assert resource is not None
    assert written[resource.start : resource.end] == contents[1]
    assert [(entry.full_url, entry.request) for entry in bundle.entries] == [
        (None, {"method": "GET", "url": f"Patient?x=%7C&organization={PROVIDER}/Organization/1"}),
        (f"{PROVIDER}/Patient/x", {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=a|<&\"'b"}),
        (None, {"method": "GET", "url": "Patient/1", "ifModifiedSince": "2020-02-29T01:30:00Z", "ifMatch": 'W/"2"'}),
    ]


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
