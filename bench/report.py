"""Everything one run found, how it stands to the goals, and the results as Markdown."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.cold_start import ColdStart
from bench.comparison import (
    ALONE,
    BUSY,
    FLOOR,
    GATEWAY,
    LARGE,
    PAGE,
    READ,
    READ_DRAWN,
    SEARCHSET,
    STATEMENT,
    TOKEN,
    TOKEN_BY_ES384,
    TOKEN_BY_RS384,
    Comparison,
)
from bench.latency import Hops
from bench.pictures import Picture, by_hop, by_size, per_core
from bench.portal import HOSPITALS, PageTimes
from bench.scale import DeadProvider, Memory
from bench.wrk import Load

_BEGIN, _END = "<!-- measured -->\n", "<!-- end of measured -->"
_USED = 0.6  # of an instance's one core, so that a burst finds room
_RATES = (100, 1_000, 10_000)


@dataclass(slots=True)
class Results:
    """What a run has measured so far.

    `stages` are microseconds by case and stage; `cold` is by the name of the first request; `failed` are the parts that
    could not be measured, and why.
    """

    machine: str
    busy_before: float
    failed: dict[str, str] = field(default_factory=dict)
    comparison: Comparison = field(default_factory=lambda: Comparison({}, {}))
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    hops: Mapping[str, Hops] = field(default_factory=dict)
    cold: Mapping[str, ColdStart] = field(default_factory=dict)
    cold_uncompiled: Mapping[str, ColdStart] = field(default_factory=dict)
    memory: Memory | None = None
    in_flight: Load | None = None
    split_batch: Load | None = None
    dead_provider: DeadProvider | None = None
    portal: Mapping[str, PageTimes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, and the limit that was set for it before; it is judged as it is shown, with so many digits."""

    what: str
    value: float
    limit: float
    unit: str = " times"
    digits: int = 2
    least: bool = False

    def row(self) -> tuple[str, str, str, str]:
        """The figure's name, the goal, what was measured, and the verdict."""
        value, limit = (f"{figure:.{self.digits}f}" for figure in (self.value, self.limit))
        reached = float(value) >= self.limit if self.least else float(value) <= self.limit
        bound = f"at {'least' if self.least else 'most'} {limit}{self.unit}"
        return self.what, bound, f"{value}{self.unit}", "reached" if reached else "**missed**"


def write(results: Results, docs: Path) -> None:
    """Puts the results into the two pages of `docs`, between their marks, and draws the pictures."""
    for _, file, picture in _pictures(results):
        (docs / "pictures" / file).write_text(picture.svg)
    for name, measured in (("performance.md", page(results)), ("performance-details.md", details(results))):
        document = docs / name
        before, _, rest = document.read_text().partition(_BEGIN)
        _, _, after = rest.partition(_END)
        document.write_text(f"{before}{_BEGIN}\n{measured}\n{_END}{after}")


def page(results: Results) -> str:
    """What a person reads in a minute: a sentence, the pictures, the goals."""
    pictures = [f"## {title}\n\n![{seen.text}](pictures/{file})" for title, file, seen in _pictures(results)]
    return "\n\n".join([_sentence(results.comparison), *pictures, f"## Goals\n\n{goal_table(results)}"])


def goal_table(results: Results) -> str:
    """The table of the goals, and what could not be measured."""
    failed = "".join(f"\nNot measured: `{name}` ({error}).\n" for name, error in results.failed.items())
    return _table(("what", "goal", "measured", ""), [goal.row() for goal in goals(results)]) + f"\n{failed}"


def details(results: Results) -> str:
    """All tables of what was measured."""
    comparison = results.comparison
    noise = f"- load average before the run {results.busy_before:.1f}"
    if comparison.rounds:
        noise += f"; the rounds of a figure lie {comparison.noise():.0%} apart (CPU, the median of all figures)"
    sections = {
        "Where it was measured": results.machine + noise,
        "Side by side": _side_by_side(comparison) if comparison.rounds else "",
        "One request by stage": _stages(results.stages) if results.stages else "",
        "Scale": _scale(results),
        "Cold start": _cold(results.cold, results.cold_uncompiled) if results.cold else "",
        "The portal": _portal(results.portal) if results.portal else "",
        "Instances": _instances(comparison),
    }
    return "\n".join(f"### {title}\n\n{content.strip()}\n" for title, content in sections.items() if content)


def goals(results: Results) -> Iterator[Goal]:
    """The goals of what was measured, in their order."""
    seen = results.comparison
    shares = {
        "token, against the floor": (TOKEN, 0.70),
        "statement, against the floor": (STATEMENT, 0.90),
        "read of 2 KB, against the floor": (READ, 0.55),
        "searchset of 22 KB, 40 links, against the floor": (SEARCHSET, 0.40),
    }
    for what, (case, limit) in shares.items():
        with suppress(KeyError):
            yield Goal(what, seen.share(case), limit, "", least=True)
    with suppress(KeyError):
        yield Goal("added latency of a read at one connection, p50, against the floor's own", seen.added(READ), 1.5)
    with suppress(KeyError):
        yield Goal("1 MB bundle: CPU", seen.measured(LARGE, BUSY, GATEWAY).cpu / 1000, 6, " ms", 1)
    costs = {
        "tenant drawn from 100,000, against one in use": (READ_DRAWN, READ, 2.0),
        "page handle, against a plain page": (PAGE, SEARCHSET, 1.5),
        "token by an assertion (RS384), against one by a secret": (TOKEN_BY_RS384, TOKEN, 1.5),
        "token by an assertion (ES384), against one by a secret": (TOKEN_BY_ES384, TOKEN, 1.5),
    }
    for what, (case, other, limit) in costs.items():
        with suppress(KeyError):
            yield Goal(what, seen.costs(case, other), limit)
    for name, start in results.cold.items():
        if name != FLOOR:
            what = f"cold start, first a {name}, against the floor's"
            yield Goal(what, start.total / results.cold[FLOOR].total, 1.5)
    if results.memory is not None:
        (_, before), (_, after) = results.memory.points
        yield Goal(f"memory, {results.memory.tenants:,} tenants in use", after / 1e6, 110, " MB", 0)
        yield Goal("the same, against a fifth of the requests", after / before, 1.2)
    if results.in_flight is not None:
        yield Goal("500 in flight at a provider of 500 ms", results.in_flight.per_second, 950, "/s", 0, least=True)
    if results.split_batch is not None:
        yield Goal("split batch of 7 entries of 100 ms, p50", results.split_batch.p50, 130, " ms", 0)
    if results.dead_provider is not None:
        yield Goal("one dead provider among 50: p99 of the others", results.dead_provider.share, 1.2)
    if results.portal:
        slowest = max(results.portal, key=lambda page: results.portal[page].later)
        what = f"the slowest page of the portal, {HOSPITALS:,} hospitals (`{slowest}`)"
        yield Goal(what, results.portal[slowest].later, 300, " ms", 0)


def _pictures(results: Results) -> Iterator[tuple[str, str, Picture]]:
    """The title, the file and the picture of each that can be drawn from what was measured."""
    with suppress(KeyError):
        yield "What one core does in a second", "cost-per-core.svg", per_core(results.comparison)
    if results.hops:
        yield "Where the time of a request goes", "cost-by-hop.svg", by_hop(results.hops)
    with suppress(KeyError):
        yield "What a larger response costs", "cost-by-size.svg", by_size(results.comparison)


def _sentence(comparison: Comparison) -> str:
    try:
        rates = [1e6 / comparison.measured(case, BUSY, GATEWAY).cpu for case in (TOKEN, READ, SEARCHSET)]
        shares = [comparison.share(case) for case in (TOKEN, READ, SEARCHSET)]
        read, floor = (comparison.measured(READ, ALONE, system).p50 for system in (GATEWAY, FLOOR))
    except KeyError:
        return ""
    return (
        "In the worker of Azure Functions one core answers **{:,.0f} requests for a token, {:,.0f} reads of 2 KB or "
        "{:,.0f} pages of 22 KB a second**: {:.2f}, {:.2f} and {:.2f} of what it answers with the floor, which "
        "returns `ok` and logs a line. With the provider next door and nothing else under way a read takes {:.1f} ms, "
        "the floor {:.1f} ms."
    ).format(*rates, *shares, read, floor)


def _side_by_side(comparison: Comparison) -> str:
    rows: list[list[str]] = []
    for case, system in comparison.cells():
        busy = comparison.measured(case, BUSY, system)
        row = [case, f"**{system}**" if system == GATEWAY else system, f"{busy.cpu:,.0f}", f"{1e6 / busy.cpu:,.0f}"]
        row += ["", ""]
        if (case, ALONE, system) in comparison.rounds:
            alone = comparison.measured(case, ALONE, system)
            row[-2:] = f"{alone.p50:.2f}", f"{alone.p99:.1f}"
        rows.append(row)
    head = ["request", "who", "CPU µs", "per s and core", "p50 ms", "p99 ms"]
    memory = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in comparison.memory.items())
    return f"{_table(head, rows)}\n\nMemory at the end: {memory}."


def _stages(stages: Mapping[str, Mapping[str, float]]) -> str:
    columns = stages.values()
    names = dict.fromkeys(stage for found in columns for stage in found)
    rows = [[name, *(f"{found[name]:,.0f}" if name in found else "" for found in columns)] for name in names]
    rows.append(["**all**", *(f"**{sum(found.values()):,.0f}**" for found in columns)])
    return _table(["µs of CPU", *stages], rows)


def _scale(results: Results) -> str:
    rows: list[tuple[str, str]] = []
    if (flow := results.in_flight) is not None:
        at_once = f"{flow.per_second:,.0f}/s, p50 {flow.p50:.0f} ms, p99 {flow.p99:.0f} ms"
        rows.append(("500 in flight, provider of 500 ms", at_once))
    if (split := results.split_batch) is not None:
        rows.append(("split batch, 7 entries of 100 ms", f"p50 {split.p50:.0f} ms, p99 {split.p99:.0f} ms"))
    if (dead := results.dead_provider) is not None:
        others = f"{_milliseconds(dead.alone)} alone, {_milliseconds(dead.with_dead)} with it"
        rows.append(("one dead provider among 50, p99 of the others", others))
    if (memory := results.memory) is not None:
        for requests, size in memory.points:
            grown = f"{size / 1e6:.0f} MB ({memory.at_start / 1e6:.0f} MB at the start)"
            rows.append((f"memory after {requests:,} requests over {memory.tenants:,} tenants", grown))
    return _table(("what", "measured"), rows) if rows else ""


def _cold(compiled: Mapping[str, ColdStart], uncompiled: Mapping[str, ColdStart]) -> str:
    rows = []
    for name, start in compiled.items():
        without = f"{uncompiled[name].total:.0f} ms" if name in uncompiled else ""
        rows.append((name, f"{start.total:.0f} ms", f"{start.first:.0f} ms", f"{start.later:.1f} ms", without))
    parts = ("process start to first response", "the first response alone", "later ones", "start without any bytecode")
    return _table(("first request", *parts), rows)


def _portal(pages: Mapping[str, PageTimes]) -> str:
    head = (f"page, with {HOSPITALS:,} hospitals", "first view, in this order after a start", "later ones")
    return _table(head, [(f"`{page}`", f"{each.first:.0f} ms", f"{each.later:.0f} ms") for page, each in pages.items()])


def _instances(comparison: Comparison) -> str:
    rows = []
    for case, system in comparison.cells():
        if system == GATEWAY:
            cost = comparison.measured(case, BUSY, GATEWAY).cpu
            most = 1e6 / cost * _USED
            needed = (f"{math.ceil(rate / most):,}" for rate in _RATES)
            rows.append([case, f"{cost:,.0f} µs", f"{most:,.0f}/s", *needed])
    return _table(["request", "CPU", "one instance", *(f"{rate:,}/s" for rate in _RATES)], rows) if rows else ""


def _milliseconds(figures: Iterable[float]) -> str:
    return " / ".join(f"{figure:.0f}" for figure in figures) + " ms"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
