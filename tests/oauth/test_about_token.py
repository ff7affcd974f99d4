"""Revocation (RFC 7009) and introspection (RFC 7662), of the client's own tokens alone."""

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.directory import revoked_tokens
from shared.directory.client_registry import ClientRegistry
from shared.directory.revoked_tokens import RevokedTokens
from shared.message import Response
from shared.oauth.access_token import Grant
from shared.oauth.live_tokens import LiveTokens
from shared.stores.tables import CLIENTS, REVOKED
from tests.deployment import FORM, GATEWAY, Credentials, Deployment
from tests.oauth.conftest import refused, until

REVOKE, INTROSPECT = "/oauth2/revoke", "/oauth2/introspect"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def about(server: Deployment, path: str, who: Credentials, token: str, **more: str) -> Response:
    sent = {"client_id": who.client_id, "client_secret": who.client_secret, "token": token, **more}
    return await server.oauth(urlencode(sent), path=path)


async def introspected(server: Deployment, who: Credentials, token: str) -> dict[str, Any]:
    response = await about(server, INTROSPECT, who, token)
    assert (response.status, response.headers) == (200, {"Content-Type": "application/json", **NO_STORE})
    return dict(json.loads(response.body))


async def is_let_in(server: Deployment, token: str) -> bool:
    """Whether an instance takes the token for a FHIR request; its provider is not there."""
    return (await server.send("GET", "/stu3/Patient/1", token)).status != 401


async def test_a_token_is_told_to_its_client_and_ends_on_every_instance_when_it_revokes_it(
    server: Deployment, client: Credentials, tenant: str
) -> None:
    other = server.instance()
    token = await server.token(tenant, "system/Patient.read", client)
    kept = await server.token(tenant, client=client)
    told = await introspected(other, client, token)
    assert told.pop("exp") - told.pop("iat") == 3600
    assert len(told.pop("jti")) == 32
    assert told == {
        "active": True,
        "token_type": "Bearer",
        "scope": f"{tenant} system/Patient.read",
        **dict.fromkeys(("client_id", "sub"), client.client_id),
        **dict.fromkeys(("iss", "aud"), GATEWAY),
    }
    assert await is_let_in(other, token)
    for _ in range(2):  # once it has ended, there is nothing to end
        response = await about(server, REVOKE, client, token, token_type_hint="refresh_token")
        assert (response.status, response.body, response.headers) == (200, b"", NO_STORE)
    assert not await is_let_in(server, token)
    assert await introspected(server, client, token) == {"active": False}

    async def ended_elsewhere() -> bool:
        return not await is_let_in(other, token)

    await until(ended_elsewhere, "the other instance knows of it")
    assert await is_let_in(other, kept)
    assert (await introspected(other, client, kept))["active"]
    rows = await server.table(REVOKED).partition(client.client_id)
    assert [set(row) - {"Timestamp"} for row in rows] == [{"PartitionKey", "RowKey", "Expires"}]


async def test_a_token_that_is_refused_for_now_is_ended_for_good(server: Deployment, tenant: str) -> None:
    """Its client loses the hospital, revokes the token, and gets the hospital back."""
    client = await server.client(tenant)
    token = await server.token(tenant, client=client)
    clients = ClientRegistry(server.table(CLIENTS), server.vault)

    async def reaches(tenants: str, status: int) -> None:
        await clients.change(client.client_id, tenants=tenants)

        async def seen() -> bool:
            return (await server.request_token(client, tenant)).status == status

        await until(seen, f"the client reaches {tenants or 'nobody'}")

    await reaches("", 400)
    assert not await is_let_in(server, token)
    assert (await about(server, REVOKE, client, token)).status == 200
    await reaches(tenant, 200)
    assert not await is_let_in(server, token)


async def test_a_revoked_token_stays_so_for_as_long_as_clocks_may_differ(server: Deployment) -> None:
    tokens = LiveTokens(
        server.application.tokens, server.application.clients, RevokedTokens(server.table(REVOKED), server.settings)
    )
    client = await server.client()
    expired = int(time.time()) - 2  # which is taken still
    grant = Grant(client.client_id, client.secret_id, str(uuid.uuid4()), (), "id", expired - 60, expired)
    assert await tokens.holds(grant)
    await tokens.revoke(grant)
    assert not await tokens.holds(grant)


async def test_of_any_number_of_revoked_tokens_few_are_remembered_and_none_is_good(
    server: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoked_tokens, "_REMEMBERED", 3)
    table, later, client = server.table(REVOKED), int(time.time()) + 600, str(uuid.uuid4())
    tokens = [(client, f"{number:032x}", later + number % 4) for number in range(10)]
    for number in range(5):  # what has ended is not read
        await table.put({"PartitionKey": client, "RowKey": f"{later - 6000}.{number}", "Expires": datetime.now(UTC)})
    here, elsewhere = (RevokedTokens(table, server.settings) for _ in range(2))
    for token in tokens:
        assert not any([await instance.holds(*token) for instance in (here, elsewhere)])
        await here.add(*token)
        assert await here.holds(*token)
    assert not await here.holds(client, "another", later)

    async def known() -> bool:
        return all([await elsewhere.holds(*token) for token in tokens])

    await until(known, "the other instance knows of all")
    assert len(await elsewhere._first.get(client) or ()) == 3


async def test_what_is_not_the_clients_own_or_no_good_is_told_alike_and_goes_on(
    server: Deployment, client: Credentials, tenant: str
) -> None:
    stranger = await server.client()
    theirs = await server.token(tenant, client=stranger)
    second = Credentials(client.client_id, await server.add_secret(client.client_id))
    of_deleted_secret = await server.token(tenant, client=second)
    await ClientRegistry(server.table(CLIENTS), server.vault).delete_secret(second.client_id, second.secret_id)

    async def secret_ended() -> bool:
        return not await is_let_in(server, of_deleted_secret)

    await until(secret_ended, "the secret's end is seen")
    foreign = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
    answers = {
        (path, (await about(server, path, client, token)).body)
        for path in (REVOKE, INTROSPECT)
        for token in (theirs, foreign, "x", of_deleted_secret, f"{theirs}x", theirs[:-4])
    }
    assert answers == {(REVOKE, b""), (INTROSPECT, b'{"active":false}')}
    assert await is_let_in(server, theirs)
    assert (await introspected(server, stranger, theirs))["active"]


@pytest.mark.parametrize("path", [REVOKE, INTROSPECT])
async def test_the_client_authenticates_as_at_the_token_endpoint(
    server: Deployment, client: Credentials, tenant: str, path: str
) -> None:
    token = await server.token(tenant, client=client)
    wrong = Credentials(client.client_id, f"{client.secret_id}.{'A' * 43}")
    unknown = Credentials("nobody", wrong.client_secret)
    token_errors = [await server.request_token(who, tenant) for who in (wrong, unknown)]
    errors = [await about(server, path, who, token) for who in (wrong, unknown)]
    assert {error.body for error in errors} == {error.body for error in token_errors}
    assert {refused(error) for error in errors} == {(401, "invalid_client")}
    assert refused(await server.oauth(f"token={token}", path=path)) == (401, "invalid_client")
    basic = await server.oauth(f"token={token}", path=path, authorization=client.basic())
    assert basic.status == 200
    for body, query in (("", ""), ("token=", ""), ("token=a&token=b", ""), ("token=a", "token=a")):
        response = await server.oauth(body, path=path, query=query, authorization=client.basic())
        assert refused(response) == (400, "invalid_request")
    for method in ("GET", "PUT", "DELETE"):
        response = await server.oauth(f"token={token}", path=path, method=method, content_type=FORM)
        assert (response.status, response.headers["Allow"]) == (405, "POST, OPTIONS")
