"""Thousands of interleaved requests of fifty tenants, whose data bear their tenant's mark: none ever crosses."""

import asyncio
import json

from tests.deployment import Deployment
from tests.faults import page
from tests.faults.bystanders import bystanders
from tests.faults.conftest import FULL
from tests.host import App, Host

_TENANTS = 50
_REQUESTS = 20_000 if FULL else 1_500


async def test_no_answer_bears_another_tenants_mark(stack: Deployment, host: Host, healthy_origin: str) -> None:
    async with stack.app(host) as theirs, bystanders(stack, theirs, healthy_origin, _TENANTS) as found:
        await found.served(_REQUESTS, seconds=600)
    assert found.wrong == []
    assert len(found.seconds) >= _REQUESTS
    page.note(
        "attacks", f"interleaved requests of {_TENANTS} tenants, in one process", len(found.seconds), "no mark crossed"
    )


async def test_neither_tokens_nor_pages_of_one_tenant_lead_to_another(
    stack: Deployment, own_app: App, healthy_origin: str
) -> None:
    tenants = [await stack.tenant(f"{healthy_origin}/cross{number}") for number in range(8)]
    handles = {}
    for tenant in tenants:
        bundle = json.loads((await own_app.fhir(tenant, "Patient?name=x")).body)
        handles[tenant] = bundle["link"][0]["url"].split("/stu3/", 1)[1]
    assert all("Patient?_page=" in handle for handle in handles.values())

    async def follow(reader: str, owner: str) -> None:
        answer = await own_app.fhir(reader, handles[owner])
        if reader == owner:
            assert answer.status == 200
            assert f"cross{tenants.index(owner)}".encode() in answer.body
        else:
            assert answer.status == 404
            assert b"cross" not in answer.body

    await asyncio.gather(*(follow(reader, owner) for reader in tenants for owner in tenants))
    page.note("attacks", "page handles of another tenant", len(tenants) * (len(tenants) - 1), "404")
