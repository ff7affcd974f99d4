"""FHIR XML passes as JSON does: judged, its links mapped, everything else byte for byte."""

import pytest
from aiohttp import web

from tests.deployment import GATEWAY
from tests.gateway.conftest import Hospital

XML = "application/fhir+xml"


def searchset(base: str, entry: str = "<Patient><id value='1'/></Patient>", next_page: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/>'
        f'<link><relation value="next"/><url value="{next_page or base + "/Patient?page=2&amp;x=%7C"}"/></link>'
        f'<entry><fullUrl value="{base}/Patient/1"/><resource>{entry}</resource></entry></Bundle>'
    )


async def test_links_in_xml_lead_to_the_gateway(hospital: Hospital) -> None:
    hospital.answers(searchset(hospital.base_url), Content_Type=f"{XML}; charset=utf-8")
    answer = await hospital.send("GET", "/stu3/Patient?name=x&_format=xml")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == f"{XML}; charset=utf-8"
    assert answer.body.decode() == searchset(f"{GATEWAY}/stu3")
    assert hospital.requests[0].headers["Accept"] == XML


async def test_a_next_link_in_xml_becomes_a_handle_where_it_must(hospital: Hospital) -> None:
    body = searchset(hospital.base_url, next_page=f"{hospital.base_url}?_getpages=1&amp;_offset=2")
    hospital.answers(body, Content_Type=XML)
    answer = await hospital.send("GET", "/stu3/Patient", Accept=XML)
    link = answer.body.decode().partition('<url value="')[2].partition('"')[0]
    assert link.startswith(f"{GATEWAY}/stu3/Patient?_page=")
    await hospital.send("GET", link.removeprefix(GATEWAY), Accept=XML)
    assert hospital.targets[1] == "/fhir?_getpages=1&_offset=2"


async def test_other_types_in_xml_are_refused(hospital: Hospital) -> None:
    hospital.answers(searchset(hospital.base_url, "<Practitioner/>"), Content_Type=XML)
    answer = await hospital.send("GET", "/stu3/Patient", Accept=XML)
    assert answer.status == 403
    assert answer.headers["Content-Type"].startswith(XML)


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE Patient [<!ENTITY x SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir">&x;</Patient>',
        '<Patient xmlns="http://hl7.org/fhir"><id value="1"/>',
        '<?xml version="1.0" encoding="UTF-16"?><Patient xmlns="http://hl7.org/fhir"/>',
        "<html><body/></html>",
        "<a>" * 2000 + "</a>" * 2000,
    ],
)
async def test_xml_that_is_not_safe_fhir_is_a_502(hospital: Hospital, body: str) -> None:
    hospital.answers(body, Content_Type=XML)
    answer = await hospital.send("GET", "/stu3/Patient/1")
    assert answer.status == 502


async def test_a_resource_in_xml_goes_up_with_its_links_mapped(hospital: Hospital) -> None:
    async def created(request: web.Request) -> web.Response:
        return web.Response(status=201)

    hospital.answer = created
    await hospital.row(Access="write")
    body = (
        '<Patient xmlns="http://hl7.org/fhir"><link><other><reference value="BASE/Patient/2"/></other></link></Patient>'
    )
    sent = body.replace("BASE", f"{GATEWAY}/stu3")
    answer = await hospital.send("POST", "/stu3/Patient", sent, content_type=XML)
    assert answer.status == 201
    assert hospital.bodies == [body.replace("BASE", hospital.base_url).encode()]
    assert hospital.requests[0].headers["Content-Type"] == XML


@pytest.mark.parametrize(
    "body",
    [
        '<Observation xmlns="http://hl7.org/fhir"/>',
        "<Patient",
        '<Bundle xmlns="http://hl7.org/fhir"/>',
        '<!DOCTYPE Patient><Patient xmlns="http://hl7.org/fhir"/>',
    ],
)
async def test_a_body_in_xml_that_is_not_the_resource_is_refused(hospital: Hospital, body: str) -> None:
    await hospital.row(Access="write")
    answer = await hospital.send("POST", "/stu3/Patient", body, content_type=XML)
    assert answer.status == 400
    assert hospital.requests == []
