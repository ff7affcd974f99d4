"""Which fields of the interface a resource has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.interface import INTERFACE
from shared.fhir.versions import FhirVersion
from shared.onboarding.section import field_reports, is_there

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


@pytest.mark.parametrize(
    ("types", "there"),
    [
        (["MR"], True),
        (["SS", "MR"], True),
        (["SS"], False),
        (["mr"], False),
        ([], False),
        ([{"code": "MR"}], False),
    ],
)
def test_a_medical_record_number_is_an_identifier_of_that_type(types: list[Any], there: bool) -> None:
    patient = {"identifier": [{"value": "1"}, *({"type": {"coding": [{}, {"code": code}]}} for code in types)]}
    assert is_there(patient, "identifier.type.coding.code=MR") is there


def test_what_is_asked_of_components_is_asked_of_each_where_there_are_some() -> None:
    coded: dict[str, Any] = {"code": {"coding": [{"code": "8480-6", "display": "Systolic"}]}}
    named: dict[str, Any] = {"code": {"coding": [{"display": "Diastolic"}]}}
    observation = next(found for found in INTERFACE[FhirVersion.R4] if found.type == "Observation")
    whole, partly, single, odd = {"component": [coded, coded]}, {"component": [coded, named]}, {}, {"component": "x"}
    reports = {found.path: found for found in field_reports(observation, [whole, partly, single, odd])}
    code, display = reports["component.code.coding.code"], reports["component.code.coding.display"]
    assert (code.required, code.present, code.entries) == (True, 1, 2)
    assert (display.required, display.present, display.entries) == (False, 2, 2)
    assert [found.entries for found in field_reports(observation, [single]) if found.path.startswith("component.")] == [
        0,
        0,
    ]


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
