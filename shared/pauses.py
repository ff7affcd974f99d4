"""Long work on the event loop, with pauses in which other requests are served."""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

_SECONDS_BETWEEN_PAUSES = 0.01


async def paused(steps: Generator[None, None, T]) -> T:
    """The value of `steps`, whose every `yield` is a place to pause; pauses about a hundred times a second."""
    paused_at = time.monotonic()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        if time.monotonic() - paused_at > _SECONDS_BETWEEN_PAUSES:
            await asyncio.sleep(0)
            paused_at = time.monotonic()
