"""Which fields of the interface a resource has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.interface import INTERFACE
from shared.fhir.versions import FhirVersion
from shared.onboarding.fields import field_reports, is_there

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inside, max_size=3),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("resource", "there"),
    [
        ({"a": {"b": "x"}}, True),
        ({"a": [{}, {"b": ["x"]}]}, True),
        ({"a": {"b": False}}, True),
        ({"a": {"b": 0}}, True),
        ({"c": {}, "a": {"b": None}}, False),
        ({"a": {"b": ""}}, False),
        ({"a": {"b": []}}, False),
        ({"a": {"b": {}}}, False),
        ({"a": "b"}, False),
        ({"c": {"d": "x"}}, True),
        ({}, False),
    ],
)
def test_a_path_is_there_when_a_value_is_reached(resource: dict[str, Any], there: bool) -> None:
    assert is_there(resource, "a.b|c.d") is there


@given(JSON, st.lists(st.sampled_from("abcd"), min_size=1, max_size=4))
def test_any_json_can_be_looked_through(value: Any, names: list[str]) -> None:
    path = ".".join(names)
    wrapped = {"a": [{"b": value}, {"b": {}}]}
    assert is_there(wrapped, f"a.b.{path}") is is_there({"x": value}, f"x.{path}")


def test_lists_of_lists_are_not_followed() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert is_there({"a": deep}, "a") is False


def test_fields_are_counted_over_all_resources() -> None:
    condition = next(found for found in INTERFACE[FhirVersion.STU3] if found.type == "Condition")
    resources: list[dict[str, Any]] = [
        {"code": {"coding": [{"display": "Asthma"}]}, "severity": {"text": "mild"}},
        {"severity": {}},
    ]
    reports = field_reports(condition, resources)
    assert [(field.path, field.required, field.present, field.entries, field.share) for field in reports] == [
        ("code.coding.display", True, 1, 2, 0.5),
        ("assertedDate", False, 0, 2, 0.0),
        ("severity", False, 1, 2, 0.5),
    ]
