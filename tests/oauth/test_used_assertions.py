"""Each assertion is used once, whoever else uses theirs at the same time and whatever becomes of them."""

import asyncio
import gc
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.oauth.used_assertions import UsedAssertions
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Row, Table, TableAccount
from tests.directory.conftest import service as service
from tests.directory.conftest import table as table
from tests.directory.conftest import table_name as table_name

EXPIRES = int(time.time()) + 300


class Line(Table):
    """A table whose inserts wait for a client's turn, and are lost on the way there or back as they are told."""

    def __init__(self, account: TableAccount, name: str, lost: Sequence[str] = ()) -> None:
        super().__init__(account, name)
        self.sent: list[int] = []
        """The number of rows of each request."""
        self.held: dict[object, asyncio.Event] = {}
        self._lost: Iterator[str] = iter(lost)

    def hold(self, client: str) -> asyncio.Event:
        return self.held.setdefault(client, asyncio.Event())

    async def insert(self, row: Row) -> None:
        await self._sent((row,), super().insert(row))

    async def insert_together(self, *rows: Row, unchanged: Row | None = None) -> None:
        assert 1 < len({row["RowKey"] for row in rows}) == len(rows) <= 100
        await self._sent(rows, super().insert_together(*rows))

    async def _sent(self, rows: Sequence[Row], insert: Coroutine[object, object, None]) -> None:
        self.sent.append(len(rows))
        lost = next(self._lost, "")
        if (held := self.held.get(rows[0]["PartitionKey"])) is not None:
            await held.wait()
        if lost == "there":
            insert.close()
        else:
            await insert
        if lost:
            raise StoreUnavailable("lost")


async def assert_idle(*instances: UsedAssertions) -> None:
    for used in instances:
        await used.close()
    await turns()
    assert [task for task in asyncio.all_tasks() if "UsedAssertions._" in repr(task.get_coro())] == []
    assert [(used._waiting, used._tasks) for used in instances] == [({}, set())] * len(instances)


@pytest.fixture
async def line(table: Table, service: TableAccount, table_name: str) -> Line:
    return Line(service, table_name)


@pytest.fixture
async def used(line: Line) -> AsyncIterator[UsedAssertions]:
    """The assertions of an instance, of which nothing is left over."""
    used = UsedAssertions(line)
    yield used
    await assert_idle(used)


def begun(used: UsedAssertions, jti: object, client: str = "one") -> asyncio.Task[bool]:
    return asyncio.create_task(used.use(client, str(jti), EXPIRES))


async def turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_what_comes_while_rows_are_under_way_goes_together_and_no_other_client_waits(
    line: Line, used: UsedAssertions
) -> None:
    held = line.hold("one")
    first = begun(used, "first")
    await turns()
    assert line.sent == [1]  # at once
    others = [begun(used, number) for number in range(250)]
    assert await used.use("two", "first", EXPIRES)
    assert line.sent == [1, 1]
    held.set()
    assert await asyncio.gather(first, *others) == [True] * 251
    assert sorted(line.sent[2:]) == [50, 100, 100]
    assert not await used.use("one", "7", EXPIRES)
    assert (await used.is_used("one", "7"), await used.is_used("two", "7")) == (True, False)


async def test_an_assertion_that_was_used_elsewhere_refuses_no_other_of_its_transaction(
    line: Line, table: Table, used: UsedAssertions
) -> None:
    assert await UsedAssertions(table).use("one", "3", EXPIRES)
    held = line.hold("one")
    tasks = [begun(used, "first")]
    await turns()
    tasks += [begun(used, jti) for jti in (1, 2, 3, 4, 4, 4)]
    await turns()
    held.set()
    assert await asyncio.gather(*tasks) == [True, True, True, False, True, False, False]


@pytest.mark.parametrize("lost", ["there", "back"])
async def test_a_transaction_that_is_lost_accepts_none_and_holds_up_nothing(
    table: Table, service: TableAccount, table_name: str, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    line = Line(service, table_name, ["", lost])
    used = UsedAssertions(line)
    held = line.hold("one")
    first = begun(used, "first")
    await turns()
    tasks = [begun(used, jti) for jti in (1, 2, 2, "gone")]
    held.set()
    assert await first
    held.clear()
    await turns()
    assert line.sent == [1, 3]
    tasks.pop().cancel()
    held.set()
    failed = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in failed] == [StoreUnavailable] * 3
    assert [await used.use("one", jti, EXPIRES) for jti in ("1", "2", "3")] == [lost == "there"] * 2 + [True]
    await assert_idle(used)
    del tasks, failed
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []  # an error that nobody took


async def test_a_request_that_is_cancelled_ends_alone(line: Line, used: UsedAssertions) -> None:
    held = line.hold("one")
    first = begun(used, "first")
    await turns()
    gone, twin, other = begun(used, "gone"), begun(used, "twin"), begun(used, "other")
    same = begun(used, "twin")
    await turns()
    for task in (first, gone, twin):  # of which only the first was sent
        task.cancel()
    await turns()
    held.set()
    assert await asyncio.gather(same, other) == [True, True]
    assert [await used.use("one", jti, EXPIRES) for jti in ("first", "gone")] == [False, True]


@settings(max_examples=100)
@given(
    uses=st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 9)), max_size=40
    ),
    ended=st.dictionaries(st.integers(0, 39), st.integers(0, 30), max_size=10),
    lost=st.lists(st.sampled_from(["", "there", "back"]), max_size=6),
)
async def test_an_assertion_is_accepted_once_at_most_over_all_instances(
    table: Table,
    service: TableAccount,
    table_name: str,
    uses: list[tuple[int, str, int, int]],
    ended: dict[int, int],
    lost: list[str],
) -> None:
    """Instance, client, `jti` and when, in turns; and which requests are cancelled how long after."""
    run = uuid.uuid4().hex
    instances = [UsedAssertions(Line(service, table_name, lost)), UsedAssertions(Line(service, table_name))]

    async def use(instance: int, client: str, jti: int, after: int) -> bool:
        await turns(after)
        return await instances[instance].use(client + run, str(jti), EXPIRES)

    async def end(task: asyncio.Task[bool], after: int) -> None:
        await turns(after)
        task.cancel()

    tasks = [asyncio.create_task(use(*each)) for each in uses]
    ends = [end(tasks[number], after) for number, after in ended.items() if number < len(tasks)]
    async with asyncio.timeout(30):
        *outcomes, _ = await asyncio.gather(*tasks, asyncio.gather(*ends), return_exceptions=True)
        await assert_idle(*instances)
    assert {type(outcome) for outcome in outcomes} <= {bool, StoreUnavailable, asyncio.CancelledError}
    accepted = Counter(each[1:3] for each, outcome in zip(uses, outcomes, strict=True) if outcome is True)
    assert set(accepted.values()) <= {1}
    for client, jti in accepted:
        assert await instances[1].is_used(client + run, str(jti))
    if not lost and not ended:
        assert set(accepted) == {each[1:3] for each in uses}
