"""Requests for access: asked for by a client's owner, granted or refused by an admin."""

from uuid import uuid4

import pytest

from shared.directory.access_requests import MAX_REQUESTS, AccessRequests
from shared.directory.client_registry import ClientRegistry
from shared.directory.errors import InvalidClientValue
from shared.stores.errors import StoreConflict
from shared.stores.tables import Row, Table, TableAccount
from tests.directory.test_client_registry import OTHER_TENANT, TENANT


@pytest.fixture
def requests(table: Table) -> AccessRequests:
    return AccessRequests(table)


async def test_access_is_asked_for_once_and_granted_or_refused_by_one_of_two(
    clients: ClientRegistry, requests: AccessRequests
) -> None:
    client, other = [(await clients.create(name, "Ada", [OTHER_TENANT])).client_id for name in ("Care app", "Other")]

    async def waiting(*of: str) -> list[tuple[str, str, str]]:
        return [(each.client_name, each.tenant, each.by) for each in await requests.waiting(*of)]

    for tenant in (TENANT, f"{{{TENANT.upper()}}}"):
        await requests.ask(client, tenant, "ada@example.com")
    await requests.ask(other, TENANT, "bob@example.com")
    asked = [("Care app", TENANT, "ada@example.com"), ("Other", TENANT, "bob@example.com")]
    assert (await waiting(), await waiting(client), await waiting("nobody")) == (asked, asked[:1], [])
    with pytest.raises(InvalidClientValue, match="already"):
        await requests.ask(client, OTHER_TENANT, "ada@example.com")
    for client_id, answered in ((client, requests.grant), (other, requests.refuse)):
        decisions = (requests.grant(client_id, TENANT), requests.refuse(client_id, TENANT), answered(client_id, TENANT))
        outcomes = [await decision for decision in (decisions if answered == requests.grant else reversed(decisions))]
        assert outcomes == [True, False, False]
        assert (await clients.get(client_id)).may_reach(TENANT) is (answered == requests.grant)
    assert await waiting() == []


async def test_a_request_for_access_is_never_both_granted_and_refused(
    service: TableAccount, table_name: str, clients: ClientRegistry, requests: AccessRequests
) -> None:
    """Both read it before either writes; the client may be changed or deleted in between as well."""

    class Late(Table):
        async def delete_read(self, read: Row, *, replacing: Row | None = None, etag: str = "") -> None:
            await meanwhile
            await super().delete_read(read, replacing=replacing, etag=etag)

    late = AccessRequests(Late(service, table_name))
    for decision, other, reached in (
        (late.grant, requests.refuse, False),
        (late.refuse, requests.grant, True),
        (late.grant, lambda client_id, _: clients.change(client_id, name="Renamed"), False),
    ):
        client_id = (await clients.create("Care app", "Ada", "")).client_id
        await requests.ask(client_id, TENANT, "ada@example.com")
        meanwhile = other(client_id, TENANT)
        with pytest.raises(StoreConflict):
            await decision(client_id, TENANT)
        assert (await clients.get(client_id)).may_reach(TENANT) is reached


async def test_a_client_asks_for_so_many_tenants_and_its_requests_end_with_it(
    clients: ClientRegistry, requests: AccessRequests, table: Table
) -> None:
    client_id = (await clients.create("Care app", "Ada", "")).client_id
    for _ in range(MAX_REQUESTS):
        await requests.ask(client_id, str(uuid4()), "ada@example.com")
    with pytest.raises(InvalidClientValue, match="20 requests"):
        await requests.ask(client_id, TENANT, "ada@example.com")
    await clients.delete(client_id)
    assert await table.partition(client_id) == []
