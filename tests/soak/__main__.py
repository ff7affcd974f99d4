"""`python -m tests.soak --minutes 30`: a mixed load with faults, rotations and outages, and what is left afterwards."""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from local.azurite.table_service import TableService
from shared.azure.tables import CLIENTS
from shared.directory.client_registry import ClientRegistry
from shared.oauth.signing_keys import rotate
from tests.faults import hospitals, page
from tests.faults.bystanders import Bystanders, bystanders
from tests.faults.provider_faults import FAULTS
from tests.faults.stack import App, Host, Stack, VaultStandIn, app, running

_TENANTS = 20
_SAMPLE_SECONDS = 5
_GROWTH = 1.25  # of memory, from a fifth of the way in to the end
_SPARE_CONNECTIONS = 64


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
        process = psutil.Process(host.pid).children()[0]
        theirs, own = [await parts.enter_async_context(app(stack, host)) for _ in range(2)]
        samples: list[int] = []
        counts = {"faults": 0, "secrets": 0, "keys": 0, "outages": 0}
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
        gc.collect()
        await asyncio.sleep(20)  # longer than kept connections are kept
        figures = _figures(seconds, found, samples, process, host, counts)
        return _judge(figures, found, samples, process, host, failed, write=write)


async def _faults(stack: Stack, own: App, counts: dict[str, int]) -> None:
    """One fault after the other at a tenant of its own."""
    while True:
        for fault in FAULTS:
            async with hospitals.scripted(fault.script) as hospital:
                tenant = await stack.tenant(hospital.base_url, **fault.columns)
                answers = await asyncio.gather(*(own.fhir(tenant, "Patient/1") for _ in range(6)))
                if not {answer.status for answer in answers} <= fault.statuses | {503}:
                    raise AssertionError(f"{fault.name}: {[answer.status for answer in answers]}")
                counts["faults"] += len(answers)


async def _changes(stack: Stack, vault: VaultStandIn, theirs: App, counts: dict[str, int]) -> None:
    """Secrets are replaced one after the other, now and then a signing key is, and Key Vault fails in between."""
    registry = ClientRegistry(stack.table(CLIENTS), stack.vault)
    while True:
        old, new = theirs.client, await registry.add_secret(theirs.client.client_id)
        await asyncio.sleep(3)  # an instance looks for a new secret every other second at most
        theirs.client = new
        for _ in range(2):  # once more for tokens that were being asked for
            theirs.tokens.clear()
            await asyncio.sleep(2)
        await registry.delete_secret(old.client_id, old.secret_id)
        counts["secrets"] += 1
        if counts["secrets"] % 6 == 1:
            await rotate(stack.vault, stack.settings)
            counts["keys"] += 1
        await asyncio.sleep(6)
        vault.mode = 503
        await asyncio.sleep(1)
        vault.mode = "pass"
        counts["outages"] += 1


def _figures(
    seconds: float, found: Bystanders, samples: list[int], process: psutil.Process, host: Host, counts: dict[str, int]
) -> dict[str, object]:
    times = sorted(found.seconds)
    early, late = _early(samples), _late(samples)
    return {
        "minutes": f"{seconds / 60:.0f}",
        "requests of the other tenants": len(times) + len(found.wrong),
        "of these wrong, lost or another tenant's": len(found.wrong),
        "median, 99th percentile, longest (ms)": ", ".join(
            f"{times[int(share * (len(times) - 1))] * 1000:.0f}" for share in (0.5, 0.99, 1)
        ),
        "requests to faulty providers": counts["faults"],
        "secrets rotated": counts["secrets"],
        "signing keys rotated": counts["keys"],
        "outages of Key Vault": counts["outages"],
        "memory, a fifth of the way in (MB)": early // 1_048_576,
        "memory at the end (MB)": late // 1_048_576,
        "connections left open": len(process.net_connections()),
        "file descriptors": process.num_fds(),
        "unexpected lines in the log": len(host.unexpected()),
    }


def _early(samples: list[int]) -> int:
    start = len(samples) // 5
    return max(samples[start : start + max(len(samples) // 5, 1)])


def _late(samples: list[int]) -> int:
    return max(samples[-max(len(samples) // 5, 1) :])


def _judge(
    figures: dict[str, object],
    found: Bystanders,
    samples: list[int],
    process: psutil.Process,
    host: Host,
    failed: list[str],
    *,
    write: bool,
) -> int:
    for name, figure in figures.items():
        print(f"{name}: {figure}")
        page.note("soak", name, figure)
    problems = [*failed, *found.wrong[:5], *host.unexpected()[:5]]
    if _late(samples) > _GROWTH * _early(samples):
        problems.append("memory has grown")
    if len(process.net_connections()) > _SPARE_CONNECTIONS:
        problems.append("connections are left open")
    for problem in problems:
        print(problem, file=sys.stderr)
    if write:
        page.write()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
