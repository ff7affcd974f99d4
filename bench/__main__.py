"""`python -m bench [--quick] [--only NAME]`: measures everything, and writes docs/performance*.md."""

import argparse
import asyncio
import os
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import machine, portal, report, scale, servers
from bench.cold_start import ColdStart, cold_starts
from bench.comparison import FLOOR, LARGE, READ, SEARCHSET, STATEMENT, TOKEN, Case, cases_of, compare
from bench.deployment import Deployment, deployed
from bench.latency import latencies
from bench.process import PROJECT
from bench.report import Results
from bench.stages import stages
from bench.wrk import Prepared
from shared.application import Application

_PART_SECONDS = 1_200


@dataclass(frozen=True, slots=True)
class _Effort:
    """How long to measure: rounds, seconds of a run by itself, and numbers of requests."""

    rounds: int
    seconds: int
    staged: int
    memory: tuple[int, tuple[int, int]]  # the tenants, and the numbers of requests after which it is looked at
    left_out: tuple[str, ...] = ()  # parts that are measured only when named


_FULL = _Effort(7, 5, 400, (10_000, (20_000, 100_000)))
_QUICK = _Effort(1, 2, 100, (2_000, (2_000, 10_000)), ("portal",))


def main() -> int:
    """The exit code is 1 when a tool is missing, or a part could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, without the portal, on standard output only")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a request or part (repeatable)")
    options = parser.parse_args()
    lacking = machine.missing()
    if lacking:
        print(f"Missing: {', '.join(lacking)}. Install with: apt-get install {' '.join(lacking)}", file=sys.stderr)
        return 1
    if not servers.WORKER_PYTHON.exists():
        runtime = "the runtime of Azure, on Python 3.13 or later"
        print(f"Missing: {runtime}. Install it with: make .functions-worker/.installed", file=sys.stderr)
        return 1
    results = asyncio.run(_measure(_QUICK if options.quick else _FULL, options.only))
    print(report.goal_table(results), report.details(results), sep="\n")
    if not options.quick and not options.only:
        report.write(results, PROJECT / "docs")
    return 1 if results.failed else 0


async def _measure(effort: _Effort, only: Collection[str]) -> Results:
    results = Results(machine.describe(), os.getloadavg()[0])
    async with AsyncExitStack() as started:
        folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
        deployment = await started.enter_async_context(deployed(folder))
        provider = await started.enter_async_context(servers.provider(folder))
        large = await started.enter_async_context(servers.large_directory(deployment, provider))
        cases = await cases_of(large)
        rounds, seconds = effort.rounds, effort.seconds
        known: dict[str, Callable[[], Awaitable[object]]] = {
            "comparison": lambda: compare(large, folder, provider, _named(cases, only) or cases, rounds),
            "stages": lambda: _stages(large, cases, effort.staged),
            "hops": lambda: latencies(large, provider, _named(cases, (TOKEN, READ, SEARCHSET)), rounds),
            "cold": lambda: _cold(large, cases, rounds, compiled=True),
            "cold_uncompiled": lambda: _cold(large, cases, min(rounds, 3), compiled=False),
            "memory": lambda: scale.memory(large, folder, *effort.memory, seconds=seconds),
            "in_flight": lambda: scale.in_flight(deployment, folder, seconds=4 * seconds),
            "split_batch": lambda: scale.split_batch(deployment, folder, seconds=seconds),
            "dead_provider": lambda: scale.dead_provider(deployment, folder, rounds=rounds, seconds=seconds),
            "portal": lambda: portal.pages(deployment),
        }
        named = dict.fromkeys(case.name for case in cases)
        if unknown := set(only) - named.keys() - known.keys():
            raise SystemExit(f"No such part: {', '.join(unknown)}. There are: {'; '.join((*named, *known))}")
        parts = {"comparison" if name in named else name for name in only} or known.keys() - effort.left_out
        for name, measure in known.items():
            if name in parts:
                await _attempt(results, name, measure)
    return results


async def _attempt(results: Results, name: str, measure: Callable[[], Awaitable[object]]) -> None:
    """Measures a part; what fails twice is noted, so that a run keeps all else that it found."""
    for _ in range(2):
        print(f"Measuring: {name}", file=sys.stderr)
        try:
            async with asyncio.timeout(_PART_SECONDS):
                setattr(results, name, await measure())
        except Exception as error:
            traceback.print_exc()
            results.failed[name] = repr(error)
        else:
            results.failed.pop(name, None)
            return


async def _stages(deployment: Deployment, cases: Sequence[Case], requests: int) -> dict[str, dict[str, float]]:
    application = Application(deployment.settings)
    try:
        numbers = {TOKEN: requests, READ: requests, SEARCHSET: requests, LARGE: requests // 10}
        first = await _first(cases, numbers)
        return {name: await stages(application, first[name], number) for name, number in numbers.items()}
    finally:
        await application.close()


async def _cold(deployment: Deployment, cases: Sequence[Case], rounds: int, *, compiled: bool) -> dict[str, ColdStart]:
    first = await _first(cases, (STATEMENT, TOKEN, READ))
    apps = {FLOOR: (servers.FLOOR, first[READ]), **{name: (PROJECT, request) for name, request in first.items()}}
    return await cold_starts(apps, deployment.environment, rounds, compiled=compiled)


def _named(cases: Sequence[Case], names: Collection[str]) -> list[Case]:
    return [case for case in cases if case.name in names]


async def _first(cases: Sequence[Case], names: Collection[str]) -> dict[str, Prepared]:
    """A request of each of these cases."""
    return {case.name: (await case.requests())[0] for case in _named(cases, names)}


if __name__ == "__main__":
    sys.exit(main())
