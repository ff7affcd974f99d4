"""The test of a client: the app's first requests, sent to a running gateway over HTTP."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from local.hospitals.hospital import RIVERSIDE
from local.ports import free_port
from tests.deployment import Credentials
from tests.onboarding.conftest import Onboarding
from tests.portal.conftest import Page, Person, Portal
from tests.portal.test_portal_clients import created, made, path_of


@pytest.fixture(scope="module")
async def public(portal: Portal) -> Portal:
    """A portal whose public gateway runs, in a process of its own."""
    url = {"PUBLIC_BASE_URL": f"http://127.0.0.1:{(port := free_port())}", "CACHE_SECONDS": "1"}
    await portal.deployment.host(port, **url)
    return Portal(portal.deployment.instance(**url))


@pytest.fixture
async def hospitals(portal: Portal) -> AsyncIterator[Onboarding]:
    async with AsyncExitStack() as running:
        yield Onboarding(portal.vault, portal.application.settings, running)


def steps(page: Page) -> list[tuple[str, str, bool]]:
    """The name of each step, its status, and whether it went well."""
    rows = re.findall(
        r'<th scope="row">(.*?)</th>.*?data-label="Status">(.*?)</td>.*?class="state (\w+)"', page.text, re.S
    )
    return [(name, status, kind == "good") for name, status, kind in rows]


async def test_each_step_is_told_and_nothing_of_secret_token_or_patient(
    public: Portal, hospitals: Onboarding, caplog: pytest.LogCaptureFixture
) -> None:
    row = await hospitals.row(RIVERSIDE)
    await public.tenants_table.insert(row)
    owner, tenant = await public.owner(), str(row["PartitionKey"])
    client = await created(owner)
    await public.clients.change(client.client_id, tenants=[tenant])
    form = {"hospital": f"{tenant}/dstu2", "secret": f" {client.client_secret}\n"}
    with caplog.at_level(logging.DEBUG):
        page = await owner.post(f"{path_of(client)}/test", form)
        new = await owner.post(f"{path_of(client)}/secrets/{client.secret_id}/test", {"hospital": f"{tenant}/dstu2"})
    for told in (page, new):
        assert steps(told) == [("Statement", "200", True), ("Token", "200", True), ("Search", "200", True)]
        assert "All three steps went well" in told.words
        assert re.search(
            r"auth [\d.]+, directory [\d.]+, credential [\d.]+, upstream [\d.]+, gateway [\d.]+", told.words
        )
        for text in (told.text, caplog.text, str(told.response.headers)):
            assert client.client_secret.partition(".")[2] not in text
            assert "eyJ" not in text  # how a token begins
    (target,) = {target for target in hospitals.targets if "/Patient" in target}
    assert target.endswith("/Patient?_id=connection-test")


async def test_what_fails_is_told_with_what_to_do(public: Portal, hospitals: Onboarding) -> None:
    row = await hospitals.row(RIVERSIDE)
    await public.tenants_table.insert(row)
    gone = await public.deployment.tenant("http://127.0.0.1:9/fhir", "r4", Name="Gone")
    owner, tenant = await public.owner(), str(row["PartitionKey"])
    client = await created(owner)
    await public.clients.change(client.client_id, tenants=[tenant, gone])
    expired = await public.deployment.add_secret(client.client_id, expires=datetime.now(UTC) - timedelta(days=1))
    deleted = (await made(owner, f"{path_of(client)}/secrets")).client_secret
    await public.clients.delete_secret(client.client_id, deleted.partition(".")[0])
    owner = await Portal(public.deployment.instance()).owner()  # which sees the hospitals

    async def told(secret: str, hospital: str = f"{tenant}/dstu2", to: Person = owner) -> Page:
        return await to.post(f"{path_of(client)}/test", {"hospital": hospital, "secret": secret})

    for secret, why in (
        (client.client_secret[:-1] + "_", "works, so what was typed after the dot is not it"),
        (expired, "The secret has expired"),
        (deleted, "The client has no such secret"),
        ("nonsense", "The client has no such secret"),
    ):
        page = await told(secret)
        assert steps(page) == [("Statement", "200", True), ("Token", "401", False)], page.words
        assert why in page.words
        assert secret not in page.text
    page = await told(client.client_secret, f"{gone}/r4")
    assert [step[1:] for step in steps(page)] == [("200", True), ("200", True), ("502", False)]
    assert "Ask the gateway's admin to check it" in page.words
    for secret, hospital in (
        ("", f"{tenant}/dstu2"),
        (client.client_secret, f"{uuid4()}/r4"),
        (client.client_secret, ""),
    ):
        page = await told(secret, hospital)
        assert (page.status, steps(page)) == (422, [])
    await public.clients.set_enabled(client.client_id, False)
    assert "The client is disabled" in (await told(f"{uuid4()}.x")).words


async def test_a_gateway_that_can_not_be_reached_is_told_apart(portal: Portal, client_of_all: Credentials) -> None:
    await portal.tenant(Name="Anywhere")
    away = Portal(portal.deployment.instance(PUBLIC_BASE_URL=f"http://127.0.0.1:{free_port()}"))
    tenant, _ = await portal.tenant()
    page = await (await away.admin()).post(
        f"{path_of(client_of_all)}/test", {"hospital": f"{tenant}/stu3", "secret": client_of_all.client_secret}
    )
    assert steps(page) == [("Statement", "none", False)]
    assert "The portal can't reach the gateway at its public address" in page.words


@pytest.fixture
async def client_of_all(portal: Portal) -> Credentials:
    return await portal.deployment.client("*")
