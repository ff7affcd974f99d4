"""What a token may be asked for: one tenant, and the SMART system scopes that narrow it."""

import json
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from shared.message import Response
from shared.oauth.errors import InvalidScope
from shared.oauth.token_request import parse_scope_request
from tests.oauth.conftest import Credentials, Instance, granted, refused, until

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
OTHER = "9188040d-6c67-4c5b-b112-36a304b66dad"


@pytest.fixture(scope="module")
async def client(server: Instance) -> Credentials:
    return await server.client()


@pytest.fixture(scope="module")
async def tenant(server: Instance) -> str:
    return await server.tenant()


async def scope_of(server: Instance, client: Credentials, scope: str) -> str:
    """What the token grants, in the gateway's spelling; the answer tells it in the client's (section 5.1)."""
    answer = granted(await server.ask(client, scope))
    assert answer["scope"] == " ".join(scope.split())
    return (await server.application.tokens.verify(answer["access_token"])).scope()


async def test_the_tenant_is_told_as_it_was_asked_for(server: Instance, client: Credentials, tenant: str) -> None:
    for spelling in (tenant, tenant.upper(), f"{{{tenant}}}", f" {{{tenant.upper()}}}  ", f"{tenant} {tenant.upper()}"):
        assert await scope_of(server, client, spelling) == tenant


async def test_smart_system_scopes_are_granted_as_they_were_asked_for(
    server: Instance, client: Credentials, tenant: str
) -> None:
    for scopes in ("system/Patient.read", "system/*.rs system/Observation.read", "system/*.*", "system/Patient.cruds"):
        assert await scope_of(server, client, f"{tenant} {scopes}") == f"{tenant} {scopes}"
        assert await scope_of(server, client, f"{scopes} {tenant.upper()}") == f"{tenant} {scopes}"


async def test_scopes_that_mean_the_same_are_granted_once(server: Instance, client: Credentials, tenant: str) -> None:
    asked = f"{tenant} system/Patient.read system/Patient.rs system/Patient.read system/Encounter.read"
    assert await scope_of(server, client, asked) == f"{tenant} system/Patient.read system/Encounter.read"


@pytest.mark.parametrize("scope", [{}, {"scope": ""}, {"scope": " "}])
async def test_without_a_scope_a_client_gets_the_one_tenant_that_it_may_reach(
    server: Instance, tenant: str, scope: dict[str, str]
) -> None:
    client = await server.client(tenants=f"{{{tenant.upper()}}}")
    form = {name: value for name, value in client.form("").items() if name != "scope"} | scope
    assert granted(await server.send(urlencode(form)))["scope"] == tenant


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
        (f"{GUID} openid", "SMART system scopes only"),
        (f"{GUID} " + "system/Patient.read " * 100, "too long"),
    ],
)
async def test_a_scope_that_names_no_tenant_rightly_is_told_what_to_do(
    server: Instance, client: Credentials, scope: str, told: str
) -> None:
    answer = await server.ask(client, scope)
    assert refused(answer) == (400, "invalid_scope")
    assert told in json.loads(answer.body)["error_description"]


@pytest.mark.parametrize(
    "scopes",
    [
        "openid",
        "offline_access",
        "patient/Patient.read",
        "user/*.read",
        "system/Patient.sr",
        "system/Patient",
        "system/patient.read",
        "SYSTEM/Patient.read",
        "system/Patient.rs?status=active",
        "api://app/.default",
        ",",
    ],
)
async def test_other_scopes_are_refused_not_left_out(
    server: Instance, client: Credentials, tenant: str, scopes: str
) -> None:
    assert refused(await server.ask(client, f"{tenant} {scopes}")) == (400, "invalid_scope")


async def test_one_answer_to_every_tenant_that_can_not_be_had(server: Instance, client: Credentials) -> None:
    expected = await server.ask(client, OTHER)
    assert refused(expected) == (400, "invalid_scope")
    off = await server.tenant(Enabled=False)
    await server.tenant(key=off, version="r4", Enabled="false")
    mine, theirs = await server.tenant(), await server.tenant()
    confined = await server.client(tenants=mine)
    reaches_nobody = await server.client(tenants="")
    only_off = await server.client(tenants=off)
    answers = {
        "the only one, and off": await server.ask(only_off, ""),
        "of switched-off rows only": await server.ask(client, off),
        "not the client's": await server.ask(confined, theirs),
        "not the client's, and unknown": await server.ask(confined, OTHER),
        "any, for a client that may reach none": await server.ask(reaches_nobody, mine),
    }
    assert {problem: answer for problem, answer in answers.items() if answer != expected} == {}
    assert await scope_of(server, confined, mine) == mine


async def test_a_list_of_tenants_is_read_as_people_type_it(server: Instance) -> None:
    first, second = await server.tenant(), await server.tenant()
    client = await server.client(tenants=f" {{{first.upper()}}} ,\n{second},")
    assert await scope_of(server, client, first) == first
    assert await scope_of(server, client, second) == second


async def test_a_tenant_with_one_row_switched_on_or_broken_can_be_had(server: Instance, client: Credentials) -> None:
    mixed = await server.tenant(Enabled=False)
    await server.tenant(key=mixed, version="r4")
    broken = await server.tenant(BaseUrl="ftp://hospital.example")
    assert await scope_of(server, client, mixed) == mixed
    assert await scope_of(server, client, broken) == broken


async def test_a_tenant_can_be_had_once_it_is_on_board_and_no_longer_when_it_is_off(
    server: Instance, client: Credentials
) -> None:
    guid = str(uuid4())

    async def asked(status: int) -> Response | None:
        answer = await server.ask(client, guid)
        return answer if answer.status == status else None

    assert await asked(400)
    await server.tenant(key=f" {{{guid.upper()}}}")
    await until(lambda: asked(200), "the tenant is on board")
    await server.tenant(key=f" {{{guid.upper()}}}", Enabled=False)
    await until(lambda: asked(400), "the tenant is off")


def test_the_longest_scope_still_makes_a_token_that_headers_can_carry() -> None:
    def scopes(count: int) -> str:
        return " ".join([GUID, *(f"system/{'A' + chr(97 + n % 26) * (1 + n // 26)}.rs" for n in range(count))])

    assert len(parse_scope_request(scopes(60))[1]) == 60
    with pytest.raises(InvalidScope):
        parse_scope_request(scopes(200))
    with pytest.raises(InvalidScope):
        parse_scope_request(f"{GUID} " + " ".join(f"system/{'A' * 60}{chr(97 + n)}.rs" for n in range(26)))
