"""What commands print, for people and for programs."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from admin.output import Fields, Output, printable

MOMENT = datetime(2027, 1, 31, 12, 30, tzinfo=timezone(timedelta(hours=2)))


def test_a_record_is_aligned_without_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).record(
        {
            "client_id": "a",
            "name": "Care",
            "expires": MOMENT,
            "enabled": True,
            "auth": None,
            "types": frozenset("BA"),
            "tenants": frozenset(),
        }
    )
    assert capsys.readouterr().out.splitlines() == [
        "client id  a",
        "name       Care",
        "expires    2027-01-31 10:30 UTC",
        "enabled    yes",
        "types      A, B",
        "tenants    none",
    ]


def test_records_within_a_record_are_a_table_below_it_and_nothing_is_wrapped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(as_json=False).record({"name": "x" * 200, "secrets": ({"secret_id": "a", "hint": None},), "left": ()})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "x" * 200], [], ["secret", "id", "hint"], ["a"]]


def test_a_table_has_a_line_for_each_row_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    items: list[Fields] = [
        {"name": "n" * 90, "tenants": frozenset(map(str, range(800))), "secrets": ({}, {})},
        {"problem": "p" * 90},
    ]
    Output(as_json=False).records(items, ("name", "tenants", "secrets", "problem"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "tenants", "secrets", "problem"], ["n" * 90, "800", "2"], ["p" * 90]]


def test_json_has_times_in_utc_and_lists_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).record({"at": MOMENT, "types": frozenset("BA"), "rows": ({"name": "Zoë\x9b"},), "none": None})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {
        "at": "2027-01-31T10:30:00+00:00",
        "types": ["A", "B"],
        "rows": [{"name": "Zoë\x9b"}],
        "none": None,
    }
    assert printed.isascii()
    assert datetime.fromisoformat(json.loads(printed)["at"]) == MOMENT.astimezone(UTC)


def test_what_steers_a_terminal_is_not_printable() -> None:
    assert printable("Zoë\x1b[31m\n\x9b\u202e") == "Zoë?[31m???"
