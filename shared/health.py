"""Whether everything is reachable that the next request will need."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import orjson

from shared.message import Request, Response
from shared.stores.errors import StoreUnavailable

_REMEMBERED_SECONDS = {True: 5.0, False: 1.0}  # by whether all was well: what comes back is told soon
_TIMEOUT_SECONDS = 5.0


class HealthEndpoint:
    """The endpoint `GET health`: 200 when every store responds, 503 when one does not, and which; 405 other methods.

    The stores are read at most every five seconds, every second while one fails, whoever calls: the endpoint is open
    to all.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._checks = checks
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._results: dict[str, str] = {}

    async def __call__(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, {"Allow": "GET, HEAD", "Cache-Control": "no-store"})
        async with self._lock:
            if time.monotonic() - self._checked_at > _REMEMBERED_SECONDS[self._healthy()]:
                found = await asyncio.gather(*map(self._check, self._checks.values()))
                self._results = dict(zip(self._checks, found, strict=True))
                self._checked_at = time.monotonic()
        healthy = self._healthy()
        body = orjson.dumps({"status": "ok" if healthy else "unavailable", "checks": self._results})
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return Response(200 if healthy else 503, headers, b"" if request.method == "HEAD" else body)

    def _healthy(self) -> bool:
        return all(result == "ok" for result in self._results.values())

    @staticmethod
    async def _check(check: Callable[[], Awaitable[object]]) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await check()
        except (StoreUnavailable, TimeoutError):
            return "unavailable"
        return "ok"
