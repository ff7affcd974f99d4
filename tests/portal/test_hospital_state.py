"""The state of a hospital by its row, its traffic and its check, and the list's filters and sorting."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.directory.traffic import BOUNDS
from shared.directory.traffic_history import Figures, SubjectDay
from shared.error_kind import ErrorKind
from shared.fhir.versions import FhirVersion
from shared.onboarding.checks import Check
from shared.onboarding.hospital_state import HospitalState, State, ago, hospital_state
from shared.onboarding.report import Verdict
from shared.portal.hospital_list import Hospital, Selection
from shared.portal.hospital_traffic import Span
from shared.portal.tenant_list import TenantEntry

NOW = datetime(2026, 11, 26, 16, 5, tzinfo=UTC)
NINE, TEN, NOON, TWO = (NOW.replace(hour=hour) for hour in (9, 10, 12, 14))


def day(success: datetime | None, failing: datetime | None = None, milliseconds: float = 80.0) -> SubjectDay:
    """A day of a success and, where `failing` is given, a refused credential from then on to 14:05 UTC."""
    bucket = next(number for number, bound in enumerate(BOUNDS) if milliseconds <= bound)
    counts = {"n": 4, f"u{bucket}": 4} | ({"credential-refused": 1} if failing else {})
    return SubjectDay(
        Figures(counts), success, TWO if failing else None, failing, failing and ErrorKind.CREDENTIAL_REFUSED
    )


def check(
    at: datetime, verdict: Verdict | None = Verdict.LOADS, milliseconds: int = 300, binding: str = "now"
) -> Check:
    problem = "" if verdict is Verdict.LOADS else "the server failed"
    return Check("t", FhirVersion.R4, at, "grace", verdict, NINE, binding, problem, milliseconds, {})


LOADS_NOT = Verdict.DOES_NOT_LOAD
REFUSED = "refused our credential since"


@pytest.mark.parametrize(
    ("traffic", "checked", "state", "reason"),
    [
        (None, None, State.UNCHECKED, "no request has reached it in the last day"),
        (day(TWO), None, State.ANSWERS, "ms p95"),
        (day(None, TEN), None, State.FAILING, f"{REFUSED} 10:05 UTC"),
        (day(NINE, TEN), check(NINE), State.FAILING, f"{REFUSED} 10:05 UTC"),
        (day(NINE, TEN), check(NOW), State.ANSWERS, "1 of 4 requests failed, checked just now"),
        (day(NINE, TEN), check(NOW, binding="before"), State.FAILING, f"{REFUSED} 10:05 UTC"),
        (day(NINE, TEN), check(NOW, LOADS_NOT), State.FAILING, f"{REFUSED} 10:05 UTC"),
        (day(NINE, NOW - timedelta(days=1)), None, State.FAILING, f"{REFUSED} 25 November, 16:05 UTC"),
        (day(TWO, milliseconds=4000), check(TEN), State.SLOW, "ms p95, checked 6 h ago"),
        (None, check(TEN), State.ANSWERS, "300 ms in the check, checked 6 h ago"),
        (None, check(TEN, milliseconds=2500), State.SLOW, "2,500 ms in the check"),
        (None, check(TEN, Verdict.LOADS_WITH_GAPS), State.ANSWERS, "checked 6 h ago"),
        (None, check(TEN, binding="before"), State.UNCHECKED, "no request"),
        (None, check(NOON, LOADS_NOT), State.FAILING, "the server failed since 09:05 UTC, checked 4 h ago"),
        (None, check(NOON, None), State.FAILING, "the server failed since"),
        (day(TEN), check(NOON, LOADS_NOT), State.FAILING, "the server failed since 09:05 UTC, checked 4 h ago"),
        (day(TWO), check(NOON, LOADS_NOT), State.ANSWERS, "ms p95, checked 4 h ago"),
    ],
)
def test_of_traffic_and_check_the_later_one_tells_the_state(
    traffic: SubjectDay | None, checked: Check | None, state: State, reason: str
) -> None:
    found = hospital_state(enabled=True, problem="", binding="now", day=traffic, check=checked)
    assert (found.state, reason in found.reason(NOW)) == (state, True), found.reason(NOW)
    off = hospital_state(enabled=False, problem="", binding="now", day=traffic, check=checked)
    assert (off.state, off.reason(NOW)) == (State.OFF, "its requests are refused")
    broken = hospital_state(enabled=True, problem="BaseUrl is missing", binding="", day=traffic, check=checked)
    assert (broken.state, broken.reason(NOW)) == (State.PROBLEM, "BaseUrl is missing")


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0, "just now"), (-1, "just now"), (59, "59 min ago"), (60, "1 h ago"), (2879, "47 h ago"), (2880, "2 days ago")],
)
def test_a_time_is_told_by_how_long_ago_it_was(minutes: int, text: str) -> None:
    assert ago(NOW - timedelta(minutes=minutes), NOW) == text


def hospital(name: str, state: State, requests: int, version: FhirVersion | None = FhirVersion.R4) -> Hospital:
    entry = TenantEntry((f"id-{name}", "r4"), f"id-{name}", version, name, f"{name}.example", True, "", "")
    return Hospital(entry, HospitalState(state), SubjectDay(Figures({"n": requests}), None, None, None, None), None)


HOSPITALS = [
    hospital("ann", State.ANSWERS, 5, FhirVersion.STU3),
    hospital("Bea", State.FAILING, 9),
    hospital("cleo", State.ANSWERS, 7),
    hospital("Dan", State.OFF, 0, None),
]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, "ann Bea cleo Dan"),
        ({"sort": "-name"}, "Dan cleo Bea ann"),
        ({"sort": "state"}, "Bea ann cleo Dan"),
        ({"sort": "-requests"}, "Bea cleo ann Dan"),
        ({"sort": "version"}, "Bea cleo Dan ann"),
        ({"sort": "nothing"}, "ann Bea cleo Dan"),
        ({"state": "answers", "sort": "-id"}, "cleo ann"),
        ({"state": "answers", "version": "stu3"}, "ann"),
        ({"state": "no-such-state"}, ""),
        ({"q": " {ID-BEA} "}, "Bea"),
        ({"q": "an"}, "ann Dan"),
        ({"q": "cleo.EXAMPLE"}, "cleo"),
    ],
)
def test_a_list_is_filtered_and_sorted(query: dict[str, str], names: str) -> None:
    assert [found.entry.name for found in Selection.from_query(query).of(HOSPITALS)] == names.split()


def test_a_columns_heading_turns_the_order_and_keeps_the_filters() -> None:
    selection = Selection.from_query({"q": "x", "state": "failing", "page": "3"})
    for column, first, then in (("state", "state", "-state"), ("requests", "-requests", "requests")):
        assert selection.turned(column) == first
        once = Selection.from_query(selection.query(sort=first))
        assert (once.turned(column), once.query(sort="name")) == (then, {"q": "x", "state": "failing"})


@pytest.mark.parametrize("days", [1, 7])
@pytest.mark.parametrize("now", [NOW, NOW.replace(hour=0, minute=0), NOW.replace(hour=23, minute=59)])
def test_a_span_ends_with_the_step_under_way(days: int, now: datetime) -> None:
    span = Span.of({"days": str(days)}, now)
    assert span.until - span.step <= now < span.until
    assert span.until - span.since == timedelta(days=days)
    assert (span.until - datetime(2026, 11, 1, tzinfo=UTC)) % span.step == timedelta()
