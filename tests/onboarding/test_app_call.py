"""The app's calls: how they are spelled, and that their labels tell of no patient."""

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.interface import INTERFACE
from shared.fhir.versions import FhirVersion
from shared.onboarding import app_call
from tests.onboarding.conftest import JSON

PATIENT = {version: next(found for found in INTERFACE[version] if found.type == "Patient") for version in FhirVersion}
BRIAN = {
    "name": [{"family": ["O, Brian"], "given": ["Ann"]}],
    "birthDate": "1970-01-02",
    "gender": "female",
    "identifier": [{"system": "urn:mrn", "value": "a|b$"}],
}
FAMILY = r"family=O\, Brian"
SEARCHES = (
    *(f"given=Ann&{FAMILY}", "_id=7", FAMILY, "given=Ann"),
    *("birthdate=1970-01-02", "gender=female", r"identifier=urn:mrn|a\|b\$"),
)


@pytest.mark.parametrize(("patient", "searches"), [(BRIAN, SEARCHES), ({"name": "Ann"}, ("_id=7",))])
def test_a_patient_is_searched_by_all_its_own_values(patient: dict[str, Any], searches: tuple[str, ...]) -> None:
    found = app_call.patient_searches(FhirVersion.STU3, PATIENT[FhirVersion.STU3], {"id": "7", **patient})
    assert tuple("&".join(f"{name}={value}" for name, value in pairs) for pairs in found) == searches


@given(st.fixed_dictionaries({"name": JSON, "birthDate": JSON, "gender": JSON, "identifier": JSON}))
def test_a_search_holds_whatever_a_server_calls_a_patient_and_its_label_nothing(patient: dict[str, Any]) -> None:
    for version in FhirVersion:
        for pairs in app_call.patient_searches(version, PATIENT[version], {**patient, "id": "7"}):
            call = app_call.search_by_form("Patient", pairs)
            assert tuple(parse_qsl((call.body or b"").decode("ascii"), strict_parsing=True)) == pairs
            assert call.label == f"POST Patient/_search?{'&'.join(name for name, _ in pairs)}"


@given(st.text(max_size=70))
def test_only_an_id_can_be_read(text: str) -> None:
    if app_call.is_id(text):
        assert app_call.read("Patient", text).interaction.path == f"Patient/{text}"
        assert 0 < len(text) <= 255
        assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
