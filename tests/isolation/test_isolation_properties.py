"""What keeps tenants apart, whatever their rows and requests hold."""

import asyncio
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from shared.directory.provider import AuthKind, Provider, ProviderAuth
from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind
from shared.fhir.rewriting import LinkMap
from shared.fhir.versions import FhirVersion
from shared.http_client import HttpClient
from shared.stores.cache import Cache
from shared.stores.tables import PAGES
from shared.upstream.breaker import Breaker
from shared.upstream.credentials.factory import Credentials
from shared.upstream.limiter import Limiter
from shared.upstream.page_handles import OfferedPage, PageHandles
from tests.deployment import Deployment
from tests.upstream.rows import PROVIDER, is_current

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
bases = st.builds(lambda host, path: f"https://{host}.example/{path}", names, names)
tenants = st.uuids().map(str)
versions = st.sampled_from(FhirVersion)


@st.composite
def providers(draw: st.DrawFn) -> Provider:
    auth = ProviderAuth(AuthKind.BASIC, client_id="gateway", secret=draw(names))
    row = structs.replace(PROVIDER, tenant=draw(tenants), version=draw(versions), base_url=draw(bases))
    return structs.replace(row, auth=auth, max_concurrent=1)


@given(bases, bases, names)
def test_a_link_of_another_provider_is_never_taken_for_one_of_this(own: str, other: str, rest: str) -> None:
    down = LinkMap((own,), "https://gateway.example/stu3")
    link = f"{other}/Patient/{rest}"
    mapped = down.map(link)
    assert (mapped is not None) == (own == other)


@given(bases, names)
def test_a_gateway_link_leads_to_the_tokens_provider_and_nowhere_else(own: str, rest: str) -> None:
    up = LinkMap(("https://gateway.example/stu3",), own)
    mapped = up.map(f"https://gateway.example/stu3/Patient/{rest}")
    assert mapped == f"{own}/Patient/{rest}"
    assert up.map(f"https://gateway.example.evil/stu3/Patient/{rest}") is None
    assert up.map(f"https://gateway.example/stu3evil/Patient/{rest}") is None


@given(providers(), providers())
async def test_tenants_share_no_credential_even_on_one_server(one: Provider, two: Provider) -> None:
    async def read(name: str) -> str | None:
        return name

    values = Cache(read, fresh_seconds=60, stale_seconds=0, size=10)
    two = structs.replace(two, base_url=one.base_url, auth=one.auth)
    credentials = Credentials(HttpClient(), values, is_current)
    same = (one.tenant, one.version) == (two.tenant, two.version)
    assert (credentials.of(one) is credentials.of(two)) == same


@given(providers(), providers())
async def test_tenants_share_neither_slots_nor_circuits(one: Provider, two: Provider) -> None:
    if one.tenant == two.tenant:
        return
    two = structs.replace(two, version=one.version, base_url=one.base_url)
    limiter, breaker = Limiter(), Breaker()
    for _ in range(5):
        with breaker.attempt(one) as attempt:
            attempt.succeeded = False
    with pytest.raises(FhirError), breaker.attempt(one):
        pass
    async with limiter.slot(one), limiter.slot(two):
        with breaker.attempt(two) as attempt:
            attempt.succeeded = True
    other = FhirVersion.R4 if one.version is not FhirVersion.R4 else FhirVersion.STU3
    auth = structs.replace(one.auth, secret="new-one")
    for changed in (
        structs.replace(one, base_url=f"{one.base_url}x"),
        structs.replace(one, auth=auth),
        structs.replace(one, version=other),
    ):
        with breaker.attempt(changed) as attempt:
            attempt.succeeded = True


@given(owner=st.tuples(tenants, names, st.sampled_from(["fhir", "stu3", "r4"])), data=st.data())
@settings(max_examples=25)
async def test_a_page_is_there_for_exactly_who_got_it(
    stack: Deployment, owner: tuple[str, str, str], data: st.DataObject
) -> None:
    pages = PageHandles(stack.table(PAGES))
    tenant, client_id, base = owner
    kind, binding = InteractionKind.SEARCH_TYPE, "its address and credential"
    page = OfferedPage(tenant, client_id, base, "Patient", kind, binding, f"https://h.example/{uuid.uuid4()}")
    [handle] = await pages.handles([page], asyncio.get_running_loop().time() + 60)
    asked = {"tenant": tenant, "client_id": client_id, "base": base, "type": "Patient", "binding": binding}
    assert await pages.page(handle, **asked) == page
    others = {"tenant": str(uuid.uuid4()), "client_id": client_id + "x", "base": "dstu2", "type": "Observation"}
    which = data.draw(st.sampled_from([*others, "binding"]))
    with pytest.raises(FhirError) as refused:
        await pages.page(handle, **{**asked, which: others.get(which, "another credential")})
    assert refused.value.status == (410 if which == "binding" else 404)
