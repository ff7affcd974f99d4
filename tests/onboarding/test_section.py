"""The interface's fields that resources have."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.interface import INTERFACE
from shared.fhir.versions import FhirVersion
from shared.onboarding.section import field_reports, is_there
from tests.onboarding.conftest import JSON

DEEP: Any = "x"
for _ in range(5000):
    DEEP = [DEEP]
CODE = "identifier.type.coding.code=MR"


def identified(*codes: Any) -> dict[str, Any]:
    return {"identifier": [{"value": "1"}, *({"type": {"coding": [{}, {"code": code}]}} for code in codes)]}


@pytest.mark.parametrize(
    ("path", "there", "resources"),
    [
        ("a.b|c.d", True, [{"a": {"b": "x"}}, {"a": [{}, {"b": ["x"]}]}, {"a": {"b": 0}}, {"c": {"d": "x"}}]),
        ("a.b|c.d", False, [{"c": {}, "a": {"b": None}}, {"a": {"b": ""}}, {"a": {"b": []}}, {"a": {"b": {}}}, {}]),
        ("a.b|c.d", False, [{"a": "b"}, {"a": DEEP}]),
        ("a", False, [{"a": DEEP}]),  # no list of lists is followed
        (CODE, True, [identified("MR"), identified("SS", "MR")]),
        (CODE, False, [identified("SS"), identified("mr"), identified(), identified({"code": "MR"})]),
    ],
)
def test_a_path_is_there_when_a_value_is_reached(path: str, there: bool, resources: list[dict[str, Any]]) -> None:
    assert [is_there(resource, path) for resource in resources] == [there] * len(resources)


@given(JSON, st.lists(st.sampled_from("abcd"), min_size=1, max_size=4))
def test_any_json_can_be_looked_through(value: Any, names: list[str]) -> None:
    path = ".".join(names)
    assert is_there({"a": [{"b": value}, {"b": {}}]}, f"a.b.{path}") is is_there({"x": value}, f"x.{path}")


def test_a_component_s_field_has_to_be_in_each_component_where_there_are_some() -> None:
    (interface,) = (found for found in INTERFACE[FhirVersion.R4] if found.type == "Observation")
    coded: dict[str, Any] = {"code": {"coding": [{"code": "8480-6", "display": "Systolic"}]}}
    named: dict[str, Any] = {"code": {"coding": [{"display": "Diastolic"}]}}
    observations: list[dict[str, Any]] = [{"component": [coded, coded]}, {"component": [coded, named]}]
    for seen, code, display in (([*observations, {}, {"component": "x"}], (1, 2), (2, 2)), ([{}], (0, 0), (0, 0))):
        counts = {found.path: (found.present, found.entries) for found in field_reports(interface, seen)}
        assert counts["component.code.coding.code"] == code
        assert counts["component.code.coding.display"] == display
