from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.hospitals.paging import ContinuationTokens, PageNumbers, Paging, Search, StoredPages
from local.hospitals.search import search, span

BASE = "http://127.0.0.1:8101/r4"


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, micro: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, micro, UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", utc(2024, 1, 1), utc(2025, 1, 1)),
        ("2024-02", utc(2024, 2, 1), utc(2024, 3, 1)),
        ("2024-12-31", utc(2024, 12, 31), utc(2025, 1, 1)),
        ("2024-05-06T07:08", utc(2024, 5, 6, 7, 8), utc(2024, 5, 6, 7, 9)),
        ("2024-05-06T07:08:09Z", utc(2024, 5, 6, 7, 8, 9), utc(2024, 5, 6, 7, 8, 10)),
        ("2024-05-06T07:08:09-05:00", utc(2024, 5, 6, 12, 8, 9), utc(2024, 5, 6, 12, 8, 10)),
        ("2024-05-06T07:08:09.5Z", utc(2024, 5, 6, 7, 8, 9, 500_000), utc(2024, 5, 6, 7, 8, 9, 600_000)),
    ],
)
def test_a_date_stands_for_its_whole_span(text: str, start: datetime, end: datetime) -> None:
    assert span(text) == (start, end)


@given(st.text(min_size=1))
def test_an_escaped_value_finds_itself(text: str) -> None:
    patient = {"resourceType": "Patient", "id": "1", "identifier": [{"system": "urn:x", "value": text}]}
    escaped = "".join(f"\\{letter}" if letter in "\\,|$" else letter for letter in text)
    assert search([patient], "Patient", (("identifier", f"urn:x|{escaped}"),), BASE) == [patient]
    assert search([patient], "Patient", (("identifier", f"no,{escaped}"),), BASE) == [patient]


_SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["coding", "code", "system", "value", "reference", "start", "end"]), inner)
    ),
    max_leaves=8,
)


@given(_SHAPES, st.sampled_from(["subject=1001", "code=8867-4", "date=ge2020", "_sort=-date", "_sort=code"]))
def test_a_resource_of_any_shape_can_be_searched(shape: object, query: str) -> None:
    odd = {"resourceType": "Observation", "id": "1", "subject": shape, "code": shape, "effectiveDateTime": shape}
    odd["effectivePeriod"] = shape
    assert len(search([odd, odd], "Observation", tuple(parse_qsl(query)), BASE)) in (0, 2)


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("eq2024-05-10", ["b"]),
        ("2024-05", ["a", "b", "c"]),
        ("ne2024-05-10", ["a", "c"]),
        ("gt2024-05-10", ["c"]),
        ("ge2024-05-10", ["b", "c"]),
        ("lt2024-05-10", ["a"]),
        ("le2024-05-10", ["a", "b"]),
        ("sa2024-05-09", ["b", "c"]),
        ("eb2024-05-10", ["a"]),
    ],
)
def test_a_dates_prefix_compares(prefix: str, found: list[str]) -> None:
    days = {"a": "2024-05-09", "b": "2024-05-10", "c": "2024-05-11T10:00:00Z"}
    resources = [{"resourceType": "Observation", "id": id, "effectiveDateTime": day} for id, day in days.items()]
    assert [match["id"] for match in search(resources, "Observation", (("date", prefix),), BASE)] == found


def test_an_encounter_that_lasts_has_no_end() -> None:
    visit = {"resourceType": "Encounter", "id": "1", "period": {"start": "2024-05-10T08:00:00Z"}}
    assert search([visit], "Encounter", (("date", "gt2090"),), BASE) == [visit]
    assert search([visit], "Encounter", (("date", "lt2024-05-10"),), BASE) == []


def test_strings_are_compared_without_case_and_accents() -> None:
    patient = {"resourceType": "Patient", "id": "1", "name": [{"family": "García"}]}
    assert search([patient], "Patient", (("family", "GARCIA"),), BASE) == [patient]


def test_what_has_no_value_is_sorted_last_either_way() -> None:
    dated = {"resourceType": "Patient", "id": "dated", "birthDate": "1980"}
    resources = [{"resourceType": "Patient", "id": "undated"}, dated]
    for order in ("birthdate", "-birthdate"):
        assert search(resources, "Patient", (("_sort", order),), BASE)[0] is dated


@pytest.mark.parametrize("style", [StoredPages, ContinuationTokens, PageNumbers])
@given(
    parameters=st.lists(st.tuples(st.sampled_from(["given", "code", "x:y"]), st.text(max_size=20)), max_size=4),
    page=st.integers(1, 1000),
)
def test_a_link_leads_to_the_place_it_was_made_for(
    style: type[Paging], parameters: list[tuple[str, str]], page: int
) -> None:
    paging = style()
    place = Search("Patient", (*parameters, ("_count", "7")), page * 7, 7)
    parts = urlsplit(paging.link(BASE, place))
    type = parts.path.removeprefix("/r4").strip("/")
    pairs = tuple(parse_qsl(parts.query, keep_blank_values=True))
    assert paging.resume(type, pairs, posted=False) == place
