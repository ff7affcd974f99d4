from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.hospitals.search import search

BASE = "http://127.0.0.1:8101/r4"


@given(st.text(min_size=1))
def test_an_escaped_value_finds_itself(text: str) -> None:
    patient = {"resourceType": "Patient", "id": "1", "identifier": [{"system": "urn:x", "value": text}]}
    escaped = "".join(f"\\{letter}" if letter in "\\,|$" else letter for letter in text)
    assert search([patient], "Patient", (("identifier", f"urn:x|{escaped}"),), BASE) == [patient]
    assert search([patient], "Patient", (("identifier", f"no,{escaped}"),), BASE) == [patient]


_KEYS = st.sampled_from(["coding", "code", "system", "value", "reference", "start", "end"])
_SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=8,
)


@given(_SHAPES, st.sampled_from(["subject=1001", "code=8867-4", "date=ge2020", "_sort=-date", "_sort=code"]))
def test_a_resource_of_any_shape_can_be_searched(shape: object, query: str) -> None:
    odd = {"resourceType": "Observation", "id": "1", "subject": shape, "code": shape, "effectiveDateTime": shape}
    odd["effectivePeriod"] = shape
    assert len(search([odd, odd], "Observation", tuple(parse_qsl(query)), BASE)) in (0, 2)


@pytest.mark.parametrize(
    ("date", "found"),
    [
        *(("eq2024-05-10", "b"), ("2024-05", "abc"), ("2024", "abc"), ("ne2024-05-10", "acd")),
        *(("gt2024-05-10", "cd"), ("ge2024-05-10", "bcd"), ("lt2024-05-10", "a"), ("le2024-05-10", "ab")),
        *(("sa2024-05-09", "bcd"), ("eb2024-05-10", "a"), ("2024-05-11T10:00", "c"), ("gt2090", "d")),
        *(("2024-05-11T05:00:00-05:00", "c"), ("gt2024-05-11T10:00:00.5Z", "cd"), ("eb2024-05-11T10:00:00.9Z", "ab")),
    ],
)
def test_a_date_is_compared_by_its_whole_span(date: str, found: str) -> None:
    days = {"a": "2024-05-09", "b": "2024-05-10", "c": "2024-05-11T10:00:00Z"}
    periods = {id: {"start": day, "end": day} for id, day in days.items()}
    periods["d"] = {"start": "2024-05-12T08:00:00Z"}  # it lasts
    resources = [{"resourceType": "Encounter", "id": id, "period": period} for id, period in periods.items()]
    assert "".join(match["id"] for match in search(resources, "Encounter", (("date", date),), BASE)) == found


def test_strings_have_no_case_and_no_accents_and_what_has_no_value_is_sorted_last() -> None:
    dated = {"resourceType": "Patient", "id": "dated", "birthDate": "1980", "name": [{"family": "García"}]}
    resources = [{"resourceType": "Patient", "id": "undated"}, dated]
    assert search(resources, "Patient", (("family", "GARCIA"),), BASE) == [dated]
    for order in ("birthdate", "-birthdate"):
        assert search(resources, "Patient", (("_sort", order),), BASE)[0] is dated
