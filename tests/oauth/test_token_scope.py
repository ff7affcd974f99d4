"""What a token may be asked for: one tenant, and the SMART system scopes that narrow it."""

import json
import uuid
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from tests.deployment import GATEWAY, Credentials, Deployment
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
    assert await scope_of(server, client, "system/*.rs") == f"{tenant} system/*.rs"


OTHERS = (
    "openid", "offline_access", "patient/Patient.read", "user/*.read", "system/Patient.sr", "system/Patient", ",",
    "system/patient.read", "SYSTEM/Patient.read", "system/Patient.rs?status=active", "api://app/.default",
    "contoso.example", GUID[:-1], f"https://hospital.example/{GUID}", f"api://{GUID}/.default",
)  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("", f"names no tenant: send the tenant's GUID in the scope, or as resource {GATEWAY}/tenant/<GUID>"),
        ("system/Patient.read system/*.rs", "names no tenant"),
        (f"{GUID} {OTHER}", "several tenants"),
        (f"{GUID} {OTHER} system/Patient.read", "several tenants"),
        (f"{GUID} " + "system/Patient.read " * 100, "too long"),
        *((other, "SMART system scopes only") for other in OTHERS),
        *((f"{GUID} {other}", "SMART system scopes only") for other in OTHERS),
    ],
)
async def test_a_scope_that_is_not_one_tenant_and_system_scopes_is_told_what_to_do(
    server: Deployment, client: Credentials, scope: str, told: str
) -> None:
    response = await server.request_token(client, scope)
    assert refused(response) == (400, "invalid_scope")
    assert told in json.loads(response.body)["error_description"]


@pytest.mark.parametrize("scope", ["", "system/Patient.rs system/Observation.read"])
async def test_resource_names_a_tenant_beside_smart_scopes_or_none(
    server: Deployment, client: Credentials, tenant: str, scope: str
) -> None:
    url = f"{GATEWAY}/tenant/{tenant}"
    for resource in (url, f"{url}/", url.upper(), f"urn:uuid:{tenant}", f"URN:UUID:{tenant.upper()}"):
        for named in (scope, f"{tenant} {scope}"):
            response = granted(await server.request_token(client, named, resource=resource))
            assert response["scope"] == " ".join(named.split()) or response["scope"] == tenant
            grant = await server.application.tokens.verify(response["access_token"])
            assert grant.scope() == f"{tenant} {scope}".strip()
    of_one = await server.client(tenants=tenant)
    for resource in ("", GATEWAY, f"{GATEWAY}/", f"{GATEWAY}/r4", f"{GATEWAY}/fhir/", f"{GATEWAY}/tenant/{tenant}"):
        response = granted(await server.request_token(of_one, scope, resource=resource))
        assert (await server.application.tokens.verify(response["access_token"])).tenant == tenant


@pytest.mark.parametrize(
    "resource",
    [
        *("x", "tenant", GUID, f"urn:{GUID}", f"urn:uuid:{GUID}#x", f"urn:uuid:{GUID}?x", f"urn:uuid:{GUID} {OTHER}"),
        *(f"{GATEWAY}{path}" for path in ("/tenant", "/tenant/", "/tenant/x", f"/{GUID}", f"/tenant/{GUID}/r4", "/x")),
        *(
            f"{host}/tenant/{GUID}"
            for host in ("https://elsewhere.test", f"{GATEWAY}.evil.test", "http://gateway.test")
        ),
    ],
)
async def test_a_resource_that_names_no_tenant_is_refused(
    server: Deployment, client: Credentials, resource: str
) -> None:
    for scope in ("", GUID):
        assert refused(await server.request_token(client, scope, resource=resource)) == (400, "invalid_target")


async def test_resource_is_sent_once_and_in_accord_with_the_scope(
    server: Deployment, client: Credentials, tenant: str
) -> None:
    urn = f"urn:uuid:{tenant}"
    assert refused(await server.request_token(client, OTHER, resource=urn)) == (400, "invalid_target")
    body = urlencode(client.form("") | {"resource": urn})
    for repeated in (f"{body}&resource={urn}", f"{body}&resource=urn:uuid:{OTHER}"):
        assert refused(await server.oauth(repeated)) == (400, "invalid_target")
    assert refused(await server.oauth(body, query=f"resource={urn}")) == (400, "invalid_request")
    listed = json.dumps(client.form("") | {"resource": [urn]})
    assert refused(await server.oauth(listed, content_type="application/json")) == (400, "invalid_request")
    granted(await server.oauth(f"{body}&resource="))


async def test_a_client_of_several_tenants_is_told_its_own_ones(server: Deployment) -> None:
    mine = sorted(str(uuid.uuid4()) for _ in range(12))
    for tenants, more in ((mine[:2], ""), (mine[:10], ""), (mine, " and 2 more")):
        client = await server.client(tenants=",".join(tenants))
        response = await server.request_token(client, "system/*.rs")
        assert refused(response) == (400, "invalid_scope")
        told = json.loads(response.body)["error_description"]
        assert told.endswith(f"resource {GATEWAY}/tenant/{mine[0]}; they are {', '.join(tenants[:10])}{more}")
        wrong = replace(client, client_secret=f"{client.secret_id}.{'A' * 43}")
        assert b"tenant" not in (await server.request_token(wrong, "")).body


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
    by_resource = [
        await server.request_token(asking, "system/*.rs", resource=f"urn:uuid:{named}")
        for asking, named in ((client, OTHER), (client, off), (confined, theirs), (confined, OTHER))
    ]
    assert {refused(response) for response in by_resource} == {(400, "invalid_target")}
    assert len({response.body for response in by_resource}) == 1
    assert await scope_of(server, confined, mine) == mine
