"""What commands print, for people and for programs."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from admin.output import Columns, Fields, Output, printable

MOMENT = datetime(2027, 1, 31, 12, 30, tzinfo=timezone(timedelta(hours=2)))


def test_a_record_is_aligned_with_its_records_in_a_table_below(capsys: pytest.CaptureFixture[str]) -> None:
    fields: Fields = {"client_id": "a", "name": "x" * 200, "expires": MOMENT, "enabled": True, "auth": None}
    more: Fields = {"types": frozenset("BA"), "left": frozenset(), "all": (), "secrets": ({"id": "a", "hint": None},)}
    Output(as_json=False).record({**fields, **more})
    lines = ["client id  a", f"name       {'x' * 200}", "expires    2027-01-31 10:30 UTC", "enabled    yes"]
    lines += ["types      A, B", "left       none", "", "id  hint", "a"]
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == lines


def test_a_table_has_a_line_for_each_row_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    row: Fields = {"name": "n" * 90, "tenants": frozenset(map(str, range(800))), "secrets": ({}, {})}
    Output(as_json=False).records([row, {"problem": "p" * 90}], Columns(("name", "tenants", "secrets", "problem")))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "tenants", "secrets", "problem"], ["n" * 90, "800", "2"], ["p" * 90]]


def test_json_has_times_in_utc_lists_in_order_and_ascii_alone(capsys: pytest.CaptureFixture[str]) -> None:
    fields: Fields = {"types": frozenset("BA"), "rows": ({"name": "Zoë\x9b"},), "none": None}
    Output(as_json=True).record({**fields, "at": MOMENT})
    printed = capsys.readouterr().out
    plain = {"types": ["A", "B"], "rows": [{"name": "Zoë\x9b"}], "none": None}
    assert json.loads(printed) == {**plain, "at": "2027-01-31T10:30:00+00:00"}
    assert printed.isascii()


def test_what_steers_a_terminal_is_not_printable() -> None:
    assert printable("Zoë\x1b[31m\n\x9b\u202e") == "Zoë?[31m???"
