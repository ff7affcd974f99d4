"""Key Vault and Table Storage slow, refusing, silent, gone and back: what known tenants see, and unknown ones."""

import asyncio
import json
import shutil
import subprocess
import time
from base64 import urlsafe_b64decode as b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from local.azurite.table_service import TableService
from shared.directory.client_registry import ClientRegistry
from shared.oauth.signing_keys import rotate
from shared.stores.tables import CLIENTS
from tests.deployment import Deployment, SwitchedVault
from tests.faults import hospitals, page
from tests.faults.conftest import FULL
from tests.faults.provider_faults import FHIR, PATIENT, message, says
from tests.faults.stack import Line, running
from tests.faults.test_provider_faults import slowest
from tests.host import App, HttpResponse

_OUTAGE_SECONDS = 600 if FULL else 4
_MODES: tuple[str | int, ...] = ("slow", "hang", "refuse", 403, 429, 500, 503)
# A short run has one kind of each: an instance that knows nothing waits ten seconds for a store before it says so.
_CASES = [(store, mode) for store in ("Key Vault", "Table Storage") for mode in _MODES]
if not FULL:
    _CASES = [("Key Vault", "hang"), ("Key Vault", 403), ("Table Storage", "slow"), ("Table Storage", 503)]
_NAMES = {"slow": "is slow", "hang": "hangs", "refuse": "is gone"}


Deployed = Callable[..., AbstractAsyncContextManager[tuple[Deployment, SwitchedVault, Line, App]]]


@pytest.fixture
def deployment(tmp_path: Path, table_service: TableService) -> Deployed:
    """Starts a deployment with changed settings: its stores' switches, and an app on its one instance."""

    @asynccontextmanager
    async def start(**settings: str) -> AsyncIterator[tuple[Deployment, SwitchedVault, Line, App]]:
        async with running(tmp_path, table_service, **settings) as (stack, vault, line):
            host = await stack.host()
            async with stack.app(host) as own:
                yield stack, vault, line, own
            assert host.unexpected() == []

    return start


def oauth_or_outcome(answer: HttpResponse) -> None:
    """Fails unless the refusal is a 503 in the right form that says when to come again."""
    assert answer.status == 503, answer
    assert answer.headers["Retry-After"] == "5"
    document = json.loads(answer.body)
    assert document.get("resourceType") == "OperationOutcome" or document["error"] == "temporarily_unavailable"


async def until(app: App, tenant: str, status: int, seconds: float = 60) -> HttpResponse:
    """The first answer with this status."""
    for _ in range(int(seconds / 0.25)):
        if (answer := await app.fhir(tenant, "Patient/1")).status == status:
            return answer
        await asyncio.sleep(0.25)
    raise AssertionError(f"still {answer.status}")


@pytest.mark.parametrize(("store", "mode"), _CASES, ids=str)
async def test_known_tenants_go_on(store: str, mode: str | int, deployment: Deployed, healthy_origin: str) -> None:
    async with deployment(CACHE_SECONDS="1") as (stack, vault, line, own):
        known, unknown = await stack.tenant(f"{healthy_origin}/known"), await stack.tenant(f"{healthy_origin}/unknown")
        password = await stack.secret("Bearer x")
        columns = {"Auth": "header", "AuthHeader": "X-Key", "AuthSecret": password}
        guarded = await stack.tenant(f"{healthy_origin}/guarded", **columns)
        for tenant in (known, guarded):
            assert (await own.fhir(tenant, "Patient/1")).status == 200
        new_client = await stack.client()

        if store == "Key Vault":
            vault.mode = mode
        else:
            line.mode = mode
        await asyncio.sleep(1.1)
        answers: list[HttpResponse] = []
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            own.tokens.pop(known, None)
            answers += [await own.fhir(known, "Patient/1"), await own.fhir(guarded, "Patient/1")]
        assert {answer.status for answer in answers} == {200}
        # What this instance has never seen can't be served, and is told so in time; what is slow is served.
        cold = await own.request_token(unknown, new_client)
        if mode == "slow":
            assert cold.status in (200, 503)
        else:
            oauth_or_outcome(cold)

        vault.mode = line.mode = "pass"
        assert (await until(own, unknown, 200)).status == 200
        what = f"{store} {_NAMES.get(str(mode), f'answers {mode}')}"
        told = f"known to the instance: 200 ({len(answers)}); unknown: {cold.status} (1)"
        page.note_fault(what, len(answers) + 1, told, f"{slowest(answers)}; unknown {cold.seconds:.1f}")


async def test_both_stores_gone_and_back(deployment: Deployed, healthy_origin: str) -> None:
    settings = {} if FULL else {"CACHE_SECONDS": "1"}
    async with deployment(**settings) as (stack, vault, line, own):
        tenant = await stack.tenant(f"{healthy_origin}/mark")
        await until(own, tenant, 200)
        vault.mode = line.mode = "refuse"
        answers: list[HttpResponse] = []
        ends = time.monotonic() + _OUTAGE_SECONDS
        while time.monotonic() < ends:
            own.tokens.pop(tenant, None)
            answers.append(await own.fhir(tenant, "Patient/1"))
            await asyncio.sleep(0.2)
        vault.mode = line.mode = "pass"
        assert {answer.status for answer in answers} == {200}
        assert (await until(own, await stack.tenant(f"{healthy_origin}/new"), 200)).status == 200
        what = f"both stores gone for {_OUTAGE_SECONDS} s, and back"
        page.note_fault(what, len(answers), f"200 ({len(answers)}), with a new token for each", slowest(answers))


async def test_what_is_known_serves_for_stale_seconds_and_no_longer(deployment: Deployed, healthy_origin: str) -> None:
    async with deployment(CACHE_SECONDS="1", STALE_SECONDS="3") as (stack, vault, line, own):
        tenant = await stack.tenant(f"{healthy_origin}/mark")
        assert (await own.fhir(tenant, "Patient/1")).status == 200
        vault.mode = line.mode = "refuse"
        await asyncio.sleep(1.1)
        assert (await own.fhir(tenant, "Patient/1")).status == 200
        oauth_or_outcome(await until(own, tenant, 503))
        vault.mode = line.mode = "pass"
        await until(own, tenant, 200)
        page.note_fault("both stores gone for longer than STALE_SECONDS", "-", "200, then 503")


async def test_a_secret_that_is_known_to_be_revoked_stays_revoked(deployment: Deployed, healthy_origin: str) -> None:
    async with deployment(CACHE_SECONDS="1") as (stack, vault, line, own):
        tenant = await stack.tenant(f"{healthy_origin}/mark")
        assert (await own.fhir(tenant, "Patient/1")).status == 200
        registry = ClientRegistry(stack.table(CLIENTS), stack.vault)
        await registry.delete_secret(own.client.client_id, own.client.secret_id)
        await until(own, tenant, 401)
        vault.mode = line.mode = "refuse"
        ends = time.monotonic() + 5
        answers: list[HttpResponse] = []
        while time.monotonic() < ends:
            answers += [await own.fhir(tenant, "Patient/1"), await own.request_token(tenant)]
        assert {answer.status for answer in answers} == {401}
        page.note_fault("a revoked secret, and both stores gone", len(answers), "401 throughout")


async def test_a_key_is_rotated_and_two_instances_are_out_of_step(deployment: Deployed, healthy_origin: str) -> None:
    async with deployment(CACHE_SECONDS="2") as (stack, _, _, first):
        tenant = await stack.tenant(f"{healthy_origin}/mark")
        second = await stack.host()
        asked = 0
        async with stack.app(second) as other:
            await rotate(stack.vault, stack.settings)
            ends = time.monotonic() + 9  # a key signs four seconds after it was made
            while time.monotonic() < ends:
                for signer, verifier in ((first, other), (other, first)):
                    signer.tokens.pop(tenant, None)
                    verifier.tokens[tenant] = await signer.token(tenant)
                    answer = await verifier.fhir(tenant, "Patient/1")
                    assert answer.status == 200, answer
                    asked += 1
            keys = json.loads((await first.request("GET", "/oauth2/keys")).body)["keys"]
        assert len(keys) == 2
        page.note_fault("signing key rotated, two instances out of step", asked, f"200 ({asked})", others="200")


def clock_off_by(seconds: int) -> dict[str, str]:
    """The environment of a process whose clock is so many seconds ahead, or behind."""
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("needs faketime, to set one instance's clock")
    shown = subprocess.run([faketime, "-f", f"{seconds:+d}s", "env"], capture_output=True, text=True, check=True)
    lines = (line for line in shown.stdout.splitlines() if line.startswith(("LD_PRELOAD=", "FAKETIME=")))
    found = dict(line.split("=", 1) for line in lines)
    return {**found, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize(("seconds", "status"), [(3, 200), (-3, 200), (120, 401), (-120, 200)])
async def test_an_instances_clock_is_off(seconds: int, status: int, deployment: Deployed, healthy_origin: str) -> None:
    """Few seconds are nothing; a token from further ahead is not yet good elsewhere, and nothing else is disturbed."""
    environment = clock_off_by(seconds)
    async with deployment() as (stack, _, _, right):
        tenant = await stack.tenant(f"{healthy_origin}/mark")
        async with stack.app(await stack.host(0, **environment)) as off:
            token = await off.token(tenant)
            claims = json.loads(b64decode(token.split(".")[1] + "=="))
            assert abs(claims["iat"] - time.time() - seconds) < 30
            right.tokens[tenant] = token
            seen = await right.fhir(tenant, "Patient/1")
            assert seen.status == status
            assert (await off.fhir(tenant, "Patient/1")).status == 200
            # And the other way round: what the right one signs is refused where the clock is behind.
            right.tokens.pop(tenant)
            off.tokens[tenant] = await right.token(tenant)
            assert (await off.fhir(tenant, "Patient/1")).status == (401 if seconds < -5 else 200)
            assert (await right.fhir(tenant, "Patient/1")).status == 200
        what = "200 on either instance with either's token"
        if abs(seconds) > 5:
            what = "401 for a token that is from the future where it is shown, 200 for all others"
        direction = "ahead" if seconds > 0 else "behind"
        page.note_fault(f"an instance's clock is {abs(seconds)} s {direction}", 4, what, f"{seen.seconds:.1f}", "200")


async def test_a_row_broken_by_hand_amid_a_request(deployment: Deployed, healthy_origin: str) -> None:
    async with deployment(CACHE_SECONDS="1") as (stack, _, _, own):
        tenant, other = await stack.tenant(f"{healthy_origin}/mark"), await stack.tenant(f"{healthy_origin}/other")
        await own.token(tenant)
        under_way = asyncio.create_task(own.fhir(tenant, "Patient/1?slow=2"))
        await asyncio.sleep(0.5)
        await stack.tenant("htp:/oops", tenant=tenant)
        broken = await until(own, tenant, 500)
        assert b"BaseUrl" in broken.body
        assert (await own.fhir(other, "Patient/1")).status == 200
        assert (await under_way).status == 200
        await stack.tenant(f"{healthy_origin}/mark", tenant=tenant)
        await until(own, tenant, 200)
        what = "200 for what was under way, then 500 that names the column"
        page.note_fault("a row broken by hand amid a request", "-", what, others="200")


async def test_an_instance_killed_amid_a_write_and_started_again(deployment: Deployed, healthy_origin: str) -> None:
    slow = says(b"", 1, says(message(PATIENT)))
    async with deployment() as (stack, _, _, own), hospitals.scripted(slow) as hospital:
        tenant = await stack.tenant(hospital.base_url, Access="write")
        paging = await stack.tenant(f"{healthy_origin}/mark")
        other = await stack.host()
        first_page = await own.fhir(paging, "Patient?name=x")
        next_page = json.loads(first_page.body)["link"][0]["url"].split("/stu3/", 1)[1]
        await own.token(tenant)
        put = own.fhir(tenant, "Patient/1", "PUT", data=PATIENT, headers={"Content-Type": FHIR})
        write = asyncio.create_task(put)
        await asyncio.wait_for(hospital.reached.wait(), 10)
        await own.host.kill()
        assert (await write).status == 0
        assert len(own.host.audited(first_page)) == 1
        async with stack.app(other) as elsewhere:
            elsewhere.tokens = dict(own.tokens)
            assert (await elsewhere.fhir(paging, "Patient/1")).status == 200
        port = int(own.host.url.rsplit(":", 1)[1])
        own.host = await stack.host(port)
        # The token and the page handle are still good: nothing that counts was in the process.
        assert (await own.fhir(paging, next_page)).status == 200
        assert (await own.fhir(tenant, "Patient/1")).status == 200
        assert sum(head.startswith(b"PUT") for head in hospital.heads) == 1
        what = "an instance killed (SIGKILL) amid a write, and started again"
        told = "its connection ended; then 200 with the same token and page handle"
        lost = "the answer to the write, which the provider got once, and figures"
        page.note_fault(what, 4, told, others="200 on the other instance", lost=lost)


async def test_clients_that_hang_up_leave_nothing_behind(deployment: Deployed, healthy_origin: str) -> None:
    async with deployment() as (stack, _, _, own):
        tenant = await stack.tenant(f"{healthy_origin}/mark", MaxConcurrent=2)
        token = await own.token(tenant)
        host, port = own.host.url.removeprefix("http://").split(":")
        for _ in range(20):
            _, writer = await asyncio.open_connection(host, int(port))
            head = f"GET /stu3/Patient/1?slow=0.2 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.close()
        for _ in range(40):  # on a busy machine the requests take a while to end
            answers = await asyncio.gather(*(own.fhir(tenant, "Patient/1") for _ in range(2)))
            if (statuses := [answer.status for answer in answers]) == [200, 200]:
                break
            await asyncio.sleep(0.25)
        assert statuses == [200, 200]
        page.note_fault("clients that hang up", 20, "200 for the next ones: no slot is left taken", others="200")
