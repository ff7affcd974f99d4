import asyncio
import json
import logging
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit import AuditedEntry, AuditLog

WHO = {"request_id": "r", "client_id": "c", "secret_id": "s", "tenant": "t"}
LINE = {"request": "r", "client": "c", "secret": "s", "tenant": "t", "status": 200}


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")


def line(caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("gateway.audit", logging.INFO)
    assert "\n" not in record.getMessage()
    found: dict[str, object] = json.loads(record.getMessage())
    return found


async def test_a_token_request_is_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    await AuditLog().token_request(event="token", **WHO, status=200, error="", kind="", milliseconds=1.26)
    assert line(caplog) == {"event": "token", **LINE, "error": "", "kind": "", "ms": 1.3}


async def test_a_fhir_request_is_one_line_of_json_with_a_batchs_entries_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = [AuditedEntry("read", "Patient", 200)] * 499 + [AuditedEntry("", "", 400)]
    hops = {"upstream": 10.04, "auth": 0.25}
    await AuditLog().fhir_request(
        **WHO,
        base="stu3",
        interaction="batch",
        type="",
        status=200,
        kind="timed-out",
        received=0,
        sent=12,
        hops=hops,
        entries=entries,
    )
    what = {"base": "stu3", "interaction": "batch", "type": "", "kind": "timed-out", "received": 0, "sent": 12}
    counted = {"read Patient 200": 499, "  400": 1}
    assert line(caplog) == {"event": "fhir", **LINE, **what, "ms": {"upstream": 10.0, "auth": 0.2}, "entries": counted}


def test_a_change_is_one_line_of_json_whatever_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    change = {"actor": 'ann"\n', "action": "client.disable", "subject": "c"}
    AuditLog().change(**change)
    assert line(caplog) == {"event": "change", **change, "detail": ""}


def test_nothing_is_written_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway.audit")
    AuditLog().change(actor="ann", action="client.disable", subject="c")
    assert caplog.records == []


class Records(logging.Handler):
    """What the host gets: each record with the request in whose task it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.written.append((task.get_name(), record.getMessage()))

    def requests(self) -> list[tuple[str, list[str]]]:
        """The requests whose lines each record has."""
        return [(task, [json.loads(line)["request"] for line in text.split("\n")]) for task, text in self.written]


@dataclass(frozen=True)
class Ends:
    """How a request ends: after how many turns of the loop, and in which it is cancelled if it is still there."""

    after: int
    cancelled: int
    status: int
    length: int


ENDS = st.builds(
    Ends, st.integers(0, 3), st.integers(0, 6), st.sampled_from([200, 401, 500, 503]), st.integers(1, 9000)
)


async def test_requests_that_end_together_share_a_record(caplog: pytest.LogCaptureFixture) -> None:
    audit = AuditLog()
    end = (
        audit.token_request(event="token", **{**WHO, "request_id": name}, status=200, error="", kind="", milliseconds=1)
        for name in "abc"
    )
    await asyncio.gather(*end)
    (record,) = caplog.records
    assert [json.loads(line)["request"] for line in record.getMessage().split("\n")] == ["a", "b", "c"]


@given(st.lists(ENDS, max_size=20))
async def test_no_line_is_lost_whatever_ends_with_it(requests: list[Ends]) -> None:
    audit, records, ended = AuditLog(), Records(), []

    async def request(ends: Ends, name: str) -> None:
        for _ in range(ends.after):
            await asyncio.sleep(0)
        ended.append(name)
        try:
            who = {**WHO, "request_id": name, "client_id": "c" * ends.length}
            await audit.token_request(event="token", **who, status=ends.status, error="", kind="", milliseconds=1.0)
        finally:
            assert sum(lines.count(name) for _, lines in records.requests()) == 1

    log = logging.getLogger("gateway.audit")
    log.addHandler(records)
    tasks = [asyncio.create_task(request(ends, str(n)), name=str(n)) for n, ends in enumerate(requests)]
    for turn in range(max((ends.cancelled for ends in requests), default=0) + 1):
        await asyncio.sleep(0)
        for task, ends in zip(tasks, requests, strict=True):
            if turn == ends.cancelled:
                task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    log.removeHandler(records)

    assert [outcome for outcome in outcomes if isinstance(outcome, AssertionError)] == []
    assert sorted(name for _, lines in records.requests() for name in lines) == sorted(ended)
    for task, lines in records.requests():
        assert lines == [task] or not any(requests[int(name)].status == 500 for name in lines)
    assert all(len(text) < 32_768 for _, text in records.written)
