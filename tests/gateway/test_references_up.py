"""Gateway references are the provider's wherever a request holds criteria or a reference."""

import json
from urllib.parse import quote

import pytest

from tests.deployment import GATEWAY
from tests.gateway.conftest import Hospital

HERE = f"{GATEWAY}/stu3/Patient/1"


@pytest.mark.parametrize("spelt", ["{}", "Patient?{}", GATEWAY + "/stu3/Patient?{}", GATEWAY + "/fhir/Patient?{}"])
async def test_if_none_exist_asks_the_provider_for_its_own_resources(hospital: Hospital, spelt: str) -> None:
    hospital.answers({"resourceType": "Patient", "id": "1"}, status=201)
    await hospital.row(Access="write")
    criteria = spelt.format(f"identifier=a|1&link={HERE}")
    answer = await hospital.send("POST", "/fhir/Patient", {"resourceType": "Patient"}, if_none_exist=criteria)
    assert answer.status == 201
    assert hospital.requests[0].headers["If-None-Exist"] == f"identifier=a|1&link={hospital.base_url}/Patient/1"


async def test_criteria_of_another_type_are_no_criteria(hospital: Hospital) -> None:
    await hospital.row(Access="write")
    for criteria in (f"{GATEWAY}/stu3/Practitioner?identifier=1", "https://elsewhere.example/Patient?identifier=1"):
        sent = {"if_none_exist": criteria}
        answer = await hospital.send("POST", "/stu3/Patient", {"resourceType": "Patient"}, **sent)
        assert answer.status == 400
    assert not hospital.requests


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ([{"op": "replace", "path": "/managingOrganization/reference", "value": HERE}], "application/json-patch+json"),
        (
            {
                "resourceType": "Parameters",
                "parameter": [{"name": "operation", "part": [{"name": "value", "valueString": HERE}]}],
            },
            "application/fhir+json",
        ),
    ],
)
async def test_a_patch_sets_the_providers_reference(hospital: Hospital, body: object, content_type: str) -> None:
    hospital.answers({"resourceType": "Patient", "id": "1"})
    await hospital.row(Access="write")
    answer = await hospital.send("PATCH", "/stu3/Patient/1", json.dumps(body), content_type=content_type)
    assert answer.status == 200
    assert json.loads(hospital.bodies[0]) == json.loads(
        json.dumps(body).replace(HERE, f"{hospital.base_url}/Patient/1")
    )


async def test_a_form_and_a_query_name_the_providers_patient(hospital: Hospital) -> None:
    hospital.answers({"resourceType": "Bundle", "type": "searchset"})
    form = f"patient={quote(HERE, safe='')}"
    await hospital.send(
        "POST", f"/stu3/Observation/_search?{form}", form, content_type="application/x-www-form-urlencoded"
    )
    there = f"patient={quote(f'{hospital.base_url}/Patient/1', safe='')}"
    assert hospital.targets == [f"/fhir/Observation/_search?{there}"]
    assert hospital.bodies == [there.encode()]
