"""Clients and their secrets, as owners and admins keep them in the portal."""

import asyncio
import logging
import re
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from shared.directory.client import Client
from shared.directory.client_registry import ClientRegistry, NewSecret
from shared.directory.errors import UnknownClient
from shared.error_kind import ErrorKind
from shared.portal.client_traffic import REMEDIES
from tests.deployment import Credentials
from tests.portal.conftest import Changes, Page, Person, Portal

NEW = "/portal/clients/new"


def shown(page: Page) -> Credentials:
    """The ID and the secret that a page shows."""
    assert page.status == 200, page.text
    found = dict(re.findall(r'<code id="(client-id|client-secret)"[^>]*>([^<]+)</code>', page.text))
    return Credentials(found["client-id"], found["client-secret"])


async def made(person: Person, path: str, **values: str) -> Credentials:
    """What the page shows that a form leads to."""
    page = await person.post(path, {"lifetime": "90", **values})
    assert page.status == 303, page.text
    return shown(await person.get(page.location))


async def created(person: Person, name: str = "Care app") -> Credentials:
    return await made(person, NEW, name=name)


def path_of(client: Credentials | NewSecret) -> str:
    return f"/portal/clients/{client.client_id}"


async def test_a_secret_is_shown_to_the_one_who_made_it_until_it_is_kept(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    """On every instance, and on no other page; its cookie is of no use to anyone else, nor for another secret."""
    owner = await portal.owner()
    with caplog.at_level(logging.DEBUG):
        page = await owner.post(NEW, {"name": "Care app", "lifetime": "180", "label": "production"})
        client, secret = shown(await owner.get(page.location)), page.location
        env = await owner.get(f"{secret}/env")
    value = client.client_secret.partition(".")[2]
    cookie = page.response.headers["Set-Cookie"]
    assert re.fullmatch(
        rf"portal-secret=[\w-]+; Path={secret}; HttpOnly; SameSite=Strict; Max-Age=600", cookie
    )  # and Secure, where browsers come by https
    for text in (caplog.text, str(page.response.headers), str(owner.scoped), str(owner.cookies)):
        assert value not in text
    assert env.response.headers["Content-Disposition"] == 'attachment; filename="fhir-gateway.env"'
    assert env.response.headers["Cache-Control"] == "no-store"
    lines = dict(line.split("=", 1) for line in env.text.splitlines() if not line.startswith("#"))
    assert lines == {
        "BASE_URL": "http://127.0.0.1:7071/fhir",
        "TOKEN_URL": "http://127.0.0.1:7071/oauth2/token",
        "CLIENT_ID": client.client_id,
        "CLIENT_SECRET": client.client_secret,
        "TENANT_ID": "",
    }
    for path in ("/portal/clients", path_of(client), f"/portal/connect?client={client.client_id}", f"{secret}/delete"):
        assert value not in (await owner.get(path)).text
    second = await made(owner, f"{path_of(client)}/secrets")
    other = f"{path_of(client)}/secrets/{second.secret_id}"
    admin, same = await portal.admin(), await Portal(portal.deployment.instance()).owner()
    admin.scoped = same.scoped = owner.scoped
    assert value in (await same.get(secret)).text
    assert value not in (await admin.get(secret)).text
    assert (await admin.get(f"{secret}/env")).status == 404
    sealed = owner.scoped[secret]["portal-secret"]
    owner.scoped[other] = owner.scoped[secret]
    assert not {value, second.client_secret.partition(".")[2]} & set(
        re.findall(r"[\w-]{43}", (await owner.get(other)).text)
    )
    other_letter = "B" if sealed[30] == "A" else "A"
    for forged in (sealed[:30] + other_letter + sealed[31:], sealed[:40], "x", "\u00e9\ud800"):
        owner.scoped[secret] = {"portal-secret": forged}
        page = await owner.get(secret)
        assert value not in page.text
        assert "shown no more" in page.words
    owner.scoped[secret] = {"portal-secret": sealed}
    assert (await owner.post(f"{secret}/kept")).location.endswith("?done=secret-kept")
    assert "shown no more" in (await owner.get(secret)).words


async def test_a_secrets_cookie_is_of_no_use_after_ten_minutes(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await portal.owner()
    page = await owner.post(NEW, {"name": "Care app", "lifetime": "90"})
    now = time.time()
    for later, is_shown in ((599, True), (601, False)):
        monkeypatch.setattr("time.time", lambda later=later: now + later)
        assert ("Keep this secret now" in (await owner.get(page.location)).words) is is_shown


async def test_a_name_or_label_makes_no_line_of_a_downloaded_file(portal: Portal) -> None:
    owner = await portal.owner()
    page = await owner.post(NEW, {"name": "x\u2028CLIENT_ID=y", "lifetime": "90", "label": "$(id) `id`"})
    assert page.status == 422
    page = await owner.post(NEW, {"name": "# x CLIENT_ID=y", "lifetime": "90", "label": "$(id) `id`"})
    text = (await owner.get(f"{page.location}/env")).text
    assert [line[:9] for line in text.splitlines()] == [
        "# # x CLI",
        "BASE_URL=",
        "TOKEN_URL",
        "CLIENT_ID",
        "CLIENT_SE",
        "TENANT_ID",
    ]


async def test_a_client_has_five_secrets_that_end_when_its_owner_says(portal: Portal) -> None:
    owner = await portal.owner()
    client = await created(owner)
    secrets = f"{path_of(client)}/secrets"
    for lifetime, days in (("90", 90), ("180", 180), ("365", 365), ("never", None)):
        id = (await made(owner, secrets, lifetime=lifetime)).secret_id
        (expires,) = (each.expires for each in (await portal.clients.get(client.client_id)).secrets if each.id == id)
        assert days == (None if expires is None else round((expires - datetime.now(UTC)) / timedelta(days=1), 1))
    assert "the most it may have" in (await owner.get(path_of(client))).text
    assert (await owner.post(secrets, {"lifetime": "90"})).status == 422
    assert (await owner.post(secrets, {"lifetime": "1"})).status == 422
    assert len((await portal.clients.get(client.client_id)).secrets) == 5


async def test_a_client_that_can_not_be_made_is_kept_in_the_form(portal: Portal) -> None:
    for name, lifetime, said in ((" ", "90", "name is 1 to 200"), ("x", "9", "how long")):
        page = await (await portal.owner()).post(NEW, {"name": name, "lifetime": lifetime})
        assert (page.status, page.field("name"), said in page.text) == (422, name, True)


async def test_an_owner_makes_so_many_clients_and_no_more_and_an_admin_any(portal: Portal) -> None:
    name, few = f"{uuid4()}@example.com", Portal(portal.deployment.instance(CLIENTS_PER_OWNER="3"))
    owner, admin = await few.owner(name), await few.admin(name)
    first = await created(owner)
    pages = await asyncio.gather(*(owner.post(NEW, {"name": "Care app", "lifetime": "90"}) for _ in range(4)))
    assert sorted(page.status for page in pages) == [303, 303, 422, 422]
    assert "3 clients, the most an owner may make" in next(page.text for page in pages if page.status == 422)
    await created(admin)
    for client in [entry async for _, entry in portal.clients.list()]:
        if isinstance(client, Client) and client.owner == name and client.id != first.client_id:
            await portal.clients.delete(client.id)
    await created(owner)


async def test_deleting_a_secret_asks_first_and_leaves_the_other(portal: Portal) -> None:
    owner = await portal.owner()
    client = await created(owner)
    path = f"{path_of(client)}/secrets/{client.secret_id}/delete"
    assert "No other secret of this client works" in (await owner.get(path)).text
    second = await made(owner, f"{path_of(client)}/secrets")
    text = (await owner.get(path)).text
    assert "Another secret of this client works" in text
    assert "within 60 seconds" in text
    assert (await owner.post(path)).location == f"{path_of(client)}?done=secret-deleted"
    assert [secret.id for secret in (await portal.clients.get(client.client_id)).secrets] == [second.secret_id]
    assert (await owner.post(path)).status == 404


async def test_a_client_is_disabled_enabled_and_deleted_and_that_is_audited(portal: Portal, changes: Changes) -> None:
    owner = await portal.owner()
    client = await created(owner)
    for action, enabled in (("disable", False), ("enable", True)):
        assert (await owner.get(f"{path_of(client)}/disable")).status == 200
        assert (await portal.clients.get(client.client_id)).enabled is not enabled
        assert (await owner.post(f"{path_of(client)}/{action}")).location.endswith(f"?done=client-{action}d")
        assert (await portal.clients.get(client.client_id)).enabled is enabled
    assert (await owner.get(f"{path_of(client)}/delete")).status == 200
    await owner.post(f"{path_of(client)}/delete")
    with pytest.raises(UnknownClient):
        await portal.clients.get(client.client_id)
    assert changes() == [
        ("ada@example.com", "client.create", client.client_id, f"secret {client.secret_id}"),
        *(("ada@example.com", f"client.{word}", client.client_id, "") for word in ("disable", "enable", "delete")),
    ]


async def test_last_use_is_shown_to_the_hour(portal: Portal) -> None:
    owner = await portal.owner(f"{uuid4()}@example.com")
    client = await created(owner)
    assert 'data-label="Last used">never' in (await owner.get(path_of(client))).text
    portal.application.usage.used(client.client_id, client.secret_id)
    await portal.application.usage.close()
    for path in (path_of(client), "/portal/clients", f"{path_of(client)}/secrets/{client.secret_id}/delete"):
        assert f"{datetime.now(UTC):%H}:00 UTC" in (await owner.get(path)).text


@pytest.fixture
async def others(portal: Portal) -> NewSecret:
    """A client of someone else."""
    return await portal.clients.create("Bob's own app", "bob@example.com", "*")


async def test_another_ones_client_is_not_there_by_any_url_or_form(portal: Portal, others: NewSecret) -> None:
    owner, before = await portal.owner(), await portal.clients.get(others.client_id)
    secret, tenant = f"/secrets/{others.secret_id}", f"/requests/{uuid4()}"
    pages = ["", "/edit", "/disable", "/delete", "/secrets", "/test", f"{secret}/test", f"{secret}/delete", "/keys"]
    pages += ["/keys/remove", f"/keys/{'k' * 43}/remove"]
    reads = [*pages, secret, f"{secret}/env", "/hospitals"]
    writes = [*pages[1:], "/enable", f"{secret}/kept", tenant, f"{tenant}/withdraw", f"{tenant}/grant"]
    writes += ["/test/assertion"]
    requests = [*(("GET", page) for page in reads), *(("POST", page) for page in writes)]
    form = {"name": "Mine", "owner": "ada@example.com", "tenants": "*", "lifetime": "90", "etag": "*"}
    for method, page in requests:
        theirs, missing = [
            await (owner.get(path) if method == "GET" else owner.post(path, form))
            for path in (f"{path_of(others)}{page}", f"/portal/clients/{uuid4()}{page}")
        ]
        assert (theirs.status, theirs.text) == (404, missing.text), (method, page)
    for path in ("/portal/clients", f"/portal/connect?client={others.client_id}"):
        assert others.client_id not in (await owner.get(path)).text
    assert await portal.clients.get(others.client_id) == before


async def test_an_admin_sees_and_finds_every_client(portal: Portal, others: NewSecret) -> None:
    admin = await portal.admin()
    searches = [f"/portal/clients?q={search}" for search in ("BOB%27S", "bob@", others.client_id)]
    for path in (path_of(others), f"/portal/connect?client={others.client_id}", *searches):
        assert others.client_id in (await admin.get(path)).text
    assert others.client_id not in (await admin.get("/portal/clients?q=nobody-has-this")).text


async def test_an_owner_changes_nothing_but_the_name(portal: Portal) -> None:
    owner = await portal.owner()
    client_id = (await created(owner)).client_id
    form = await owner.get(f"/portal/clients/{client_id}/edit")
    values = {"name": "Renamed", "owner": "eve@example.com", "tenants": "*", "etag": form.field("etag")}
    assert (await owner.post(f"/portal/clients/{client_id}/edit", values)).status == 303
    client = await portal.clients.get(client_id)
    assert (client.name, client.owner, client.tenants) == ("Renamed", "ada@example.com", frozenset())


async def test_the_second_of_two_editors_is_shown_both(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the other one saves between the portal's reading and its writing."""
    admin, other = await portal.admin(), await portal.admin("other@example.com")
    client_id = (await created(admin, "As it was")).client_id
    path, change = f"/portal/clients/{client_id}/edit", ClientRegistry.change
    form, rest = await admin.get(path), {"owner": "grace@example.com"}

    async def refused_and_shown(form: Page, theirs: str) -> Page:
        page = await admin.post(path, {**rest, "name": "Mine", "etag": form.field("etag")})
        assert (page.status, page.field("name")) == (409, "Mine")
        assert "Someone else changed this client meanwhile" in page.text
        assert f"Stored meanwhile: <code>{theirs}</code>" in page.text
        assert (await portal.clients.get(client_id)).name == theirs
        return page

    await other.post(path, {**rest, "name": "Theirs", "etag": (await other.get(path)).field("etag")})
    page = await refused_and_shown(form, "Theirs")

    async def change_late(self: ClientRegistry, client_id: str, **changes: str) -> None:
        monkeypatch.setattr(ClientRegistry, "change", change)
        await portal.clients.change(client_id, name="Later")
        await self.change(client_id, **changes)

    monkeypatch.setattr(ClientRegistry, "change", change_late)
    page = await refused_and_shown(page, "Later")
    assert (await admin.post(path, {**rest, "name": "Mine", "etag": page.field("etag")})).status == 303
    assert (await portal.clients.get(client_id)).name == "Mine"


async def test_a_client_whose_rows_are_broken_is_shown_to_admins_only(portal: Portal) -> None:
    client_id = f"broken-{uuid4().hex}"
    row = {"PartitionKey": client_id, "RowKey": "client", "Owner": "ada@example.com", "Enabled": "perhaps"}
    await portal.clients_table.insert(row)
    admin, owner = await portal.admin(), await portal.owner()
    assert client_id in (await admin.get("/portal/clients")).text
    assert "must be true or false" in (await admin.get(f"/portal/clients/{client_id}")).text
    assert client_id not in (await owner.get("/portal/clients")).text
    assert (await owner.get(f"/portal/clients/{client_id}")).status == 404


async def test_a_secret_is_amber_from_30_days_before_its_end_also_on_the_list(portal: Portal) -> None:
    """Wherever it stands, by a word, and beside others that work."""
    owner = await portal.owner(f"{uuid4()}@example.com")
    client = await created(owner)
    for days, said, listed in (
        (31, "Works", ""),
        (29, "Ends in 29 days", "One ends in 29 days"),
        (-1, "Expired", ""),
    ):
        secret = await portal.deployment.add_secret(client.client_id, expires=datetime.now(UTC) + timedelta(days=days))
        row = (
            (await owner.get(path_of(client)))
            .text.split(f"<code>{secret.partition('.')[0]}</code>")[1]
            .split("</tr>")[0]
        )
        assert said in row
        assert ("Replace" in row) is bool(listed)
        assert listed in (await owner.get("/portal/clients")).words
        await portal.clients.delete_secret(client.client_id, secret.partition(".")[0])


async def test_what_went_wrong_is_told_with_what_to_do(portal: Portal) -> None:
    owner = await portal.owner(f"{uuid4()}@example.com")
    client = await created(owner)
    assert "asked for nothing in the last seven days" in (await owner.get(path_of(client))).words
    wrong = Credentials(client.client_id, client.client_secret[:-1] + "_")
    assert (await portal.deployment.request_token(wrong, str(uuid4()))).status == 401
    assert (await portal.deployment.request_token(client, str(uuid4()))).status == 400
    await portal.application.traffic.close()
    words = (await owner.get(path_of(client))).words
    assert "2 requests, 2 of them with an error" in (await owner.get(path_of(client))).text
    for told in ("sent a wrong secret", "whole secret", "asked for a tenant that it may not reach", "ask for the one"):
        assert told in words
    assert set(REMEDIES) == set(ErrorKind)
