"""How much bodies may take of a process's memory."""

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.errors import FhirError
from shared.upstream.memory import MemoryBudget

MB = 1_048_576


def refusal(error: pytest.ExceptionInfo[FhirError]) -> tuple[int, str, str | None]:
    return error.value.status, error.value.code, error.value.headers.get("Retry-After")


def test_a_tenant_has_a_quarter_and_leaves_the_rest_to_others() -> None:
    budget = MemoryBudget(1 * MB, 1 * MB, max_bytes=8 * MB)
    with ExitStack() as under_way:
        reservation = under_way.enter_context(budget.request("a", MB // 2))
        reservation.add_response(1 * MB)
        with pytest.raises(FhirError) as refused, budget.request("a", 1 * MB):
            pass
        assert refusal(refused) == (503, "throttled", "1")
        under_way.enter_context(budget.request("b", 1 * MB))


def test_the_process_is_full_before_its_memory_is() -> None:
    budget = MemoryBudget(1 * MB, 1 * MB, max_bytes=4 * MB)
    with ExitStack() as under_way:
        for tenant in "abcd":
            under_way.enter_context(budget.request(tenant, 900 * 1024))
        with pytest.raises(FhirError) as refused, budget.request("e", 900 * 1024):
            pass
        assert refusal(refused) == (503, "throttled", "1")
    with budget.request("e", 900 * 1024):
        pass


def test_one_answer_of_the_largest_size_always_has_room() -> None:
    budget = MemoryBudget(50 * MB, 20 * MB, max_bytes=96 * MB)
    with budget.request("a", 20 * MB) as reservation:
        reservation.add_response(50 * MB)


def test_a_body_that_is_refused_for_its_size_is_not_refused_for_the_load() -> None:
    with MemoryBudget(1 * MB, 1 * MB, max_bytes=8 * MB).request("a", 100 * MB):
        pass


def test_the_answers_to_one_request_have_the_limit_of_one_together() -> None:
    budget = MemoryBudget(10 * MB, 1 * MB)
    with budget.request("a", 0) as reservation:
        reservation.add_response(6 * MB)
        with pytest.raises(FhirError) as refused:
            reservation.add_response(6 * MB)
        assert refusal(refused) == (502, "too-costly", None)
        reservation.add_response(-6 * MB)
        reservation.add_response(6 * MB)


def test_requests_count_beside_their_bodies() -> None:
    budget = MemoryBudget(64 * 1024, 0, max_bytes=1 * MB)
    with ExitStack() as under_way:
        for number in range(16):
            under_way.enter_context(budget.request(f"tenant {number}", 0))
        with pytest.raises(FhirError), budget.request("another", 0):
            pass


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3 * MB), st.lists(st.integers(0, 2 * MB)))))
def test_whatever_is_refused_no_byte_is_held_at_the_end(requests: list[tuple[str, int, list[int]]]) -> None:
    budget = MemoryBudget(2 * MB, 1 * MB, max_bytes=8 * MB)
    for _ in range(2):
        with ExitStack() as under_way:
            for tenant, received, answers in requests:
                try:
                    reservation = under_way.enter_context(budget.request(tenant, received))
                    for size in answers:
                        reservation.add_response(size)
                except FhirError:
                    continue
        # All of it is free again: the largest request of each tenant has room.
        for tenant in "abc":
            with budget.request(tenant, 0) as reservation:
                reservation.add_response(2 * MB - 64 * 1024)
        assert vars(budget)["_total"] == 0
        assert not vars(budget)["_by_tenant"]


async def test_large_bodies_wait_for_each_others_room() -> None:
    budget = MemoryBudget(50 * MB, 20 * MB)
    order: list[str] = []

    async def work(name: str, size: int) -> None:
        async with budget.working_memory(size):
            order.append(f"{name} begins")
            await asyncio.sleep(0.02)
            order.append(f"{name} ends")

    await asyncio.gather(work("first", 50 * MB), work("second", 50 * MB), work("small", 1024))
    assert order.index("first ends") < order.index("second begins")
    assert order.index("small ends") < order.index("second begins")


async def test_who_waits_and_goes_away_leaves_the_room_to_others() -> None:
    budget = MemoryBudget(50 * MB, 20 * MB)
    async with budget.working_memory(50 * MB):
        waiting = asyncio.create_task(budget.working_memory(50 * MB).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), budget.working_memory(50 * MB):
        pass
