"""What a token may be asked for: one tenant, and the SMART system scopes that narrow it."""

import json
from urllib.parse import urlencode

import pytest

from tests.deployment import Credentials, Deployment
from tests.oauth.conftest import granted, refused

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
OTHER = "9188040d-6c67-4c5b-b112-36a304b66dad"


async def scope_of(server: Deployment, client: Credentials, scope: str) -> str:
    """What the token grants, in the gateway's spelling; the response tells it in the client's (section 5.1)."""
    response = granted(await server.request_token(client, scope))
    assert response["scope"] == " ".join(scope.split())
    return (await server.application.tokens.verify(response["access_token"])).scope()


async def test_a_tenant_is_taken_in_any_spelling_and_scopes_are_granted_once_as_they_were_asked_for(
    server: Deployment, client: Credentials, tenant: str
) -> None:
    for spelling in (tenant, tenant.upper(), f"{{{tenant}}}", f" {{{tenant.upper()}}}  ", f"{tenant} {tenant.upper()}"):
        assert await scope_of(server, client, spelling) == tenant
    for scopes in ("system/Patient.read", "system/*.rs system/Observation.read", "system/*.*", "system/Patient.cruds"):
        assert await scope_of(server, client, f"{tenant} {scopes}") == f"{tenant} {scopes}"
        assert await scope_of(server, client, f"{scopes} {tenant.upper()}") == f"{tenant} {scopes}"
    asked = f"{tenant} system/Patient.read system/Patient.rs system/Patient.read system/Encounter.read"
    assert await scope_of(server, client, asked) == f"{tenant} system/Patient.read system/Encounter.read"


async def test_without_a_scope_a_client_gets_the_one_tenant_that_it_may_reach(server: Deployment, tenant: str) -> None:
    client = await server.client(tenants=f"{{{tenant.upper()}}}")
    form = client.form("")
    del form["scope"]
    for scope in ({}, {"scope": ""}, {"scope": " "}):
        assert granted(await server.oauth(urlencode(form | scope)))["scope"] == tenant


OTHERS = (
    "openid", "offline_access", "patient/Patient.read", "user/*.read", "system/Patient.sr", "system/Patient", ",",
    "system/patient.read", "SYSTEM/Patient.read", "system/Patient.rs?status=active", "api://app/.default",
)  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("", "missing"),
        ("system/Patient.read system/*.rs", "SMART scopes only"),
        (f"{GUID} {OTHER}", "several tenants"),
        (f"{GUID} {OTHER} system/Patient.read", "several tenants"),
        ("contoso.example", "GUID"),
        (GUID[:-1], "GUID"),
        (f"https://hospital.example/{GUID}", "GUID"),
        (f"api://{GUID}/.default", "GUID"),
        ("contoso system/Patient.read", "GUID"),
        (f"{GUID} " + "system/Patient.read " * 100, "too long"),
        *((f"{GUID} {other}", "SMART system scopes only") for other in OTHERS),
    ],
)
async def test_a_scope_that_is_not_one_tenant_and_system_scopes_is_told_what_to_do(
    server: Deployment, client: Credentials, scope: str, told: str
) -> None:
    response = await server.request_token(client, scope)
    assert refused(response) == (400, "invalid_scope")
    assert told in json.loads(response.body)["error_description"]


async def test_one_response_to_every_tenant_that_can_not_be_had(server: Deployment, client: Credentials) -> None:
    expected = await server.request_token(client, OTHER)
    assert refused(expected) == (400, "invalid_scope")
    off = await server.tenant(Enabled=False)
    await server.tenant(tenant=off, version="r4", Enabled="false")
    mine, theirs = await server.tenant(), await server.tenant()
    confined = await server.client(tenants=mine)
    reaches_nobody = await server.client(tenants="")
    only_off = await server.client(tenants=off)
    responses = {
        "the only one, and off": await server.request_token(only_off, ""),
        "of switched-off rows only": await server.request_token(client, off),
        "not the client's": await server.request_token(confined, theirs),
        "not the client's, and unknown": await server.request_token(confined, OTHER),
        "any, for a client that may reach none": await server.request_token(reaches_nobody, mine),
    }
    assert {problem: response for problem, response in responses.items() if response != expected} == {}
    assert await scope_of(server, confined, mine) == mine
