"""The hospitals a client may reach: chosen by an admin, asked for by the client's owner."""

from uuid import uuid4

import pytest

from tests.deployment import Credentials
from tests.portal.conftest import Changes, Page, Person, Portal
from tests.portal.test_portal_clients import created, path_of


@pytest.fixture
async def client(portal: Portal) -> Credentials:
    return await created(await portal.owner())


async def people(portal: Portal) -> tuple[Person, Person]:
    """An owner and an admin at an instance that has read no list of hospitals yet."""
    anew = Portal(portal.deployment.instance())
    return await anew.owner(), await anew.admin()


async def reached(portal: Portal, client: Credentials) -> frozenset[str] | None:
    return (await portal.clients.get(client.client_id)).tenants


def hospitals(client: Credentials, search: str = "") -> str:
    return f"{path_of(client)}/hospitals{f'?q={search}' if search else ''}"


async def test_an_owner_asks_and_an_admin_grants_or_refuses(
    portal: Portal, client: Credentials, changes: Changes
) -> None:
    (river, _), (lake, _) = [await portal.tenant(Name=f"{name} {client.client_id}") for name in ("River", "Lake")]
    owner, admin = await people(portal)
    requests = f"{path_of(client)}/requests"

    async def send(person: Person, path: str, **form: str) -> Page:
        return await person.post(f"{requests}/{path}", form)

    assert f'action="{requests}/{river}"' in (await owner.get(hospitals(client, f"river+{client.client_id}"))).text
    for tenant in (river, river.upper(), lake):
        assert (await send(owner, tenant, q="river")).location == f"{hospitals(client)}?q=river&done=asked"
    for page in (await owner.get(path_of(client)), await owner.get(hospitals(client, "river"))):
        assert "Waiting for an admin" in page.words
        assert "Grant" not in page.words
    for decision in ("grant", "refuse"):
        assert (await send(owner, f"{river}/{decision}")).status == 404
    assert await reached(portal, client) == frozenset()
    assert (await send(admin, f"{river}/grant", **{"from": "overview"})).location == "/portal/?done=granted"
    assert (await send(admin, f"{lake}/refuse")).location == f"{hospitals(client)}?done=refused"
    for decision in ("grant", "refuse"):
        assert (await send(admin, f"{lake}/{decision}")).status == 409
    assert await reached(portal, client) == {river}
    assert (await portal.deployment.request_token(client, river)).status == 200
    assert "may reach this hospital already" in (await send(owner, river)).words
    await send(owner, lake)
    assert (await send(owner, f"{lake}/withdraw")).location.endswith("?done=withdrawn")
    assert await portal.requests.waiting(client.client_id) == []
    assert [change[:2] + change[3:] for change in changes() if change[2] == client.client_id] == [
        ("ada@example.com", "client.ask-for-hospital", f"tenant {river}"),
        ("ada@example.com", "client.ask-for-hospital", f"tenant {lake}"),
        ("grace@example.com", "client.grant-request", f"tenant {river}"),
        ("grace@example.com", "client.refuse-request", f"tenant {lake}"),
        ("ada@example.com", "client.ask-for-hospital", f"tenant {lake}"),
        ("ada@example.com", "client.withdraw-request", f"tenant {lake}"),
    ]


async def test_an_owner_finds_served_hospitals_by_name_and_learns_nothing_else(
    portal: Portal, client: Credentials
) -> None:
    mark = uuid4().hex
    served, _ = await portal.tenant(Name=f"Served {mark}")
    off, _ = await portal.tenant(Name=f"Off {mark}", Enabled=False)
    broken, _ = await portal.tenant(Name=f"Broken {mark}", Auth="magic")
    owner, admin = await people(portal)
    for search, found in ((mark, {served}), (f"SERVED+{mark}", {served}), (served.upper(), {served}), (off, set())):
        text = (await owner.get(hospitals(client, search))).text
        assert {tenant for tenant in (served, off, broken) if f"/requests/{tenant}" in text} == found, search
    for search in (mark[:2], "se", "", "fhir.riverside.example"):
        text = (await owner.get(hospitals(client, search))).text
        assert served not in text
    assert "fhir.riverside.example" not in (await owner.get(hospitals(client, mark))).text
    for tenant in (off, broken, str(uuid4())):
        assert (await owner.post(f"{path_of(client)}/requests/{tenant}")).status == 422
    text = (await admin.get(hospitals(client, mark))).text
    assert all(f"/hospitals/{tenant}/add" in text for tenant in (served, off, broken))


async def test_an_admin_adds_and_removes_hospitals_that_there_are(portal: Portal, client: Credentials) -> None:
    owner, admin = await portal.owner(), await portal.admin()
    river, _ = await portal.tenant(Name="River")
    gone, unknown = str(uuid4()), str(uuid4())
    await portal.clients.change(client.client_id, tenants=[gone])
    for tenant, status, now in (
        (river, 303, {river, gone}),
        (river, 303, {river, gone}),
        (unknown, 422, {river, gone}),
    ):
        assert (await admin.post(f"{hospitals(client)}/{tenant}/add", {"q": "riv"})).status == status
        assert await reached(portal, client) == now
    assert "There is no hospital" in (await admin.post(f"{hospitals(client)}/{unknown}/add")).words
    assert (await admin.post(f"{hospitals(client)}/contoso/add")).status == 404
    assert "(no row)" in (await owner.get(hospitals(client))).words
    for path in (f"{river}/add", f"{gone}/remove", "all", "chosen"):
        assert (await owner.post(f"{hospitals(client)}/{path}")).status == 404
    for path, now in ((f"{gone}/remove", {river}), ("all", None), ("chosen", set())):
        assert (await admin.post(f"{hospitals(client)}/{path}")).status == 303
        assert await reached(portal, client) == now
    await admin.post(f"{hospitals(client)}/all")
    assert (await admin.post(f"{hospitals(client)}/{river}/remove")).status == 422
    assert "all hospitals" in (await owner.get(hospitals(client))).words
