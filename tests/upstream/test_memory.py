"""How much bodies may take of a process's memory."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.errors import FhirError
from shared.upstream.memory import MemoryBudget

MB = 1_048_576


@contextmanager
def refused(status: int, code: str) -> Iterator[None]:
    with pytest.raises(FhirError) as caught:
        yield
    assert (caught.value.status, caught.value.code) == (status, code)
    assert ("Retry-After" in caught.value.headers) == (status == 503)


def test_a_tenant_has_a_quarter_and_leaves_the_rest_to_others() -> None:
    budget = MemoryBudget(1 * MB, 1 * MB, max_bytes=8 * MB)
    with ExitStack() as under_way:
        under_way.enter_context(budget.request("a", MB // 2)).add_response(1 * MB)
        with refused(503, "throttled"), budget.request("a", 1 * MB):
            pass
        under_way.enter_context(budget.request("b", 1 * MB))


@pytest.mark.parametrize(("size", "count"), [(900 * 1024, 4), (0, 64)])
def test_the_process_is_full_before_its_memory_is(size: int, count: int) -> None:
    budget = MemoryBudget(64 * 1024, 1 * MB, max_bytes=4 * MB)
    with ExitStack() as under_way:
        for number in range(count):
            under_way.enter_context(budget.request(f"tenant {number}", size))
        with refused(503, "throttled"), budget.request("another", size):
            pass
    with budget.request("another", size):
        pass


def test_one_answer_of_the_largest_size_always_has_room_and_all_together_no_more() -> None:
    with MemoryBudget(50 * MB, 20 * MB, max_bytes=96 * MB).request("a", 100 * MB) as reservation:
        reservation.add_response(50 * MB)
    with MemoryBudget(10 * MB, 1 * MB).request("a", 0) as reservation:
        reservation.add_response(6 * MB)
        with refused(502, "too-costly"):
            reservation.add_response(6 * MB)
        reservation.add_response(-6 * MB)
        reservation.add_response(6 * MB)


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


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_memory_that_large_bodies_have_left_is_kept_for_the_next() -> None:
    """Counted in pages that the kernel hands out, in a process of its own."""
    code = """
import asyncio, resource
from shared.upstream.memory import MemoryBudget

def pages_of_a_copy():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        bytes(bytearray(1_000_000))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 100

async def large_body():
    async with MemoryBudget(50_000_000, 20_000_000).working_memory(1_000_000):
        pass

before = pages_of_a_copy()
asyncio.run(large_body())
print(before, pages_of_a_copy())
"""
    before, after = map(
        float, subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split()
    )
    assert after < before / 10
