"""The time of a request by hop, as the header `Server-Timing` tells it (W3C Server Timing, section 2)."""

import time
from collections.abc import Mapping

from msgspec import Struct

AUTH = "auth"
DIRECTORY = "directory"
CREDENTIAL = "credential"
UPSTREAM = "upstream"
GATEWAY = "gateway"


class _Hop(Struct):
    """Counts the seconds inside its `with` blocks.

    Those that run side by side, such as a batch's entries, count once from the first start to the last end.
    """

    seconds: float = 0.0
    _running: int = 0
    _began: float = 0.0

    def __enter__(self) -> None:
        if not self._running:
            self._began = time.perf_counter()
        self._running += 1

    def __exit__(self, error: object, value: object, traceback: object) -> None:
        self._running -= 1
        if not self._running:
            self.seconds += time.perf_counter() - self._began


class ServerTiming:
    """Milliseconds spent in each hop since the request came in; `gateway` is what no other hop accounts for."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._hops: dict[str, _Hop] = {}

    def hop(self, name: str) -> _Hop:
        """Counts the time inside the `with` block to a hop."""
        hop = self._hops.get(name)
        if hop is None:
            hop = self._hops[name] = _Hop()
        return hop

    def milliseconds(self) -> dict[str, float]:
        """Every hop so far, `gateway` last."""
        total = (time.perf_counter() - self._began) * 1000
        spent = {name: hop.seconds * 1000 for name, hop in self._hops.items()}
        spent[GATEWAY] = max(total - sum(spent.values()), 0.0)
        return spent


def server_timing(milliseconds: Mapping[str, float]) -> str:
    """The header's value: `auth;dur=0.2, upstream;dur=12.0, gateway;dur=1.1`."""
    return ", ".join([f"{name};dur={spent:.1f}" for name, spent in milliseconds.items()])
