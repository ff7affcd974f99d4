"""Each provider's own limit on requests in flight, so that its slowness is nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.directory.provider import Provider
from shared.fhir.errors import FhirError

_PATIENCE_SECONDS = 1.0

_Key = tuple[str, str]


@dataclass(slots=True)
class _Lane:
    slots: asyncio.Semaphore
    limit: int
    users: int = field(default=0)


class Limiter:
    """Lets `max_concurrent` requests through to a provider at a time.

    As many again may wait, for a second at most; then, and beyond, the answer is 503 with Retry-After.
    """

    def __init__(self) -> None:
        self._lanes: dict[_Key, _Lane] = {}

    @asynccontextmanager
    async def slot(self, provider: Provider) -> AsyncIterator[None]:
        """Holds one of the provider's slots. Raises FhirError (503)."""
        key = (provider.tenant, provider.version.value)
        lane = self._lanes.get(key)
        if lane is None or lane.limit != provider.max_concurrent:
            lane = self._lanes[key] = _Lane(asyncio.Semaphore(provider.max_concurrent), provider.max_concurrent)
        if lane.users >= 2 * lane.limit:
            raise _busy()
        lane.users += 1
        try:
            if lane.slots.locked():
                try:
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        await lane.slots.acquire()
                except TimeoutError:
                    raise _busy() from None
            else:
                await lane.slots.acquire()
            try:
                yield
            finally:
                lane.slots.release()
        finally:
            lane.users -= 1
            if lane.users == 0 and self._lanes.get(key) is lane:
                del self._lanes[key]


def _busy() -> FhirError:
    return FhirError(
        503,
        "throttled",
        "The provider already has as many requests in flight as it is set to take. Try again shortly.",
        {"Retry-After": "1"},
    )
