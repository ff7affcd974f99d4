import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.stores import cache as module
from shared.stores.cache import Cache
from shared.stores.errors import StoreUnavailable

FRESH, STALE = 60.0, 900.0


class Store:
    """Values to load, which may be slow or out of order, and a clock that tests move."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.loads: list[str] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.time = 1_000.0

    async def load(self, key: str) -> int | None:
        self.loads.append(key)
        value = self.values.get(key)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return value

    def clock(self) -> float:
        return self.time

    def cache(self, size: int = 100, ahead: float = 0.8) -> Cache[str, int]:
        return Cache(self.load, fresh_seconds=FRESH, stale_seconds=STALE, size=size, ahead=ahead, clock=self.clock)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = Store()
    store.values = {"a": 1, "b": 2, "c": 3}
    yield store
    store.open.set()
    await settle()


async def settle() -> None:
    """Lets tasks that are ready run to their end."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("ahead", [0.8, 0.1])
async def test_a_value_is_loaded_once_and_served_while_it_is_fresh_and_near_its_end_loaded_beside_the_requests(
    store: Store, ahead: float
) -> None:
    cache = store.cache(ahead=ahead)
    store.open.clear()
    asked = asyncio.gather(*(cache.get(key) for key in "ab" * 50))
    await settle()
    store.open.set()
    assert await asked == [1, 2] * 50
    store.time += FRESH * (ahead - 0.01)
    assert await cache.get("a") == 1
    assert sorted(store.loads) == ["a", "b"]
    store.values["a"] = 10
    store.time += FRESH * 0.1
    store.open.clear()
    assert [await cache.get("a") for _ in range(3)] == [1, 1, 1]
    store.open.set()
    await settle()
    assert await cache.get("a") == 10
    assert sorted(store.loads) == ["a", "a", "b"]


async def test_the_fresh_time_counts_from_the_beginning_of_the_load(store: Store) -> None:
    cache = store.cache()
    store.open.clear()
    asked = asyncio.create_task(cache.get("a"))
    await settle()
    store.time += FRESH
    store.values["a"] = 10
    store.open.set()
    assert await asked == 1
    assert await cache.get("a") == 10


async def test_made_up_keys_do_not_push_out_what_is_there(store: Store) -> None:
    cache = store.cache(size=2)
    await cache.get("a")
    await cache.get("b")
    for number in range(50):
        assert await cache.get(f"x{number}") is None
    store.loads.clear()
    assert (await cache.get("b"), await cache.get("a")) == (2, 1)
    assert store.loads == []
    await cache.get("c")  # the least recently used goes first
    assert await cache.get("a") == 1
    await cache.get("b")
    assert store.loads == ["c", "b"]
    # What is not there is remembered as long.
    assert [await cache.get("x") for _ in range(3)] == [None, None, None]
    store.values["x"] = 9
    store.time += FRESH
    assert await cache.get("x") == 9
    assert store.loads == ["c", "b", "x", "x"]
    del store.values["x"]
    store.time += FRESH
    assert await cache.get("x") is None


async def test_while_the_store_fails_an_older_value_serves_on_and_then_no_more(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    await cache.get("x")
    store.error = StoreUnavailable("down")
    store.time += FRESH + STALE - 1
    assert await cache.get("a") == 1
    assert await cache.get("x") is None
    store.time += 1
    for key in ("a", "x"):
        with pytest.raises(StoreUnavailable, match="down"):
            await cache.get(key)


async def test_a_store_that_failed_is_left_alone_for_a_while(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    store.error = StoreUnavailable("down")
    for seconds in (FRESH * 0.9, FRESH * 0.1, 1.0, 1.0):
        store.time += seconds
        for _ in range(10):
            assert await cache.get("a") == 1
            assert await cache.renew("a", older_than=0) == 1
            await settle()
    assert store.loads == ["a"] * 3
    store.error, store.values["a"] = None, 10
    store.time += 5.0
    assert await cache.get("a") == 10


async def test_a_store_that_hangs_is_not_waited_for_and_its_late_value_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.01)
    cache = store.cache()
    await cache.get("a")
    store.values["a"] = 10
    store.time += FRESH
    store.open.clear()
    assert [await cache.get("a") for _ in range(3)] == [1, 1, 1]
    store.open.set()
    await settle()
    assert await cache.get("a") == 10
    assert store.loads == ["a", "a"]
    monkeypatch.setattr(module, "_DEADLINE_SECONDS", 0.01)
    store.open.clear()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await cache.get("b")
    store.open.set()
    assert await cache.get("b") == 2
    assert store.loads == ["a"] * 2 + ["b"] * 3


@pytest.mark.parametrize("error", [StoreUnavailable("down"), ValueError("bug")], ids=repr)
async def test_an_error_reaches_everyone_who_waits_and_is_not_remembered(store: Store, error: Exception) -> None:
    cache = store.cache()
    store.error = error
    store.open.clear()
    asked = asyncio.gather(*(cache.get("a") for _ in range(3)), return_exceptions=True)
    await settle()
    store.open.set()
    assert await asked == [error] * 3
    store.error = None
    assert await cache.get("a") == 1
    assert store.loads == ["a", "a"]
    if not isinstance(error, StoreUnavailable):  # an older value does not hide a bug
        store.error = error
        store.time += FRESH
        with pytest.raises(ValueError, match="bug"):
            await cache.get("a")


async def test_one_who_gives_up_does_not_end_the_load_for_others_and_it_may_fail_unheard(store: Store) -> None:
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    cache = store.cache()
    store.open.clear()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    store.open.set()
    assert await second == 1
    assert store.loads == ["a"]
    store.error = StoreUnavailable("down")
    store.open.clear()
    asked = asyncio.create_task(cache.get("b"))
    await settle()
    asked.cancel()
    store.open.set()
    await settle()
    gc.collect()  # a task whose exception nobody took complains when it goes
    asyncio.get_running_loop().set_exception_handler(None)
    assert unheard == []
    store.error = None
    assert await cache.get("b") == 2


async def test_renew_loads_again_only_what_is_older_or_expired_by_hand(store: Store) -> None:
    cache = store.cache()
    cache.expire("a")
    assert await cache.renew("a", older_than=2) == 1
    store.values["a"] = 10
    store.time += 1.9
    assert await cache.renew("a", older_than=2) == 1
    store.time += 0.1
    assert await cache.renew("a", older_than=2) == 10
    assert await cache.get("a") == 10
    assert store.loads == ["a", "a"]
    store.values["a"] = 20
    cache.expire("a")
    assert await cache.get("a") == 20
    cache.expire("a")
    store.error = StoreUnavailable("down")
    assert await cache.get("a") == 20


@pytest.mark.parametrize("reload", [False, True])
async def test_a_load_that_began_before_the_value_expired_is_not_remembered(store: Store, *, reload: bool) -> None:
    cache = store.cache()
    store.open.clear()
    early = asyncio.create_task(cache.get("a"))
    await settle()
    store.values["a"] = 10
    cache.expire("a", reload=reload)
    late = asyncio.create_task(cache.get("a"))
    await settle()
    store.open.set()
    assert [await early, await late, await cache.get("a")] == [1, 10, 10]
    assert store.loads == ["a", "a"]


@pytest.mark.parametrize("remembered", [False, True])
async def test_what_renew_gives_was_not_read_before_it_was_asked_for(store: Store, *, remembered: bool) -> None:
    """A load may be under way, which read what has changed since: a moved hospital's row, or its password."""
    cache = store.cache()
    if remembered:
        await cache.get("a")
        store.time += FRESH * 0.9
        store.loads.clear()
    store.open.clear()
    early = asyncio.create_task(cache.get("a"))
    await settle()
    store.values["a"], store.time = 10, store.time + 1
    late = [asyncio.create_task(cache.renew("a", older_than=0.5)) for _ in range(20)]
    await settle()
    store.open.set()
    assert [await early, *[await each for each in late], await cache.get("a")] == [1] + [10] * 21
    assert store.loads == ["a", "a"]
