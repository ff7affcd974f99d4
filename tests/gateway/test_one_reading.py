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
    assert (await hospital.send("POST", "/stu3", sent)).status == 200
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
    sent["entry"].append({})
    response = await hospital.send("POST", "/stu3", sent)
    assert response.status == 200
    statuses = [entry["response"]["status"][:3] for entry in json.loads(response.body)["entry"]]
    assert (statuses[0], set(statuses[1:]) <= {"400", "404"}) == ("200", True)
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
]


@pytest.mark.parametrize("body", ANSWERS)
async def test_an_answer_that_could_be_read_in_two_ways_is_refused(hospital: Hospital, body: str) -> None:
    hospital.answers(body, Content_Type=content_type(body))
    response = await hospital.send("GET", "/stu3/Patient?name=x")
    assert response.status == 502
    assert b"elsewhere" not in response.body


@pytest.mark.parametrize("mode", ["native", "split"])
async def test_each_entry_of_a_batch_is_in_the_audit_log(
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


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"resourceType":"Patient","managingOrganization":{"reference":"Organization?name=x"}}', 403),
        ('{"resourceType":"Patient","managingOrganization":{"reference":"%s/stu3/Organization?name=x"}}', 403),
        ('{"resourceType":"Patient","managingOrganization":{"ref\\u0065rence":"Practitioner?_has:x"}}', 403),
        ('{"resourceType":"Patient","link":[{"other":{"reference":"Patient?identifier=1"}}]}', 201),
        (f'<Patient {FHIR}><link><other><reference value="Organization?name=x"/></other></link></Patient>', 403),
    ],
)
async def test_a_reference_with_criteria_is_judged_as_the_search_it_is(
    hospital: Hospital, body: str, status: int
) -> None:
    hospital.answers({"resourceType": "Patient"}, status=201)
    await hospital.row(Access="write")
    body = body.replace("%s", GATEWAY)
    response = await hospital.send("POST", "/stu3/Patient", body, content_type=content_type(body))
    assert response.status == status
    if content_type(body) == "application/fhir+json":
        entry = '{"resourceType":"Bundle","type":"%s","entry":[{"resource":' + body + "}]}"
        entry = entry[:-3] + ',"request":{"method":"POST","url":"Patient"}}]}'
        sent = entry.replace("%s", "transaction", 1)
        response = await hospital.send("POST", "/stu3", sent, content_type="application/fhir+json")
        assert (response.status == 403) == (status == 403)


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        (
            "application/json-patch+json",
            '[{"op":"add","path":"/link/0/other/reference","value":"Organization?name=x"}]',
        ),
        (
            "application/fhir+json",
            '{"resourceType":"Parameters","parameter":[{"name":"operation","part":['
            '{"name":"value","valueString":"Organization?name=x"}]}]}',
        ),
    ],
)
async def test_a_patch_is_judged_by_the_references_it_writes(hospital: Hospital, kind: str, patch: str) -> None:
    hospital.answers({"resourceType": "Patient"})
    await hospital.row("r4", Access="write")
    for text, status in ((patch, 403), (patch.replace("Organization?name", "Patient?name"), 200)):
        response = await hospital.send("PATCH", "/r4/Patient/1", text, content_type=kind)
        assert response.status == status


@pytest.mark.parametrize(("status", "expected"), [(200, 200), (201, 201), (412, 412), (500, 502)])
async def test_no_bundle_answers_a_write(hospital: Hospital, status: int, expected: int) -> None:
    link = {"relation": "next", "url": "https://elsewhere.example/"}
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "link": [link]}, status, ETag='W/"2"')
    await hospital.row(Access="write")
    patch = {"resourceType": "Parameters"}
    for method, target, body in (
        ("POST", "/stu3/Patient", {"resourceType": "Patient"}),
        ("PUT", "/stu3/Patient/1", {"resourceType": "Patient"}),
        ("PATCH", "/stu3/Patient/1", patch),
        ("DELETE", "/stu3/Patient/1", b""),
    ):
        response = await hospital.send(method, target, body)
        assert response.status == expected
        assert b"elsewhere" not in response.body
        assert status >= 400 or response.headers["ETag"] == 'W/"2"'
