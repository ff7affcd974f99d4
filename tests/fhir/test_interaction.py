import string
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind, parse

BASE = "https://provider.example/fhir"

TYPES = st.sampled_from(["Patient", "Observation", "MedicationRequest", "X"])
IDS = st.text(string.ascii_letters + string.digits + "-._~", min_size=1, max_size=255).filter(
    lambda id: id.strip(".") and not id.startswith("_")
)
SEGMENTS = TYPES | IDS | st.sampled_from(["_history", "_search", "metadata", "$everything", "*", "", ".", "..", "..."])
NASTY = st.sampled_from(
    ["%2e%2e", "..%2f", "%2F", "%5C", "\\", "//", ";", "https://evil.example", "@", "?", "#", "\r\n", "ä", "％2e"]
)
PATHS = st.lists(SEGMENTS | NASTY | st.text(max_size=5), max_size=6).map("/".join)


def refused(method: str, path: str, query: str = "") -> FhirError:
    with pytest.raises(FhirError) as caught:
        parse(method, path, query, {})
    return caught.value


@pytest.mark.parametrize(
    ("method", "path", "query", "kind"),
    [
        ("GET", "", "", "search-system"), ("GET", "", "_getpages=1", "search-system"), ("POST", "", "", "batch"),
        ("GET", "metadata", "", "capabilities"), ("GET", "_history", "", "history-system"),
        ("GET", "_search", "", "search-system"), ("POST", "_search", "", "search-system"),
        ("GET", "$convert", "", "operation"), ("POST", "$convert", "", "operation"),
        ("GET", "Patient", "name=x", "search-type"), ("HEAD", "Patient", "name=x", "search-type"),
        ("POST", "Patient/_search", "", "search-type"), ("GET", "Patient/_search", "ct=abc", "search-type"),
        ("POST", "Patient", "", "create"), ("PUT", "Patient", "identifier=1", "update"),
        ("PATCH", "Patient", "identifier=1", "patch"), ("DELETE", "Patient", "identifier=1", "delete"),
        ("GET", "Patient/_history", "", "history-type"), ("GET", "Patient/$match", "", "operation"),
        ("GET", "Patient/a.B-9", "", "read"), ("GET", "Location/ward_12~a", "", "read"),
        ("GET", "Patient/_1", "", "read"), ("HEAD", "Patient/1", "", "read"), ("PUT", "Patient/1", "", "update"),
        ("PATCH", "Patient/1", "", "patch"), ("DELETE", "Patient/1", "", "delete"),
        ("GET", "Patient/1/_history", "", "history-instance"), ("GET", "Patient/1/_history/2", "", "vread"),
        ("POST", "Patient/1/$everything", "", "operation"), ("GET", "Patient/1/Observation", "", "search-type"),
        ("GET", "Patient/1/*", "", "search-type"),
    ],
)  # fmt: skip
def test_each_url_of_the_spec_is_its_interaction(method: str, path: str, query: str, kind: str) -> None:
    assert parse(method, path, query, {}).kind is InteractionKind(kind)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("Patient/1/_history/2", {"type": "Patient", "id": "1", "version_id": "2"}),
        ("Patient/1/$everything", {"type": "Patient", "id": "1", "operation": "everything"}),
        ("Patient/1/Observation", {"type": "Observation", "compartment": "Patient", "id": "1"}),
        ("Patient/1/*", {"type": None, "compartment": "Patient", "id": "1"}),
        ("Patient/Observation", {"kind": InteractionKind.READ, "id": "Observation"}),
        ("Patient/1/", {"path": "Patient/1"}),
    ],
)
def test_the_parts_of_a_path_are_told_apart(path: str, parts: dict[str, object]) -> None:
    interaction = parse("GET", path, "", {})
    assert {name: getattr(interaction, name) for name in parts} == parts


@pytest.mark.parametrize(
    "path",
    [
        "/", "//", "Patient/1//", "Patient/Ruth+Black", "Patient/Ruth%20Black", "/Patient", "/metadata", "/$op", "/*",
        "//evil.example/Patient", "Patient//1", ".", "..",
        "../Patient", "Patient/..", "Patient/../admin", "Patient/.", "Patient/...", "Patient/1/_history/..",
        "Patient/1/./Observation", "Patient/%2e%2e", "Patient/%2E%2E/x", "Patient%2F1", "Patient%2f1", "Patient/1%5C",
        "Patient\\1", "Patient/1;x=1", "Patient/1%00", "Patient/1\n", "\nPatient", "Patient/1 ", "Patient/é",
        "Patient/1?x", "Patient/1#x", "https://evil.example/Patient", "Patient/1@evil.example", "%50atient/1",
        "Patient/%24everything",
    ],
)  # fmt: skip
def test_a_path_that_could_lead_elsewhere_is_a_bad_request(path: str) -> None:
    error = refused("GET", path)
    assert error.status == 400
    assert "Ruth" not in error.diagnostics


@pytest.mark.parametrize("query", ["name=x#&_count=1", "#", "name=a b", "name=\n", "name=\x7f", "name=é"])
def test_a_query_that_would_go_up_as_another_is_a_bad_request(query: str) -> None:
    with pytest.raises(FhirError) as caught:
        parse("GET", "Patient", query, {})
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "path",
    [
        "patient", "Patient1", "Patient/_x", "Patient/_History", "Patient/1/_history/_SEARCH", "Patient/" + "a" * 256,
        "A" * 65, "metadata/x", "metadata/_history", "Patient/metadata/metadata", "_history/1", "Patient/_history/1",
        "_search/1", "Patient/1/_search", "Patient/1/2", "Patient/1/Observation/2", "Patient/1/Observation/_search",
        "Patient/1/_history/2/$meta", "Patient/*", "*", "$", "$1", "Patient/1/_history/2/3", "1", "_tags",
    ],
)  # fmt: skip
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


SELECTING = ["identifier=1", "_id=1", "_format=json&_tag=x", "_has:Observation:patient:code=1", "name:exact=%C3%A4"]
NOT_SELECTING = [
    "", "_format=json",
    "_count=1&_pretty=true&_sort=name&_summary=true&_elements=id&_total=none&_include=Patient:organization",
    "identifier", "identifier=", "identifier=%20&name=+", "identifier=%7C", "=1", "&&", "_ID=1", "_unknown=1",
    "%5Fformat=json", "_format=json;identifier=1", "identifier=;_format=json", "identifier=#1",
]  # fmt: skip


@pytest.mark.parametrize("query", SELECTING)
def test_a_condition_selects_by_a_parameter_with_a_value(query: str) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        assert parse(method, "Patient", query, {}).conditional
        assert not parse(method, "Patient/1", query, {}).conditional
    for criteria in (query, f"Patient?{query}"):
        create = parse("POST", "Patient", "", {"if-none-exist": criteria})
        assert (create.conditional, create.criteria) == (True, criteria)
    assert not parse("POST", "Patient", "", {}).conditional


@pytest.mark.parametrize("query", NOT_SELECTING)
def test_a_condition_that_selects_nothing_is_a_bad_request(query: str) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        assert refused(method, "Patient", query).status == 400
    for criteria in (query, f"Patient?{query}"):
        with pytest.raises(FhirError, match="selects"):
            parse("POST", "Patient", "", {"if-none-exist": criteria})


@given(PATHS, st.sampled_from(["GET", "POST", "PUT"]))
def test_no_path_leads_outside_the_base(path: str, method: str) -> None:
    try:
        interaction = parse(method, path, "x=1", {})
    except FhirError as error:
        if error.status not in (400, 404, 405):
            raise
        return
    canonical = interaction.path
    assert parse(method, canonical, "x=1", {}) == interaction
    url = f"{BASE}/{canonical}"
    for joined in (url, urljoin(f"{BASE}/", canonical), str(URL(url)), str(URL(f"{BASE}/").join(URL(canonical)))):
        assert joined == url
        parts = urlsplit(unquote(joined))
        assert (parts.netloc, parts.query, parts.fragment) == ("provider.example", "", "")
        assert parts.path.startswith("/fhir/")


@given(TYPES, IDS, IDS)
def test_every_id_of_the_grammar_is_read(type: str, id: str, version: str) -> None:
    interaction = parse("GET", f"{type}/{id}/_history/{version}", "", {})
    assert (interaction.type, interaction.id, interaction.version_id) == (type, id, version)
