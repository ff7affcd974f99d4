"""The pages and pictures are made of what a run has measured, and of what is left when a part of it fails."""

import shutil
from pathlib import Path
from xml.dom import minidom

import pytest

from bench import report, stages
from bench.cold_start import ColdStart
from bench.comparison import (
    ALONE,
    BUSY,
    DIRECT,
    FLOOR,
    GATEWAY,
    LARGE,
    PAGE,
    READ,
    READ_DRAWN,
    SEARCHSET,
    STATEMENT,
    SYSTEMS,
    TOKEN,
    TOKEN_BY_ES384,
    TOKEN_BY_RS384,
    Comparison,
)
from bench.latency import Hops
from bench.portal import PageTimes
from bench.report import Results
from bench.scale import DeadProvider, Memory
from bench.wrk import Load
from tests.docs.pages import DOCS, broken_links

COSTS = {
    STATEMENT: 100.0,
    TOKEN: 150.0,
    TOKEN_BY_RS384: 300.0,
    TOKEN_BY_ES384: 200.0,
    READ: 250.0,
    READ_DRAWN: 400.0,
    SEARCHSET: 200.0,
    PAGE: 301.0,
    LARGE: 6_000.0,
}


def load(cost: float, p50: float) -> Load:
    return Load(per_second=1e6 / cost, p50=p50, p99=2 * p50, cpu=cost, requests=1_000)


@pytest.fixture
def results() -> Results:
    """The floor takes 100 µs and 1 ms; all other systems what stands above; the gateway 2.6 ms, the provider 0.1 ms."""
    rounds = {}
    for case, cost in COSTS.items():
        for system in SYSTEMS:
            mine, p50 = (100.0, 1.0) if system == FLOOR else (cost, 0.1 if system == DIRECT else 2.6)
            # A disturbed round disturbs both, and their ratio hardly.
            rounds[case, BUSY, system] = [load(mine * factor, p50) for factor in (1, 5, 1)]
            rounds[case, ALONE, system] = [load(mine, p50 * factor) for factor in (1, 1, 5)]
    start = ColdStart(900.0, 20.0, 1.0)
    return Results(
        machine="- a machine\n",
        busy_before=0.1,
        comparison=Comparison(rounds, {GATEWAY: 90_000_000}),
        stages={READ: {"tenant looked up": 3.0}},
        hops={READ: Hops(1.0, 0.2, 0.5, 0.3, 0.1)},
        cold={FLOOR: ColdStart(500.0, 10.0, 1.0), STATEMENT: start},
        cold_uncompiled={STATEMENT: start},
        memory=Memory(10_000, 60_000_000, ((20_000, 100_000_000), (100_000, 111_000_000))),
        in_flight=load(1_000.0, 500.0),
        split_batch=load(1_000.0, 105.0),
        dead_provider=DeadProvider((20.0, 30.0), (22.0, 40.0)),
        portal={"/": PageTimes(100.0, 40.0), "/tenants": PageTimes(50.0, 310.0)},
    )


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for page in DOCS.glob("performance*.md"):
        shutil.copy(page, tmp_path)
    return tmp_path


def test_a_goal_is_reached_by_the_figure_that_a_reader_sees(results: Results) -> None:
    rows = {goal.what: goal.row()[1:] for goal in report.goals(results)}
    assert rows == {
        "token, against the floor": ("at least 0.70", "0.67", "**missed**"),
        "statement, against the floor": ("at least 0.90", "1.00", "reached"),
        "read of 2 KB, against the floor": ("at least 0.55", "0.40", "**missed**"),
        "searchset of 22 KB, 40 links, against the floor": ("at least 0.40", "0.50", "reached"),
        "added latency of a read at one connection, p50, against the floor's own": (
            *("at most 1.50 times", "2.50 times", "**missed**"),
        ),
        "1 MB bundle: CPU": ("at most 6.0 ms", "6.0 ms", "reached"),
        "tenant drawn from 100,000, against one in use": ("at most 2.00 times", "1.60 times", "reached"),
        "page handle, against a plain page": ("at most 1.50 times", "1.50 times", "reached"),
        "token by an assertion (RS384), against one by a secret": ("at most 1.50 times", "2.00 times", "**missed**"),
        "token by an assertion (ES384), against one by a secret": ("at most 1.50 times", "1.33 times", "reached"),
        "cold start, first a statement, against the floor's": ("at most 1.50 times", "1.80 times", "**missed**"),
        "memory, 10,000 tenants in use": ("at most 110 MB", "111 MB", "**missed**"),
        "the same, against a fifth of the requests": ("at most 1.20 times", "1.11 times", "reached"),
        "500 in flight at a provider of 500 ms": ("at least 950/s", "1000/s", "reached"),
        "split batch of 7 entries of 100 ms, p50": ("at most 130 ms", "105 ms", "reached"),
        "one dead provider among 50: p99 of the others": ("at most 1.20 times", "1.10 times", "reached"),
        "the slowest page of the portal, 10,000 hospitals (`/tenants`)": ("at most 300 ms", "310 ms", "**missed**"),
    }


def test_the_pages_are_written_between_their_marks_and_show_pictures_that_say_the_same(
    results: Results, docs: Path
) -> None:
    report.write(results, docs)
    for page in docs.glob("*.md"):
        before, now = (
            text.partition("<!-- measured -->") for text in ((DOCS / page.name).read_text(), page.read_text())
        )
        assert now[0] == before[0]
        assert now[2].partition("<!-- end of measured -->")[2] == before[2].partition("<!-- end of measured -->")[2]
        assert broken_links(page) == []
    text = (docs / "performance.md").read_text()
    for picture in (docs / "pictures").iterdir():
        title = minidom.parse(str(picture)).getElementsByTagName("title")[0].firstChild  # noqa: S318 - our own
        assert f"![{title.nodeValue}](pictures/{picture.name})" in text
    assert "gateway 4,000" in text
    assert len(list((docs / "pictures").iterdir())) == 3


def test_what_failed_is_said_and_all_else_is_shown(results: Results, docs: Path) -> None:
    left = Results(results.machine, 0.1, failed={"comparison": "UnexpectedResponse()"}, split_batch=results.split_batch)
    report.write(left, docs)
    text = (docs / "performance.md").read_text()
    assert "Not measured: `comparison` (UnexpectedResponse())." in text
    assert "| split batch of 7 entries of 100 ms, p50 | at most 130 ms | 105 ms | reached |" in text
    assert list((docs / "pictures").iterdir()) == []


def test_the_stages_are_functions_that_there_are() -> None:
    for functions in stages.STAGES.values():
        assert all(callable(getattr(owner, name)) for owner, name in functions)
