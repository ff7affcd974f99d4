"""The app's calls: how they are spelled, and that their labels tell of no patient."""

from typing import Any
from urllib.parse import parse_qsl

import orjson
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.interface import INTERFACE, ResourceInterface
from shared.fhir.versions import FhirVersion
from shared.onboarding import app_call

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=3),
    max_leaves=8,
)


def patient_interface(version: FhirVersion) -> ResourceInterface:
    return next(found for found in INTERFACE[version] if found.type == "Patient")


def test_a_patient_is_searched_by_all_it_says_of_itself() -> None:
    patient = {
        "id": "7",
        "name": [{"family": ["O, Brian"], "given": ["Ann"]}],
        "birthDate": "1970-01-02",
        "gender": "female",
        "identifier": [{"system": "urn:mrn", "value": "a|b$"}],
    }
    searches = app_call.patient_searches(FhirVersion.STU3, patient_interface(FhirVersion.STU3), patient)
    assert searches == (
        (("given", "Ann"), ("family", r"O\, Brian")),
        (("_id", "7"),),
        (("family", r"O\, Brian"),),
        (("given", "Ann"),),
        (("birthdate", "1970-01-02"),),
        (("gender", "female"),),
        (("identifier", r"urn:mrn|a\|b\$"),),
    )
    call = app_call.search_by_form("Patient", searches[0])
    assert (call.label, call.body) == ("POST Patient/_search?given&family", b"given=Ann&family=O%5C%2C%20Brian")


def test_a_patient_without_a_name_is_searched_by_its_id() -> None:
    searches = app_call.patient_searches(FhirVersion.DSTU2, patient_interface(FhirVersion.DSTU2), {"id": "7"})
    assert searches == ((("_id", "7"),),)


@given(st.fixed_dictionaries({"name": JSON, "birthDate": JSON, "gender": JSON, "identifier": JSON}))
def test_whatever_a_server_calls_a_patient_can_be_asked_for(patient: dict[str, Any]) -> None:
    for version in FhirVersion:
        for pairs in app_call.patient_searches(version, patient_interface(version), {**patient, "id": "7"}):
            call = app_call.search_by_form("Patient", pairs)
            assert call.body is not None
            assert tuple(parse_qsl(call.body.decode("ascii"), strict_parsing=True)) == pairs
            assert call.label == f"POST Patient/_search?{'&'.join(name for name, _ in pairs)}"


@given(st.text(max_size=70))
def test_only_what_is_an_id_can_be_read(text: str) -> None:
    if app_call.is_id(text):
        assert app_call.read("Patient", text).interaction.path == f"Patient/{text}"
        assert 0 < len(text) <= 255
        assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def test_a_batch_holds_the_searches_as_they_are_asked_alone() -> None:
    observation = next(found for found in INTERFACE[FhirVersion.DSTU2] if found.type == "Observation")
    pairs = app_call.chart_search(FhirVersion.DSTU2, observation, "7")
    call = app_call.batch(FhirVersion.DSTU2, [app_call.search("Observation", pairs)])
    assert call.body_type == "application/json+fhir"
    assert orjson.loads(call.body or b"") == {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {
                "request": {
                    "method": "GET",
                    "url": "Observation?patient=7&_sort:desc=date&category=vital-signs",
                }
            }
        ],
    }


def test_every_type_but_patient_and_location_is_searched_by_patient() -> None:
    for version, interfaces in INTERFACE.items():
        asked = {found.type for found in interfaces if app_call.chart_search(version, found, "7")}
        assert asked == {found.type for found in interfaces} - {"Patient", "Location"}
