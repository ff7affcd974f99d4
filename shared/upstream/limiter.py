"""Each provider's own limit on requests in flight: a slow provider does not hold up other tenants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.directory.provider import Provider
from shared.error_kind import ErrorKind
from shared.fhir.errors import FhirError

_MAX_WAIT_SECONDS = 1.0


@dataclass(slots=True)
class _Queue:
    slots: asyncio.Semaphore
    limit: int
    users: int = 0


class Limiter:
    """Lets `max_concurrent` requests through to a provider at a time.

    As many again may wait, for a second at most; then, and beyond, the response is 503 with Retry-After.
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str], _Queue] = {}

    @asynccontextmanager
    async def slot(self, provider: Provider) -> AsyncIterator[None]:
        """Holds one of the provider's slots. Raises FhirError (503)."""
        key = (provider.tenant, provider.version.value)
        queue = self._queues.get(key)
        if queue is None or queue.limit != provider.max_concurrent:
            queue = self._queues[key] = _Queue(asyncio.Semaphore(provider.max_concurrent), provider.max_concurrent)
        if queue.users >= 2 * queue.limit:
            raise _busy()
        queue.users += 1
        try:
            try:
                async with asyncio.timeout(_MAX_WAIT_SECONDS):
                    await queue.slots.acquire()
            except TimeoutError:
                raise _busy() from None
            try:
                yield
            finally:
                queue.slots.release()
        finally:
            queue.users -= 1
            if queue.users == 0 and self._queues.get(key) is queue:
                del self._queues[key]


def _busy() -> FhirError:
    text = "The provider already has as many requests in flight as it is set to take. Try again shortly."
    return FhirError(503, "throttled", text, {"Retry-After": "1"}, ErrorKind.OVERLOADED)
