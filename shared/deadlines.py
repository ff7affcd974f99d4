"""Deadlines for work that has to wait now and then, and most often need not."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def done_by(deadline: float, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. Raises TimeoutError where that waits beyond `deadline` (the event loop's time).

    The timer is set once it waits at all: setting and cancelling one takes longer than a look at what is remembered.
    """
    try:
        awaited = work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    async with asyncio.timeout_at(deadline):
        return await _Begun(work, awaited)


class _Begun(Generic[T]):
    """The rest of `work`, which waits for `awaited`."""

    def __init__(self, work: Coroutine[Any, Any, T], awaited: object) -> None:
        self._work = work
        self._awaited = awaited

    def __await__(self) -> Generator[object, Any, T]:
        awaited = self._awaited
        resume: Callable[[Any], object]
        while True:
            try:
                value = yield awaited
            except BaseException as error:
                resume, value = self._work.throw, error
            else:
                resume = self._work.send
            try:
                awaited = resume(value)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
