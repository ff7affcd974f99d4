"""How much of the process's memory bodies may take: what would be too much is refused while there is still room."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from shared.fhir.errors import FhirError

_MOST_BYTES = 256 * 1_048_576
_MAX_ROOM_BYTES = 384 * 1_048_576
_ROOM_FACTOR = 7
_FREE_ROOM_BYTES = 64 * 1024  # such a body is read and mapped without a pause
_PATIENCE_SECONDS = 10.0
_BESIDES_BYTES = 64 * 1024  # what a request costs beside its bodies: connections, buffers, headers


class Hold:
    """What one request has taken."""

    def __init__(self, load: "Load", tenant: str) -> None:
        self._load = load
        self._tenant = tenant
        self._answers = self._kept = 0

    def take(self, size: int) -> None:
        """Counts `size` bytes of answers in, which may be negative.

        Raises FhirError: 503 when the process holds as much as it may, 502 when this request alone does.
        """
        if self._answers + size > self._load.most_of_request:
            raise FhirError(502, "too-costly", "The provider's answer is larger than this gateway passes on.")
        self._load.take(self._tenant, size)
        self._answers += size

    def keep(self, size: int) -> None:
        """Counts `size` bytes in that the request keeps beside its answers. Raises FhirError (503)."""
        self._load.take(self._tenant, size)
        self._kept += size

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Holds what reading and mapping a body of `size` bytes takes; waits while others' bodies have it."""
        async with self._load.room(size):
            yield

    def end(self) -> None:
        """Gives everything back."""
        self._load.take(self._tenant, -self._answers - self._kept)
        self._answers = self._kept = 0


class Load:
    """Counts the bytes of bodies in flight, all tenants' together and each tenant's.

    A process holds at most `most` bytes and a tenant a quarter of that, or what its one largest request takes if that
    is more: then the answer is 503 with Retry-After. The answers to one request, a batch's entries, may have
    `max_answer_bytes` together; a body of more than `max_body_bytes` is refused anyway, and counts for no more.
    Reading and mapping a body take up to six times its size besides: bodies wait for each other where that would be
    more than `_MAX_ROOM_BYTES` together, the small ones but not long.
    """

    def __init__(self, max_answer_bytes: int, max_body_bytes: int, most: int = _MOST_BYTES) -> None:
        self.most_of_request = max_answer_bytes
        self._most = most
        self._max_body = max_body_bytes
        self._most_of_tenant = max(most // 4, max_body_bytes + max_answer_bytes + _BESIDES_BYTES)
        self._room = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = 0
        self._by_tenant: Counter[str] = Counter()

    @contextmanager
    def request(self, tenant: str, received: int) -> Iterator[Hold]:
        """Holds for a tenant's request with a body of `received` bytes. Raises FhirError (503)."""
        size = min(received, self._max_body) + _BESIDES_BYTES
        self.take(tenant, size)
        hold = Hold(self, tenant)
        try:
            yield hold
        finally:
            hold.end()
            self.take(tenant, -size)

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Holds what reading and mapping a body of `size` bytes takes, as soon as it is there.

        Raises FhirError (503) when it is not within ten seconds.
        """
        if size < _FREE_ROOM_BYTES:
            yield
            return
        size = min(_ROOM_FACTOR * size, _MAX_ROOM_BYTES)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while self._room + size > _MAX_ROOM_BYTES:
                    turn = asyncio.get_running_loop().create_future()
                    self._waiting.append(turn)
                    await turn
        except TimeoutError:
            raise _too_much() from None
        self._room += size
        try:
            yield
        finally:
            self._room -= size
            while self._waiting:
                turn = self._waiting.popleft()
                if not turn.done():
                    turn.set_result(None)

    def take(self, tenant: str, size: int) -> None:
        """Counts `size` bytes in, or out when it is negative. Raises FhirError (503)."""
        of_tenant = self._by_tenant[tenant] + size
        if size > 0 and (of_tenant > self._most_of_tenant or self._taken + size > self._most):
            raise _too_much()
        self._taken += size
        if of_tenant:
            self._by_tenant[tenant] = of_tenant
        else:
            del self._by_tenant[tenant]


def _too_much() -> FhirError:
    return FhirError(
        503, "throttled", "The gateway has as much under way as it can hold. Try again shortly.", {"Retry-After": "1"}
    )
