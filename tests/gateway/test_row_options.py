"""What a tenant's row says of searches, totals and operations, and what becomes of its credential."""

import base64
import json

import pytest
from aiohttp import web

from shared.fhir.versions import FhirVersion
from tests.deployment import FORM, GATEWAY
from tests.gateway.conftest import PATIENT, Hospital, batch, served

SEARCHSET = {"resourceType": "Bundle", "type": "searchset"}


@pytest.mark.parametrize("in_batch", [False, True])
async def test_searches_go_up_by_post_where_the_row_says_so(hospital: Hospital, in_batch: bool) -> None:
    hospital.answers(SEARCHSET)
    await hospital.row(Search="post", Batch="split")
    url = f"Observation?patient={GATEWAY}/stu3/Patient/1&code=a|b"
    sent = ("POST", "/stu3", batch(url)) if in_batch else ("GET", f"/stu3/{url}")
    assert (await hospital.send(*sent)).status == 200
    assert (hospital.requests[0].method, hospital.targets) == ("POST", ["/fhir/Observation/_search"])
    assert hospital.requests[0].content_type == FORM
    assert hospital.bodies == [f"patient={hospital.base_url}/Patient/1&code=a%7Cb".encode()]
    hospital.answers(PATIENT)
    await hospital.send("GET", "/stu3/Patient/1")
    assert (hospital.requests[1].method, hospital.targets[1]) == ("GET", "/fhir/Patient/1")


@pytest.mark.parametrize("search", ["get", "post"])
@pytest.mark.parametrize(
    ("query", "form", "asked"),
    [
        ("patient=1", None, "patient=1&_total=accurate"),
        ("", None, "_total=accurate"),
        ("patient=1&_total=none", None, "patient=1&_total=none"),
        ("%5Ftotal=estimate", None, "%5Ftotal=estimate"),
        ("", "patient=1", "patient=1&_total=accurate"),
        ("_total=none", "patient=1", "patient=1"),
    ],
)
async def test_rows_ask_for_totals(hospital: Hospital, search: str, query: str, form: str | None, asked: str) -> None:
    hospital.answers(SEARCHSET)
    await hospital.row(Total="accurate", Search=search)
    if form is None:
        await hospital.send("GET", f"/stu3/Observation?{query}")
    else:
        await hospital.send("POST", f"/stu3/Observation/_search?{query}", form, content_type=FORM)
    posted = form is not None or search == "post"
    assert (hospital.bodies[0].decode() if posted else hospital.targets[0].partition("?")[2]) == asked


async def test_the_searches_of_a_batch_ask_for_the_total_too(hospital: Hospital) -> None:
    hospital.answers({"resourceType": "Bundle", "type": "batch-response"})
    await hospital.row(Total="accurate")
    await hospital.send("POST", "/stu3", batch("Observation?patient=1", "Patient/1", "Patient?_total=none"))
    sent = batch("Observation?patient=1&_total=accurate", "Patient/1", "Patient?_total=none")
    assert json.loads(hospital.bodies[0]) == sent


async def test_the_operations_that_the_row_names_are_let_through_and_their_pages(hospital: Hospital) -> None:
    await hospital.row(Operations="Patient/$everything", Types="Patient,Observation")
    link = {"relation": "next", "url": f"{hospital.base_url}?_getpages=1"}
    hospital.answers({**SEARCHSET, "link": [link]})
    answer = await hospital.send("GET", "/stu3/Patient/1/$everything?_type=Observation")
    assert json.loads(answer.body)["link"][0]["url"].startswith(f"{GATEWAY}/stu3/Patient?_page=")
    body = {"resourceType": "Parameters", "parameter": [{"valueReference": {"reference": f"{GATEWAY}/stu3/Patient/1"}}]}
    assert (await hospital.send("POST", "/stu3/Patient/$everything", body)).status == 200
    assert hospital.targets == ["/fhir/Patient/1/$everything?_type=Observation", "/fhir/Patient/$everything"]
    assert json.loads(hospital.bodies[1]) == json.loads(json.dumps(body).replace(f"{GATEWAY}/stu3", hospital.base_url))
    for target in ("Patient/1/$lastn", "Observation/$everything", "$everything", "Patient/1/$everything?_filter=x"):
        assert (await hospital.send("GET", f"/stu3/{target}")).status == 403
    assert (await hospital.send("POST", "/stu3/Patient/$everything", {"resourceType": "Patient"})).status == 400
    hospital.answers({"resourceType": "Practitioner", "id": "1"})
    assert (await hospital.send("GET", "/stu3/Patient/1/$everything")).status == 403


@pytest.mark.parametrize(
    ("spelling", "status", "media"),
    [
        ('{{"resourceType": "Patient", "id": "1", "name": [{{"text": "{}"}}]}}', 200, "json"),
        ('{{"resourceType": "OperationOutcome", "issue": [{{"diagnostics": "Authorization: {}"}}]}}', 400, "json"),
        ('<Patient xmlns="http://hl7.org/fhir"><name><text value="{}"/></name></Patient>', 200, "xml"),
    ],
)
async def test_an_answer_that_holds_the_credential_is_refused(
    hospital: Hospital, spelling: str, status: int, media: str
) -> None:
    password = "correct horse/battery+staple"
    await hospital.row(Auth="basic", AuthSecret=await hospital.deployment.secret(f"gateway:{password}"))
    sent = base64.b64encode(f"gateway:{password}".encode()).decode()
    numbers = "".join(f"&#{ord(each)};" if media == "xml" else f"\\u{ord(each):04x}" for each in sent)
    kind = {"Content_Type": f"application/fhir+{media}"}
    for written, etag in ((sent, ""), (numbers, ""), (password, ""), ("correct", f'"{sent}"')):
        hospital.answers(spelling.format(written), status, ETag=etag, **kind)
        answer = await hospital.send("GET", "/stu3/Patient/1")
        assert (answer.status, b"own credential" in answer.body) == (502, True)
    hospital.answers(spelling.format("correct"), status, **kind)
    assert (await hospital.send("GET", "/stu3/Patient/1")).status == status


@pytest.mark.parametrize("change", ["moved", "disabled", "broken"])
async def test_a_new_password_never_reaches_the_old_address(hospital: Hospital, change: str) -> None:
    deployment = hospital.deployment
    secret = await deployment.secret("old-password-of-it")
    columns: dict[str, object] = {"Auth": "basic", "AuthClientId": "gateway", "AuthSecret": secret}
    await hospital.row(**columns)
    assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200
    async with served(Hospital(deployment)) as new:
        base_url = new.base_url if change == "moved" else hospital.base_url
        columns |= {"moved": {}, "disabled": {"Enabled": False}, "broken": {"TimeoutSeconds": "no number"}}[change]
        await deployment.tenant(base_url, tenant=hospital.tenant, **columns)
        await deployment.vault.set(secret, "new-password-of-it")
        hospital.answers("", status=401)
        response = await hospital.send("GET", "/stu3/Patient/1")
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert json.loads(response.body)["resourceType"] == "OperationOutcome"
        if change == "moved":
            assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200
        assert passwords(new) == ({"gateway:new-password-of-it"} if change == "moved" else set())
    assert passwords(hospital) == {"gateway:old-password-of-it"}


async def test_a_new_client_secret_never_reaches_the_old_token_endpoint(hospital: Hospital) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/token":
            return web.json_response({"access_token": f"token-{len(hospital.requests)}"})
        return web.json_response(PATIENT, status=status, content_type="application/fhir+json")

    deployment, status = hospital.deployment, 200
    secret = await deployment.secret("old-secret-of-it")
    url = f"{hospital.base_url.removesuffix('/fhir')}/token"
    columns = {"Auth": "client_secret_post", "AuthClientId": "gateway", "AuthSecret": secret}
    hospital.answer = answer
    await hospital.row(AuthTokenUrl=url, **columns)
    assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200
    moved = {"AuthTokenUrl": "https://moved.example/token", **columns}
    await deployment.tenant(hospital.base_url, tenant=hospital.tenant, **moved)
    await deployment.vault.set(secret, "new-secret-of-it")
    status = 401
    response = await hospital.send("GET", "/stu3/Patient/1")
    assert (response.status, response.headers.get("Retry-After")) == (503, "1")
    assert sum(b"old-secret-of-it" in body for body in hospital.bodies) == 1
    assert not any(b"new-secret-of-it" in body for body in hospital.bodies)


async def test_an_old_password_never_reaches_the_new_address(hospital: Hospital) -> None:
    deployment = hospital.deployment
    secret = await deployment.secret("old-password-of-it")
    columns = {"Auth": "basic", "AuthClientId": "gateway", "AuthSecret": secret}
    await hospital.row(**columns)
    assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200
    async with served(Hospital(deployment)) as new:
        await deployment.vault.set(secret, "new-password-of-it")
        await deployment.tenant(new.base_url, tenant=hospital.tenant, **columns)
        assert not await deployment.application.tenants.is_current((hospital.tenant, FhirVersion.STU3, ""), 0)
        assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200
        assert passwords(new) == {"gateway:new-password-of-it"}


def passwords(hospital: Hospital) -> set[str]:
    sent = [request.headers["Authorization"].removeprefix("Basic ") for request in hospital.requests]
    return {base64.b64decode(each).decode() for each in sent}
