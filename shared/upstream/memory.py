"""The share of the process's memory that bodies may take: more is refused while there is still room."""

import asyncio
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import cache

from msgspec import Struct

from shared.error_kind import ErrorKind
from shared.fhir.errors import FhirError

_MAX_BYTES = 256 * 1_048_576
_MAX_WORKING_BYTES = 384 * 1_048_576
_WORKING_FACTOR = 7
_MIN_COUNTED_BYTES = 64 * 1024  # a smaller body is read and mapped without a pause
_MAX_WAIT_SECONDS = 10.0
_REQUEST_BYTES = 64 * 1024  # the cost of a request beside its bodies: connections, buffers, headers
# Of glibc's mallopt (malloc.h), with what they are set to.
_M_TRIM_THRESHOLD, _MAX_KEPT_BYTES = -1, 16 * 1_048_576
_M_MMAP_THRESHOLD, _MAX_KEPT_BUFFER = -3, 4 * 1_048_576
_NOTHING = nullcontext()


class Reservation(Struct):
    """The bytes that one request holds, until the end of the `with` block that it is used in."""

    budget: "MemoryBudget"
    tenant: str
    responses: int = 0
    total: int = 0

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, *_: object) -> None:
        self.budget.add(self.tenant, -self.total)

    def add_response(self, size: int) -> None:
        """Counts `size` bytes of responses in, which may be negative.

        Raises FhirError: 503 when the process holds as much as it may, 502 when this request alone does.
        """
        if self.responses + size > self.budget.max_response_bytes:
            text = "The provider's answer is larger than this gateway passes on."
            raise FhirError(502, "too-costly", text, kind=ErrorKind.TOO_LARGE)
        self.add(size)
        self.responses += size

    def add(self, size: int) -> None:
        """Counts `size` bytes in that the request holds beside its responses. Raises FhirError (503)."""
        self.budget.add(self.tenant, size)
        self.total += size


class MemoryBudget:
    """Counts the bytes of bodies in flight, all tenants' together and each tenant's.

    A process holds at most `max_bytes` and a tenant a quarter of that, or what its one largest request takes if that
    is more: then the response is 503 with Retry-After. The responses to one request, a batch's entries, may have
    `max_response_bytes` together; a body of more than `max_body_bytes` is refused anyway, and counts for no more.
    Reading and mapping a body take up to six times its size besides: bodies wait for each other where that would be
    more than `_MAX_WORKING_BYTES` together, the small ones but not long.
    """

    def __init__(self, max_response_bytes: int, max_body_bytes: int, max_bytes: int = _MAX_BYTES) -> None:
        self.max_response_bytes = max_response_bytes
        self._max_bytes = max_bytes
        self._max_body_bytes = max_body_bytes
        self._max_bytes_of_tenant = max(max_bytes // 4, max_body_bytes + max_response_bytes + _REQUEST_BYTES)
        self._working = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._total = 0
        self._by_tenant: Counter[str] = Counter()

    def request(self, tenant: str, received: int) -> Reservation:
        """A reservation for a tenant's request with a body of `received` bytes. Raises FhirError (503)."""
        reservation = Reservation(self, tenant)
        reservation.add(min(received, self._max_body_bytes) + _REQUEST_BYTES)
        return reservation

    def working_memory(self, size: int) -> AbstractAsyncContextManager[None]:
        """Holds what reading and mapping a body of `size` bytes takes, as soon as it is free.

        Raises FhirError (503) when it is not within ten seconds.
        """
        return _NOTHING if size < _MIN_COUNTED_BYTES else self._working_memory(size)

    @asynccontextmanager
    async def _working_memory(self, size: int) -> AsyncIterator[None]:
        _keep_freed_memory()
        size = min(_WORKING_FACTOR * size, _MAX_WORKING_BYTES)
        try:
            async with asyncio.timeout(_MAX_WAIT_SECONDS):
                while self._working + size > _MAX_WORKING_BYTES:
                    turn = asyncio.get_running_loop().create_future()
                    self._waiting.append(turn)
                    await turn
        except TimeoutError:
            raise _exhausted() from None
        self._working += size
        try:
            yield
        finally:
            self._working -= size
            while self._waiting:
                turn = self._waiting.popleft()
                if not turn.done():
                    turn.set_result(None)

    def add(self, tenant: str, size: int) -> None:
        """Counts `size` bytes in, or out when it is negative. Raises FhirError (503)."""
        of_tenant = self._by_tenant.get(tenant, 0) + size
        if size > 0 and (of_tenant > self._max_bytes_of_tenant or self._total + size > self._max_bytes):
            raise _exhausted()
        self._total += size
        if of_tenant:
            self._by_tenant[tenant] = of_tenant
        else:
            del self._by_tenant[tenant]


def _exhausted() -> FhirError:
    text = "The gateway has as much under way as it can hold. Try again shortly."
    return FhirError(503, "throttled", text, {"Retry-After": "1"})


@cache
def _keep_freed_memory() -> None:
    """Has glibc keep 16 MB that bodies have left for the next ones, in place of giving them back each time.

    The kernel clears each page it hands out: measured, a fifth of the CPU of a response of 1 MB.
    """
    if sys.platform == "linux":
        import ctypes  # a few milliseconds of a start that may never need it

        allocator = ctypes.CDLL(None)
        if hasattr(allocator, "mallopt"):  # musl has none
            allocator.mallopt(_M_TRIM_THRESHOLD, _MAX_KEPT_BYTES)
            allocator.mallopt(_M_MMAP_THRESHOLD, _MAX_KEPT_BUFFER)
