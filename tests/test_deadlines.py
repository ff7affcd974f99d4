import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deadlines import done_by


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


class Work:
    """Waits for each of `steps` in turn, and keeps what ended it."""

    def __init__(self, *steps: Callable[[], Awaitable[object]]) -> None:
        self.steps = steps
        self.ended_by: BaseException | None = None

    async def __call__(self) -> str:
        try:
            for step in self.steps:
                await step()
        except BaseException as error:
            self.ended_by = error
            raise
        return "done"


def sleep(seconds: float) -> Callable[[], Awaitable[object]]:
    return lambda: asyncio.sleep(seconds)


async def fail() -> None:
    raise LookupError("not there")


@pytest.mark.parametrize("steps", [(), (sleep(0),), (sleep(0), sleep(0.01), sleep(0))])
async def test_work_that_is_done_in_time_returns_its_value(steps: tuple[Callable[[], Awaitable[object]], ...]) -> None:
    assert await done_by(in_seconds(5), Work(*steps)()) == "done"


async def test_work_that_need_not_wait_is_done_however_late_it_is() -> None:
    assert await done_by(in_seconds(-1), Work()()) == "done"


@pytest.mark.parametrize("steps", [(sleep(60),), (sleep(0.01), sleep(60))])
async def test_work_that_waits_for_too_long_is_cancelled(steps: tuple[Callable[[], Awaitable[object]], ...]) -> None:
    work = Work(*steps)
    with pytest.raises(TimeoutError):
        await done_by(in_seconds(0.05), work())
    assert isinstance(work.ended_by, asyncio.CancelledError)


@pytest.mark.parametrize("steps", [(fail,), (sleep(0.01), fail)])
async def test_an_error_of_the_work_is_raised_as_it_is(steps: tuple[Callable[[], Awaitable[object]], ...]) -> None:
    work = Work(*steps)
    with pytest.raises(LookupError) as raised:
        await done_by(in_seconds(5), work())
    assert raised.value is work.ended_by


async def test_a_cancelled_request_cancels_its_work_and_is_no_timeout() -> None:
    work = Work(sleep(60))
    request = asyncio.create_task(done_by(in_seconds(30), work()))
    await asyncio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert isinstance(work.ended_by, asyncio.CancelledError)


async def test_work_may_go_on_after_it_was_cancelled() -> None:
    """As `asyncio.timeout` inside it does, whose end is not the end of the work."""

    async def patient() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            await asyncio.sleep(0.01)
        return "done"

    assert await done_by(in_seconds(5), patient()) == "done"


Step = tuple[str, Any]
"""What work does next, and the steps inside it where it has such."""

_STEPS: st.SearchStrategy[list[Step]] = st.recursive(
    st.lists(st.sampled_from([("waits", None), ("fails", None)]), max_size=3),
    lambda steps: st.lists(
        st.tuples(st.sampled_from(["past", "ahead", "past by timeout", "goes on", "finally"]), steps)
        | st.just(("waits", None)),
        max_size=3,
    ),
)


@given(_STEPS, st.sampled_from([-1, 60]), st.lists(st.integers(1, 7), max_size=2))
async def test_whatever_the_work_does_it_ends_as_within_asyncios_own_timeout(
    steps: list[Step], seconds: float, cancelled: list[int]
) -> None:
    async def own(deadline: float, work: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout_at(deadline):
            return await work

    async def outcome(within: Callable[[float, Coroutine[Any, Any, Any]], Awaitable[Any]]) -> list[str]:
        done: list[str] = []

        async def work(steps: list[Step]) -> None:
            for step, inside in steps:
                done.append(step)
                if step == "waits":
                    await asyncio.sleep(0)
                elif step == "fails":
                    raise LookupError
                elif step == "finally":
                    try:
                        await work(inside)
                    finally:
                        await asyncio.sleep(0)
                elif step == "goes on":
                    with suppress(asyncio.CancelledError):
                        await work(inside)
                else:
                    within_it = own if step == "past by timeout" else within
                    with suppress(TimeoutError):
                        await within_it(in_seconds(60 if step == "ahead" else -1), work(inside))

        task = asyncio.create_task(within(in_seconds(seconds), work(steps)))  # type: ignore[arg-type]
        for turn in range(8):
            if turn in cancelled:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({task})
        return [*done, "cancelled" if task.cancelled() else repr(task.exception()), str(task.cancelling())]

    assert await outcome(done_by) == await outcome(own)
