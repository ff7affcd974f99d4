"""FHIR XML passes as JSON does: judged, its links mapped, everything else byte for byte."""

import pytest
from aiohttp import web

from tests.deployment import GATEWAY, Deployment
from tests.gateway.conftest import Provider

XML = "application/fhir+xml"


def searchset(base: str, entry: str = "<Patient><id value='1'/></Patient>", next_page: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/>'
        f'<link><relation value="next"/><url value="{next_page or base + "/Patient?page=2&amp;x=%7C"}"/></link>'
        f'<entry><fullUrl value="{base}/Patient/1"/><resource>{entry}</resource></entry></Bundle>'
    )


async def test_links_in_xml_lead_to_the_gateway(deployment: Deployment, provider: Provider) -> None:
    provider.answers(searchset(provider.base_url), Content_Type=f"{XML}; charset=utf-8")
    token = await deployment.token(await deployment.tenant(provider.base_url))
    answer = await deployment.send("GET", "/stu3/Patient?name=x&_format=xml", token)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == f"{XML}; charset=utf-8"
    assert answer.body.decode() == searchset(f"{GATEWAY}/stu3")
    assert provider.requests[0].headers["Accept"] == XML


async def test_a_next_link_in_xml_becomes_a_handle_where_it_must(deployment: Deployment, provider: Provider) -> None:
    body = searchset(provider.base_url, next_page=f"{provider.base_url}?_getpages=1&amp;_offset=2")
    provider.answers(body, Content_Type=XML)
    token = await deployment.token(await deployment.tenant(provider.base_url))
    answer = await deployment.send("GET", "/stu3/Patient", token, Accept=XML)
    link = answer.body.decode().partition('<url value="')[2].partition('"')[0]
    assert link.startswith(f"{GATEWAY}/stu3/Patient?_page=")
    await deployment.send("GET", link.removeprefix(GATEWAY), token, Accept=XML)
    assert provider.targets[1] == "/fhir?_getpages=1&_offset=2"


async def test_other_types_in_xml_are_refused(deployment: Deployment, provider: Provider) -> None:
    provider.answers(searchset(provider.base_url, "<Practitioner/>"), Content_Type=XML)
    token = await deployment.token(await deployment.tenant(provider.base_url))
    answer = await deployment.send("GET", "/stu3/Patient", token, Accept=XML)
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
async def test_xml_that_is_not_safe_fhir_is_a_502(deployment: Deployment, provider: Provider, body: str) -> None:
    provider.answers(body, Content_Type=XML)
    token = await deployment.token(await deployment.tenant(provider.base_url))
    answer = await deployment.send("GET", "/stu3/Patient/1", token)
    assert answer.status == 502


async def test_a_resource_in_xml_goes_up_with_its_links_mapped(deployment: Deployment, provider: Provider) -> None:
    async def created(request: web.Request) -> web.Response:
        return web.Response(status=201)

    provider.answer = created
    token = await deployment.token(await deployment.tenant(provider.base_url, Access="write"))
    body = (
        '<Patient xmlns="http://hl7.org/fhir"><link><other><reference value="BASE/Patient/2"/></other></link></Patient>'
    )
    sent = body.replace("BASE", f"{GATEWAY}/stu3")
    answer = await deployment.send("POST", "/stu3/Patient", token, sent, content_type=XML)
    assert answer.status == 201
    assert provider.bodies == [body.replace("BASE", provider.base_url).encode()]
    assert provider.requests[0].headers["Content-Type"] == XML


@pytest.mark.parametrize(
    "body",
    [
        '<Observation xmlns="http://hl7.org/fhir"/>',
        "<Patient",
        '<Bundle xmlns="http://hl7.org/fhir"/>',
        '<!DOCTYPE Patient><Patient xmlns="http://hl7.org/fhir"/>',
    ],
)
async def test_a_body_in_xml_that_is_not_the_resource_is_refused(
    deployment: Deployment, provider: Provider, body: str
) -> None:
    token = await deployment.token(await deployment.tenant(provider.base_url, Access="write"))
    answer = await deployment.send("POST", "/stu3/Patient", token, body, content_type=XML)
    assert answer.status == 400
    assert provider.requests == []
