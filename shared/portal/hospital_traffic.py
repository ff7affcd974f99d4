"""A hospital's traffic over a day or a week as its page shows it: each hop's time, and errors with what to do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.directory.traffic import HOPS
from shared.directory.traffic_history import Figures, Slot
from shared.error_kind import ErrorKind, Side
from shared.portal.picture import Bar, Picture, bars, lines

_STEPS = {1: timedelta(minutes=30), 7: timedelta(hours=4)}
_HOPS = {
    "auth": "Verifies the access token",
    "directory": "Looks up the hospital's row",
    "credential": "Gets the hospital's credential",
    "upstream": "Waits for the hospital",
    "gateway": "Does the gateway's own work",
}

# For each error on the hospital's or the gateway's side: what to do, and where in the portal, below the hospital's
# page. What the client sent is the client's to mend.
_REMEDIES = {
    ErrorKind.UNREACHABLE: ("Check the address; ask about its certificate and firewall", "edit#BaseUrl"),
    ErrorKind.TIMED_OUT: ("Ask the server's owner why it is slow, or wait longer", "edit#TimeoutSeconds"),
    ErrorKind.CREDENTIAL_REFUSED: ("Replace the credential, or have the account mended", "credential"),
    ErrorKind.NO_CREDENTIAL: ("Check the credential and the token URL", "credential"),
    ErrorKind.FORBIDDEN: ("Have the account allowed to read and search; check the scope", "edit#AuthScope"),
    ErrorKind.SERVER_ERROR: ("Ask the server's owner what its log says; check which calls fail", "check"),
    ErrorKind.REDIRECTED: ("Set the address to where it leads", "edit#BaseUrl"),
    ErrorKind.NOT_FHIR: ("Check which calls fail: a web page, a sign-in or a firewall may answer", "check"),
    ErrorKind.TOO_LARGE: ("Have the app ask for fewer entries a page", ""),
    ErrorKind.OVERLOADED: ("Ask how many requests at once it bears", "edit#MaxConcurrent"),
    ErrorKind.NOT_ASKED: ("Mend the failures before: the gateway asks again by itself", "check"),
    ErrorKind.INTERNAL: ("See the gateway's log, and tell who keeps the gateway", ""),
    ErrorKind.STORE_UNAVAILABLE: ("See whether Azure has an outage, and the gateway's health", ""),
    ErrorKind.ROW_UNUSABLE: ("Edit the row", "edit"),
    ErrorKind.BUSY: ("Let the gateway have more instances", ""),
}


@dataclass(frozen=True, slots=True)
class Hop:
    """A part of the gateway's way to the hospital, its times in milliseconds, and its share of all time from 0 to 1."""

    name: str
    p50: float
    p95: float
    share: float


@dataclass(frozen=True, slots=True)
class Span:
    """The time that the page is about: the last `days`, in steps that begin when a clock shows a multiple of them."""

    days: int
    since: datetime
    until: datetime
    step: timedelta

    @classmethod
    def of(cls, query: Mapping[str, str], now: datetime) -> "Span":
        """The span that a page's query asks for by `days`: 1 unless it is 7."""
        days = 7 if query.get("days") == "7" else 1
        step = _STEPS[days]
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        until = midnight + ((now - midnight) // step + 1) * step
        return cls(days, until - timedelta(days=days), until, step)


def requests_picture(slots: Sequence[Slot]) -> Picture:
    """Requests over time, with the errors among them that are not the client's."""
    ours = (Side.HOSPITAL, Side.GATEWAY)
    return bars(
        "Requests",
        [Bar(slot.start, slot.figures.requests, sum(map(slot.figures.failed, ours))) for slot in slots],
    )


def latency_picture(slots: Sequence[Slot]) -> Picture:
    """How long the hospital takes over time, and the gateway for its own work."""
    times = {"Hospital, p95": ("upstream", 0.95), "Hospital, p50": ("upstream", 0.5), "Gateway, p95": ("gateway", 0.95)}
    values = {name: [slot.figures.percentile(*which) for slot in slots] for name, which in times.items()}
    return lines("Time to answer", [slot.start for slot in slots], values)


def total(slots: Sequence[Slot]) -> Figures:
    """The figures of all slots together."""
    counts: Counter[str] = Counter()
    for slot in slots:
        counts.update(slot.figures.counts)
    return Figures(counts)


def hops(figures: Figures) -> Sequence[Hop]:
    """Each hop that was made."""
    everything = sum(figures.counts.get(code, 0) for code in HOPS.values()) or 1
    return [
        Hop(text, figures.percentile(hop, 0.5) or 0.0, p95, figures.counts.get(HOPS[hop], 0) / everything)
        for hop, text in _HOPS.items()
        if (p95 := figures.percentile(hop, 0.95)) is not None
    ]


def remedy(kind: ErrorKind) -> tuple[str, str]:
    """What to do about an error, and the place below the hospital's page to do it, or ""."""
    return _REMEDIES.get(kind, ("Tell the client's owner", ""))


def errors(figures: Figures) -> Sequence[tuple[ErrorKind, int, tuple[str, str]]]:
    """The errors, how often each came and its remedy: those not the client's first, then the most frequent."""
    found = [(kind, count, remedy(kind)) for kind, count in figures.failures.items()]
    return sorted(found, key=lambda error: (error[0].side is Side.CLIENT, -error[1]))
