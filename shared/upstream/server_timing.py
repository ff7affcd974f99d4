"""The time of a request by hop, as the header `Server-Timing` tells it (W3C Server Timing, section 2)."""

import time

AUTH = "auth"
DIRECTORY = "directory"
CREDENTIAL = "credential"
UPSTREAM = "upstream"
GATEWAY = "gateway"


class ServerTiming:
    """Milliseconds spent in each hop since the request came in; `gateway` is what no other hop accounts for.

    Hops that run side by side, such as those of a batch's entries, count once from the first start to the last end.
    """

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spent: dict[str, float] = {}
        self._running: dict[str, tuple[int, float]] = {}

    def hop(self, name: str) -> "_Hop":
        """Counts the time inside the `with` block to a hop."""
        return _Hop(self, name)

    def start(self, name: str) -> None:
        count, began = self._running.get(name) or (0, time.perf_counter())
        self._running[name] = (count + 1, began)

    def end(self, name: str) -> None:
        count, began = self._running.pop(name)
        if count > 1:
            self._running[name] = (count - 1, began)
        else:
            self._spent[name] = self._spent.get(name, 0.0) + (time.perf_counter() - began) * 1000

    def milliseconds(self) -> dict[str, float]:
        """Every hop so far, `gateway` last."""
        total = (time.perf_counter() - self._began) * 1000
        return {**self._spent, GATEWAY: max(total - sum(self._spent.values()), 0.0)}


class _Hop:
    """A `with` block; a generator in its place takes three times as long, four times a request."""

    __slots__ = ("_name", "_timing")

    def __init__(self, timing: ServerTiming, name: str) -> None:
        self._timing = timing
        self._name = name

    def __enter__(self) -> None:
        self._timing.start(self._name)

    def __exit__(self, *_: object) -> None:
        self._timing.end(self._name)


def server_timing(milliseconds: dict[str, float]) -> str:
    """The header's value: `auth;dur=0.2, upstream;dur=12.0, gateway;dur=1.1`."""
    return ", ".join(f"{name};dur={spent:.1f}" for name, spent in milliseconds.items())
