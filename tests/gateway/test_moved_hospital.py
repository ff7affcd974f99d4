"""A hospital moves and gets a new password, while this instance still remembers its row."""

import base64
import json

import pytest
from aiohttp import web

from tests.deployment import Deployment
from tests.gateway.conftest import Hospital


async def test_a_new_password_never_reaches_the_old_address(
    deployment: Deployment, hospital: Hospital, second_hospital: Hospital
) -> None:
    old, new = hospital, second_hospital
    old.answers({"resourceType": "Patient"})
    new.answers({"resourceType": "Patient"})
    secret = await deployment.secret("old-password-of-it")
    columns = {"Auth": "basic", "AuthClientId": "gateway", "AuthSecret": secret}
    tenant = await deployment.tenant(old.base_url, **columns)
    token = await deployment.token(tenant)
    assert (await deployment.send("GET", "/stu3/Patient/1", token)).status == 200

    await deployment.tenant(new.base_url, tenant=tenant, **columns)
    await deployment.application.vault.set(secret, "new-password-of-it")
    old.answers("", status=401)
    response = await deployment.send("GET", "/stu3/Patient/1", token)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert json.loads(response.body)["resourceType"] == "OperationOutcome"
    assert (await deployment.send("GET", "/stu3/Patient/1", token)).status == 200

    assert passwords(old) == {"gateway:old-password-of-it"}
    assert passwords(new) == {"gateway:new-password-of-it"}


async def test_a_new_password_at_the_same_address_is_taken_at_once(deployment: Deployment, hospital: Hospital) -> None:
    secret = await deployment.secret("old-password-of-it")
    await hospital.row(Auth="basic", AuthClientId="gateway", AuthSecret=secret)

    async def answer(request: web.Request) -> web.Response:
        known = basic(request) == "gateway:new-password-of-it"
        return web.json_response({"resourceType": "Patient"}, status=200 if known else 401)

    hospital.answers({"resourceType": "Patient"})
    await hospital.send("GET", "/stu3/Patient/1")
    await deployment.application.vault.set(secret, "new-password-of-it")
    hospital.answer = answer
    assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200


@pytest.mark.parametrize("change", [{"Enabled": False}, {"TimeoutSeconds": "no number"}])
async def test_a_row_that_can_not_be_used_any_more_gets_no_new_password(
    deployment: Deployment, hospital: Hospital, change: dict[str, object]
) -> None:
    hospital.answers({"resourceType": "Patient"})
    secret = await deployment.secret("old-password-of-it")
    columns = {"Auth": "basic", "AuthClientId": "gateway", "AuthSecret": secret}
    tenant = await deployment.tenant(hospital.base_url, **columns)
    token = await deployment.token(tenant)
    assert (await deployment.send("GET", "/stu3/Patient/1", token)).status == 200
    await deployment.tenant(hospital.base_url, tenant=tenant, **columns, **change)
    await deployment.application.vault.set(secret, "new-password-of-it")
    hospital.answers("", status=401)
    assert (await deployment.send("GET", "/stu3/Patient/1", token)).status == 503
    assert passwords(hospital) == {"gateway:old-password-of-it"}


def basic(request: web.Request) -> str:
    return base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()


def passwords(hospital: Hospital) -> set[str]:
    return {basic(request) for request in hospital.requests}
