import string
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from shared.fhir.errors import FhirError
from shared.fhir.interaction import MOST_ENTRIES, InteractionKind, batch_entries, bundle_kind, parse

BASE = "https://provider.example/fhir"
GATEWAY = ("https://gateway.example/stu3", "https://gateway.example/fhir")

TYPES = st.sampled_from(["Patient", "Observation", "MedicationRequest", "X"])
IDS = st.text(string.ascii_letters + string.digits + "-.", min_size=1, max_size=64)
SEGMENTS = TYPES | IDS | st.sampled_from(["_history", "_search", "metadata", "$everything", "*", "", ".", "..", "..."])
NASTY = st.sampled_from(
    [
        "%2e%2e",
        "%2E",
        "..%2f",
        "%2F",
        "%5C",
        "\\",
        "//",
        ";",
        "https://evil.example",
        "@",
        "?",
        "#",
        "\r\n",
        "ä",
        "％2e",
    ]
)
PATHS = st.lists(SEGMENTS | NASTY | st.text(max_size=5), max_size=6).map("/".join)


def refused(method: str, path: str, query: str = "") -> FhirError:
    with pytest.raises(FhirError) as caught:
        parse(method, path, query, {})
    return caught.value


def batch(*requests: dict[str, object], type: str = "batch") -> dict[str, object]:
    return {"resourceType": "Bundle", "type": type, "entry": [{"request": request} for request in requests]}


@pytest.mark.parametrize(
    ("method", "path", "query", "kind"),
    [
        ("GET", "", "", "search-system"),
        ("GET", "", "_getpages=1", "search-system"),
        ("POST", "", "", "batch"),
        ("GET", "metadata", "", "capabilities"),
        ("GET", "_history", "", "history-system"),
        ("GET", "_search", "", "search-system"),
        ("POST", "_search", "", "search-system"),
        ("GET", "$convert", "", "operation"),
        ("POST", "$convert", "", "operation"),
        ("GET", "Patient", "name=x", "search-type"),
        ("HEAD", "Patient", "name=x", "search-type"),
        ("POST", "Patient/_search", "", "search-type"),
        ("GET", "Patient/_search", "ct=abc", "search-type"),
        ("POST", "Patient", "", "create"),
        ("PUT", "Patient", "identifier=1", "update"),
        ("PATCH", "Patient", "identifier=1", "patch"),
        ("DELETE", "Patient", "identifier=1", "delete"),
        ("GET", "Patient/_history", "", "history-type"),
        ("GET", "Patient/$match", "", "operation"),
        ("GET", "Patient/a.B-9", "", "read"),
        ("HEAD", "Patient/1", "", "read"),
        ("PUT", "Patient/1", "", "update"),
        ("PATCH", "Patient/1", "", "patch"),
        ("DELETE", "Patient/1", "", "delete"),
        ("GET", "Patient/1/_history", "", "history-instance"),
        ("GET", "Patient/1/_history/2", "", "vread"),
        ("POST", "Patient/1/$everything", "", "operation"),
        ("GET", "Patient/1/Observation", "", "search-type"),
        ("GET", "Patient/1/*", "", "search-type"),
    ],
)
def test_each_url_of_the_spec_is_its_interaction(method: str, path: str, query: str, kind: str) -> None:
    assert parse(method, path, query, {}).kind is InteractionKind(kind)


def test_the_parts_of_a_path_are_told_apart() -> None:
    vread = parse("GET", "Patient/1/_history/2", "", {})
    assert (vread.type, vread.id, vread.version_id) == ("Patient", "1", "2")
    operation = parse("GET", "Patient/1/$everything", "", {})
    assert (operation.type, operation.id, operation.operation) == ("Patient", "1", "everything")


def test_a_compartment_search_has_the_type_that_is_searched() -> None:
    one = parse("GET", "Patient/1/Observation", "", {})
    assert (one.type, one.compartment, one.id) == ("Observation", "Patient", "1")
    every = parse("GET", "Patient/1/*", "", {})
    assert (every.type, every.compartment, every.id) == (None, "Patient", "1")


def test_an_id_may_be_spelled_like_a_type() -> None:
    interaction = parse("GET", "Patient/Observation", "", {})
    assert (interaction.kind, interaction.id) == (InteractionKind.READ, "Observation")


def test_one_trailing_slash_is_dropped() -> None:
    assert parse("GET", "Patient/1/", "", {}).path == "Patient/1"
    assert refused("GET", "Patient/1//").status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/Patient",
        "/metadata",
        "/$op",
        "/*",
        "//evil.example/Patient",
        "Patient//1",
        ".",
        "..",
        "../Patient",
        "Patient/..",
        "Patient/../admin",
        "Patient/.",
        "Patient/...",
        "Patient/1/_history/..",
        "Patient/1/./Observation",
        "Patient/%2e%2e",
        "Patient/%2E%2E/x",
        "Patient%2F1",
        "Patient%2f1",
        "Patient/1%5C",
        "Patient\\1",
        "Patient/1;x=1",
        "Patient/1%00",
        "Patient/1\n",
        "\nPatient",
        "Patient/1 ",
        "Patient/é",
        "Patient/1?x",
        "Patient/1#x",
        "https://evil.example/Patient",
        "Patient/1@evil.example",
        "%50atient/1",
        "Patient/%24everything",
    ],
)
def test_a_path_that_could_lead_elsewhere_is_a_bad_request(path: str) -> None:
    assert refused("GET", path).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "patient",
        "Patient1",
        "Patient/_x",
        "Patient/a_b",
        "Patient/" + "a" * 65,
        "A" * 65,
        "metadata/x",
        "metadata/_history",
        "Patient/metadata/metadata",
        "_history/1",
        "Patient/_history/1",
        "_search/1",
        "Patient/1/_search",
        "Patient/1/2",
        "Patient/1/Observation/2",
        "Patient/1/Observation/_search",
        "Patient/1/_history/2/$meta",
        "Patient/*",
        "*",
        "$",
        "$1",
        "Patient/1/_history/2/3",
        "1",
        "_tags",
    ],
)
def test_a_path_that_is_not_fhirs_is_not_found(path: str) -> None:
    assert refused("GET", path).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "Patient/1", "GET, HEAD, PUT, PATCH, DELETE"),
        ("PUT", "", "GET, HEAD, POST"),
        ("DELETE", "Patient/1/_history/2", "GET, HEAD"),
        ("POST", "metadata", "GET, HEAD"),
        ("PUT", "Patient/_search", "GET, HEAD, POST"),
        ("get", "Patient", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("TRACE", "Patient/1", "GET, HEAD, PUT, PATCH, DELETE"),
    ],
)
def test_a_method_that_is_not_defined_is_answered_with_those_that_are(method: str, path: str, allow: str) -> None:
    error = refused(method, path)
    assert (error.status, error.code, error.headers) == (405, "not-supported", {"Allow": allow})


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_conditional_interaction_needs_a_condition(method: str) -> None:
    assert parse(method, "Patient", "identifier=1", {}).conditional
    assert not parse(method, "Patient/1", "_format=json", {}).conditional
    assert refused(method, "Patient").status == 400


def test_if_none_exist_makes_a_create_conditional() -> None:
    assert not parse("POST", "Patient", "", {}).conditional
    create = parse("POST", "Patient", "", {"if-none-exist": "identifier=1"})
    assert (create.conditional, create.criteria) == (True, "identifier=1")


def test_errors_do_not_repeat_the_path() -> None:
    for path in ("Patient/Ruth_Black", "Patient/Ruth%20Black"):
        assert "Ruth" not in refused("GET", path).diagnostics


@given(PATHS, st.sampled_from(["GET", "POST", "PUT"]))
def test_no_path_leads_outside_the_base(path: str, method: str) -> None:
    try:
        canonical = parse(method, path, "x=1", {}).path
    except FhirError as error:
        if error.status not in (400, 404, 405):
            raise
        return
    url = f"{BASE}/{canonical}"
    for joined in (url, urljoin(f"{BASE}/", canonical), str(URL(url)), str(URL(f"{BASE}/").join(URL(canonical)))):
        assert joined == url
        parts = urlsplit(unquote(joined))
        assert parts.netloc == "provider.example"
        assert parts.path.startswith("/fhir/")
        assert not parts.query
        assert not parts.fragment


@given(PATHS)
def test_a_canonical_path_stays_as_it_is(path: str) -> None:
    try:
        once = parse("GET", path, "", {})
    except FhirError:
        return
    assert parse("GET", once.path, "", {}) == once


@given(TYPES, IDS.filter(lambda id: id.strip(".")), IDS.filter(lambda id: id.strip(".")))
def test_every_id_of_the_grammar_is_read(type: str, id: str, version: str) -> None:
    interaction = parse("GET", f"{type}/{id}/_history/{version}", "", {})
    assert (interaction.type, interaction.id, interaction.version_id) == (type, id, version)


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
