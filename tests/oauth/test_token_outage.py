"""The token endpoint while a store does not answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from local.azurite.table_service import TableService
from shared.directory.revoked_tokens import RevokedTokens
from shared.oauth.live_tokens import LiveTokens
from shared.stores.tables import REVOKED
from tests.deployment import Deployment, SwitchedVault
from tests.faults.stack import Line, running
from tests.oauth.conftest import granted, refused

NOWHERE = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;"
Stores = tuple[Deployment, SwitchedVault, Line]


@pytest.fixture
async def stores(table_service: TableService, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    async with running(tmp_path_factory.mktemp("outage"), table_service) as stores:
        yield stores


async def test_with_remembered_stores_it_goes_on_through_an_outage(stores: Stores) -> None:
    home, vault, line = stores
    server = home.instance(**home.hosts_environment, CACHE_SECONDS="1", STALE_SECONDS="900")
    client, tenant = await home.client(), await home.tenant()
    token = await server.token(tenant, client=client)

    line.mode, vault.mode = "hang", 503
    await asyncio.sleep(1.1)

    for _ in range(3):
        granted(await server.request_token(client, tenant))
    assert (await server.application.tokens.verify(token)).tenant == tenant
    assert await server.application.clients.secret(client.client_id, client.secret_id) is not None
    assert (await server.oauth(method="GET", path="/oauth2/keys")).status == 200

    line.mode = vault.mode = "pass"
    granted(await server.request_token(client, tenant))


@pytest.mark.parametrize("mode", ["hang", 503])
async def test_a_token_that_was_revoked_here_stays_so_through_an_outage(stores: Stores, mode: int | str) -> None:
    home, _, line = stores
    server = home.instance(**home.hosts_environment)
    own = RevokedTokens(server.table(REVOKED), server.settings)
    tokens = LiveTokens(server.application.tokens, server.application.clients, own)
    client, tenant = await home.client(), await home.tenant()
    revoked, kept = [await tokens.grant(await home.token(tenant, client=client)) for _ in range(2)]
    await tokens.revoke(revoked)
    line.mode = mode
    assert not await tokens.holds(revoked)
    assert await tokens.holds(kept)


@pytest.mark.parametrize("mode", [401, 403, 429, 500, 503, "refuse"])
async def test_a_vault_that_refuses_makes_it_503_whatever_wait_it_asks_for(stores: Stores, mode: int | str) -> None:
    home, vault, _ = stores
    client, tenant = await home.client(), await home.tenant()
    server = home.instance()
    vault.mode = mode
    async with asyncio.timeout(60):
        response = await server.request_token(client, tenant)
    assert refused(response) == (503, "temporarily_unavailable")
    assert response.headers["Retry-After"] == "5"
    vault.mode = "pass"
    granted(await server.request_token(client, tenant))


@pytest.mark.parametrize("hang", [False, True])
async def test_tables_that_refuse_connections_or_hang_make_it_503(stores: Stores, hang: bool) -> None:
    home, _, line = stores
    line.mode = "hang"
    server = home.instance(**home.hosts_environment if hang else {"TABLES_CONNECTION_STRING": NOWHERE})
    client, tenant = await home.client(), await home.tenant()
    async with asyncio.timeout(60):
        assert refused(await server.request_token(client, tenant)) == (503, "temporarily_unavailable")


async def test_a_request_that_is_given_up_is_not_audited_as_a_success(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    home, _, line = stores
    client, tenant = await home.client(), await home.tenant()
    line.mode = "hang"
    request = asyncio.create_task(home.instance(**home.hosts_environment).request_token(client, tenant))
    await asyncio.sleep(0.1)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    (audited,) = (record.getMessage() for record in caplog.records if record.name == "gateway.audit")
    assert '"status":500' in audited
    assert '"client":""' in audited
