"""Pictures of figures over time, and the parts of lists that go with every list."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from shared.portal.picture import Bar, bars, lines
from shared.portal.rendering import list_page

START = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)


def times(count: int, step: timedelta) -> list[datetime]:
    return [START + number * step for number in range(count)]


def test_bars_show_requests_and_the_errors_among_them() -> None:
    drawn = bars("Requests", [Bar(START, 200, 50), Bar(START + timedelta(hours=1), 0), Bar(START, 1000, 1)])
    assert dict(drawn.shapes) == {
        "requests": "M1 100v-20h8v20zM21 100v-100h8v100z",
        "errors": "M1 100v-5h8v5zM21 100v-3h8v3z",  # one of a thousand is seen too
    }
    assert drawn.rows[0] == ("25 November, 14:30", "200", "50")
    assert drawn.hints[0] == "25 November, 14:30, Requests 200, Errors 50"
    assert (
        drawn.summary
        == "Requests, 25 November, 14:30 to 25 November, 14:30 UTC: 1,200 requests, 51 of them with an error"
    )
    assert (drawn.width, drawn.empty) == (30, False)


def test_lines_break_where_nothing_was_measured() -> None:
    drawn = lines("Latency", times(5, timedelta(hours=1)), {"p50": [100, 50, None, 25, None], "p95": [None] * 5})
    assert drawn.shapes == [("line line-1", "M5 0L15 50M35 75h.01"), ("line line-2", "")]
    assert drawn.rows[1:3] == [("25 November, 15:30", "50 ms", "none"), ("25 November, 16:30", "none", "none")]
    assert drawn.summary.endswith("at the end p50 25 ms, p95 none")


@pytest.mark.parametrize("series", [[], [Bar(START, 0)], [Bar(at, 0) for at in times(9, timedelta(minutes=5))]])
def test_without_requests_a_picture_is_empty(series: Sequence[Bar]) -> None:
    assert bars("Requests", series).empty
    assert lines("Latency", [bar.at for bar in series], {"p50": [None] * len(series)}).empty


@pytest.mark.parametrize(
    ("most", "scale"),
    [
        (1, ["2", "1", "0"]),
        (3, ["4", "2", "0"]),
        (10, ["10", "5", "0"]),
        (11, ["20", "10", "0"]),
        (4100, ["6,000", "3,000", "0"]),
        (60_000, ["60k", "30k", "0"]),
        (1_500_000, ["2M", "1M", "0"]),
    ],
)
def test_a_scale_ends_at_a_round_number(most: int, scale: list[str]) -> None:
    assert bars("", [Bar(START, most)]).scale == scale


@pytest.mark.parametrize(
    ("count", "step", "marks"),
    [
        (12, timedelta(minutes=5), [(50.0, "15:00")]),
        (48, timedelta(minutes=30), [(14.58, "18:00"), (39.58, "26 Nov"), (64.58, "06:00"), (89.58, "12:00")]),
        (
            30,
            timedelta(days=1),
            [(2.99, "26 Nov"), (26.32, "3 Dec"), (49.65, "10 Dec"), (72.99, "17 Dec"), (96.32, "24 Dec")],
        ),
    ],
)
def test_a_time_axis_names_round_times(count: int, step: timedelta, marks: list[tuple[float, str]]) -> None:
    found = bars("", [Bar(at, 1) for at in times(count, step)]).times
    assert [text for _, text in found] == [text for _, text in marks]
    assert [place for place, _ in found] == pytest.approx([place for place, _ in marks], abs=0.01)


@pytest.mark.parametrize(
    ("number", "count", "numbers"),
    [
        (1, 1, [1]),
        (1, 3, [1, 2, 3]),
        (1, 200, [1, 2, None, 200]),
        (3, 200, [1, 2, 3, 4, None, 200]),
        (100, 200, [1, None, 99, 100, 101, None, 200]),
        (200, 200, [1, None, 199, 200]),
    ],
)
def test_a_long_list_links_to_its_first_last_and_next_pages(number: int, count: int, numbers: list[int | None]) -> None:
    assert list_page(range(50 * count), {"page": str(number)}).numbers == numbers
