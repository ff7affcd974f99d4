"""Every fault of a provider: what its tenant sees, what others see, and what is lost."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.faults import hospitals, page
from tests.faults.bystanders import Scene
from tests.faults.conftest import FULL
from tests.faults.provider_faults import FAULTS, FHIR, PATIENT, Fault, Script, message, says
from tests.host import App, HttpResponse

_REQUESTS = 24 if FULL else 3  # with the write one less than opens the circuit, so that a short run need not wait
_MOST_MEMORY = 900 * 1_048_576


@pytest.fixture(scope="session")
async def trap() -> AsyncIterator[hospitals.Scripted]:
    """A server that nothing may ever lead to."""
    async with hospitals.scripted(says(message(PATIENT))) as trap:
        yield trap


def with_trap(script: Script, trap: hospitals.Scripted) -> Script:
    """The script with the trap's port where it says so."""
    port = trap.base_url.split(":")[2].split("/")[0].encode()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        class Writer:
            def __getattr__(self, name: str) -> object:
                return getattr(writer, name)

            def write(self, data: bytes) -> None:
                writer.write(data.replace(b"{trap}", port))

        await script(reader, Writer())  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_a_fault_of_a_provider_is_its_tenants_alone(fault: Fault, scene: Scene, trap: hospitals.Scripted) -> None:
    async with hospitals.scripted(with_trap(fault.script, trap)) as hospital:
        tenant = await scene.stack.tenant(hospital.base_url, Access="write", **fault.columns)
        async with scene.meanwhile(tenant):
            answers = await asyncio.gather(*(scene.app.fhir(tenant, "Patient/1") for _ in range(_REQUESTS)))
        for answer in answers:
            hospitals.judged(answer, fault, hospital)
        written = hospital.connections
        put = await scene.app.fhir(tenant, "Patient/1", "PUT", data=PATIENT, headers={"Content-Type": FHIR})
        assert hospital.connections - written <= 1, "a write was sent twice"
        assert put.status in fault.statuses | {200, 503}
        assert trap.connections == 0

        hospital.script = says(message(PATIENT))
        back = await recovered(scene.app, tenant)
        assert json.loads(back.body) == json.loads(PATIENT)
        assert scene.app.host.memory() < _MOST_MEMORY
        seen = [*answers, put]
        page.note_fault(f"provider {fault.name}", len(seen), statuses(seen), slowest(seen), scene.others.told())


async def recovered(app: App, tenant: str) -> HttpResponse:
    """The first good answer: once its provider is well, a tenant is served without anybody's doing."""
    for _ in range(240):
        if (answer := await app.fhir(tenant, "Patient/1")).status == 200:
            return answer
        await asyncio.sleep(0.25)
    raise AssertionError(f"not served again: {answer}")


def slowest(answers: list[HttpResponse]) -> str:
    return f"{max(answer.seconds for answer in answers):.1f}"


def statuses(answers: list[HttpResponse]) -> str:
    return ", ".join(f"{status} ({count})" for status, count in sorted(Counter(a.status for a in answers).items()))
