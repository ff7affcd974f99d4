"""`python -m tests.soak --minutes 30`: a mixed load with faults, rotations and outages, and what is left afterwards."""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from local.azurite.table_service import TableService
from shared.directory.client_registry import ClientRegistry
from shared.oauth.signing_keys import rotate
from shared.stores.tables import CLIENTS
from tests.deployment import Deployment, SwitchedVault
from tests.faults import hospitals, page
from tests.faults.bystanders import bystanders
from tests.faults.provider_faults import FAULTS, PATIENT, message, says
from tests.faults.stack import running
from tests.host import App

_TENANTS = 20
_SAMPLE_SECONDS = 5
_WELL = says(message(PATIENT))
# Of memory, over the second half. A short run ends before the caches are full: verified tokens take ten minutes.
_GROWTH, _GROWTH_OF_SHORT_RUN, _SHORT_RUN_SECONDS = 0.05, 0.25, 1200
_COUNTED = ("requests to faulty providers", "secrets rotated", "signing keys rotated", "outages of Key Vault")
_IDLE_SECONDS = 60  # twice as long as the longest that any connection is kept


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/reliability.md")
    options = parser.parse_args()
    return asyncio.run(soak(options.minutes * 60, write=options.write))


async def soak(seconds: float, *, write: bool) -> int:
    """Runs for so long; the exit code is 1 when a figure is not what it must be."""
    async with AsyncExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory()))
        tables = await TableService.start(folder / "tables")
        parts.push_async_callback(tables.stop)
        stack, vault, _ = await parts.enter_async_context(
            running(folder, tables, CACHE_SECONDS="5", MAX_RESPONSE_MB="4")
        )
        origin = await parts.enter_async_context(hospitals.well())
        host = await stack.host()
        process = host.functions
        theirs, own = [await parts.enter_async_context(stack.app(host)) for _ in range(2)]
        samples: list[int] = []
        counts = dict.fromkeys(_COUNTED, 0)
        async with bystanders(stack, theirs, origin, _TENANTS) as found:
            ends = time.monotonic() + seconds
            faults = asyncio.create_task(_faults(stack, own, counts))
            changes = asyncio.create_task(_changes(stack, vault, theirs, counts))
            while time.monotonic() < ends:
                await asyncio.sleep(_SAMPLE_SECONDS)
                samples.append(process.memory_info().rss)
            for task in (faults, changes):
                task.cancel()
            ended = await asyncio.gather(faults, changes, return_exceptions=True)
            vault.mode = "pass"
        failed = [repr(error) for error in ended if not isinstance(error, asyncio.CancelledError)]
        await theirs.session.close()
        await own.session.close()
        peers = {int(url.rsplit(":", 1)[1]): name for url, name in ((vault.url, "Key Vault"), (origin, "a provider"))}
        left = await _left_open(process, peers)
        half, end = _trend(samples)
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(10)
        times = sorted(found.seconds)
        figures = {
            "minutes": f"{seconds / 60:.0f}",
            "requests of the other tenants": len(times) + len(found.wrong),
            "of these wrong, lost or another tenant's": len(found.wrong),
            "median, 99th percentile, longest (ms)": ", ".join(
                f"{times[int(share * (len(times) - 1))] * 1000:.0f}" for share in (0.5, 0.99, 1)
            ),
            **counts,
            "memory halfway and at the end, by a line through all samples in between (MB)": f"{half:.0f}, {end:.0f}",
            "connections left open": "; ".join(left) or "none but the one it listens on",
            "file descriptors, threads": f"{process.num_fds()}, {process.num_threads()}",
            "processor time in ten idle seconds (ms)": round((sum(process.cpu_times()[:2]) - before) * 1000),
            "unexpected lines in the log": len(host.unexpected()),
        }
        problems = [*failed, *left, *found.wrong[:5], *host.unexpected()[:5]]
    if end - half > half * (_GROWTH_OF_SHORT_RUN if seconds < _SHORT_RUN_SECONDS else _GROWTH):
        problems.append(f"memory grows: {half:.0f} MB halfway, {end:.0f} MB at the end")
    for name, figure in figures.items():
        print(f"{name}: {figure}")
        page.note("soak", name, figure)
    for problem in problems:
        print(problem, file=sys.stderr)
    if write:
        page.write()
    return 1 if problems else 0


async def _left_open(process: psutil.Process, peers: Mapping[int, str]) -> list[str]:
    """The connections that are still open, by whom they lead to, when all had time to end.

    An instance's tasks can't be seen from outside. One that is left over waits for something: a connection, which is
    seen here, a thread, which is counted, or time, which shows as work of an instance that nobody asks.
    """
    for _ in range(_IDLE_SECONDS):
        found = [each for each in process.net_connections() if each.status != psutil.CONN_LISTEN]
        if not found:
            break
        await asyncio.sleep(1)
    names = Counter(peers.get(each.raddr.port, "Table Storage, a client or a faulty provider") for each in found)
    return [f"connections left open to {name}: {count}" for name, count in names.items()]


async def _faults(stack: Deployment, own: App, counts: dict[str, int]) -> None:
    """One fault after the other, each at a tenant of its own that is well in between, so that its circuit closes."""
    async with AsyncExitStack() as parts:
        hospitals_of = []
        for fault in FAULTS:
            hospital = await parts.enter_async_context(hospitals.scripted(_WELL))
            hospitals_of.append((fault, hospital, await stack.tenant(hospital.base_url, **fault.columns)))
        while True:
            own.tokens.clear()  # a key leaves the ring six rotations later, here after a quarter of an hour
            for fault, hospital, tenant in hospitals_of:
                before = await own.fhir(tenant, "Patient/1")
                hospital.script = fault.script
                answers = await asyncio.gather(*(own.fhir(tenant, "Patient/1") for _ in range(6)))
                hospital.script = _WELL
                # Where a row gives its provider a second, an instance that has much to do may take it.
                late = {504} if "TimeoutSeconds" in fault.columns else set()
                seen = {answer.status for answer in answers}
                if before.status not in {200, 503} | late or not seen <= fault.statuses | {503} | late:
                    raise AssertionError(f"{fault.name}: {before.status}, then {seen}")
                counts["requests to faulty providers"] += len(answers)


async def _changes(stack: Deployment, vault: SwitchedVault, theirs: App, counts: dict[str, int]) -> None:
    """Secrets are replaced one after the other, now and then a signing key is, and Key Vault fails in between."""
    registry = ClientRegistry(stack.table(CLIENTS), stack.vault)
    while True:
        old, new = theirs.client, await registry.add_secret(theirs.client.client_id)
        await asyncio.sleep(3)  # an instance looks for a new secret every other second at most
        theirs.client = new
        for _ in range(2):  # once more for tokens that were being asked for
            theirs.tokens.clear()
            await asyncio.sleep(6)  # longer than a request takes, also beside other work
        await registry.delete_secret(old.client_id, old.secret_id)
        counts["secrets rotated"] += 1
        if counts["secrets rotated"] % 6 == 1:
            await rotate(stack.vault, stack.settings)
            counts["signing keys rotated"] += 1
        await asyncio.sleep(6)
        vault.mode = 503
        await asyncio.sleep(1)
        vault.mode = "pass"
        counts["outages of Key Vault"] += 1


def _trend(samples: list[int]) -> tuple[float, float]:
    """Megabytes halfway and at the end, on the straight line that fits the second half best."""
    half = [size / 1_048_576 for size in samples[len(samples) // 2 :]]
    slope, start = statistics.linear_regression(range(len(half)), half)
    return start, start + slope * (len(half) - 1)


if __name__ == "__main__":
    sys.exit(main())
