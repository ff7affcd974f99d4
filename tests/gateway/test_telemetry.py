"""What is logged of requests: enough to see who did what and how it went, and nothing of a patient or a credential."""

import json
import logging
import zlib
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web

from shared.directory.tenant_row import parse_provider
from shared.directory.traffic import ALL, hospital_subject
from shared.message import Request
from shared.onboarding.check import check
from shared.onboarding.probe import open_probe
from shared.stores.tables import TENANTS, TRAFFIC, Row
from tests.deployment import FORM, Deployment
from tests.gateway.conftest import Hospital

MARK = "zzMarkedName"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def fhir(body: str, status: int = 200, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        text = body.replace("BASE", f"http://{request.host}/fhir").replace("MARK", MARK)
        return web.Response(status=status, text=text, content_type="application/fhir+json", headers=headers)

    return answer


async def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


ANSWERS: dict[str, Answer] = {
    "patient": fhir('{"resourceType":"Patient","id":"MARK","name":[{"family":"MARK"}]}', ETag=f'W/"{MARK}"'),
    "searchset": fhir(
        '{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"BASE?_getpages=MARK"}],'
        '"entry":[{"fullUrl":"BASE/Patient/MARK","resource":{"resourceType":"Patient","id":"MARK"}}]}'
    ),
    "other type": fhir('{"resourceType":"Practitioner","id":"MARK"}'),
    "type that is a name": fhir('{"resourceType":"MARK"}'),
    "outcome": fhir('{"resourceType":"OperationOutcome","issue":[{"diagnostics":"MARK"}]}', 422),
    "cut off": fhir('{"resourceType":"Patient","id":"MARK'),
    "elsewhere": fhir('{"resourceType":"Bundle","link":[{"relation":"next","url":"https://MARK.example/MARK"}]}'),
    "no URL": fhir('{"resourceType":"Bundle","link":[{"relation":"next","url":"http://[MARK"}]}'),
    "redirect": fhir("", 302, Location=f"https://{MARK}.example"),
    "unauthorized": fhir('{"resourceType":"OperationOutcome"}', 401),
    "server error": fhir("<html>MARK", 500),
    "hangs up": hang_up,
}

REQUESTS: tuple[tuple[str, str, str, str], ...] = (
    ("GET", f"/Patient/{MARK}", "", ""),
    ("HEAD", f"/Patient/{MARK}", "", ""),
    ("GET", f"/Patient/{MARK}/_history/{MARK}", "", ""),
    ("GET", f"/Patient?name={MARK}&_format=xml", "", ""),
    ("POST", f"/Patient/_search?family={MARK}", f"given={MARK}", FORM),
    ("POST", "/Patient/_search", f'{{"given":"{MARK}"}}', "application/json"),
    ("GET", f"/Patient?{MARK}:Practitioner.name={MARK}", "", ""),
    ("GET", f"/Patient?_include={MARK}", "", ""),
    ("GET", f"/{MARK}/1", "", ""),
    ("GET", f"/{MARK.capitalize()}/1", "", ""),
    ("GET", f"/Patient/{MARK}/${MARK}", "", ""),
    ("GET", f"/Patient/../{MARK}", "", ""),
    ("GET", f"/Patient?_page={MARK}", "", ""),
    ("PUT", f"/Patient/{MARK}", f'{{"resourceType":"Patient","id":"{MARK}"}}', "application/fhir+json"),
    ("POST", "/Patient", f'{{"resourceType":"{MARK}"}}', "application/fhir+json"),
    ("POST", "/Patient", f'<Patient xmlns="http://hl7.org/fhir"><id value="{MARK}"/>', "application/fhir+xml"),
    ("PATCH", f"/Patient/{MARK}", f'[{{"op":"add","path":"/{MARK}"}}]', "application/json-patch+json"),
    ("DELETE", f"/Patient/{MARK}", "", ""),
    (
        "POST",
        "",
        '{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient?name=MARK"}},'
        '{"request":{"method":"GET","url":"Practitioner/MARK"}}]}',
        "application/fhir+json",
    ),
)


def unpacked(row: Row) -> Iterator[object]:
    """A row's values, those that are packed as what is in them."""
    for value in row.values():
        yield zlib.decompress(value) if isinstance(value, bytes) else value


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that any logger of the process says, as a person sees it with the level turned all the way down."""
    caplog.set_level(logging.WARNING, logger="azure")  # as the application sets it
    caplog.set_level(logging.CRITICAL, logger="aiohttp.server")  # the scripted provider's own
    caplog.set_level(logging.DEBUG, logger="gateway.audit")
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_patient_and_no_token_is_in_any_log(
    deployment: Deployment, hospital: Hospital, logged: pytest.LogCaptureFixture, answer: str
) -> None:
    hospital.answer = ANSWERS[answer]
    secret = await deployment.secret(f"Bearer {MARK}")
    columns = {"Auth": "header", "AuthHeader": "Authorization", "AuthSecret": secret, "TimeoutSeconds": "5"}
    tenant = await deployment.tenant(hospital.base_url, Access="write", **columns)
    client = await deployment.client()
    token = await deployment.token(tenant, client=client)
    logged.clear()
    for method, target, body, content_type in REQUESTS:
        headers = {"If_Match": f'W/"{MARK}"'} | ({"Content_Type": content_type} if content_type else {})
        await deployment.send(method, f"/stu3{target}", token, body.replace("MARK", MARK), **headers)
    await deployment.application.traffic.flush()
    partitions = [await deployment.table(TRAFFIC).partition(key) for key in (ALL, hospital_subject(tenant, "stu3"))]
    kept = [f"{value!r}" for rows in partitions for row in rows for value in unpacked(row)]
    said = "\n".join([*(logging.Formatter().format(record) for record in logged.records), *kept])
    assert tenant in "".join(kept)
    for told in (MARK, MARK.capitalize(), token, token.rpartition(".")[2], client.client_secret, hospital.base_url):
        assert told not in said
    lines = [json.loads(record.message) for record in logged.records if record.name == "gateway.audit"]
    assert len(lines) == len(REQUESTS)
    assert {line["tenant"] for line in lines} == {tenant}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_patient_is_in_what_is_kept_of_a_check(
    deployment: Deployment, hospital: Hospital, logged: pytest.LogCaptureFixture, answer: str
) -> None:
    """With a hospital that sends a patient's values wherever a response has room for one."""
    hospital.answer = ANSWERS[answer]
    tenant = await deployment.tenant(hospital.base_url, TimeoutSeconds="5")
    row = await deployment.table(TENANTS).get(tenant, "stu3")
    assert row is not None
    provider, checks = parse_provider(row, local=True), deployment.application.checks
    async with open_probe(provider, deployment.vault, deployment.settings) as probe:
        await checks.record(provider, await check(probe, patient_id=MARK), "ada", deployment.vault)
    kept = await checks.latest(tenant, provider.version)
    assert kept is not None
    assert kept.report is not None
    for told in (MARK, MARK.capitalize()):
        assert told not in f"{kept}" + "\n".join(logging.Formatter().format(record) for record in logged.records)


@pytest.mark.parametrize(
    "form",
    [
        f"grant_type=client_credentials&client_id={MARK}&client_secret={MARK}&scope={MARK}",
        f"grant_type={MARK}&client_id={MARK}&client_secret={MARK}",
        f"{MARK}={MARK}&client_id={MARK}&client_id={MARK}",
    ],
)
async def test_no_token_form_is_logged(deployment: Deployment, logged: pytest.LogCaptureFixture, form: str) -> None:
    request = Request("POST", "/oauth2/token", f"x={MARK}", {"content-type": FORM}, form.encode())
    assert (await deployment.application.oauth(request)).status in (400, 401)
    assert MARK not in "\n".join(logging.Formatter().format(record) for record in logged.records)


async def test_the_audit_line(deployment: Deployment, hospital: Hospital, logged: pytest.LogCaptureFixture) -> None:
    tenant, client = await deployment.tenant(hospital.base_url), await deployment.client()
    token = await deployment.token(tenant, client=client)
    logged.clear()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await deployment.send("GET", "/stu3/Patient/1", token, X_Request_Id="abc", Traceparent=trace)
    (line,) = [json.loads(record.message) for record in logged.records if record.name == "gateway.audit"]
    assert set(line.pop("ms")) == {"auth", "directory", "credential", "upstream", "gateway"}
    who = {"request": "abc", "client": client.client_id, "secret": client.secret_id, "tenant": tenant}
    what = {"base": "stu3", "interaction": "read", "type": "Patient", "status": 200, "kind": ""}
    assert line == {"event": "fhir", **who, **what, "received": 0, "sent": len(answer.body)}
    assert hospital.requests[0].headers["traceparent"] == trace
