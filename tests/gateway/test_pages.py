"""Further pages: whatever a provider's next link looks like, a client can follow it, and nobody else can."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from aiohttp import web

from shared.azure.tables import PAGES
from tests.gateway.conftest import GATEWAY, Deployment, Provider


def next_link(body: bytes) -> str:
    links = {link["relation"]: link["url"] for link in json.loads(body)["link"]}
    return str(links["next"])


async def pages(provider: Provider, url: str) -> None:
    """Makes the provider offer `url` (with its host and base filled in) as its second page."""

    async def answer(request: web.Request) -> web.Response:
        host = f"http://{request.host}"
        link = url.replace("HOST", host).replace("BASE", f"{host}/fhir")
        bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset", "total": 2}
        bundle["entry"] = [{"resource": {"resourceType": "Observation", "id": str(len(provider.requests))}}]
        if len(provider.requests) == 1:
            bundle["link"] = [{"relation": "next", "url": link}]
        return web.json_response(bundle, content_type="application/fhir+json")

    provider.answer = answer


@pytest.mark.parametrize(
    "url",
    [
        "BASE/Observation?patient=1&page=2&x=%7C",
        "/fhir/Observation?patient=1&page=2",
        "Observation?patient=1&page=2",
        "BASE/Observation/_search?ct=abc%2B%2F%3D",
    ],
)
async def test_a_link_below_the_base_becomes_a_plain_gateway_link(
    deployment: Deployment, provider: Provider, url: str
) -> None:
    await pages(provider, url)
    token = await deployment.token(await deployment.tenant(provider.base_url))
    first = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    link = next_link(first.body)
    assert link.startswith(f"{GATEWAY}/stu3/Observation")
    second = await deployment.send("GET", link.removeprefix(GATEWAY), token)
    assert json.loads(second.body)["entry"][0]["resource"]["id"] == "2"
    assert provider.targets[1].removeprefix("/fhir/Observation").lstrip("/_search") == url.partition("Observation")[
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
async def test_any_other_link_of_the_provider_becomes_a_short_handle(
    deployment: Deployment, provider: Provider, url: str
) -> None:
    await pages(provider, url)
    token = await deployment.token(await deployment.tenant(provider.base_url))
    first = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    link = next_link(first.body)
    assert link.startswith(f"{GATEWAY}/stu3/_page/")
    assert len(link) < 200
    second = await deployment.send("GET", link.removeprefix(GATEWAY), token)
    assert json.loads(second.body)["entry"][0]["resource"]["id"] == "2"
    host = provider.base_url.removesuffix("/fhir")
    assert host + provider.targets[1] == url.replace("BASE", provider.base_url).replace("HOST", host) or (
        provider.targets[1] == url
    )


async def test_a_handle_is_of_no_use_to_anyone_else(deployment: Deployment, provider: Provider) -> None:
    await pages(provider, "BASE?_getpages=1")
    client = await deployment.client()
    tenant = await deployment.tenant(provider.base_url)
    await deployment.tenant(provider.base_url, "dstu2", tenant)
    token = await deployment.token(tenant, client=client)
    first = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    path = next_link(first.body).removeprefix(GATEWAY)

    other_tenant = await deployment.token(await deployment.tenant(provider.base_url), client=client)
    other_client = await deployment.token(tenant)
    assert (await deployment.send("GET", path, other_tenant)).status == 404
    assert (await deployment.send("GET", path, other_client)).status == 404
    assert (await deployment.send("GET", path.replace("/stu3/", "/dstu2/"), token)).status == 404
    assert (await deployment.send("GET", path)).status == 401
    assert (await deployment.send("POST", path, token)).status == 405
    for forged in ("A" * 32, "", "a/b", "../x", "%2e%2e", path.rpartition("/")[2][:-1], "'" * 32):
        assert (await deployment.send("GET", f"/stu3/_page/{forged}", token)).status == 404
    assert len(provider.requests) == 1
    assert (await deployment.send("GET", path, token)).status == 200


async def test_a_handle_is_narrowed_by_the_scopes_of_who_follows_it(deployment: Deployment, provider: Provider) -> None:
    await pages(provider, "BASE?_getpages=1")
    client = await deployment.client()
    tenant = await deployment.tenant(provider.base_url)
    token = await deployment.token(tenant, client=client)
    path = next_link((await deployment.send("GET", "/stu3/Observation", token)).body).removeprefix(GATEWAY)
    narrow = await deployment.token(tenant, "system/Patient.rs", client=client)
    assert (await deployment.send("GET", path, narrow)).status == 403


async def test_an_expired_handle_says_so(deployment: Deployment, provider: Provider) -> None:
    await pages(provider, "BASE?_getpages=1")
    tenant = await deployment.tenant(provider.base_url)
    token = await deployment.token(tenant)
    first = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    path = next_link(first.body).removeprefix(GATEWAY)
    table = deployment.table(PAGES)
    row = await table.get(tenant, path.rpartition("/")[2])
    assert row is not None
    await table.put({**row, "Expires": datetime.now(UTC) - timedelta(seconds=1)})
    assert (await deployment.send("GET", path, token)).status == 410


@pytest.mark.parametrize(
    "url", ["https://evil.example/page/2", "http://169.254.169.254/latest", "http://[::1/x", "//evil.example/x"]
)
async def test_a_next_link_to_another_server_is_refused(deployment: Deployment, provider: Provider, url: str) -> None:
    await pages(provider, url)
    token = await deployment.token(await deployment.tenant(provider.base_url))
    answer = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    assert answer.status == 502
    assert b"evil" not in answer.body


async def test_the_searches_of_a_batch_page_too(deployment: Deployment, provider: Provider) -> None:
    search = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "next", "url": "BASE?_getpages=1"}],
    }
    answered = {"resourceType": "Bundle", "type": "batch-response", "entry": [{"resource": search}]}
    provider.answers(json.dumps(answered).replace("BASE", provider.base_url))
    token = await deployment.token(await deployment.tenant(provider.base_url))
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": "Observation?patient=1"}}],
    }
    answer = await deployment.send("POST", "/stu3", token, batch)
    link = next_link(json.dumps(json.loads(answer.body)["entry"][0]["resource"]).encode())
    assert link.startswith(f"{GATEWAY}/stu3/_page/")
    provider.answers({"resourceType": "Bundle", "type": "searchset", "total": 0})
    assert (await deployment.send("GET", link.removeprefix(GATEWAY), token)).status == 200


async def test_a_plain_link_tells_nothing_of_the_provider_in_its_parameters(
    deployment: Deployment, provider: Provider
) -> None:
    await pages(provider, "BASE/Observation?patient=" + quote(f"{provider.base_url}/Patient/1", safe="") + "&page=2")
    token = await deployment.token(await deployment.tenant(provider.base_url))
    first = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    link = next_link(first.body)
    assert link == f"{GATEWAY}/stu3/Observation?patient={quote(f'{GATEWAY}/stu3/Patient/1', safe='')}&page=2"
    await deployment.send("GET", link.removeprefix(GATEWAY), token)
    assert provider.targets[1].endswith(f"?patient={quote(f'{provider.base_url}/Patient/1', safe='')}&page=2")


async def test_a_page_with_a_handle_names_that_handle_as_itself(deployment: Deployment, provider: Provider) -> None:
    pages = [f"{provider.base_url}?_getpages=0c8a&_getpagesoffset={offset}" for offset in (10, 20)]
    links = [{"relation": "self", "url": pages[0]}, {"relation": "next", "url": pages[1]}]
    provider.answers({"resourceType": "Bundle", "type": "searchset", "link": links})
    token = await deployment.token(await deployment.tenant(provider.base_url))
    first = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    second = await deployment.send("GET", next_link(first.body).removeprefix(GATEWAY), token)
    assert json.loads(second.body)["link"][0]["url"] == next_link(first.body)


async def test_a_first_page_with_an_address_of_its_own_stays_reachable(
    deployment: Deployment, provider: Provider
) -> None:
    page = f"{provider.base_url}?_getpages=0c8a"
    links = [{"relation": "self", "url": page}, {"relation": "first", "url": page}]
    provider.answers({"resourceType": "Bundle", "type": "searchset", "link": links})
    token = await deployment.token(await deployment.tenant(provider.base_url))
    answer = await deployment.send("GET", "/stu3/Observation?patient=1", token)
    first = json.loads(answer.body)["link"][1]["url"]
    await deployment.send("GET", first.removeprefix(GATEWAY), token)
    assert provider.targets[1] == "/fhir?_getpages=0c8a"
