"""`python -m bench [--quick]`: measures everything in one run, and writes docs/performance.md."""

import argparse
import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import machine, portal, report, scale, servers
from bench.assertions import token_cost
from bench.cold_start import ColdStart, cold_starts
from bench.comparison import FLOOR, compare, prepared_requests
from bench.deployment import Deployment, deployed
from bench.process import PROJECT, Running
from bench.report import Results
from bench.stages import stages
from shared.application import Application

_DOCUMENT = PROJECT / "docs" / "performance.md"
_PLOT = PROJECT / "docs" / "performance.svg"
_STAGED = ("token (post)", "read, 2 KB", "searchset, 22 KB", "searchset, 1 MB")
_COLD = ("statement", "token (post)", "read, 2 KB")


@dataclass(frozen=True, slots=True)
class _Effort:
    """How long to measure: seconds, rounds and numbers of requests; `seconds` are those of a run by itself."""

    connections: tuple[int, ...]
    rounds: int
    seconds: int
    in_flight_seconds: int
    dead_rounds: int
    staged: int
    memory: tuple[int, tuple[int, int]]  # the tenants, and the numbers of requests after which it is looked at
    cold_rounds: int


_FULL = _Effort((1, 32, 256), 3, 5, 30, 5, 400, (10_000, (20_000, 200_000)), 7)
_QUICK = _Effort((1, 32), 1, 1, 4, 1, 100, (1_000, (1_000, 10_000)), 2)


def main() -> int:
    """The exit code is 1 when a tool is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three minutes, rough figures, on standard output only")
    options = parser.parse_args()
    lacking = machine.missing()
    if lacking:
        print(f"Missing: {', '.join(lacking)}. Install with: apt-get install {' '.join(lacking)}", file=sys.stderr)
        return 1
    if not servers.WORKER_PYTHON.exists():
        runtime = "the runtime of Azure (on Python 3.13)"
        print(f"Missing: {runtime}. Install it with: make .functions-worker/.installed", file=sys.stderr)
        return 1
    results = asyncio.run(_measure(_QUICK if options.quick else _FULL))
    print(report.markdown(results))
    if not options.quick:
        report.update(_DOCUMENT, _PLOT, results)
    return 0


async def _measure(effort: _Effort) -> Results:
    busy_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        async with deployed(folder) as deployment, servers.provider(folder) as provider:
            _say("side by side")
            short = {"rounds": effort.rounds, "seconds": 1}
            comparison = await compare(deployment, folder, provider, connections=effort.connections, **short)
            _say("stages")
            staged = await _stages(deployment, provider, effort.staged)
            _say("cold start")
            cold = await _cold(deployment, provider, effort.cold_rounds)
            _say("scale")
            waiting = {"rounds": min(effort.rounds, 2), "seconds": effort.in_flight_seconds}
            dead = {"rounds": effort.dead_rounds, "seconds": max(effort.seconds, 2)}
            return Results(
                machine=machine.describe(),
                busy_before=busy_before,
                comparison=comparison,
                stages=staged,
                directories=await scale.directories(deployment, folder, provider, **short),
                memory=await scale.memory(deployment, folder, provider, *effort.memory, seconds=effort.seconds),
                in_flight=await scale.in_flight(deployment, folder, **waiting),
                split_batch=await scale.split_batch(deployment, folder, seconds=effort.seconds),
                dead_provider=await scale.dead_provider(deployment, folder, **dead),
                cold=cold,
                portal=await portal.pages(deployment),
                token_cost=await token_cost(deployment, effort.staged),
            )


async def _stages(deployment: Deployment, provider: Running, requests: int) -> dict[str, dict[str, float]]:
    cases = await prepared_requests(deployment, provider)
    application = Application(deployment.settings)
    try:
        numbers = {name: requests // 10 if "MB" in name else requests for name in _STAGED}
        return {name: await stages(application, cases[name], number) for name, number in numbers.items()}
    finally:
        await application.close()


async def _cold(deployment: Deployment, provider: Running, rounds: int) -> dict[str, ColdStart]:
    cases = await prepared_requests(deployment, provider)
    first = {FLOOR: (servers.FLOOR, cases[_COLD[0]]), **{name: (PROJECT, cases[name]) for name in _COLD}}
    return await cold_starts(first, deployment.environment, rounds)


def _say(what: str) -> None:
    print(f"Measuring: {what}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
