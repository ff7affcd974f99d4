"""The app's calls: how they are spelled, and that their labels tell of no patient."""

from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.interface import INTERFACE
from shared.fhir.versions import FhirVersion
from shared.onboarding import app_call

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=3),
    max_leaves=8,
)
PATIENT = {version: next(found for found in INTERFACE[version] if found.type == "Patient") for version in FhirVersion}
BRIAN = {
    "name": [{"family": ["O, Brian"], "given": ["Ann"]}],
    "birthDate": "1970-01-02",
    "gender": "female",
    "identifier": [{"system": "urn:mrn", "value": "a|b$"}],
}
VALUES = (
    *("_id=7", r"family=O\, Brian", "given=Ann", "birthdate=1970-01-02", "gender=female"),
    r"identifier=urn:mrn|a\|b\$",
)


@pytest.mark.parametrize(
    ("patient", "searches"), [(BRIAN, (rf"given=Ann&{VALUES[1]}", *VALUES)), ({"name": "Ann"}, ("_id=7",))]
)
def test_a_patient_is_searched_by_all_its_own_values(patient: dict[str, Any], searches: tuple[str, ...]) -> None:
    found = app_call.patient_searches(FhirVersion.STU3, PATIENT[FhirVersion.STU3], {"id": "7", **patient})
    assert tuple("&".join(f"{name}={value}" for name, value in pairs) for pairs in found) == searches


@given(st.fixed_dictionaries({"name": JSON, "birthDate": JSON, "gender": JSON, "identifier": JSON}))
def test_a_search_holds_whatever_a_server_calls_a_patient_and_its_label_nothing(patient: dict[str, Any]) -> None:
    for version in FhirVersion:
        for pairs in app_call.patient_searches(version, PATIENT[version], {**patient, "id": "7"}):
            call = app_call.search_by_form("Patient", pairs)
            assert call.body is not None
            assert tuple(parse_qsl(call.body.decode("ascii"), strict_parsing=True)) == pairs
            assert call.label == f"POST Patient/_search?{'&'.join(name for name, _ in pairs)}"


@given(st.text(max_size=70))
def test_only_an_id_can_be_read(text: str) -> None:
    if app_call.is_id(text):
        assert app_call.read("Patient", text).interaction.path == f"Patient/{text}"
        assert 0 < len(text) <= 255
        assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def test_every_type_but_patient_and_location_is_searched_by_patient_alone_and_in_a_batch() -> None:
    for version, interfaces in INTERFACE.items():
        searches = {found.type: app_call.chart_search(version, found, "7") for found in interfaces}
        assert {type for type, pairs in searches.items() if pairs} == searches.keys() - {"Patient", "Location"}
        calls = [app_call.search(type, pairs) for type, pairs in searches.items() if pairs]
        batch = app_call.batch(version, calls)
        urls = [f"{call.interaction.path}?{call.query}" for call in calls]
        entries = [{"request": {"method": "GET", "url": url}} for url in urls]
        assert orjson.loads(batch.body or b"") == {"resourceType": "Bundle", "type": "batch", "entry": entries}
        assert (batch.body_type or "").startswith("application/")
    assert "Observation?patient=7&_sort=-date&category=vital-signs" in urls
