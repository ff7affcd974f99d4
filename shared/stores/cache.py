"""What a process remembers of the stores: bounded, expiring, loaded once per key at a time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from msgspec import Struct

from shared.stores.errors import StoreUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_AHEAD = 0.8
_PATIENCE_SECONDS = 2.0  # how long a request waits for a store while an older value could serve
_DEADLINE_SECONDS = 10.0  # for a load, which may ask several times, and several stores
_RETRY_SECONDS = 5.0  # how long a store that failed is left alone while an older value serves


class _Entry(Struct, Generic[V]):
    value: V | None
    loaded_at: float
    retry_at: float = 0.0


class Cache(Generic[K, V]):
    """Values of `load`, each served for `fresh_seconds` from when its load began.

    After the share `ahead` of that time a reload runs beside the requests, so that none waits for it.

    While `load` raises StoreUnavailable, or hangs, an older value serves on for `stale_seconds` more. None (there is
    no such thing) is remembered likewise, but apart, so that made-up keys cannot push out what is there. At most
    `size` values, and as many absences, are kept: the least recently used goes first.
    """

    def __init__(
        self,
        load: Callable[[K], Awaitable[V | None]],
        *,
        fresh_seconds: float,
        stale_seconds: float,
        size: int,
        ahead: float = _AHEAD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._fresh = fresh_seconds
        self._ahead = fresh_seconds * ahead
        self._usable = fresh_seconds + stale_seconds
        self._clock = clock
        self._size = size
        self._present: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._absent: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._loads: dict[K, asyncio.Task[V | None]] = {}

    async def get(self, key: K) -> V | None:
        """The value of `key`, or None when there is none.

        Raises what `load` raises; StoreUnavailable only when nothing usable is remembered.
        """
        now = self._clock()
        entry = self._present.get(key)
        if entry is not None and now - entry.loaded_at < self._ahead:
            self._present.move_to_end(key)
            return entry.value
        entry = self._find(key)
        if entry is None:
            return await asyncio.shield(self._reload(key))
        age = now - entry.loaded_at
        if age < self._ahead:
            return entry.value
        if age < self._fresh:
            if now >= entry.retry_at:
                self._reload(key)
            return entry.value
        if age >= self._usable:
            return await asyncio.shield(self._reload(key))
        if now < entry.retry_at:
            return entry.value
        return await self._reload_or(key, entry)

    async def renew(self, key: K, *, older_than: float) -> V | None:
        """The value of `key`, loaded again unless the load of what is remembered began within `older_than` seconds."""
        since = self._clock() - older_than
        value = None
        for _ in range(2):  # a load that is under way may have begun too early
            entry = self._find(key)
            if entry is None:
                value = await asyncio.shield(self._reload(key))
            elif entry.loaded_at > since or self._clock() < entry.retry_at:
                return entry.value
            else:
                value = await self._reload_or(key, entry)
        return value

    def expire(self, key: K, *, reload: bool = False) -> None:
        """Makes the next `get` of `key` load it again, or wait for the load that `reload` begins at once.

        What is remembered serves on if that fails. A load under way, which may have read what was there before, is not
        remembered.
        """
        self._loads.pop(key, None)
        entry = self._find(key)
        if entry is not None:
            entry.loaded_at = min(entry.loaded_at, self._clock() - self._fresh)
            entry.retry_at = 0.0
        if reload:
            self._reload(key)

    def _find(self, key: K) -> _Entry[V] | None:
        entries = self._present if key in self._present else self._absent
        entry = entries.get(key)
        if entry is not None:
            entries.move_to_end(key)
        return entry

    async def _reload_or(self, key: K, entry: _Entry[V]) -> V | None:
        task = self._reload(key)
        await asyncio.wait({task}, timeout=_PATIENCE_SECONDS)
        if not task.done():
            entry.retry_at = self._clock() + _RETRY_SECONDS
            return entry.value
        if isinstance(task.exception(), StoreUnavailable):
            return entry.value
        return task.result()

    def _reload(self, key: K) -> asyncio.Task[V | None]:
        task = self._loads.get(key)
        if task is None:
            task = self._loads[key] = asyncio.create_task(self._load_into(key))
            task.add_done_callback(lambda done: self._loaded(key, done))
        return task

    async def _load_into(self, key: K) -> V | None:
        began = self._clock()
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                value = await self._load(key)
        except TimeoutError:
            raise StoreUnavailable(f"a store did not answer within {_DEADLINE_SECONDS:.0f} s") from None
        if self._loads.get(key) is asyncio.current_task():
            entries, others = (self._absent, self._present) if value is None else (self._present, self._absent)
            others.pop(key, None)
            entries[key] = _Entry(value, began)
            entries.move_to_end(key)
            if len(entries) > self._size:
                entries.popitem(last=False)
        return value

    def _loaded(self, key: K, task: asyncio.Task[V | None]) -> None:
        current = self._loads.get(key) is task
        if current:
            del self._loads[key]
        if task.cancelled() or task.exception() is None or not current:
            return
        entry = self._find(key)
        if entry is not None:
            entry.retry_at = self._clock() + _RETRY_SECONDS
