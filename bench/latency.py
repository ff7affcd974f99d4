"""The time of one request after another, and in which hop it is spent."""

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import fmean

from bench import servers
from bench.comparison import DIRECT, FLOOR, GATEWAY, Case
from bench.deployment import Deployment
from bench.process import PROJECT, Running
from bench.wrk import connected

_REQUESTS = 40  # of a round
_HOP = re.compile(rb"(\w+);dur=([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Hops:
    """Milliseconds of a request by hop, and the HTTP exchange with the provider without the provider's own time.

    `platform` is what the floor takes, `messages` what host and worker take more for larger messages.
    """

    platform: float
    messages: float
    gateway: float
    exchange: float
    provider: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.platform + self.messages + self.gateway + self.exchange + self.provider


async def latencies(deployment: Deployment, provider: Running, cases: Sequence[Case], rounds: int) -> dict[str, Hops]:
    """The hops of each case by its name: the mean of the middle half of the requests of all rounds."""
    found: dict[str, Hops] = {}
    async with AsyncExitStack() as started:
        floor = await started.enter_async_context(servers.in_worker(servers.FLOOR))
        gateway = await started.enter_async_context(servers.in_worker(PROJECT, deployment.environment))
        systems = {FLOOR: floor, GATEWAY: gateway, DIRECT: provider}
        for case in cases:
            seen: dict[str, list[tuple[float, ...]]] = {name: [] for name in systems if name in case.alone}
            for _ in range(rounds + 1):
                for name, requests in seen.items():
                    requests += await _sent(systems[name], case, name)
            middle = {name: _middle(requests[_REQUESTS:]) for name, requests in seen.items()}
            (platform, _, _), (total, upstream, own) = middle[FLOOR], middle[GATEWAY]
            direct = middle[DIRECT][0] if DIRECT in middle else 0.0
            own = own or total - platform  # the token endpoint does not say
            messages = max(total - platform - own - upstream, 0.0)
            found[case.name] = Hops(platform, messages, own, max(upstream - direct, 0.0), direct)
    return found


async def _sent(server: Running, case: Case, system: str) -> list[tuple[float, ...]]:
    """Of each request the milliseconds, and those that `Server-Timing` gives to the provider and to all else."""
    (request,) = await case.of(system)
    found: list[tuple[float, ...]] = []
    async with connected(server.port) as send:
        for _ in range(_REQUESTS):
            milliseconds, head = await send(request)
            hops = {name: float(spent) for name, spent in _HOP.findall(head)}
            upstream = hops.pop(b"upstream", 0.0)
            found.append((milliseconds, upstream, sum(hops.values())))
    return found


def _middle(requests: Sequence[tuple[float, ...]]) -> list[float]:
    quarter = len(requests) // 4
    return [fmean(column) for column in zip(*sorted(requests)[quarter:-quarter], strict=True)]
