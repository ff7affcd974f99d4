"""The pictures of docs/performance.md: SVG to be read on light and on dark paper, which says in words what it shows."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.comparison import BUSY, FLOOR, GATEWAY, HAPROXY, LARGE, NGINX, READ, SEARCHSET, TOKEN, Comparison
from bench.latency import Hops

_COLOURS = {FLOOR: "a", GATEWAY: "b", HAPROXY: "c", NGINX: "d"}
_NAMES = {
    FLOOR: "a function that does nothing",
    GATEWAY: "the gateway",
    HAPROXY: "HAProxy, which verifies the token",
    NGINX: "nginx, which looks at nothing",
}
_SHORT = {FLOOR: "does nothing", GATEWAY: "gateway", HAPROXY: "HAProxy", NGINX: "nginx"}
_SIZES = {READ: 2_000, SEARCHSET: 22_000, LARGE: 1_000_000}
_WIDTH, _LEFT, _RIGHT = 760, 140, 730
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #59636e } .strong { font-weight: 600 } .on { font-size: 11px; fill: #fff }
.middle { text-anchor: middle } .end { text-anchor: end }
.grid { stroke: #d1d9e0 } .line { fill: none !important; stroke-width: 2 }
.a { fill: #6e7781; stroke: #6e7781 } .b { fill: #0969da; stroke: #0969da } .c { fill: #bc4c00; stroke: #bc4c00 }
.d { fill: #1a7f37; stroke: #1a7f37 } .e { fill: #8250df; stroke: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .on { fill: #0d1117 } .grid { stroke: #3d444d }
.a { fill: #9198a1; stroke: #9198a1 } .b { fill: #4493f8; stroke: #4493f8 } .c { fill: #f0883e; stroke: #f0883e }
.d { fill: #3fb950; stroke: #3fb950 } .e { fill: #ab7df8; stroke: #ab7df8 } }
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG, and what it shows in words."""

    svg: str
    text: str


def per_core(comparison: Comparison) -> Picture:
    """Requests per second of one core: a row of dots for each request, on a logarithmic scale."""
    cases = (TOKEN, READ, SEARCHSET)
    rates = {case: {who: 1e6 / cost for who, cost in _costs(comparison, case).items()} for case in cases}
    marks = _decades(rate for row in rates.values() for rate in row.values())
    bottom = 70 + 52 * len(cases)
    parts, told = _legend([(_COLOURS[who], name) for who, name in _NAMES.items()]), []
    x = _scale(marks[0], marks[-1], _LEFT, _RIGHT)
    for mark in marks:
        parts.append(f'<path class="grid" d="M{x(mark):.0f} 56V{bottom - 14}"/>')
        parts.append(_text(x(mark), bottom, f"{mark:,.0f}", "small middle"))
    for row, case in enumerate(cases):
        y = 90.0 + row * 52
        first, last = x(min(rates[case].values())), x(max(rates[case].values()))
        parts += [_text(_LEFT - 14, y + 4, case, "end"), f'<path class="grid" d="M{first:.0f} {y}H{last:.0f}"/>']
        for who, rate in rates[case].items():
            strong = " strong" if who == GATEWAY else ""
            parts.append(f'<circle class="{_COLOURS[who]}" cx="{x(rate):.0f}" cy="{y}" r="{7 if strong else 5}"/>')
            below = who in (GATEWAY, NGINX)  # so that close ones do not meet
            parts.append(_text(x(rate), y + (21 if below else -11), f"{rate:,.0f}", f"small middle{strong}"))
        told.append(f"{case}: {_listed(rates[case])}")
    return _picture("Requests a second that one core answers, on a logarithmic scale", told, bottom + 12, parts)


def by_hop(hops: Mapping[str, Hops]) -> Picture:
    """Milliseconds of one request at a time: a bar for each case, with a part for each hop."""
    named = {
        "platform": ("a", "platform, as for a function that does nothing"),
        "messages": ("e", "larger messages to and from it"),
        "gateway": ("b", "the gateway's own"),
        "exchange": ("c", "HTTP to the provider"),
        "provider": ("d", "the provider"),
    }
    parts, told = _legend(named.values()), []
    most = max(each.total for each in hops.values())
    for row, (case, each) in enumerate(hops.items()):
        x, y = float(_LEFT), 76 + row * 44
        parts.append(_text(_LEFT - 14, y + 18, case, "end"))
        for name, (colour, _) in named.items():
            spent = getattr(each, name)
            width = spent / most * (_RIGHT - _LEFT - 60)
            parts.append(f'<rect class="{colour}" x="{x:.1f}" y="{y}" width="{max(width - 1, 0):.1f}" height="26"/>')
            if width > 30:
                parts.append(_text(x + width / 2, y + 17, f"{spent:.2f}", "on middle"))
            x += width
        parts.append(_text(x + 6, y + 18, f"{each.total:.2f} ms", "strong"))
        told.append(f"{case}: " + ", ".join(f"{text} {getattr(each, name):.2f}" for name, (_, text) in named.items()))
    return _picture("Milliseconds of a request by hop, one request after another", told, 76 + 44 * len(hops), parts)


def by_size(comparison: Comparison) -> Picture:
    """CPU of a request by the size of its response: a line for each system, on logarithmic scales."""
    parts, told, ends = [], [], []
    right = _RIGHT - 230
    costs = {who: {case: _costs(comparison, case)[who] for case in _SIZES} for who in _COLOURS}
    marks = _decades(cost for line in costs.values() for cost in line.values())
    x, y = _scale(1_200, 1_000_000, _LEFT, right), _scale(marks[0], marks[-1], 330, 20)
    for mark in marks:
        parts.append(f'<path class="grid" d="M{_LEFT} {y(mark):.0f}H{right}"/>')
        text = f"{mark:,.0f} µs" if mark < 1_000 else f"{mark / 1_000:,.0f} ms"
        parts.append(_text(_LEFT - 8, y(mark) + 4, text, "small end"))
    for size, text in zip(_SIZES.values(), ("2 KB", "22 KB", "1 MB"), strict=True):
        parts.append(_text(x(size), 350, text, "small middle"))
    for who, colour in _COLOURS.items():
        points = [(x(_SIZES[case]), y(cost)) for case, cost in costs[who].items()]
        line = " ".join(f"{at:.0f},{high:.0f}" for at, high in points)
        strong = " strong" if who == GATEWAY else ""
        parts.append(f'<polyline class="line {colour}" points="{line}"/>')
        parts += [f'<circle class="{colour}" cx="{at:.0f}" cy="{high:.0f}" r="4"/>' for at, high in points]
        seen = list(zip(points, costs[who].values(), strict=True))
        above = 17 if who == FLOOR else -9  # the gateway's line is just above the floor's
        parts += [_text(at, high + above, f"{cost:,.0f}", f"small middle{strong}") for (at, high), cost in seen[:-1]]
        ends.append((points[-1][1], f"{_SHORT[who]}, {seen[-1][1]:,.0f} µs", strong))
        told.append(f"{_SHORT[who]}: {_listed(costs[who])}")
    free = 0.0
    for high, text, strong in sorted(ends):
        free = max(high, free)
        parts.append(_text(right + 12, free + 4, text, f"small{strong}"))
        free += 15
    title = "CPU of a request, microseconds, by the size of its response, both on logarithmic scales"
    return _picture(title, told, 356, parts)


def _costs(comparison: Comparison, case: str) -> dict[str, float]:
    """Microseconds of CPU by system, of those that take part; the gateway always does."""
    taking = [who for who in _COLOURS if who == GATEWAY or (case, BUSY, who) in comparison.rounds]
    return {who: comparison.measured(case, BUSY, who).cpu for who in taking}


def _decades(figures: Iterable[float]) -> list[float]:
    """The powers of ten between which the figures lie."""
    exponents = [math.log10(figure) for figure in figures]
    return [10.0**exponent for exponent in range(math.floor(min(exponents)), math.ceil(max(exponents)) + 1)]


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    """Where a figure lies on a logarithmic scale."""
    return lambda figure: first + (last - first) * math.log(figure / low) / math.log(high / low)


def _legend(entries: Iterable[tuple[str, str]]) -> list[str]:
    parts, x, y = [], 14.0, 16
    for colour, name in entries:
        width = 36 + 6.8 * len(name)
        if x + width > _WIDTH:
            x, y = 14.0, y + 20
        parts += [f'<rect class="{colour}" x="{x:.0f}" y="{y - 10}" width="11" height="11"/>']
        parts += [_text(x + 17, y, name, "")]
        x += width
    return parts


def _text(x: float, y: float, text: str, classes: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{classes}">{escape(text)}</text>'


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{_SHORT.get(name, name)} {figure:,.0f}" for name, figure in figures.items())


def _picture(title: str, told: Sequence[str], height: float, parts: Iterable[str]) -> Picture:
    text = f"{title}. {'; '.join(told)}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height + 24:.0f}" role="img">'
    caption = _text(_LEFT, height + 14, title, "small")
    lines = (head, f"<title>{escape(text)}</title>", f"<style>{_STYLE}</style>", *parts, caption, "</svg>", "")
    return Picture("\n".join(lines), text)
