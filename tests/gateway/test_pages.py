"""Further pages: whatever a provider's next link looks like, a client can follow it, and nobody else can."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from aiohttp import web

from shared.stores.tables import PAGES, TENANTS
from tests.deployment import GATEWAY, Deployment
from tests.gateway.conftest import Hospital, served


def next_link(body: bytes) -> str:
    links = {link["relation"]: link["url"] for link in json.loads(body)["link"]}
    return str(links["next"])


async def pages(hospital: Hospital, url: str) -> None:
    """Makes the provider offer `url` (with its host and base filled in) as its second page."""

    async def answer(request: web.Request) -> web.Response:
        host = f"http://{request.host}"
        link = url.replace("HOST", host).replace("BASE", f"{host}/fhir")
        bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset", "total": 2}
        bundle["entry"] = [{"resource": {"resourceType": "Observation", "id": str(len(hospital.requests))}}]
        if len(hospital.requests) == 1:
            bundle["link"] = [{"relation": "next", "url": link}]
        return web.json_response(bundle, content_type="application/fhir+json")

    hospital.answer = answer


@pytest.mark.parametrize(
    "url",
    [
        "BASE/Observation?patient=1&page=2&x=%7C",
        "/fhir/Observation?patient=1&page=2",
        "Observation?patient=1&page=2",
        "BASE/Observation/_search?ct=abc%2B%2F%3D",
    ],
)
async def test_a_link_below_the_base_becomes_a_plain_gateway_link(hospital: Hospital, url: str) -> None:
    await pages(hospital, url)
    first = await hospital.send("GET", "/stu3/Observation?patient=1")
    link = next_link(first.body)
    assert link.startswith(f"{GATEWAY}/stu3/Observation")
    second = await hospital.send("GET", link.removeprefix(GATEWAY))
    assert json.loads(second.body)["entry"][0]["resource"]["id"] == "2"
    assert hospital.targets[1].removeprefix("/fhir/Observation").lstrip("/_search") == url.partition("Observation")[
        2
    ].lstrip("/_search")


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
    await pages(hospital, url)
    first = await hospital.send("GET", "/stu3/Observation?patient=1")
    link = next_link(first.body)
    assert link.startswith(f"{GATEWAY}/stu3/Observation?_page=")
    assert len(link) < 200
    second = await hospital.send("GET", link.removeprefix(GATEWAY))
    assert json.loads(second.body)["entry"][0]["resource"]["id"] == "2"
    host = hospital.base_url.removesuffix("/fhir")
    assert host + hospital.targets[1] == url.replace("BASE", hospital.base_url).replace("HOST", host) or (
        hospital.targets[1] == url
    )


async def test_a_handle_is_of_no_use_to_anyone_else(deployment: Deployment, hospital: Hospital) -> None:
    await pages(hospital, "BASE?_getpages=1")
    client = await deployment.client()
    tenant = await deployment.tenant(hospital.base_url)
    await deployment.tenant(hospital.base_url, "dstu2", tenant)
    token = await deployment.token(tenant, client=client)
    first = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    path = next_link(first.body).removeprefix(GATEWAY)

    other_tenant = await deployment.token(await deployment.tenant(hospital.base_url), client=client)
    other_client = await deployment.token(tenant)
    assert (await deployment.send("GET", path, other_tenant)).status == 404
    assert (await deployment.send("GET", path, other_client)).status == 404
    assert (await deployment.send("GET", path.replace("/stu3/", "/dstu2/"), token)).status == 404
    assert (await deployment.send("GET", path)).status == 401
    assert (await deployment.send("POST", path, token, {"resourceType": "Observation"})).status == 403
    assert (await deployment.send("GET", path.replace("Observation", "Patient"), token)).status == 404
    for forged in ("A" * 32, "a/b", "../x", "%2e%2e", path.rpartition("=")[2][:-1], "'" * 32):
        assert (await deployment.send("GET", f"/stu3/Observation?_page={forged}", token)).status == 404
    assert len(hospital.requests) == 1
    assert (await deployment.send("GET", path, token)).status == 200


async def test_a_handle_is_narrowed_by_the_scopes_of_who_follows_it(deployment: Deployment, hospital: Hospital) -> None:
    await pages(hospital, "BASE?_getpages=1")
    client = await deployment.client()
    tenant = await deployment.tenant(hospital.base_url)
    token = await deployment.token(tenant, client=client)
    path = next_link((await deployment.send("GET", "/stu3/Observation", token)).body).removeprefix(GATEWAY)
    narrow = await deployment.token(tenant, "system/Patient.rs", client=client)
    assert (await deployment.send("GET", path, narrow)).status == 403


async def test_an_expired_handle_says_so(deployment: Deployment, hospital: Hospital) -> None:
    await pages(hospital, "BASE?_getpages=1")
    tenant = await deployment.tenant(hospital.base_url)
    token = await deployment.token(tenant)
    first = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    path = next_link(first.body).removeprefix(GATEWAY)
    table = deployment.table(PAGES)
    row = await table.get(tenant, path.rpartition("=")[2])
    assert row is not None
    await table.put({**row, "Expires": datetime.now(UTC) - timedelta(seconds=1)})
    assert (await deployment.send("GET", path, token)).status == 410


@pytest.mark.parametrize(
    "url", ["https://evil.example/page/2", "http://169.254.169.254/latest", "http://[::1/x", "//evil.example/x"]
)
async def test_a_next_link_to_another_server_is_refused(hospital: Hospital, url: str) -> None:
    await pages(hospital, url)
    answer = await hospital.send("GET", "/stu3/Observation?patient=1")
    assert answer.status == 502
    assert b"evil" not in answer.body


async def test_the_searches_of_a_batch_page_too(hospital: Hospital) -> None:
    search = {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": "BASE?_getpages=1"}]}
    answered = {"resourceType": "Bundle", "type": "batch-response", "entry": [{"resource": search}]}
    hospital.answers(json.dumps(answered).replace("BASE", hospital.base_url))
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": "Observation?patient=1"}}],
    }
    answer = await hospital.send("POST", "/stu3", batch)
    link = next_link(json.dumps(json.loads(answer.body)["entry"][0]["resource"]).encode())
    assert link.startswith(f"{GATEWAY}/stu3/Observation?_page=")
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "total": 0})
    assert (await hospital.send("GET", link.removeprefix(GATEWAY))).status == 200


async def test_a_plain_link_tells_nothing_of_the_provider_in_its_parameters(hospital: Hospital) -> None:
    await pages(hospital, "BASE/Observation?patient=" + quote(f"{hospital.base_url}/Patient/1", safe="") + "&page=2")
    first = await hospital.send("GET", "/stu3/Observation?patient=1")
    link = next_link(first.body)
    assert link == f"{GATEWAY}/stu3/Observation?patient={quote(f'{GATEWAY}/stu3/Patient/1', safe='')}&page=2"
    await hospital.send("GET", link.removeprefix(GATEWAY))
    assert hospital.targets[1].endswith(f"?patient={quote(f'{hospital.base_url}/Patient/1', safe='')}&page=2")


async def test_a_page_with_a_handle_names_that_handle_as_itself(hospital: Hospital) -> None:
    pages = [f"{hospital.base_url}?_getpages=0c8a&_getpagesoffset={offset}" for offset in (10, 20)]
    links = [{"relation": "self", "url": pages[0]}, {"relation": "next", "url": pages[1]}]
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "link": links})
    first = await hospital.send("GET", "/stu3/Observation?patient=1")
    second = await hospital.send("GET", next_link(first.body).removeprefix(GATEWAY))
    assert json.loads(second.body)["link"][0]["url"] == next_link(first.body)


async def test_a_first_page_with_an_address_of_its_own_stays_reachable(hospital: Hospital) -> None:
    page = f"{hospital.base_url}?_getpages=0c8a"
    links = [{"relation": "self", "url": page}, {"relation": "first", "url": page}]
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "link": links})
    answer = await hospital.send("GET", "/stu3/Observation?patient=1")
    first = json.loads(answer.body)["link"][1]["url"]
    await hospital.send("GET", first.removeprefix(GATEWAY))
    assert hospital.targets[1] == "/fhir?_getpages=0c8a"


async def test_a_bundle_that_is_content_has_no_pages(hospital: Hospital) -> None:
    await hospital.row(Types="Patient,Bundle")
    stored = {
        "resourceType": "Bundle",
        "type": "collection",
        "link": [
            {"relation": "next", "url": f"{hospital.base_url}/Patient/1/$everything"},
            {"relation": "last", "url": "https://elsewhere.example/x"},
        ],
    }
    mapped = json.loads(json.dumps(stored).replace(hospital.base_url, f"{GATEWAY}/stu3"))
    hospital.answers(stored)
    assert json.loads((await hospital.send("GET", "/stu3/Bundle/1")).body) == mapped
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": stored}]})
    listed = await hospital.send("GET", "/stu3/Bundle?x=1")
    assert json.loads(listed.body)["entry"][0]["resource"] == mapped


@pytest.mark.parametrize("url", ["BASE/Patient/1/$everything", "BASE/Patient/1", "BASE/Practitioner?page=2"])
async def test_a_next_link_to_what_is_no_page_is_refused(hospital: Hospital, url: str) -> None:
    await pages(hospital, url)
    assert (await hospital.send("GET", "/stu3/Observation?patient=1")).status == 502


async def test_at_most_twenty_links_of_a_bundle_become_handles(deployment: Deployment, hospital: Hospital) -> None:
    tenant = await deployment.tenant(hospital.base_url)
    token = await deployment.token(tenant)
    links = [{"relation": "next", "url": f"{hospital.base_url}?_getpages={page}"} for page in range(50)]
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "link": links})
    for _ in range(2):
        answer = await deployment.send("GET", "/stu3/Observation?patient=1", token)
        assert answer.status == 200
        assert hospital.base_url.encode() not in answer.body
    assert len(await deployment.table(PAGES).partition(tenant)) == 20


async def test_each_search_of_a_batch_pages_as_what_it_asked_for(deployment: Deployment, hospital: Hospital) -> None:
    def found(type: str) -> dict[str, object]:
        links = [
            {"relation": "self", "url": "https://elsewhere.example/x"},
            {"relation": "next", "url": f"{hospital.base_url}?_getpages={type}"},
        ]
        return {"resource": {"resourceType": "Bundle", "type": "searchset", "link": links}}

    entries = [found("Observation"), {"resource": {"resourceType": "Patient", "id": "1"}}, found("Patient")]
    hospital.answers({"resourceType": "Bundle", "type": "batch-response", "entry": entries})
    token = await deployment.token(await deployment.tenant(hospital.base_url))
    asked = ("Observation?patient=1", "Patient/1", "Patient?name=x")
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in asked],
    }
    answered = json.loads((await deployment.send("POST", "/stu3", token, batch)).body)["entry"]
    for place, type in ((0, "Observation"), (2, "Patient")):
        links = {link["relation"]: link["url"] for link in answered[place]["resource"]["link"]}
        assert links["self"] == f"{GATEWAY}/stu3/{asked[place]}"
        assert links["next"].startswith(f"{GATEWAY}/stu3/{type}?_page=")
        hospital.answers({"resourceType": "Bundle", "type": "searchset"})
        assert (await deployment.send("GET", links["next"].removeprefix(GATEWAY), token)).status == 200
        assert hospital.targets[-1] == f"/fhir?_getpages={type}"


@pytest.mark.parametrize(
    "change",
    [
        {"BaseUrl": "https://moved.example/fhir"},
        {"Auth": "basic", "AuthSecret": "another"},
        {"ExtraHeaders": '{"X-Customer": "another"}'},
        {"Types": "Patient"},
    ],
)
async def test_a_handle_is_good_for_the_address_and_credential_it_was_made_with(
    deployment: Deployment, hospital: Hospital, change: dict[str, str]
) -> None:
    await pages(hospital, "BASE?_getpages=1")
    tenant = await deployment.tenant(hospital.base_url)
    token = await deployment.token(tenant)
    link = next_link((await deployment.send("GET", "/stu3/Observation", token)).body).removeprefix(GATEWAY)
    columns = {"BaseUrl": hospital.base_url, **change}
    await deployment.table(TENANTS).put({"PartitionKey": tenant, "RowKey": "stu3", **columns})
    another = deployment.instance()  # it remembers nothing
    answer = await another.send("GET", link, token)
    assert answer.status == (403 if "Types" in change else 410)
    assert len(hospital.requests) == 1


async def test_the_credential_goes_to_no_origin_but_those_of_the_row(
    deployment: Deployment, hospital: Hospital
) -> None:
    other = Hospital(deployment)
    host, port = hospital.base_url.removesuffix("/fhir"), 0
    async with served(other):
        port = int(other.base_url.rpartition(":")[2].partition("/")[0])
        for url in (f"http://127.0.0.1:{port}/fhir/Observation?page=2", f"http://127.0.0.1:{port}/pages/2"):
            hospital.requests.clear()
            await pages(hospital, url)
            secret = await deployment.secret("gateway:correct horse battery")
            columns = {"Auth": "basic", "AuthSecret": secret}
            token = await deployment.token(await deployment.tenant(hospital.base_url, **columns))
            first = await deployment.send("GET", "/stu3/Observation", token)
            if "/fhir/" in url:
                await deployment.send("GET", next_link(first.body).removeprefix(GATEWAY), token)
                assert hospital.targets[1] == "/fhir/Observation?page=2"
            else:
                assert first.status == 502
            assert not other.requests
        hospital.requests.clear()
        other.answers({"resourceType": "Bundle", "type": "searchset"})
        named = await deployment.tenant(hospital.base_url, PageOrigins=f"http://127.0.0.1:{port}", **columns)
        token = await deployment.token(named)
        first = await deployment.send("GET", "/stu3/Observation", token)
        assert (await deployment.send("GET", next_link(first.body).removeprefix(GATEWAY), token)).status == 200
        assert other.requests[0].headers["Authorization"] == hospital.requests[0].headers["Authorization"]
        assert host not in next_link(first.body)


@pytest.mark.parametrize(
    ("asked", "url", "shown"),
    [
        ("Observation?patient=1", "BASE/Observation?patient=1&_count=10", "Observation?patient=1&_count=10"),
        ("Observation?patient=1", "Observation?patient=1", "Observation?patient=1"),
        ("Observation?patient=1", "BASE/Observation?x=" + "y" * 3000, "Observation?x=" + "y" * 3000),
        ("Observation?patient=1", "BASE?_getpages=1", "Observation?patient=1"),
        ("Observation?patient=1", "https://elsewhere.example/x", "Observation?patient=1"),
        ("Observation?patient=1", "BASE/Observation?_page=b2c", "Observation?patient=1"),
        ("Observation?patient=1|2", "http://[", "Observation?patient=1%7C2"),
    ],
)
async def test_what_is_said_of_the_page_itself_is_true(hospital: Hospital, asked: str, url: str, shown: str) -> None:
    link = {"relation": "self", "url": url.replace("BASE", hospital.base_url)}
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "link": [link]})
    answer = await hospital.send("GET", f"/stu3/{asked}")
    assert json.loads(answer.body)["link"][0]["url"] == f"{GATEWAY}/stu3/{shown}"


async def test_a_search_by_post_says_what_it_asked_for(hospital: Hospital) -> None:
    link = {"relation": "self", "url": f"{hospital.base_url}?_getpages=1"}
    hospital.answers({"resourceType": "Bundle", "type": "searchset", "link": [link]})
    form = {"content_type": "application/x-www-form-urlencoded"}
    answer = await hospital.send("POST", "/stu3/Observation/_search?_count=5", "patient=1&code=a%7Cb", **form)
    shown = json.loads(answer.body)["link"][0]["url"]
    assert shown == f"{GATEWAY}/stu3/Observation?_count=5&patient=1&code=a%7Cb"


async def test_a_handle_may_come_by_post_and_beside_other_parameters(hospital: Hospital) -> None:
    form = {"content_type": "application/x-www-form-urlencoded"}
    await pages(hospital, "BASE?_getpages=1")
    query = next_link((await hospital.send("GET", "/stu3/Observation")).body).partition("?")[2]
    for method, target, body in (
        ("GET", f"Observation?_format=json&{query}", ""),
        ("HEAD", f"Observation?{query}", ""),
        ("POST", "Observation/_search", query),
    ):
        assert (await hospital.send(method, f"/stu3/{target}", body, **form)).status == 200
        assert (hospital.requests[-1].method, hospital.targets[-1]) == (
            "HEAD" if method == "HEAD" else "GET",
            "/fhir?_getpages=1",
        )


async def test_handles_that_expired_days_ago_are_deleted_while_others_are_made(
    deployment: Deployment, hospital: Hospital
) -> None:
    table = deployment.table(PAGES)
    gone, now = str(uuid.uuid4()), datetime.now(UTC)
    for days in (-2, -1.5, -0.5, 0.5):
        row = {"PartitionKey": gone, "RowKey": f"handle{days}", "Expires": now + timedelta(days=days)}
        await table.insert(row)
    for page in range(3000):
        links = [{"relation": "next", "url": f"{hospital.base_url}?_getpages={page}-{each}"} for each in range(20)]
        hospital.answers({"resourceType": "Bundle", "type": "searchset", "link": links})
        await hospital.send("GET", "/stu3/Observation")
        left = [row["RowKey"] for row in await table.partition(gone)]
        if len(left) == 2:
            break
    assert sorted(left) == ["handle-0.5", "handle0.5"]


async def test_a_batch_of_many_searches_has_all_their_pages(deployment: Deployment, hospital: Hospital) -> None:
    count = 200
    found = [
        {
            "resource": {
                "resourceType": "Bundle",
                "type": "searchset",
                "link": [{"relation": "next", "url": f"{hospital.base_url}?_getpages={number}&x={'y' * 4000}"}],
            }
        }
        for number in range(count)
    ]
    hospital.answers({"resourceType": "Bundle", "type": "batch-response", "entry": found})
    tenant = await deployment.tenant(hospital.base_url)
    entries = [{"request": {"method": "GET", "url": "Observation?patient=1"}}] * count
    batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answered = json.loads((await deployment.send("POST", "/stu3", await deployment.token(tenant), batch)).body)
    handles = {entry["resource"]["link"][0]["url"].rpartition("=")[2] for entry in answered["entry"]}
    assert handles == {row["RowKey"] for row in await deployment.table(PAGES).partition(tenant)}
    assert len(handles) == count


async def test_a_page_is_not_asked_for_in_a_batch(hospital: Hospital) -> None:
    hospital.answers({"resourceType": "Bundle", "type": "batch-response"})
    entries = [{"request": {"method": "GET", "url": f"Observation?_page={page}"}} for page in ("A" * 32, "2")]
    answer = await hospital.send("POST", "/stu3", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert json.loads(answer.body)["entry"][0]["response"]["status"].startswith("400")
    assert hospital.targets == ["/fhir/Observation?_page=2"]


@pytest.mark.parametrize(
    ("links", "left"),
    [
        ([("next", "")], None),
        ([("self", "BASE/Observation?x=1"), ("next", " ")], ["self"]),
        ([("previous", ""), ("self", "BASE/Observation?x=1"), ("next", "")], ["self"]),
        ([("self", "BASE/Observation?x=1"), ("alternate", "HOST/other")], ["self"]),
        ([("self", "BASE/Observation?x=1"), ("license", "https://hl7.org/license")], ["self", "license"]),
    ],
)
async def test_a_link_that_leads_nowhere_is_left_out(
    hospital: Hospital, links: list[tuple[str, str]], left: list[str] | None
) -> None:
    bundle = {
        "resourceType": "Bundle",
        "link": [{"relation": relation, "url": url} for relation, url in links],
        "type": "searchset",
    }
    host = hospital.base_url.removesuffix("/fhir")
    hospital.answers(json.dumps(bundle).replace("BASE", hospital.base_url).replace("HOST", host))
    answer = json.loads((await hospital.send("GET", "/stu3/Observation?x=1")).body)
    assert ([link["relation"] for link in answer["link"]] if "link" in answer else None) == left
