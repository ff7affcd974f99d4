"""Clients and their secrets, as owners and admins keep them in the portal."""

import asyncio
import json
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from shared.application import Application
from shared.directory.client import Client
from shared.directory.client_registry import NewSecret
from shared.directory.refusals import UnknownClient
from shared.message import Request
from shared.settings import Settings
from tests.portal.conftest import FORM, Deployment, Page, Visitor

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"


def shown(page: Page) -> tuple[str, str]:
    """The ID and the secret that a page shows."""
    found = dict(re.findall(r'<code id="(client-id|client-secret)"[^>]*>([^<]+)</code>', page.text))
    return found["client-id"], found["client-secret"]


async def created(visitor: Visitor, name: str = "Care app") -> tuple[str, str]:
    page = await visitor.post("/portal/clients/new", {"name": name, "lifetime": "90"})
    assert page.status == 200, page.text
    return shown(page)


async def token_status(deployment: Deployment, client_id: str, client_secret: str, tenant: str) -> int:
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": client_secret,
        "scope": tenant,
    }
    request = Request("POST", "/oauth2/token", "", {"content-type": FORM}, urlencode(form).encode())
    return (await deployment.application.oauth(request)).status


async def test_an_owner_creates_a_client_that_reaches_no_tenant(deployment: Deployment) -> None:
    owner = await deployment.owner("Ada@Example.com")
    client_id, _ = await created(owner)
    client = await deployment.clients.get(client_id)
    assert (client.owner, client.tenants) == ("ada@example.com", frozenset())
    assert "send the client ID to the gateway's admin" in (
        await owner.get(f"/portal/clients/{client_id}")
    ).text.replace("&#39;", "'")


async def test_a_secret_works_at_once_where_an_admin_says_so(deployment: Deployment) -> None:
    tenant, version = str(uuid4()), deployment.application.settings.default_fhir_version
    await deployment.tenants.set(tenant, version, {"BaseUrl": "https://fhir.example"})
    owner, admin = await deployment.owner(), await deployment.admin()
    refused, allowed = await created(owner), await created(owner)
    path = f"/portal/clients/{allowed[0]}/edit"
    form = {"name": "Care app", "owner": "ada@example.com", "tenants": f"{{{tenant.upper()}}}\r\n"}
    page = await admin.post(path, {**form, "etag": (await admin.get(path)).field("etag")})
    assert page.status == 303
    assert await token_status(deployment, *allowed, tenant) == 200
    assert await token_status(deployment, *refused, tenant) == 400


async def test_a_secret_is_shown_once_and_kept_nowhere(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    owner = await deployment.owner()
    with caplog.at_level(logging.DEBUG):
        page = await owner.post("/portal/clients/new", {"name": "Care app", "lifetime": "180"})
    client_id, secret = shown(page)
    value = secret.partition(".")[2]
    assert page.response.headers["Cache-Control"] == "no-store"
    assert value not in caplog.text
    assert value not in str(page.response.headers) + str(owner.cookies)
    for path in ("/portal/clients", f"/portal/clients/{client_id}", f"/portal/connect?client={client_id}"):
        assert value not in (await owner.get(path)).text


@pytest.mark.parametrize(("lifetime", "days"), [("90", 90), ("180", 180), ("365", 365), ("never", None)])
async def test_a_secret_ends_when_its_owner_said(deployment: Deployment, lifetime: str, days: int | None) -> None:
    owner = await deployment.owner()
    client_id, first = await created(owner)
    await owner.post(f"/portal/clients/{client_id}/secrets", {"lifetime": lifetime})
    secrets = (await deployment.clients.get(client_id)).secrets
    expires = next(secret.expires for secret in secrets if not first.startswith(f"{secret.id}."))
    if days is None:
        assert expires is None
    else:
        assert expires is not None
        assert abs(datetime.now(UTC) + timedelta(days=days) - expires) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("form", "said"),
    [({"name": " ", "lifetime": "90"}, "name is 1 to 200"), ({"name": "x", "lifetime": "9"}, "how long")],
)
async def test_what_can_not_be_created_is_said_and_kept_in_the_form(
    deployment: Deployment, form: dict[str, str], said: str
) -> None:
    page = await (await deployment.owner()).post("/portal/clients/new", form)
    assert page.status == 422
    assert said in page.text
    assert page.field("name") == form["name"]


async def test_an_owner_makes_so_many_clients_and_no_more_and_an_admin_any(
    deployment: Deployment, environment: dict[str, str]
) -> None:
    name = f"{uuid4()}@example.com"
    application = Application(Settings.from_environment({**environment, "CLIENTS_PER_OWNER": "3"}))
    try:
        few = replace(deployment, application=application)
        owner, admin = await few.owner(name), await few.admin(name)
        first, _ = await created(owner)
        form = {"name": "Care app", "lifetime": "90"}
        pages = await asyncio.gather(*(owner.post("/portal/clients/new", form) for _ in range(4)))
        assert sorted(page.status for page in pages) == [200, 200, 422, 422]
        refused = next(page for page in pages if page.status == 422)
        assert "3 clients, the most an owner may make" in refused.text
        await created(admin)
        for client in [entry async for _, entry in deployment.clients.list()]:
            if isinstance(client, Client) and client.owner == name and client.id != first:
                await deployment.clients.delete(client.id)
        await created(owner)
    finally:
        await application.close()


async def test_a_sixth_secret_is_refused(deployment: Deployment) -> None:
    owner = await deployment.owner()
    client_id, _ = await created(owner)
    for _ in range(4):
        assert (await owner.post(f"/portal/clients/{client_id}/secrets", {"lifetime": "90"})).status == 200
    page = await owner.get(f"/portal/clients/{client_id}")
    assert "the most it may have" in page.text
    page = await owner.post(f"/portal/clients/{client_id}/secrets", {"lifetime": "90"})
    assert page.status == 422
    assert len((await deployment.clients.get(client_id)).secrets) == 5


async def test_deleting_a_secret_asks_first_and_leaves_the_other(deployment: Deployment) -> None:
    owner = await deployment.owner()
    client_id, first = await created(owner)
    path = f"/portal/clients/{client_id}/secrets/{first.partition('.')[0]}/delete"
    assert "No other secret of this client works" in (await owner.get(path)).text
    _, second = shown(await owner.post(f"/portal/clients/{client_id}/secrets", {"lifetime": "90"}))
    page = await owner.get(path)
    assert "Another secret of this client works" in page.text
    assert "within 60 seconds" in page.text
    assert len((await deployment.clients.get(client_id)).secrets) == 2
    assert (await owner.post(path)).location == f"/portal/clients/{client_id}?done=secret-deleted"
    (left,) = (await deployment.clients.get(client_id)).secrets
    assert second.startswith(f"{left.id}.")
    assert (await owner.post(path)).status == 404


async def test_a_client_is_disabled_enabled_and_deleted(deployment: Deployment) -> None:
    owner = await deployment.owner()
    client_id, _ = await created(owner)
    assert (await owner.get(f"/portal/clients/{client_id}/disable")).status == 200
    assert (await deployment.clients.get(client_id)).enabled
    await owner.post(f"/portal/clients/{client_id}/disable")
    assert not (await deployment.clients.get(client_id)).enabled
    await owner.post(f"/portal/clients/{client_id}/enable")
    assert (await deployment.clients.get(client_id)).enabled
    assert (await owner.get(f"/portal/clients/{client_id}/delete")).status == 200
    await owner.post(f"/portal/clients/{client_id}/delete")
    with pytest.raises(UnknownClient):
        await deployment.clients.get(client_id)


async def test_last_use_is_shown_to_the_hour(deployment: Deployment) -> None:
    owner = await deployment.owner()
    client_id, secret = await created(owner)
    assert 'data-label="Last used">never' in (await owner.get(f"/portal/clients/{client_id}")).text
    deployment.application.usage.used(client_id, secret.partition(".")[0])
    await deployment.application.usage.close()
    hour = f"{datetime.now(UTC):%H}:00 UTC"
    assert hour in (await owner.get(f"/portal/clients/{client_id}")).text
    assert hour in (await owner.get("/portal/clients")).text


@pytest.fixture
async def others(deployment: Deployment) -> NewSecret:
    """A client of someone else."""
    return await deployment.clients.create("Bob's own app", "bob@example.com", "*")


def paths_of(others: NewSecret) -> list[tuple[str, str]]:
    client = f"/portal/clients/{others.client_id}"
    secret = f"{client}/secrets/{others.secret_id}/delete"
    pages = [client, f"{client}/edit", f"{client}/disable", f"{client}/delete", secret]
    forms = [*pages[1:], f"{client}/secrets", f"{client}/enable"]
    return [*(("GET", path) for path in pages), *(("POST", path) for path in forms)]


async def test_another_ones_client_is_not_there_by_any_url_or_form(deployment: Deployment, others: NewSecret) -> None:
    owner = await deployment.owner()
    before = await deployment.clients.get(others.client_id)
    form = {"name": "Mine", "owner": "ada@example.com", "tenants": "*", "lifetime": "90", "etag": "*"}
    for method, path in paths_of(others):
        page = await (owner.get(path) if method == "GET" else owner.post(path, form))
        missing = path.replace(others.client_id, str(uuid4()))
        nothing = await (owner.get(missing) if method == "GET" else owner.post(missing, form))
        assert (page.status, page.text) == (404, nothing.text), (method, path)
    assert others.client_id not in (await owner.get("/portal/clients")).text
    assert others.client_id not in (await owner.get(f"/portal/connect?client={others.client_id}")).text
    assert await deployment.clients.get(others.client_id) == before


async def test_an_admin_sees_and_finds_every_client(deployment: Deployment, others: NewSecret) -> None:
    admin = await deployment.admin()
    assert (await admin.get(f"/portal/clients/{others.client_id}")).status == 200
    for search in ("BOB%27S", "bob@", others.client_id):
        assert f"/portal/clients/{others.client_id}" in (await admin.get(f"/portal/clients?q={search}")).text
    assert others.client_id not in (await admin.get("/portal/clients?q=nobody-has-this")).text


async def test_an_owner_changes_nothing_but_the_name(deployment: Deployment) -> None:
    owner = await deployment.owner()
    client_id, _ = await created(owner)
    form = await owner.get(f"/portal/clients/{client_id}/edit")
    assert 'name="tenants"' not in form.text
    values = {"name": "Renamed", "owner": "eve@example.com", "tenants": "*", "etag": form.field("etag")}
    assert (await owner.post(f"/portal/clients/{client_id}/edit", values)).status == 303
    client = await deployment.clients.get(client_id)
    assert (client.name, client.owner, client.tenants) == ("Renamed", "ada@example.com", frozenset())


async def test_the_second_of_two_editors_is_told_and_shown_both(deployment: Deployment) -> None:
    admin, other = await deployment.admin(), await deployment.admin("other@example.com")
    client_id, _ = await created(admin, "As it was")
    path = f"/portal/clients/{client_id}/edit"
    form, others_form = await admin.get(path), await other.get(path)
    rest = {"owner": "grace@example.com", "tenants": ""}
    await other.post(path, {**rest, "name": "Theirs", "etag": others_form.field("etag")})
    page = await admin.post(path, {**rest, "name": "Mine", "etag": form.field("etag")})
    assert page.status == 409
    assert "Someone else changed this client meanwhile" in page.text
    assert "Stored meanwhile: <code>Theirs</code>" in page.text
    assert page.field("name") == "Mine"
    assert (await deployment.clients.get(client_id)).name == "Theirs"
    assert (await admin.post(path, {**rest, "name": "Mine", "etag": page.field("etag")})).status == 303
    assert (await deployment.clients.get(client_id)).name == "Mine"


async def test_a_list_of_tenants_that_is_none_is_refused(deployment: Deployment) -> None:
    admin = await deployment.admin()
    client_id, _ = await created(admin)
    path = f"/portal/clients/{client_id}/edit"
    etag = (await admin.get(path)).field("etag")
    page = await admin.post(path, {"name": "A", "owner": "b", "tenants": f"{TENANT}\ncontoso", "etag": etag})
    assert page.status == 422
    assert "is not a tenant ID" in page.text
    assert page.field("tenants") == f"{TENANT}\ncontoso"


async def test_a_client_whose_rows_are_broken_is_shown_to_admins_only(deployment: Deployment) -> None:
    client_id = f"broken-{uuid4().hex}"
    row = {"PartitionKey": client_id, "RowKey": "client", "Owner": "ada@example.com", "Enabled": "perhaps"}
    await deployment.clients_table.insert(row)
    admin, owner = await deployment.admin(), await deployment.owner()
    assert client_id in (await admin.get("/portal/clients")).text
    assert "must be true or false" in (await admin.get(f"/portal/clients/{client_id}")).text
    assert client_id not in (await owner.get("/portal/clients")).text
    assert (await owner.get(f"/portal/clients/{client_id}")).status == 404


async def test_every_change_is_in_the_audit_log(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    owner = await deployment.owner()
    with caplog.at_level(logging.INFO, "gateway.audit"):
        client_id, secret = await created(owner)
        await owner.post(f"/portal/clients/{client_id}/disable")
        await owner.post(f"/portal/clients/{client_id}/delete")
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.audit"]
    assert [(line["actor"], line["action"], line["subject"], line["detail"]) for line in lines] == [
        ("ada@example.com", "client.create", client_id, f"secret {secret.partition('.')[0]}"),
        ("ada@example.com", "client.disable", client_id, ""),
        ("ada@example.com", "client.delete", client_id, ""),
    ]
