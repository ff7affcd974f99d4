"""Further pages: whatever a provider's next link looks like, a client can follow it, and nobody else can."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from shared.message import Response
from shared.stores.tables import PAGES, TENANTS
from tests.deployment import FORM, GATEWAY, Deployment
from tests.gateway.conftest import Hospital, batch, served


def searchset(*links: tuple[str, str], **more: object) -> dict[str, Any]:
    written = [{"relation": relation, "url": url} for relation, url in links]
    return {"resourceType": "Bundle", "type": "searchset", **({"link": written} if links else {}), **more}


def links(response: Response) -> dict[str, str]:
    return {link["relation"]: link["url"] for link in json.loads(response.body).get("link", ())}


def pages(hospital: Hospital, url: str) -> None:
    """Makes the provider offer `url` (with its host and base filled in) as its second page."""

    async def answer(request: web.Request) -> web.Response:
        host = f"http://{request.host}"
        link = url.replace("HOST", host).replace("BASE", f"{host}/fhir")
        entry = [{"resource": {"resourceType": "Observation", "id": str(len(hospital.requests))}}]
        bundle = searchset(*[("next", link)] * (len(hospital.requests) == 1), entry=entry)
        return web.json_response(bundle, content_type="application/fhir+json")

    hospital.answer = answer


async def next_link(hospital: Hospital, url: str | None = None) -> str:
    """The gateway's path of the next page of a search, for which the provider writes `url`."""
    if url is not None:
        pages(hospital, url)
    response = await hospital.send("GET", "/stu3/Observation?patient=1")
    assert links(response)["next"].startswith(f"{GATEWAY}/stu3/Observation"), response
    return links(response)["next"].removeprefix(GATEWAY)


@pytest.mark.parametrize(
    "url",
    [
        *("BASE/Observation?patient=1&page=2&x=%7C", "/fhir/Observation?page=2", "Observation?patient=1&page=2"),
        *("BASE/Observation/_search?ct=abc%2B%2F%3D", "BASE/Observation?patient=QUOTED%2FPatient%2F1"),
    ],
)
async def test_a_link_below_the_base_becomes_a_plain_gateway_link(hospital: Hospital, url: str) -> None:
    there, here = (quote(base, safe="") for base in (hospital.base_url, f"{GATEWAY}/stu3"))
    link = await next_link(hospital, url.replace("QUOTED", there))
    rest = url.partition("Observation")[2]
    assert link == f"/stu3/Observation{rest.replace('QUOTED', here)}"
    second = await hospital.send("GET", link)
    assert json.loads(second.body)["entry"][0]["resource"]["id"] == "2"
    assert hospital.targets[1] == f"/fhir/Observation{rest.replace('QUOTED', there)}"


@pytest.mark.parametrize(
    "url",
    [
        "BASE?_getpages=0c8a&_getpagesoffset=10&_bundletype=searchset",
        "BASE/Observation?ct=" + "QUJD%2B" * 800,
        "HOST/paging/Observation/42",
        "/paging?cursor=%7C",
        "BASE/Observation/_search/deeper?x=1",
    ],
)
async def test_any_other_link_of_the_provider_becomes_a_short_handle(hospital: Hospital, url: str) -> None:
    link = await next_link(hospital, url)
    assert link.startswith("/stu3/Observation?_page=")
    assert len(link) < 200
    second = await hospital.send("GET", link)
    assert json.loads(second.body)["entry"][0]["resource"]["id"] == "2"
    assert hospital.targets[1] == url.replace("BASE", "/fhir").replace("HOST", "")


async def test_a_handle_is_of_no_use_to_anyone_else(deployment: Deployment, hospital: Hospital) -> None:
    client = await deployment.client()
    tenant = await deployment.tenant(hospital.base_url)
    await deployment.tenant(hospital.base_url, "dstu2", tenant)
    token = hospital.token = await deployment.token(tenant, client=client)
    path = await next_link(hospital, "BASE?_getpages=1")

    other_tenant = await deployment.token(await deployment.tenant(hospital.base_url), client=client)
    other_client = await deployment.token(tenant)
    narrow = await deployment.token(tenant, "system/Patient.rs", client=client)
    for asked, by, status in (
        (path, other_tenant, 404),
        (path, other_client, 404),
        (path, None, 401),
        (path, narrow, 403),
        (path.replace("/stu3/", "/dstu2/"), token, 404),
        (path.replace("Observation", "Patient"), token, 404),
    ):
        assert (await deployment.send("GET", asked, by)).status == status
    assert (await hospital.send("POST", path, {"resourceType": "Observation"})).status == 403
    for forged in ("A" * 32, "a/b", "../x", "%2e%2e", path.rpartition("=")[2][:-1], "'" * 32):
        assert (await hospital.send("GET", f"/stu3/Observation?_page={forged}")).status == 404
    assert len(hospital.requests) == 1
    assert (await hospital.send("GET", path)).status == 200


async def test_an_expired_handle_says_so(deployment: Deployment, hospital: Hospital) -> None:
    path = await next_link(hospital, "BASE?_getpages=1")
    table = deployment.table(PAGES)
    row = await table.get(hospital.tenant, path.rpartition("=")[2])
    assert row is not None
    await table.put({**row, "Expires": datetime.now(UTC) - timedelta(seconds=1)})
    assert (await hospital.send("GET", path)).status == 410


@pytest.mark.parametrize(
    "url",
    [
        *("https://evil.example/page/2", "http://169.254.169.254/latest", "http://[::1/x", "//evil.example/x"),
        *("BASE/Patient/1/$everything", "BASE/Patient/1", "BASE/Practitioner?page=2"),
    ],
)
async def test_a_next_link_to_another_server_or_to_what_is_no_page_is_refused(hospital: Hospital, url: str) -> None:
    pages(hospital, url)
    answer = await hospital.send("GET", "/stu3/Observation?patient=1")
    assert (answer.status, b"evil" in answer.body) == (502, False)


async def test_a_page_with_a_handle_names_that_handle_as_itself(hospital: Hospital) -> None:
    first, second = (f"{hospital.base_url}?_getpages=0c8a&_getpagesoffset={offset}" for offset in (10, 20))
    hospital.answers(searchset(("self", first), ("first", first), ("next", second)))
    found = links(await hospital.send("GET", "/stu3/Observation?patient=1"))
    again = links(await hospital.send("GET", found["next"].removeprefix(GATEWAY)))
    assert again["self"] == found["next"]
    await hospital.send("GET", found["first"].removeprefix(GATEWAY))
    assert hospital.targets[1:] == [f"/fhir?{url.partition('?')[2]}" for url in (second, first)]


async def test_a_bundle_that_is_content_has_no_pages(hospital: Hospital) -> None:
    await hospital.row(Types="Patient,Bundle")
    offered = (("next", f"{hospital.base_url}/Patient/1/$everything"), ("last", "https://elsewhere.example/x"))
    stored = searchset(*offered, type="collection")
    mapped = json.loads(json.dumps(stored).replace(hospital.base_url, f"{GATEWAY}/stu3"))
    hospital.answers(stored)
    assert json.loads((await hospital.send("GET", "/stu3/Bundle/1")).body) == mapped
    hospital.answers(searchset(entry=[{"resource": stored}]))
    listed = await hospital.send("GET", "/stu3/Bundle?x=1")
    assert json.loads(listed.body)["entry"][0]["resource"] == mapped


async def test_at_most_twenty_links_of_a_bundle_become_handles(deployment: Deployment, hospital: Hospital) -> None:
    hospital.answers(searchset(*(("next", f"{hospital.base_url}?_getpages={page}") for page in range(50))))
    for _ in range(2):
        answer = await hospital.send("GET", "/stu3/Observation?patient=1")
        assert (answer.status, hospital.base_url.encode() in answer.body) == (200, False)
    assert len(await deployment.table(PAGES).partition(hospital.tenant)) == 20


async def test_each_search_of_a_batch_pages_as_what_it_asked_for(hospital: Hospital) -> None:
    found: list[dict[str, Any]] = [
        searchset(("self", "https://elsewhere.example/x"), ("next", f"{hospital.base_url}?_getpages={type}"))
        for type in ("Observation", "Patient")
    ]
    entries = [{"resource": each} for each in (found[0], {"resourceType": "Patient", "id": "1"}, found[1])]
    hospital.answers({"resourceType": "Bundle", "type": "batch-response", "entry": entries})
    asked = ("Observation?patient=1", "Patient/1", "Patient?name=x")
    answered = json.loads((await hospital.send("POST", "/stu3", batch(*asked))).body)["entry"]
    hospital.answers(searchset())
    for place, type in ((0, "Observation"), (2, "Patient")):
        written = {link["relation"]: link["url"] for link in answered[place]["resource"]["link"]}
        assert written["self"] == f"{GATEWAY}/stu3/{asked[place]}"
        assert written["next"].startswith(f"{GATEWAY}/stu3/{type}?_page=")
        assert (await hospital.send("GET", written["next"].removeprefix(GATEWAY))).status == 200
        assert hospital.targets[-1] == f"/fhir?_getpages={type}"


@pytest.mark.parametrize(
    "change",
    [
        *({"BaseUrl": "https://moved.example/fhir"}, {"Auth": "basic", "AuthSecret": "another"}),
        *({"ExtraHeaders": '{"X-Customer": "another"}'}, {"Types": "Patient"}),
    ],
)
async def test_a_handle_is_good_for_the_address_and_credential_it_was_made_with(
    deployment: Deployment, hospital: Hospital, change: dict[str, str]
) -> None:
    link = await next_link(hospital, "BASE?_getpages=1")
    row = {"PartitionKey": hospital.tenant, "RowKey": "stu3", "BaseUrl": hospital.base_url, **change}
    await deployment.table(TENANTS).put(row)
    another = deployment.instance()  # it remembers nothing
    assert (await another.send("GET", link, hospital.token)).status == (403 if "Types" in change else 410)
    assert len(hospital.requests) == 1


async def test_the_credential_goes_to_no_origin_but_those_of_the_row(
    deployment: Deployment, hospital: Hospital
) -> None:
    columns = {"Auth": "basic", "AuthSecret": await deployment.secret("gateway:correct horse battery")}
    async with served(Hospital(deployment)) as other:
        origin = other.base_url.removesuffix("/fhir")
        await hospital.row(**columns)
        link = await next_link(hospital, f"{origin}/fhir/Observation?page=2")
        await hospital.send("GET", link)
        assert hospital.targets[1] == "/fhir/Observation?page=2"
        hospital.requests.clear()
        pages(hospital, f"{origin}/pages/2")
        assert (await hospital.send("GET", "/stu3/Observation")).status == 502
        assert not other.requests
        hospital.requests.clear()
        await hospital.row(PageOrigins=origin, **columns)
        other.answers(searchset())
        assert (await hospital.send("GET", await next_link(hospital))).status == 200
        assert other.requests[0].headers["Authorization"] == hospital.requests[0].headers["Authorization"]


@pytest.mark.parametrize(
    ("asked", "url", "shown"),
    [
        ("Observation?patient=1", "BASE/Observation?patient=1&_count=10", "Observation?patient=1&_count=10"),
        ("Observation?patient=1", "Observation?patient=1", "Observation?patient=1"),
        ("Observation?patient=1", "BASE/Observation?x=" + "y" * 3000, "Observation?x=" + "y" * 3000),
        ("Observation?patient=1", "BASE/Observation?x=" + "y" * 5000, "Observation?patient=1"),
        ("Observation?patient=1", "BASE?_getpages=1", "Observation?patient=1"),
        ("Observation?patient=1", "https://elsewhere.example/x", "Observation?patient=1"),
        ("Observation?patient=1", "BASE/Observation?_page=b2c", "Observation?patient=1"),
        ("Observation?patient=1|2", "http://[", "Observation?patient=1%7C2"),
    ],
)
async def test_what_is_said_of_the_page_itself_is_true(hospital: Hospital, asked: str, url: str, shown: str) -> None:
    hospital.answers(searchset(("self", url.replace("BASE", hospital.base_url))))
    assert links(await hospital.send("GET", f"/stu3/{asked}")) == {"self": f"{GATEWAY}/stu3/{shown}"}
    if "BASE?" in url:
        found = await hospital.send("POST", "/stu3/Observation/_search?_count=5", "code=a%7Cb", content_type=FORM)
        assert links(found) == {"self": f"{GATEWAY}/stu3/Observation?_count=5&code=a%7Cb"}


async def test_a_handle_may_come_by_post_and_beside_other_parameters(hospital: Hospital) -> None:
    query = (await next_link(hospital, "BASE?_getpages=1")).partition("?")[2]
    by_get, by_head = f"Observation?_format=json&{query}", f"Observation?{query}"
    for method, target, body, sent in (
        *(("GET", by_get, "", "GET"), ("HEAD", by_head, "", "HEAD")),
        ("POST", "Observation/_search", query, "GET"),
    ):
        assert (await hospital.send(method, f"/stu3/{target}", body, content_type=FORM)).status == 200
        assert (hospital.requests[-1].method, hospital.targets[-1]) == (sent, "/fhir?_getpages=1")


async def test_a_batch_of_many_searches_has_all_their_pages(deployment: Deployment, hospital: Hospital) -> None:
    count = 200
    urls = [f"{hospital.base_url}?_getpages={number}&x={'y' * 4000}" for number in range(count)]
    entries = [{"resource": searchset(("next", url))} for url in urls]
    hospital.answers({"resourceType": "Bundle", "type": "batch-response", "entry": entries})
    answered = json.loads((await hospital.send("POST", "/stu3", batch(*["Observation?patient=1"] * count))).body)
    handles = {entry["resource"]["link"][0]["url"].rpartition("=")[2] for entry in answered["entry"]}
    assert handles == {row["RowKey"] for row in await deployment.table(PAGES).partition(hospital.tenant)}
    assert len(handles) == count


async def test_a_page_is_not_asked_for_in_a_batch(hospital: Hospital) -> None:
    hospital.answers({"resourceType": "Bundle", "type": "batch-response"})
    asked = batch(f"Observation?_page={'A' * 32}", "Observation?_page=2")
    answer = await hospital.send("POST", "/stu3", asked)
    assert json.loads(answer.body)["entry"][0]["response"]["status"].startswith("400")
    assert hospital.targets == ["/fhir/Observation?_page=2"]


@pytest.mark.parametrize(
    ("offered", "left"),
    [
        ([("next", "")], None),
        ([("self", "BASE/Observation?x=1"), ("next", " ")], ["self"]),
        ([("previous", ""), ("self", "BASE/Observation?x=1"), ("next", "")], ["self"]),
        ([("self", "BASE/Observation?x=1"), ("alternate", "HOST/other")], ["self"]),
        ([("self", "BASE/Observation?x=1"), ("license", "https://hl7.org/license")], ["self", "license"]),
    ],
)
async def test_a_link_that_leads_nowhere_is_left_out(
    hospital: Hospital, offered: list[tuple[str, str]], left: list[str] | None
) -> None:
    bundle = {"resourceType": "Bundle", "link": searchset(*offered)["link"], "type": "searchset"}
    host = hospital.base_url.removesuffix("/fhir")
    hospital.answers(json.dumps(bundle).replace("BASE", hospital.base_url).replace("HOST", host))
    answer = json.loads((await hospital.send("GET", "/stu3/Observation?x=1")).body)
    assert ([link["relation"] for link in answer["link"]] if "link" in answer else None) == left
