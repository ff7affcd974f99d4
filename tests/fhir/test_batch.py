import pytest

from shared.fhir.batch import MOST_ENTRIES, batch_entries, bundle_kind
from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind

GATEWAY = ("https://gateway.example/stu3", "https://gateway.example/fhir")


def batch(*requests: dict[str, object], type: str = "batch") -> dict[str, object]:
    return {"resourceType": "Bundle", "type": type, "entry": [{"request": request} for request in requests]}


def test_a_bundle_is_a_batch_or_a_transaction() -> None:
    assert bundle_kind(batch()) is InteractionKind.BATCH
    assert bundle_kind(batch(type="transaction")) is InteractionKind.TRANSACTION
    for document in ({}, {"resourceType": "Patient", "type": "batch"}, {"resourceType": "Bundle", "type": "message"}):
        with pytest.raises(FhirError) as caught:
            bundle_kind(document)
        assert caught.value.status == 400


def test_the_entries_of_a_batch_are_requests_in_its_order() -> None:
    read, search = batch_entries(
        batch({"method": "GET", "url": "Patient/1"}, {"method": "GET", "url": "Condition?patient=1&_count=5"}), GATEWAY
    )
    assert (read.index, read.interaction.kind, read.query) == (0, InteractionKind.READ, "")
    assert (search.index, search.interaction.type, search.query) == (1, "Condition", "patient=1&_count=5")


def test_a_batch_may_be_empty() -> None:
    assert batch_entries({"resourceType": "Bundle", "type": "batch"}, GATEWAY) == ()


@pytest.mark.parametrize(
    "url",
    ["Patient/1", "/Patient/1", "https://gateway.example/stu3/Patient/1", "https://gateway.example/fhir/Patient/1/"],
)
def test_an_entry_is_relative_or_below_the_gateways_bases(url: str) -> None:
    (entry,) = batch_entries(batch({"method": "GET", "url": url}), GATEWAY)
    assert entry.interaction.path == "Patient/1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "//evil.example/Patient/1",
        "https://evil.example/Patient/1",
        "https://gateway.example/fhir2/Patient/1",
        "https://gateway.example/fhirPatient/1",
        "Patient?x=1#y",
        "https://gateway.example/stu3//Patient/1",
        "https://gateway.example/stu3@evil.example/Patient",
        "https://gateway.example/stu3/../r4/Patient/1",
        "../r4/Patient/1",
        "Patient/..",
        "Patient/1#x",
        "Patient?name=a b",
        "Patient?name=Müller",
        "Patient/1\r\nHost: evil.example",
        "Patient?x=\n",
        "/\\evil.example/Patient",
        "urn:uuid:1",
        "Patient/1/2",
        7,
        None,
        ["Patient/1"],
    ],
)
def test_an_entry_that_leads_elsewhere_is_named_and_refused(url: object) -> None:
    with pytest.raises(FhirError, match=r"Bundle\.entry\[1\]") as caught:
        batch_entries(batch({"method": "GET", "url": "Patient/1"}, {"method": "GET", "url": url}), GATEWAY)
    assert caught.value.status == 400
    assert "evil" not in caught.value.diagnostics


@pytest.mark.parametrize(
    "document",
    [
        {"entry": {}},
        {"entry": ["Patient/1"]},
        {"entry": [{}]},
        {"entry": [{"request": []}]},
        {"entry": [{"request": {"url": "Patient/1"}}]},
        {"entry": [{"request": {"method": 1, "url": "Patient/1"}}]},
        {"entry": [{"request": {"method": "CONNECT", "url": "Patient/1"}}]},
        {"entry": [{"request": {"method": "POST", "url": "/"}}]},
        {"entry": [{"request": {"method": "POST", "url": "https://gateway.example/stu3"}}]},
        {"entry": [{"request": {"method": "POST", "url": "Patient"}}]},
        {"entry": [{"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Practitioner"}}]},
        {"entry": [{"request": {"method": "PUT", "url": "Patient/1"}, "resource": ["Patient"]}]},
        {"entry": [{"request": {"method": "PATCH", "url": "Patient/1"}, "resource": {"resourceType": "Patient"}}]},
        {"entry": [{"request": {"method": "GET", "url": "Patient/1"}, "resource": {"resourceType": "Patient"}}]},
        {
            "entry": [
                {"request": {"method": "POST", "url": "Patient/_search"}, "resource": {"resourceType": "Parameters"}}
            ]
        },
    ],
)
def test_a_malformed_batch_is_a_bad_request(document: dict[str, object]) -> None:
    with pytest.raises(FhirError) as caught:
        batch_entries({"resourceType": "Bundle", "type": "batch"} | document, GATEWAY)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("method", "url", "resource", "kind"),
    [
        ("POST", "Patient", {"resourceType": "Patient"}, InteractionKind.CREATE),
        ("PUT", "Patient/1", {"resourceType": "Patient"}, InteractionKind.UPDATE),
        ("PATCH", "Patient/1", {"resourceType": "Binary"}, InteractionKind.PATCH),
        ("POST", "Patient/_search", None, InteractionKind.SEARCH_TYPE),
        ("DELETE", "Patient/1", None, InteractionKind.DELETE),
    ],
)
def test_an_entry_carries_the_resource_its_interaction_takes(
    method: str, url: str, resource: dict[str, object] | None, kind: InteractionKind
) -> None:
    document = batch({"method": method, "url": url}, type="transaction")
    if resource is not None:
        document["entry"][0]["resource"] = resource  # type: ignore[index]
    (entry,) = batch_entries(document, GATEWAY)
    assert (entry.interaction.kind, entry.resource) == (kind, resource)


def test_a_batch_of_too_many_entries_is_too_costly() -> None:
    requests: list[dict[str, object]] = [{"method": "GET", "url": "Patient/1"}] * (MOST_ENTRIES + 1)
    assert len(batch_entries(batch(*requests[1:]), GATEWAY)) == MOST_ENTRIES
    with pytest.raises(FhirError) as caught:
        batch_entries(batch(*requests), GATEWAY)
    assert (caught.value.status, caught.value.code) == (413, "too-costly")


def test_the_conditions_of_an_entry_become_headers() -> None:
    (entry,) = batch_entries(
        batch(
            {
                "method": "GET",
                "url": "Patient/1",
                "ifNoneMatch": 'W/"1"',
                "ifMatch": 'W/"2"',
                "ifModifiedSince": "2020-02-29T01:30:00.5+02:00",
            }
        ),
        GATEWAY,
    )
    assert entry.headers == {
        "if-none-match": 'W/"1"',
        "if-match": 'W/"2"',
        "if-modified-since": "Fri, 28 Feb 2020 23:30:00 GMT",
    }


def test_a_conditional_create_in_a_batch_has_its_criteria() -> None:
    document = batch({"method": "POST", "url": "Patient", "ifNoneExist": "identifier=1"})
    document["entry"][0]["resource"] = {"resourceType": "Patient"}  # type: ignore[index]
    (entry,) = batch_entries(document, GATEWAY)
    assert (entry.interaction.conditional, entry.interaction.criteria) == (True, "identifier=1")


@pytest.mark.parametrize(
    "condition",
    [
        {"ifMatch": "1\r\nAuthorization: x"},
        {"ifNoneMatch": 1},
        {"ifNoneExist": "name=Müller"},
        {"ifModifiedSince": "yesterday"},
        {"ifModifiedSince": "2020-02-29T01:30:00"},
        {"ifModifiedSince": "0001-01-01T00:00:00+02:00"},
    ],
)
def test_a_condition_that_is_no_header_is_refused(condition: dict[str, object]) -> None:
    with pytest.raises(FhirError) as caught:
        batch_entries(batch({"method": "GET", "url": "Patient/1"} | condition), GATEWAY)
    assert caught.value.status == 400
