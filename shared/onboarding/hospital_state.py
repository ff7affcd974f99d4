"""The state of a hospital: does it work, and why not, from its row, the last day's traffic and its last check."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from shared.directory.traffic_history import SubjectDay
from shared.error_kind import ErrorKind, Side
from shared.onboarding.checks import Check
from shared.onboarding.report import SLOW_MILLISECONDS, Verdict


class State(Enum):
    """Every state of a hospital by its code in a query: its word for people, and the look of its mark.

    The most pressing is first.
    """

    FAILING = "failing", "Failing", "bad"
    PROBLEM = "problem", "Problem", "bad"
    SLOW = "slow", "Slow", "slow"
    UNCHECKED = "never-checked", "Never checked", "unknown"
    ANSWERS = "answers", "Answers", "good"
    OFF = "off", "Off", "off"

    def __init__(self, code: str, word: str, look: str) -> None:
        self.code = code
        self.word = word
        self.look = look


@dataclass(frozen=True, slots=True)
class HospitalState:
    """A state with its reasons, each the part of a sentence; since when it holds, and when it was last checked.

    `kind` is that of the errors that requests end with.
    """

    state: State
    reasons: Sequence[str] = ()
    since: datetime | None = None
    checked: datetime | None = None
    kind: ErrorKind | None = None

    def reason(self, now: datetime) -> str:
        """Why, in a line: `refused our credential since 14:05 UTC`, or `84 ms p95, checked 2 h ago`."""
        since = [] if self.since is None else [f"since {moment(self.since, now)}"]
        checked = [] if self.checked is None else [f"checked {ago(self.checked, now)}"]
        return ", ".join([*filter(None, [" ".join([", ".join(self.reasons), *since]).strip()]), *checked])


def hospital_state(
    *, enabled: bool, problem: str, binding: str, day: SubjectDay | None, check: Check | None
) -> HospitalState:
    """The state of a row, whose `problem` is why the gateway can't use it, or "".

    Of the traffic of its last `day` and its last `check` the later one counts. A check made with another address or
    credential than the row has now (`binding`) says nothing.
    """
    if problem:
        return HospitalState(State.PROBLEM, [problem])
    if not enabled:
        return HospitalState(State.OFF, ["its requests are refused"])
    if check is not None and check.binding != binding:
        check = None
    loads = check is not None and check.verdict in (Verdict.LOADS, Verdict.LOADS_WITH_GAPS)
    failure = day.last_failure if day and day.failing_since else None
    if day and day.kind and failure and (check is None or not loads or check.at < failure):
        return HospitalState(State.FAILING, [day.kind.text], day.failing_since, kind=day.kind)
    answered = day.last_success if day else None
    if check and not loads and (answered is None or answered < check.at):
        return HospitalState(State.FAILING, [check.problem], check.since, check.at)
    if answered is None and check is None:
        return HospitalState(State.UNCHECKED, ["no request has reached it in the last day"])
    reasons, milliseconds = [], check.milliseconds if check else 0.0
    if day and (p95 := day.figures.percentile("upstream", 0.95)) is not None:
        milliseconds = p95
        reasons.append(f"{p95:,.0f} ms p95")
        if failed := day.figures.failed(Side.HOSPITAL):
            reasons.append(f"{failed:,} of {day.figures.requests:,} requests failed")
    elif check:
        reasons.append(f"{milliseconds:,.0f} ms in the check")
    state = State.SLOW if milliseconds > SLOW_MILLISECONDS else State.ANSWERS
    return HospitalState(state, reasons, None, check.at if check else None)


def moment(at: datetime, now: datetime) -> str:
    """A time of day of today, or of the day it was: `14:05 UTC`, `24 November, 14:05 UTC`."""
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at.day} {at:%B}, {at:%H:%M} UTC"


def ago(at: datetime, now: datetime) -> str:
    """How long ago a time was: `just now`, `5 min ago`, `2 h ago`, `3 days ago`."""
    minutes = int((now - at).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"
