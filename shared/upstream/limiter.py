"""Each provider's own limit on requests in flight: a slow provider does not hold up other tenants."""

import asyncio
from dataclasses import dataclass

from shared.directory.provider import Provider
from shared.error_kind import ErrorKind
from shared.fhir.errors import FhirError
from shared.fhir.versions import FhirVersion

_MAX_WAIT_SECONDS = 1.0


_Key = tuple[str, FhirVersion]


@dataclass(slots=True)
class _Queue:
    """The requests to one provider; each holds a slot inside its `async with` block, which raises FhirError (503)."""

    queues: "dict[_Key, _Queue]"
    key: _Key
    slots: asyncio.Semaphore
    limit: int
    users: int = 0

    async def __aenter__(self) -> None:
        if self.users >= 2 * self.limit:
            raise _busy()
        self.users += 1
        try:
            if self.users > self.limit:
                async with asyncio.timeout(_MAX_WAIT_SECONDS):
                    await self.slots.acquire()
            else:
                await self.slots.acquire()  # at once: a timer would cost more than all else here
        except BaseException as error:
            self._leave()
            raise _busy() if isinstance(error, TimeoutError) else error from None

    async def __aexit__(self, *_: object) -> None:
        self.slots.release()
        self._leave()

    def _leave(self) -> None:
        self.users -= 1
        if self.users == 0 and self.queues.get(self.key) is self:
            del self.queues[self.key]


class Limiter:
    """Lets `max_concurrent` requests through to a provider at a time.

    As many again may wait, for a second at most; then, and beyond, the response is 503 with Retry-After.
    """

    def __init__(self) -> None:
        self._queues: dict[_Key, _Queue] = {}

    def slot(self, provider: Provider) -> _Queue:
        """Where the provider's slots are held."""
        key, limit = (provider.tenant, provider.version), provider.max_concurrent
        queue = self._queues.get(key)
        if queue is None or queue.limit != limit:
            queue = self._queues[key] = _Queue(self._queues, key, asyncio.Semaphore(limit), limit)
        return queue


def _busy() -> FhirError:
    text = "The provider already has as many requests in flight as it is set to take. Try again shortly."
    return FhirError(503, "throttled", text, {"Retry-After": "1"}, ErrorKind.OVERLOADED)
