"""Batches taken apart for providers that lack them, or because policy lets only some entries through."""

import asyncio
import base64
import itertools
import json
import time
from typing import Any
from xml.etree import ElementTree

import pytest
from aiohttp import web

from shared.message import Response
from shared.stores.errors import StoreUnavailable
from shared.upstream.page_handles import PageHandles
from tests.deployment import GATEWAY
from tests.gateway.conftest import Hospital, batch

FHIR = "{http://hl7.org/fhir}"


def entries(response: Response) -> list[dict[str, Any]]:
    assert response.status == 200
    found: list[dict[str, Any]] = json.loads(response.body)["entry"]
    return found


def statuses(response: Response) -> list[str]:
    return [entry["response"]["status"] for entry in entries(response)]


async def by_path(request: web.Request) -> web.Response:
    """A provider without batch: patients are found, observations are not, conditions fail."""
    kind = request.path.split("/")[2] if request.path.count("/") > 1 else ""
    headers = {"Content-Type": "application/fhir+json", "ETag": 'W/"1"'}
    if request.method == "POST":
        return web.Response(status=501)
    if kind == "Patient":
        base = f"http://{request.host}/fhir"
        body = f'{{"resourceType":"Patient","id":"1","x":1.10,"link":[{{"other":{{"reference":"{base}/Patient/2"}}}}]}}'
        return web.Response(text=body, headers=headers)
    if kind == "Condition":
        return web.Response(status=500, text="<html>", content_type="text/html")
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-found"}]}
    return web.Response(status=404, text=json.dumps(outcome), headers={"Content-Type": "application/fhir+json"})


async def test_others_have_turns_while_many_entries_are_read(hospital: Hospital) -> None:
    patch = [{"op": "add", "path": "/x", "value": ["Patient?a=1"] * 2_000}]
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
    binary["content"] = base64.b64encode(json.dumps(patch).encode()).decode()
    sent = batch(*["Patient/1"] * 60)
    for entry in sent["entry"]:
        entry["resource"], entry["request"]["method"] = binary, "PATCH"
    await hospital.row()
    turns: list[float] = []

    async def others() -> None:
        while True:
            turns.append(time.monotonic())
            await asyncio.sleep(0)

    served = asyncio.create_task(others())
    response = await hospital.send("POST", "/stu3", sent)
    served.cancel()
    assert statuses(response) == ["403 Forbidden"] * 60
    longest = max(after - before for before, after in itertools.pairwise(turns))
    assert longest < (turns[-1] - turns[0]) / 3


async def test_entries_keep_their_order_and_fail_alone(hospital: Hospital) -> None:
    hospital.answer = by_path
    await hospital.row(Batch="split")
    urls = ("Condition?patient=1", "Patient/1", "Observation/9", "Practitioner/1", f"{GATEWAY}/stu3/Patient/1")
    answer = await hospital.send("POST", "/stu3/", batch(*urls))
    document = json.loads(answer.body)
    assert (document["resourceType"], document["type"]) == ("Bundle", "batch-response")
    assert statuses(answer) == ["502 Bad Gateway", "200 OK", "404 Not Found", "403 Forbidden", "200 OK"]
    patient = document["entry"][1]
    assert (patient["fullUrl"], patient["response"]["etag"]) == (f"{GATEWAY}/stu3/Patient/1", 'W/"1"')
    assert b'"x":1.10' in answer.body
    assert patient["resource"]["link"][0]["other"]["reference"] == f"{GATEWAY}/stu3/Patient/2"
    for failed in (0, 2, 3):
        entry = document["entry"][failed]
        assert (entry["response"]["outcome"]["resourceType"], "resource" in entry) == ("OperationOutcome", False)
    assert not [target for target in hospital.targets if "Practitioner" in target]


async def test_dstu2_has_an_entrys_outcome_as_its_resource(hospital: Hospital) -> None:
    hospital.answer = by_path
    await hospital.row("dstu2", Batch="split")
    (entry,) = entries(await hospital.send("POST", "/dstu2", batch("Observation/9")))
    assert entry["resource"]["resourceType"] == "OperationOutcome"
    assert entry["response"] == {"status": "404 Not Found"}


@pytest.mark.parametrize(("columns", "most"), [({}, 8), ({"MaxConcurrent": 1}, 1)])
async def test_eight_entries_at_most_go_up_at_once(hospital: Hospital, columns: dict[str, object], most: int) -> None:
    running = peak = 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.02)
        running -= 1
        return await by_path(request)

    hospital.answer = slow
    await hospital.row(Batch="split", **columns)
    assert statuses(await hospital.send("POST", "/stu3", batch(*["Patient/1"] * 12))) == ["200 OK"] * 12
    assert most // 4 < peak <= most


async def test_conditions_and_resources_of_entries_go_up(hospital: Hospital) -> None:
    hospital.answers(b"", 201, Location=f"{hospital.base_url}/Patient/5/_history/1", ETag='W/"1"')
    await hospital.row(Batch="split", Access="write")
    body = (
        '{"resourceType":"Bundle","type":"batch","entry":[{"fullUrl":"urn:uuid:1","resource":'
        '{ "resourceType":"Patient", "x":1.10, "managingOrganization":{"reference":"%s/stu3/Organization/1"} },'
        '"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=7"}}]}'
    )
    answer = await hospital.send("POST", "/stu3", body.replace("%s", GATEWAY), content_type="application/fhir+json")
    (entry,) = entries(answer)
    location = f"{GATEWAY}/stu3/Patient/5/_history/1"
    assert entry["response"] == {"status": "201 Created", "location": location, "etag": 'W/"1"'}
    sent = '{ "resourceType":"Patient", "x":1.10, "managingOrganization":{"reference":"%s/Organization/1"} }'
    assert hospital.bodies == [sent.replace("%s", hospital.base_url).encode()]
    assert hospital.requests[0].headers["If-None-Exist"] == "identifier=7"


XML = "application/fhir+xml"


def xml_batch(*urls: str) -> str:
    entries = [f'<entry><request><method value="GET"/><url value="{url}"/></request></entry>' for url in urls]
    return f'<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/>{"".join(entries)}</Bundle>'


async def test_a_batch_in_xml_is_answered_in_xml(hospital: Hospital) -> None:
    async def patient(request: web.Request) -> web.Response:
        if request.path.endswith("/2"):
            return web.Response(status=500, text="<html>", content_type="text/html")
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><Patient xmlns="http://hl7.org/fhir"><managingOrganization>'
            f'<reference value="{hospital.base_url}/Organization/1"/></managingOrganization></Patient>'
        )
        return web.Response(body=body.encode(), headers={"Content-Type": XML})

    hospital.answer = patient
    await hospital.row(Batch="split")
    answer = await hospital.send("POST", "/stu3", xml_batch("Patient/1", "Patient/2"), content_type=XML, accept=XML)
    assert (answer.status, answer.headers["Content-Type"]) == (200, f"{XML}; charset=utf-8")
    found, failed = ElementTree.fromstring(answer.body).findall(f"{FHIR}entry")  # noqa: S314 (the gateway's own)
    references = found.findall(f"{FHIR}resource/{FHIR}Patient/{FHIR}managingOrganization/{FHIR}reference")
    assert [reference.get("value") for reference in references] == [f"{GATEWAY}/stu3/Organization/1"]
    assert failed.find(f"{FHIR}response/{FHIR}outcome/{FHIR}OperationOutcome") is not None
    assert hospital.requests[0].headers["Accept"] == XML


async def test_an_answer_in_another_format_than_the_batchs_does_not_get_into_it(hospital: Hospital) -> None:
    hospital.answers('<Patient xmlns="http://hl7.org/fhir"/>', content_type=XML)
    await hospital.row(Batch="split", Access="write")
    asked = batch("Patient/1?_format=xml")
    asked["entry"].append({"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient"}})
    read, written = entries(await hospital.send("POST", "/stu3", asked))
    assert read["response"]["status"] == "502 Bad Gateway"
    assert read["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert written == {"response": {"status": "200 OK"}}
    # A failure keeps its status.
    for kind, told in (("OperationOutcome", "OperationOutcome"), ("Patient", None)):
        hospital.answers(f'<{kind} xmlns="http://hl7.org/fhir"/>', 412, content_type=XML)
        (entry,) = entries(await hospital.send("POST", "/stu3", batch("Patient/1")))
        assert entry["response"]["status"] == "412 Precondition Failed"
        assert entry["response"].get("outcome", {}).get("resourceType") == told


async def test_an_entry_the_gateway_fails_hurts_no_other(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page handle that can't be written is one entry's misfortune."""

    async def paged(request: web.Request) -> web.Response:
        if "Observation" not in request.path:
            return await by_path(request)
        link = {"relation": "next", "url": f"http://{request.host}/fhir?_getpages=1"}
        bundle = {"resourceType": "Bundle", "type": "searchset", "link": [link]}
        return web.json_response(bundle, content_type="application/fhir+json")

    async def fail(*arguments: object) -> str:
        raise StoreUnavailable("Table Storage (PageHandles) answered 503")

    hospital.answer = paged
    monkeypatch.setattr(PageHandles, "handles", fail)
    await hospital.row(Batch="split")
    answer = await hospital.send("POST", "/stu3", batch("Patient/1", "Observation?patient=1", "Patient/1"))
    assert statuses(answer) == ["200 OK", "503 Service Unavailable", "200 OK"]
