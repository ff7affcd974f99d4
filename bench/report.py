"""Everything one run found, how it stands to the goals, and the results as Markdown and as a plot."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.assertions import TokenCost
from bench.cold_start import ColdStart
from bench.comparison import DIRECT, FLOOR, GATEWAY, HAPROXY, NGINX, WORKER_FLOOR, WORKER_GATEWAY, Comparison
from bench.portal import HOSPITALS, PageTimes
from bench.scale import DeadProvider, Directory, Memory
from bench.wrk import Load

_MEASURED = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- end of measured -->)", re.DOTALL)
_COLOURS = {
    WORKER_FLOOR: "#5f6b76",
    WORKER_GATEWAY: "#08427a",
    FLOOR: "#9aa5b1",
    GATEWAY: "#0b69c7",
    DIRECT: "#c9b458",
    NGINX: "#3f9142",
    HAPROXY: "#b44d12",
}
_USED = 0.6  # of an instance's one core, so that a burst finds room
_RATES = (100, 1_000, 10_000)


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
    portal: Mapping[str, PageTimes]
    token_cost: TokenCost


def update(document: Path, plot: Path, results: Results) -> None:
    """Puts the results into the document, between its two marks, and the plot beside it."""
    text = document.read_text()
    document.write_text(_MEASURED.sub(lambda _: f"\n{markdown(results)}\n", text))
    plot.write_text(svg(results.comparison))


def markdown(results: Results) -> str:
    """All tables."""
    comparison = results.comparison
    verdicts = {True: "reached", False: "**missed**"}
    achieved = [(*goal, verdicts[reached]) for *goal, reached in _goals(results)]
    cold = [
        (name, f"{start.total:.0f} ms", f"{start.first:.0f} ms", f"{start.later:.1f} ms")
        for name, start in results.cold.items()
    ]
    cold_head = ("first request", "process start to first answer", "the first answer alone", "later ones")
    memory = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in comparison.memory.items())
    sections = {
        "Where it was measured": results.machine + f"- load average before the run {results.busy_before:.1f}; "
        f"the rounds of a figure lie {comparison.noise():.0%} apart (the median of all figures)",
        "Goals": _table(("what", "goal", "measured", ""), achieved),
        "Side by side": f"{_comparison(comparison)}\n\nMemory at the end: {memory}.",
        "One request by stage": _stages(results.stages),
        "Scale": _scale(results),
        "Cold start": _table(cold_head, cold),
        "The portal": _table(
            (f"page, with {HOSPITALS:,} hospitals", "first view, in this order after a start", "later ones"),
            [(f"`{page}`", f"{times.first:.0f} ms", f"{times.later:.0f} ms") for page, times in results.portal.items()],
        ),
        "Instances": _instances(comparison),
    }
    return "\n\n".join(f"### {title}\n\n{content}" for title, content in sections.items()) + "\n"


def svg(comparison: Comparison) -> str:
    """What one core answers, by the CPU of a request: a group of bars for each case, on a logarithmic scale."""
    left, width, bar, gap, decades = 150, 640, 13, 12, (1.0, 5.3)
    y, parts = 34, []
    for case, connections in comparison.cases():
        if connections != 32:
            continue
        systems = [system for system in _COLOURS if comparison.has(case, 32, system)]
        middle = y + len(systems) * bar / 2 + 4
        parts.append(f'<text x="{left - 8}" y="{middle:.0f}" text-anchor="end">{case}</text>')
        for system in systems:
            rate = 1e6 / comparison.measured(case, 32, system).cpu
            share = (math.log10(max(rate, 10)) - decades[0]) / (decades[1] - decades[0])
            length = width * share
            parts += [
                f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{bar - 2}" fill="{_COLOURS[system]}"/>',
                f'<text x="{left + length + 4:.0f}" y="{y + 10}" class="figure">{rate:,.0f}</text>',
            ]
            y += bar
        y += gap
    for number, (system, colour) in enumerate(_COLOURS.items()):
        x = 8 + number * 128
        parts.append(f'<rect x="{x}" y="10" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="20">{system}</text>')
    title = "Requests per second that one core answers, by the CPU of each at 32 connections, logarithmic scale"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 80} {y + 20}" role="img">\n'
        f"<title>{title}</title>\n"
        "<style>text { font: 12px sans-serif; fill: #1f2933 } .figure { font-size: 10px; fill: #52606d }</style>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n"
        f'<text x="{left}" y="{y + 10}" class="figure">{title}</text>\n</svg>\n'
    )


def _goals(results: Results) -> Iterator[tuple[str, str, str, bool]]:
    """The goals in their order: the figure, what was set before, what was measured, and whether that is enough."""
    for what, case, least in (
        ("token request, warm, against the floor", "token (post)", 0.80),
        ("statement, against the floor", "statement", 0.90),
        ("read of 2 KB, against the floor", "read, 2 KB", 0.50),
        ("searchset of 22 KB with 40 links rewritten, against the floor", "searchset, 22 KB", 0.40),
    ):
        share = results.comparison.share(case, 32, WORKER_GATEWAY, WORKER_FLOOR)
        local = results.comparison.share(case, 32, GATEWAY, FLOOR)
        measured = f"{share:.2f} (in the local host {local:.2f})"
        yield (what, f"at least {least:.2f} of its throughput", measured, share >= least)

    by_secret = results.comparison.measured("token (post)", 32, WORKER_GATEWAY).cpu
    times = 1 + results.token_cost.added / by_secret
    measured = f"{times:.1f} times ({results.token_cost.added:.0f} µs of CPU more)"
    yield ("token by a signed assertion, against one by a secret", "at most 1.5 times", measured, times <= 1.5)

    large = results.comparison.measured("searchset, 1 MB", 1, GATEWAY).cpu / 1000
    yield ("1 MB bundle: the gateway's CPU", "at most 12 ms", f"{large:.1f} ms", large <= 12)

    added, times = _added(results.comparison, WORKER_GATEWAY, WORKER_FLOOR)
    _, local_times = _added(results.comparison, GATEWAY, FLOOR)
    yield (
        "added latency over direct, read of 2 KB, 1 connection, p50",
        "at most 2.0 times the floor's own",
        f"{times:.1f} times, {added:.2f} ms (in the local host {local_times:.1f} times)",
        times <= 2,
    )

    flow, split = results.in_flight.per_second, results.split_batch.p50
    dead = results.dead_provider.share
    yield ("500 in flight at a provider of 500 ms", "at least 950/s", f"{flow:.0f}/s", flow >= 950)
    yield ("split batch of 7 entries of 100 ms, p50", "at most 130 ms", f"{split:.0f} ms", split <= 130)
    yield ("one dead provider among 50: p99 of the others", "at most 1.2 times", f"{dead:.2f} times", dead <= 1.2)

    growth = results.directories[-1].busy.cpu / results.directories[0].busy.cpu
    measured = f"{growth:.2f} times for tenants in use"
    yield ("100,000 tenants against 10: cost per request", "at most 1.1 times", measured, growth <= 1.1)

    floor = results.cold[FLOOR].total
    for name, start in results.cold.items():
        if name != FLOOR:
            share = start.total / floor
            yield (f"cold start, first a {name}", "at most 2.0 times", f"{share:.2f} times", share <= 2)

    (few_requests, before), (many_requests, after) = results.memory.points
    yield (
        f"memory after {_round(many_requests)} requests over {results.memory.tenants:,} tenants",
        f"at most 1.2 times that after {_round(few_requests)}",
        f"{after / before:.2f} times ({before / 1e6:.0f} and {after / 1e6:.0f} MB)",
        after / before <= 1.2,
    )
    page, slowest = max(results.portal.items(), key=lambda each: each[1].later)
    yield (
        f"the slowest page of the portal, {HOSPITALS:,} hospitals",
        "at most 300 ms",
        f"{slowest.later:.0f} ms (`{page}`)",
        slowest.later <= 300,
    )


def _added(comparison: Comparison, gateway: str, floor: str) -> tuple[float, float]:
    """The time that a gateway adds to a read: milliseconds, and as a multiple of its floor's time."""
    through, direct, alone = (comparison.min_p50("read, 2 KB", 1, system) for system in (gateway, DIRECT, floor))
    return through - direct, (through - direct) / alone


def _round(number: int) -> str:
    return f"{number // 1000 * 1000:,}"


def _comparison(comparison: Comparison) -> str:
    numbers = list(dict.fromkeys(connections for _, connections in comparison.cases()))
    head = ["request", "who", *(title for number in numbers for title in (f"{number}: per s", "p50 ms", "p99 ms"))]
    rows: list[list[str]] = []
    for case in dict.fromkeys(case for case, _ in comparison.cases()):
        for system in (each for each in _COLOURS if comparison.has(case, numbers[0], each)):
            row = [case, f"**{system}**" if system in (GATEWAY, WORKER_GATEWAY) else system]
            for number in numbers:
                row += ["", "", ""]
                if comparison.has(case, number, system):
                    cell = comparison.measured(case, number, system)
                    row[-3:] = f"{cell.per_second:,.0f}", f"{cell.p50:.2f}", f"{cell.p99:.1f}"
            rows.append([*row, f"{comparison.measured(case, 32, system).cpu:,.0f}"])
    return _table([*head, "CPU µs"], rows)


def _stages(stages: dict[str, dict[str, float]]) -> str:
    columns = stages.values()
    names = dict.fromkeys(stage for found in columns for stage in found)
    rows = [[name, *(f"{found[name]:,.0f}" if name in found else "" for found in columns)] for name in names]
    rows.append(["**all**", *(f"**{sum(found.values()):,.0f}**" for found in columns)])
    return _table(["µs of CPU", *stages], rows)


def _scale(results: Results) -> str:
    flow, split, dead, memory = results.in_flight, results.split_batch, results.dead_provider, results.memory
    rows = [
        (
            f"directory of {found.tenants:,} tenants",
            f"{found.busy.cpu:,.0f} µs a read for the ten busiest, {found.spread.cpu:,.0f} µs drawn from all "
            f"({found.busy.per_second:,.0f}/s and {found.spread.per_second:,.0f}/s); "
            f"{found.tokens.cpu:,.0f} µs a token for one drawn from all",
        )
        for found in results.directories
    ]
    at_once = f"{flow.per_second:,.0f}/s, p50 {flow.p50:.0f} ms, p99 {flow.p99:.0f} ms"
    others = f"{_milliseconds(dead.alone)} alone, {_milliseconds(dead.with_dead)} with it"
    rows += [
        ("500 in flight, provider of 500 ms", at_once),
        ("split batch, 7 entries of 100 ms", f"p50 {split.p50:.0f} ms, p99 {split.p99:.0f} ms"),
        ("one dead provider among 50, p99 of the others", others),
    ]
    for requests, size in memory.points:
        grown = f"{size / 1e6:.0f} MB ({memory.at_start / 1e6:.0f} MB at the start)"
        rows.append((f"memory after {requests:,} requests over {memory.tenants:,} tenants", grown))
    return _table(("what", "measured"), rows)


def _instances(comparison: Comparison) -> str:
    rows = []
    for case in ("token (post)", "read, 2 KB", "searchset, 22 KB", "batch of 7, native", "batch of 7, split"):
        cost = comparison.measured(case, 32, WORKER_GATEWAY).cpu
        most = 1e6 / cost * _USED
        rows.append([case, f"{cost:,.0f} µs", f"{most:,.0f}/s", *(f"{math.ceil(rate / most):,}" for rate in _RATES)])
    return _table(["request", "CPU, real worker", "one instance", *(f"{rate:,}/s" for rate in _RATES)], rows)


def _milliseconds(figures: Iterable[float]) -> str:
    return " / ".join(f"{figure:.0f}" for figure in figures) + " ms"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
