"""Everything one run found, and how it stands to the goals."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.cold_start import ColdStart
from bench.comparison import DIRECT, FLOOR, GATEWAY, WORKER_FLOOR, WORKER_GATEWAY, Comparison
from bench.scale import DeadProvider, Directory, Memory
from bench.wrk import Load


@dataclass(frozen=True, slots=True)
class Results:
    """One run. `stages` are microseconds by case and stage; `cold` is by the name of the first request."""

    machine: str
    busy_before: float
    comparison: Comparison
    stages: dict[str, dict[str, float]]
    directories: list[Directory]
    memory: Memory
    in_flight: Load
    split_batch: Load
    dead_provider: DeadProvider
    cold: dict[str, ColdStart]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that was set before, and what was measured."""

    what: str
    goal: str
    measured: str
    reached: bool


def goals(results: Results) -> Iterator[Goal]:
    """The goals in their order."""
    for what, case, least in (
        ("token request, warm, against the floor", "token (post)", 0.80),
        ("statement, against the floor", "statement", 0.90),
        ("read of 2 KB, against the floor", "read, 2 KB", 0.50),
        ("searchset of 22 KB with 40 links rewritten, against the floor", "searchset, 22 KB", 0.40),
    ):
        share = results.comparison.share(case, 32, WORKER_GATEWAY, WORKER_FLOOR)
        local = results.comparison.share(case, 32, GATEWAY, FLOOR)
        measured = f"{share:.2f} (in the local host {local:.2f})"
        yield Goal(what, f"at least {least:.2f} of its throughput", measured, share >= least)

    large = results.comparison.measured("searchset, 1 MB", 1, GATEWAY).cpu / 1000
    yield Goal("1 MB bundle: the gateway's CPU", "at most 12 ms", f"{large:.1f} ms", large <= 12)

    added, times = _added(results.comparison, WORKER_GATEWAY, WORKER_FLOOR)
    _, local_times = _added(results.comparison, GATEWAY, FLOOR)
    yield Goal(
        "added latency over direct, read of 2 KB, 1 connection, p50",
        "at most 2.0 times the floor's own",
        f"{times:.1f} times, {added:.2f} ms (in the local host {local_times:.1f} times)",
        times <= 2,
    )

    flow, split = results.in_flight.per_second, results.split_batch.p50
    dead = results.dead_provider.share
    yield Goal("500 in flight at a provider of 500 ms", "at least 950/s", f"{flow:.0f}/s", flow >= 950)
    yield Goal("split batch of 7 entries of 100 ms, p50", "at most 130 ms", f"{split:.0f} ms", split <= 130)
    yield Goal("one dead provider among 50: p99 of the others", "at most 1.2 times", f"{dead:.2f} times", dead <= 1.2)

    growth = results.directories[-1].busy.cpu / results.directories[0].busy.cpu
    measured = f"{growth:.2f} times for tenants in use"
    yield Goal("100,000 tenants against 10: cost per request", "at most 1.1 times", measured, growth <= 1.1)

    floor = results.cold[FLOOR].total
    for name, start in results.cold.items():
        if name != FLOOR:
            share = start.total / floor
            yield Goal(f"cold start, first a {name}", "at most 2.0 times", f"{share:.2f} times", share <= 2)

    (few_requests, before), (many_requests, after) = results.memory.points
    yield Goal(
        f"memory after {_round(many_requests)} requests over {results.memory.tenants:,} tenants",
        f"at most 1.2 times that after {_round(few_requests)}",
        f"{after / before:.2f} times ({before / 1e6:.0f} and {after / 1e6:.0f} MB)",
        after / before <= 1.2,
    )


def _added(comparison: Comparison, gateway: str, floor: str) -> tuple[float, float]:
    """The time that a gateway adds to a read: milliseconds, and as a multiple of its floor's time."""
    through, direct, alone = (comparison.min_p50("read, 2 KB", 1, system) for system in (gateway, DIRECT, floor))
    return through - direct, (through - direct) / alone


def _round(number: int) -> str:
    return f"{number // 1000 * 1000:,}"
