"""Pictures of figures over time, drawn on the server as SVG without any style of their own.

A picture is a plot of columns, each 10 wide and 100 high, that the macro `picture` stretches to the space there is; its
colours are portal.css's, by the class of each shape. The same figures stand in a table beside it.
All times are UTC.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

_COLUMN, _BAR = 10, 8
_HEIGHT = 100
_MIN_BAR = 3.0  # of the height: one error among thousands of requests is seen
_MAX_TIMES = 7
_DAY = timedelta(days=1)
_TIME_STEPS = [*(timedelta(hours=hours) for hours in (1, 3, 6)), *(days * _DAY for days in (1, 2, 7, 14, 28, 91, 364))]
_SQUARE, _STROKE = "M3 0h10v10h-10z", "M0 5h16"


@dataclass(frozen=True, slots=True)
class Bar:
    """The requests from a time on, until the next bar's, and how many of them ended with an error."""

    at: datetime
    requests: int
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """What the macro draws.

    `summary` says in a sentence what is seen. `shapes` are paths, each with its class; `legend` are the words of those
    classes, each beside the path `key`. `scale` stands beside the plot from top to bottom, `times` below it, each at
    its share of the width in percent. `head` and `rows` are the table, a row for each column of the plot.
    """

    title: str
    summary: str
    shapes: Sequence[tuple[str, str]]
    scale: Sequence[str]
    times: Sequence[tuple[float, str]]
    legend: Sequence[tuple[str, str]]
    key: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: bool

    @property
    def width(self) -> int:
        """The plot's width; its height is 100."""
        return len(self.rows) * _COLUMN

    @property
    def hints(self) -> Sequence[str]:
        """Each column in words, for whoever points at it."""
        return [
            ", ".join([row[0], *(f"{name} {value}" for name, value in zip(self.head[1:], row[1:], strict=True))])
            for row in self.rows
        ]


def bars(title: str, series: Sequence[Bar]) -> Picture:
    """Requests over time, the errors among them at the foot of each bar. Without any request it is empty."""
    requests, errors = sum(bar.requests for bar in series), sum(bar.errors for bar in series)
    top = _top(bar.requests for bar in series)
    times = [bar.at for bar in series]
    return Picture(
        title,
        f"{title}, {_span(times)}: {requests:,} requests, {errors:,} of them with an error",
        [
            ("requests", _rectangles([bar.requests for bar in series], top)),
            ("errors", _rectangles([bar.errors for bar in series], top)),
        ],
        _scale(top, ""),
        _marks(times),
        [("requests", "Requests"), ("errors", "Errors")],
        _SQUARE,
        ["From (UTC)", "Requests", "Errors"],
        [(_time(bar.at, times), f"{bar.requests:,}", f"{bar.errors:,}") for bar in series],
        not requests,
    )


def lines(title: str, times: Sequence[datetime], values: Mapping[str, Sequence[float | None]]) -> Picture:
    """Milliseconds over time: up to four lines by their names, each with a value for each of the times, or None.

    Without any value the picture is empty.
    """
    known = [value for line in values.values() for value in line if value is not None]
    top = _top(known)
    kinds = [f"line line-{number}" for number in range(1, len(values) + 1)]
    latest = (f"{name} {_milliseconds(_last(line))}" for name, line in values.items())
    return Picture(
        title,
        f"{title}, {_span(times)}; at the end {', '.join(latest)}",
        [(kind, _line(line, top)) for kind, line in zip(kinds, values.values(), strict=True)],
        _scale(top, " ms"),
        _marks(times),
        list(zip(kinds, values, strict=True)),
        _STROKE,
        ["From (UTC)", *values],
        [
            (_time(at, times), *map(_milliseconds, row))
            for at, row in zip(times, zip(*values.values(), strict=True), strict=True)
        ],
        not known,
    )


def _top(values: Iterable[float]) -> float:
    """The end of a scale that holds the values: 2, or the next of 1, 2, 4, 6, 8 and 10 times a power of ten."""
    top, power = max(values, default=0), 1
    while top > 10 * power:
        power *= 10
    return max(2, next(step * power for step in (1, 2, 4, 6, 8, 10) if top <= step * power))


def _scale(top: float, unit: str) -> Sequence[str]:
    def short(value: float) -> str:
        return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,.0f}"

    return [short(top) + unit, short(top / 2) + unit, "0"]


def _rectangles(values: Sequence[int], top: float) -> str:
    heights = (max(_MIN_BAR, value / top * _HEIGHT) if value else 0 for value in values)
    return "".join(
        f"M{column * _COLUMN + 1} {_HEIGHT}v-{height:.4g}h{_BAR}v{height:.4g}z"
        for column, height in enumerate(heights)
        if height
    )


def _line(values: Sequence[float | None], top: float) -> str:
    """One stroke for each run of values; that of a single value is a dot."""
    strokes = []
    for known, run in groupby(enumerate(values), lambda each: each[1] is not None):
        if known:
            points = [
                f"{column * _COLUMN + _COLUMN / 2:g} {_HEIGHT - value / top * _HEIGHT:.4g}"
                for column, value in run
                if value is not None
            ]
            strokes.append("M" + "L".join(points) + ("h.01" if len(points) == 1 else ""))
    return "".join(strokes)


def _marks(times: Sequence[datetime]) -> Sequence[tuple[float, str]]:
    """The round hours or days of a time axis, at most seven, each at its place in percent.

    Where a bar is a day, its middle is the day's place.
    """
    if not times:
        return []
    first, end = times[0], times[-1] + _step(times)
    every = next((step for step in _TIME_STEPS if (end - first) / step <= _MAX_TIMES), _TIME_STEPS[-1])
    seconds = every.total_seconds()
    mark = datetime.fromtimestamp(-(-first.timestamp() // seconds) * seconds, UTC)
    middle = _step(times) / 2 if _step(times) >= _DAY else timedelta()
    marks = []
    while mark < end:
        midnight = mark.hour == 0 == mark.minute
        marks.append(
            (
                round((mark + middle - first) / (end - first) * 100, 2),
                f"{mark.day} {mark:%b}" if midnight else f"{mark:%H:%M}",
            )
        )
        mark += every
    return marks


def _step(times: Sequence[datetime]) -> timedelta:
    return times[1] - times[0] if len(times) > 1 else timedelta(hours=1)


def _time(at: datetime, times: Sequence[datetime]) -> str:
    return f"{at.day} {at:%B}" if _step(times) >= _DAY else f"{at.day} {at:%B, %H:%M}"


def _span(times: Sequence[datetime]) -> str:
    return f"{_time(times[0], times)} to {_time(times[-1], times)} UTC" if times else "no time"


def _last(line: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(line) if value is not None), None)


def _milliseconds(value: float | None) -> str:
    return "none" if value is None else f"{value:,.0f} ms"
