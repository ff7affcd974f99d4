"""What is judged is what is sent: bodies that two readers could read differently, through the whole gateway."""

import json
import logging

import pytest
from aiohttp import web

from tests.deployment import GATEWAY
from tests.gateway.conftest import Hospital, batch

FHIR = 'xmlns="http://hl7.org/fhir"'
DELETE = '<{0}request><{0}method value="DELETE"/><{0}url value="Patient/1"/></{0}request>'
# Batches that some reader takes for a delete, and that no reader may get from the gateway.
HIDDEN = [
    f'<Bundle {FHIR} xmlns:x="u"><type value="batch"/><x:entry>{DELETE.format("x:")}</x:entry></Bundle>',
    f'<Bundle {FHIR}><type value="batch"/><entry xmlns="">{DELETE.format("")}</entry></Bundle>',
    f'<Bundle {FHIR}><type value="batch"/><Entry>{DELETE.format("")}</Entry></Bundle>',
    f'<!DOCTYPE Bundle><Bundle {FHIR}><type value="batch"/></Bundle>',
    f'<Bundle {FHIR} xmlns:x="u" x:a="1"><type value="batch"/></Bundle>',
    f'<Bundle {FHIR}><type value="batch"/><?x y?></Bundle>',
    '{"resourceType":"Bundle","type":"batch","Entry":[{"request":{"method":"DELETE","url":"Patient/1"}}]}',
    '{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Account/1","url":"Patient/1"}}]}',
    '{"resourceType":"Bundle","type":"batch","entry":[],"entry":[{"request":{"method":"DELETE","url":"Patient/1"}}]}',
    '{"resourceType":"Bundle","type":"batch","entry":{"request":{"method":"DELETE","url":"Patient/1"}}}',
]


def content_type(body: str) -> str:
    return "application/fhir+json" if body.startswith("{") else "application/fhir+xml"


@pytest.mark.parametrize("body", HIDDEN)
async def test_a_batch_that_could_be_read_in_two_ways_is_refused(hospital: Hospital, body: str) -> None:
    response = await hospital.send("POST", "/stu3", body, content_type=content_type(body))
    assert response.status == 400
    assert hospital.requests == []


async def test_nothing_but_what_was_judged_goes_up_in_a_batch(hospital: Hospital) -> None:
    hospital.answers({"resourceType": "Bundle", "type": "batch-response", "entry": []})
    here, there = f"{GATEWAY}/stu3", hospital.base_url
    sent = batch(f"{here}/Patient?organization={here}/Organization/1")
    sent["entry"][0] |= {"id": "e1", "search": {"mode": "match"}, "response": {"status": "200"}}
    sent["entry"][0]["fullUrl"] = f"{here}/Patient/1"
    sent |= {"id": "x", "extension": [{"url": "e"}], "link": [{"relation": "self", "url": "x"}]}
    assert (await hospital.send("POST", "/stu3/", sent)).status == 200
    assert hospital.targets == ["/fhir"]
    expected = batch(f"Patient?organization={there}/Organization/1")
    expected["entry"][0]["fullUrl"] = f"{there}/Patient/1"
    assert json.loads(hospital.bodies[0]) == expected


async def test_an_entrys_format_is_asked_for_in_the_versions_spelling(hospital: Hospital) -> None:
    hospital.answers({"resourceType": "Bundle", "type": "batch-response"}, Content_Type="application/json+fhir")
    await hospital.row("dstu2")
    sent = batch("Patient?_format=application/fhir%2Bjson&name=x")
    assert (await hospital.send("POST", "/dstu2", sent)).status == 200
    assert json.loads(hospital.bodies[0]) == batch("Patient?_format=application/json%2Bfhir&name=x")


async def test_an_entry_that_can_not_be_read_is_refused_by_itself(hospital: Hospital) -> None:
    sent = batch("Patient/1", "Location/a b", "Patient/" + "x" * 300, "Patient/Müller", "no/such/path", "metadata?x=#")
    sent["entry"] += [{}, *batch("Practitioner/1")["entry"]]
    response = await hospital.send("POST", "/stu3", sent)
    assert response.status == 200
    statuses = [entry["response"]["status"][:3] for entry in json.loads(response.body)["entry"]]
    assert (statuses[0], statuses[-1], set(statuses[1:-1]) <= {"400", "404"}) == ("200", "403", True)
    assert hospital.targets == ["/fhir/Patient/1"]


SEARCHSET = '"resourceType":"Bundle","type":"searchset"'
# Answers that two readers could read differently: elsewhere leads out, Practitioner is not let through.
ANSWERS = [
    f'{{{SEARCHSET},"link":{{"relation":"next","url":"https://elsewhere.example/"}}}}',
    f'{{{SEARCHSET},"link":[{{"relation":"next","url":["https://elsewhere.example/"]}}]}}',
    f'{{{SEARCHSET},"Link":[{{"relation":"next","url":"https://elsewhere.example/"}}]}}',
    f'{{{SEARCHSET},"entry":[],"entry":[{{"resource":{{"resourceType":"Practitioner"}}}}]}}',
    f'{{{SEARCHSET},"entry":[{{"resource":{{"resourceType":"Patient","resourceType":"Practitioner"}}}}]}}',
    f'<Bundle {FHIR}><link><relation value="next"/><url value="x"/><url value="y"/></link></Bundle>',
    f'<Bundle {FHIR} xmlns:x="u"><type value="searchset"/><x:link/></Bundle>',
    f'<Patient {FHIR}><id value="1"/>',
    f'<?xml version="1.0" encoding="UTF-16"?><Patient {FHIR}/>',
]


@pytest.mark.parametrize("body", ANSWERS)
async def test_an_answer_that_could_be_read_in_two_ways_is_refused(hospital: Hospital, body: str) -> None:
    hospital.answers(body, Content_Type=content_type(body))
    response = await hospital.send("GET", "/stu3/Patient?name=x")
    assert response.status == 502
    assert b"elsewhere" not in response.body


@pytest.mark.parametrize("mode", ["native", "split"])
async def test_each_entry_of_a_batch_is_audited(
    hospital: Hospital, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            found = [{"response": {"status": status}} for status in ("200 OK", "404", "404")]
            return web.json_response({"resourceType": "Bundle", "type": "batch-response", "entry": found})
        type, status = ("Patient", 200) if request.path.endswith("Patient/1") else ("OperationOutcome", 404)
        return web.json_response({"resourceType": type}, status=status)

    hospital.answer = answer
    await hospital.row(Batch=mode)
    with caplog.at_level(logging.INFO, logger="gateway.audit"):
        await hospital.send("POST", "/stu3", batch("Patient/1", "Patient/2", "Patient/3"))
    assert json.loads(caplog.records[-1].message)["entries"] == {"read Patient 200": 1, "read Patient 404": 2}


async def test_entries_of_a_batch_whose_response_is_refused_are_audited_as_they_ended(
    hospital: Hospital, caplog: pytest.LogCaptureFixture
) -> None:
    """The hospital has done them, whatever the app is told."""
    statuses = {"response": {"status": "201"}}, {"response": {"status": "200"}, "resource": {"resourceType": "Account"}}
    hospital.answers({"resourceType": "Bundle", "type": "batch-response", "entry": list(statuses)})
    await hospital.row(Access="write")
    created = {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient"}}
    sent = batch("Patient/1") | {"entry": [created, *batch("Patient/1")["entry"]]}
    with caplog.at_level(logging.INFO, logger="gateway.audit"):
        assert (await hospital.send("POST", "/stu3", sent)).status == 403
    assert json.loads(caplog.records[-1].message)["entries"] == {"create Patient 201": 1, "read Patient 200": 1}


@pytest.mark.parametrize(("status", "expected"), [(200, 200), (201, 201), (412, 412), (500, 502)])
async def test_no_bundle_answers_a_write(hospital: Hospital, status: int, expected: int) -> None:
    link = {"relation": "next", "url": "https://elsewhere.example/"}
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "link": [link]}, status, ETag='W/"2"')
    await hospital.row(Access="write")
    for method, target, body in (
        ("POST", "/stu3/Patient", {"resourceType": "Patient"}),
        ("PUT", "/stu3/Patient/1", {"resourceType": "Patient"}),
        ("PATCH", "/stu3/Patient/1", {"resourceType": "Parameters"}),
        ("DELETE", "/stu3/Patient/1", b""),
    ):
        response = await hospital.send(method, target, body)
        assert response.status == expected
        assert b"elsewhere" not in response.body
        assert status >= 400 or response.headers["ETag"] == 'W/"2"'


XML = "application/fhir+xml"


async def test_links_in_xml_lead_to_the_gateway_and_the_rest_stays(hospital: Hospital) -> None:
    base, gateway = hospital.base_url, f"{GATEWAY}/stu3"
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Bundle {FHIR}><type value="searchset"/>'
        '<link><relation value="self"/><url value="BASE/Patient?page=2&amp;x=%7C"/></link>'
        '<link><relation value="next"/><url value="NEXT"/></link>'
        "<entry><fullUrl value='BASE/Patient/1'/><resource><Patient><id value='1'/></Patient></resource></entry>"
        "</Bundle>"
    )
    first = text.replace("BASE", base).replace("NEXT", f"{base}?_getpages=1&amp;_offset=2")
    hospital.answers(first, Content_Type=f"{XML}; charset=utf-8")
    answer = await hospital.send("GET", "/stu3/Patient?name=x&_format=xml")
    link = answer.body.decode().split('<url value="')[2].partition('"')[0]
    assert answer.body.decode() == text.replace("BASE", gateway).replace("NEXT", link)
    assert link.startswith(f"{gateway}/Patient?_page=")
    assert answer.headers["Content-Type"] == f"{XML}; charset=utf-8"
    await hospital.send("GET", link.removeprefix(GATEWAY), Accept=XML)
    assert hospital.targets[1] == "/fhir?_getpages=1&_offset=2"
    assert {request.headers["Accept"] for request in hospital.requests} == {XML}
    hospital.answers(first.replace("<Patient><id value='1'/></Patient>", "<Practitioner/>"), Content_Type=XML)
    refused = await hospital.send("GET", "/stu3/Patient", Accept=XML)
    assert (refused.status, refused.headers["Content-Type"]) == (403, f"{XML}; charset=utf-8")


async def test_a_resource_in_xml_goes_up_with_its_links_mapped(hospital: Hospital) -> None:
    hospital.answers(b"", 201)
    await hospital.row(Access="write")
    body = f'<Patient {FHIR}><link><other><reference value="BASE/Patient/2"/></other></link></Patient>'
    sent = body.replace("BASE", f"{GATEWAY}/stu3")
    assert (await hospital.send("POST", "/stu3/Patient", sent, content_type=XML)).status == 201
    assert hospital.bodies == [body.replace("BASE", hospital.base_url).encode()]
    assert hospital.requests[0].headers["Content-Type"] == XML
