import asyncio
import subprocess
import sys
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.directory import traffic as module
from shared.directory.traffic import ALL, BOUNDS, HOPS, Traffic, client_subject, hospital_subject, hour_key
from shared.directory.traffic_history import DAY_STEP, Figures, TrafficHistory
from shared.error_kind import ErrorKind
from shared.stores.errors import StoreUnavailable
from shared.stores.table_account import TableResponse
from shared.stores.tables import Row, Table, TableAccount
from tests.oauth.conftest import until

SLOT = timedelta(minutes=5)
HOUR = 3600
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOSPITAL, OTHER = hospital_subject("h", "stu3"), hospital_subject("h", "r4")


class Clock:
    """A clock that shows what it was set to, in seconds from noon."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return NOON.timestamp() + self.seconds


def note(traffic: Traffic, hospital: str, kind: ErrorKind | None = None, milliseconds: float = 1.0) -> None:
    """One request of the client `c`; without an error the hospital served it."""
    traffic.fhir_request("c", hospital, 500 if kind else 200, kind, {"upstream": milliseconds}, answered=kind is None)


events = st.lists(
    st.tuples(
        st.integers(0, 2),  # the instance
        st.one_of(st.integers(-2 * HOUR, 2 * HOUR), st.sampled_from([-301, -1, 0, 299, 300, HOUR - 1, HOUR])),
        st.sampled_from(["", "c", "d"]),
        st.sampled_from(["", HOSPITAL, OTHER]),
        st.sampled_from([None, *ErrorKind]),
        st.floats(0.01, 300_000),
        st.booleans(),  # whether the instance writes after it
    ),
    max_size=30,
)


@given(events)
@settings(max_examples=25)
async def test_what_is_counted_at_any_times_by_any_instance_is_what_is_read(
    service: TableAccount, events: list[Any]
) -> None:
    table = Table(service, f"T{uuid.uuid4().hex}")
    await table.create()
    clock = Clock()
    instances = [Traffic(table, clock) for _ in range(3)]
    counted: dict[tuple[str, float], Counter[str]] = {}
    for instance, seconds, client, hospital, kind, milliseconds, written in events:
        clock.seconds = seconds
        instances[instance].fhir_request(client, hospital, 404, kind, {"upstream": milliseconds}, answered=False)
        instances[instance].token_request(client, kind)
        for subject, requests in ((ALL, 1), (client and client_subject(client), 1), (hospital, 0)):
            found = counted.setdefault((subject, seconds // 300 * 300), Counter())
            found.update({"requests": 1, "tokens": requests, "spent": int(milliseconds * 1000)})
            found[kind or ""] += 1 + requests
        if written:
            await instances[instance].flush()
    for instance in instances:
        await instance.close()
    history = TrafficHistory(table, clock=clock)
    for subject in (ALL, client_subject("c"), client_subject("d"), HOSPITAL, OTHER):
        slots = await history.series(subject, NOON - timedelta(hours=2), NOON + timedelta(hours=2, minutes=5), SLOT)
        for slot in slots:
            expected = counted.get((subject, (slot.start - NOON).total_seconds()), Counter())
            figures = slot.figures
            assert (figures.requests, figures.token_requests) == (expected["requests"], expected["tokens"])
            assert figures.counts.get("4xx", 0) == expected["requests"]
            assert figures.failures == {kind: expected[kind] for kind in ErrorKind if expected[kind]}
            assert figures.counts.get("u", 0) == expected["spent"]
    clock.seconds = 2 * HOUR
    digest = await history.digest()
    assert set(digest.subjects) == {subject for subject, _ in counted} - {"", ALL}
    for subject, day in digest.subjects.items():
        of_subject = sum((found for (name, _), found in counted.items() if name == subject), Counter())
        assert day.figures.requests == of_subject["requests"]
        assert day.figures.failures == {kind: of_subject[kind] for kind in ErrorKind if of_subject[kind]}
    assert sum(slot.figures.requests for slot in digest.total) == len(events)


@given(st.lists(st.floats(0.4, 250_000), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_is_in_the_bucket_of_the_request_that_it_is(times: list[float], share: float) -> None:
    buckets = Counter(f"u{sum(bound <= each for bound in BOUNDS)}" for each in times)
    found = Figures(buckets).percentile("upstream", share)
    exact = sorted(times)[max(-int(-share * len(times) // 1) - 1, 0)]
    assert found is not None
    assert exact / 1.59 <= found <= exact * 1.59


async def test_since_when_a_hospital_fails_goes_by_the_last_success_on_any_instance(table: Table) -> None:
    clock = Clock()
    one, other = Traffic(table, clock), Traffic(table, clock)

    async def failing(*events: tuple[int, Traffic, ErrorKind | None]) -> tuple[float | None, ErrorKind | None]:
        for clock.seconds, instance, kind in events:
            note(instance, HOSPITAL, kind)
        await one.flush()
        await other.flush()
        day = (await TrafficHistory(table, clock=clock).digest()).subjects[HOSPITAL]
        return (day.failing_since - NOON).total_seconds() if day.failing_since else None, day.kind

    refused, timed_out = ErrorKind.CREDENTIAL_REFUSED, ErrorKind.TIMED_OUT
    assert await failing((1, one, None), (2, other, None)) == (None, None)
    assert await failing((10, one, refused), (20, one, timed_out)) == (10, timed_out)
    assert await failing((HOUR, one, ErrorKind.NOT_ASKED), (HOUR, other, ErrorKind.REJECTED)) == (10, timed_out)
    assert await failing((HOUR + 10, other, None)) == (None, timed_out)
    assert await failing((HOUR + 20, one, refused)) == (HOUR + 10, refused)  # no later than its first failure after it
    assert await failing((2 * HOUR, one, None), (2 * HOUR, other, refused), (3 * HOUR, other, refused)) == (
        2 * HOUR,
        refused,
    )


async def test_rows_are_written_by_themselves_once_five_minutes_are_over(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_JITTER_SECONDS", 0)
    clock = Clock(299.9)
    traffic = Traffic(table, clock)
    for hospital in (HOSPITAL, OTHER):
        note(traffic, hospital)
    await until(lambda: table.partition(OTHER), "the rows are written")
    await traffic.close()
    assert [row["Slots"] for row in await table.partition(OTHER)] == ['{"0":{"n":1,"2xx":1,"u":1000,"u3":1}}']


async def test_a_table_that_is_away_delays_and_loses_nothing_until_memory_is_full(
    service: TableAccount, table_name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_ROWS", 12)
    table, clock = Table(service, table_name), Clock()
    traffic = Traffic(table, clock)
    for hour in range(4):  # of three rows each
        clock.seconds = hour * HOUR
        note(traffic, HOSPITAL)
        await traffic.flush()
    assert caplog.text.count("traffic not written") == 4
    assert "lost" not in caplog.text
    clock.seconds = 4 * HOUR
    note(traffic, HOSPITAL)
    await traffic.flush()
    assert "traffic of an hour not written: 3 rows are lost" in caplog.text
    await table.create()
    await traffic.close()
    slots = await TrafficHistory(table).series(HOSPITAL, NOON, NOON + timedelta(hours=5), timedelta(hours=1))
    assert [slot.figures.requests for slot in slots] == [0, 1, 1, 1, 1]


async def test_a_digest_may_fill_several_columns_and_rows(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SUBJECTS_A_ROW", 3)
    monkeypatch.setattr(module, "_COLUMN_BYTES", 50)
    clock = Clock()
    traffic = Traffic(table, clock)
    hospitals = [hospital_subject(f"{number}", "stu3") for number in range(10)]
    for hospital in hospitals:
        note(traffic, hospital)
    await traffic.close()
    assert len(await table.partition(ALL)) == 4
    digest = await TrafficHistory(table, clock=clock).digest()
    assert {subject: day.figures.requests for subject, day in digest.subjects.items()} == {
        client_subject("c"): 10,
        **dict.fromkeys(hospitals, 1),
    }
    assert [slot.figures.requests for slot in digest.total] == [*[0] * (len(digest.total) - 1), 10]
    assert digest.total[-1].start == NOON
    assert digest.total[1].start - digest.total[0].start == DAY_STEP


async def test_what_is_older_than_an_hour_is_deleted_without_reading_the_table(
    service: TableAccount, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SUBJECTS_A_ROW", 3)
    clock, send, queries = Clock(), service.send, list[str]()
    instances = [Traffic(table, clock) for _ in range(2)]
    for hour in range(4):
        clock.seconds = hour * HOUR
        for number, traffic in enumerate(instances):
            for hospital in range(8):
                note(traffic, hospital_subject(f"{hospital}", "stu3") if (hour + hospital + number) % 3 else "")
            await traffic.flush()

    async def keys() -> set[tuple[str, str]]:
        return {(str(row["PartitionKey"]), str(row["RowKey"])) async for row in table.scan([])}

    async def noted(store: str, method: str, path: str, query: str = "", *more: Any, **options: Any) -> TableResponse:
        queries.extend([query] if method == "GET" else [])
        return await send(store, method, path, query, *more, **options)

    there = await keys()
    left = {key for key in there if key[1] >= hour_key((NOON + timedelta(hours=2)).timestamp())}
    monkeypatch.setattr(service, "send", noted)
    deleted = await TrafficHistory(table).delete_before(NOON + timedelta(hours=2, minutes=59))
    assert all("PartitionKey%20eq%20%27all%27" in query for query in queries)
    assert await TrafficHistory(table).delete_before(NOON + timedelta(hours=2)) == 0
    assert (await keys(), deleted) == (left, len(there) - len(left))
    await asyncio.gather(*(traffic.close() for traffic in instances))


async def test_no_row_is_written_that_no_digest_names(service: TableAccount, table: Table) -> None:
    class Away(Table):
        async def put(self, row: Row) -> None:
            if row["PartitionKey"] == ALL:
                await asyncio.sleep(0.2)
                raise StoreUnavailable("Table Storage (Traffic) did not respond")
            await super().put(row)

    traffic = Traffic(Away(service, table._name), Clock())
    note(traffic, HOSPITAL)
    await traffic.close()
    assert [row async for row in table.scan()] == []


async def test_an_hour_with_every_figure_there_is_fits_a_column(table: Table) -> None:
    clock = Clock()
    traffic = Traffic(table, clock)
    for slot in range(12):
        clock.seconds = slot * 300
        for milliseconds in (bound * 1.01 for bound in (0.1, *BOUNDS)):
            traffic.fhir_request("c", HOSPITAL, 200, None, dict.fromkeys(HOPS, milliseconds), answered=True)
        for kind in ErrorKind:
            traffic.fhir_request("c", HOSPITAL, 500, kind, {}, answered=False)
        await traffic.flush()
    (row,) = await table.partition(HOSPITAL)
    room = 12 * len(HOPS) * (len(BOUNDS) + 1) * len("000")  # for a thousand times the requests
    assert len(str(row["Slots"])) + room < 32_768


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_hospitals_hour_takes_few_kilobytes() -> None:
    """Counted by what a process of its own takes for 5,000 of them, which wait for a table that is away."""
    code = """
import asyncio, resource
from shared.directory.traffic import HOPS, Traffic
from shared.stores.errors import StoreUnavailable

def kilobytes():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1024

class Away:
    async def put(self, row):
        raise StoreUnavailable("away")

async def main():
    traffic = Traffic(Away())
    before = kilobytes()
    for number in range(5_000):
        for milliseconds in (1.0, 10.0, 100.0):
            hops = dict.fromkeys(HOPS, milliseconds)
            traffic.fhir_request("c", f"hospital.{number}.stu3", 200, None, hops, answered=True)
    await traffic.flush()
    print((kilobytes() - before) / 5_000)

asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=Path(__file__).parents[2])
    assert float(ran.stdout) < 8, "KB of each"
