"""Gateway references are the provider's wherever a request holds criteria or a reference."""

import json
from urllib.parse import quote

import pytest

from tests.deployment import GATEWAY, Deployment
from tests.gateway.conftest import Provider

HERE = f"{GATEWAY}/stu3/Patient/1"


@pytest.mark.parametrize("spelt", ["{}", "Patient?{}", GATEWAY + "/stu3/Patient?{}", GATEWAY + "/fhir/Patient?{}"])
async def test_if_none_exist_asks_the_provider_for_its_own_resources(
    deployment: Deployment, provider: Provider, spelt: str
) -> None:
    provider.answers({"resourceType": "Patient", "id": "1"}, status=201)
    token = await deployment.token(await deployment.tenant(provider.base_url, Access="write"))
    criteria = spelt.format(f"identifier=a|1&link={HERE}")
    answer = await deployment.send("POST", "/fhir/Patient", token, {"resourceType": "Patient"}, if_none_exist=criteria)
    assert answer.status == 201
    assert provider.requests[0].headers["If-None-Exist"] == f"identifier=a|1&link={provider.base_url}/Patient/1"


async def test_criteria_of_another_type_are_no_criteria(deployment: Deployment, provider: Provider) -> None:
    token = await deployment.token(await deployment.tenant(provider.base_url, Access="write"))
    for criteria in (f"{GATEWAY}/stu3/Practitioner?identifier=1", "https://elsewhere.example/Patient?identifier=1"):
        sent = {"if_none_exist": criteria}
        answer = await deployment.send("POST", "/stu3/Patient", token, {"resourceType": "Patient"}, **sent)
        assert answer.status == 400
    assert not provider.requests


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
async def test_a_patch_sets_the_providers_reference(
    deployment: Deployment, provider: Provider, body: object, content_type: str
) -> None:
    provider.answers({"resourceType": "Patient", "id": "1"})
    token = await deployment.token(await deployment.tenant(provider.base_url, Access="write"))
    answer = await deployment.send("PATCH", "/stu3/Patient/1", token, json.dumps(body), content_type=content_type)
    assert answer.status == 200
    assert json.loads(provider.bodies[0]) == json.loads(
        json.dumps(body).replace(HERE, f"{provider.base_url}/Patient/1")
    )


async def test_a_form_and_a_query_name_the_providers_patient(deployment: Deployment, provider: Provider) -> None:
    provider.answers({"resourceType": "Bundle", "type": "searchset"})
    token = await deployment.token(await deployment.tenant(provider.base_url))
    form = f"patient={quote(HERE, safe='')}"
    await deployment.send(
        "POST", f"/stu3/Observation/_search?{form}", token, form, content_type="application/x-www-form-urlencoded"
    )
    there = f"patient={quote(f'{provider.base_url}/Patient/1', safe='')}"
    assert provider.targets == [f"/fhir/Observation/_search?{there}"]
    assert provider.bodies == [there.encode()]
