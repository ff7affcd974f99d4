"""The interface's fields that resources have."""

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
DEEP: Any = "x"
for _ in range(5000):
    DEEP = [DEEP]


def identified(*codes: Any) -> dict[str, Any]:
    return {"identifier": [{"value": "1"}, *({"type": {"coding": [{}, {"code": code}]}} for code in codes)]}


@pytest.mark.parametrize(
    ("path", "resource", "there"),
    [
        *(
            ("a.b|c.d", resource, True)
            for resource in (
                *({"a": {"b": "x"}}, {"a": [{}, {"b": ["x"]}]}, {"a": {"b": False}}, {"a": {"b": 0}}),
                {"c": {"d": "x"}},
            )
        ),
        *(
            ("a.b|c.d", resource, False)
            for resource in (
                *({"c": {}, "a": {"b": None}}, {"a": {"b": ""}}, {"a": {"b": []}}, {"a": {"b": {}}}, {"a": "b"}, {}),
                {"a": DEEP},
            )
        ),
        ("a", {"a": DEEP}, False),  # no list of lists is followed
        *(("identifier.type.coding.code=MR", identified(*codes), True) for codes in (["MR"], ["SS", "MR"])),
        *(
            ("identifier.type.coding.code=MR", identified(*codes), False)
            for codes in (["SS"], ["mr"], [], [{"code": "MR"}])
        ),
    ],
)
def test_a_path_is_there_when_a_value_is_reached(path: str, resource: dict[str, Any], there: bool) -> None:
    assert is_there(resource, path) is there


@given(JSON, st.lists(st.sampled_from("abcd"), min_size=1, max_size=4))
def test_any_json_can_be_looked_through(value: Any, names: list[str]) -> None:
    path = ".".join(names)
    wrapped = {"a": [{"b": value}, {"b": {}}]}
    assert is_there(wrapped, f"a.b.{path}") is is_there({"x": value}, f"x.{path}")


def counted(version: FhirVersion, type: str, *resources: dict[str, Any]) -> dict[str, tuple[bool, int, int]]:
    (interface,) = (found for found in INTERFACE[version] if found.type == type)
    reports = field_reports(interface, resources)
    return {report.path: (report.required, report.present, report.entries) for report in reports}


def test_fields_are_counted_over_all_resources() -> None:
    coded = {"code": {"coding": [{"display": "Asthma"}]}, "severity": {"text": "mild"}}
    assert counted(FhirVersion.STU3, "Condition", coded, {"severity": {}}) == {
        "code.coding.display": (True, 1, 2),
        "assertedDate": (False, 0, 2),
        "severity": (False, 1, 2),
    }


def test_a_component_s_field_has_to_be_in_each_component_where_there_are_some() -> None:
    coded: dict[str, Any] = {"code": {"coding": [{"code": "8480-6", "display": "Systolic"}]}}
    named: dict[str, Any] = {"code": {"coding": [{"display": "Diastolic"}]}}
    observations: list[dict[str, Any]] = [{"component": [coded, coded]}, {"component": [coded, named]}]
    fields = counted(FhirVersion.R4, "Observation", *observations, {}, {"component": "x"})
    assert fields["component.code.coding.code"] == (True, 1, 2)
    assert fields["component.code.coding.display"] == (False, 2, 2)
    assert counted(FhirVersion.R4, "Observation", {})["component.code.coding.code"] == (True, 0, 0)
