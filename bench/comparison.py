"""The gateway side by side with what else a user could put there: the same requests, in turn, in one run."""

import random
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import aiohttp

from bench import recorded, servers
from bench.cores import SERVER_CORE
from bench.deployment import Deployment
from bench.process import PROJECT, Running, crowded
from bench.stand_ins import NATIVE, SPLIT, tenant_id
from bench.wrk import Load, Prepared, UnexpectedResponse, load

FLOOR, GATEWAY, DIRECT, NGINX, HAPROXY = "floor", "gateway", "direct", "nginx", "haproxy"
SYSTEMS = (FLOOR, GATEWAY, DIRECT, NGINX, HAPROXY)
OURS = (FLOOR, GATEWAY)
BUSY, ALONE = 32, 1
"""Numbers of connections: costs are taken at many, latencies at one."""
DIRECTORY = 100_000
FORM = "application/x-www-form-urlencoded"
STATEMENT, TOKEN, READ, SEARCHSET, LARGE = "statement", "token", "read, 2 KB", "searchset, 22 KB", "searchset, 1 MB"
TOKEN_BY_RS384, TOKEN_BY_ES384 = "token, assertion by RS384", "token, assertion by ES384"
READ_DRAWN, PAGE = "read, one of 100,000 tenants", "page handle, 22 KB"
_MAX_IN_A_RUN = 2_500  # of requests of which each is good, or new to the gateway, once

_Requests = Callable[[], Awaitable[Sequence[Prepared]]]


@dataclass(frozen=True, slots=True)
class Case:
    """Requests as the gateway gets them, made anew for each run, and the systems they go to, busy and alone.

    `at_once` is how many of them a system that is busy has.
    """

    name: str
    requests: _Requests
    busy: tuple[str, ...] = (GATEWAY,)
    alone: tuple[str, ...] = ()
    at_once: int = BUSY

    async def of(self, system: str) -> Sequence[Prepared]:
        """The requests as `system` gets them: the provider has no token and its own base."""
        requests = await self.requests()
        return [_direct(request) for request in requests] if system == DIRECT else requests

    def systems(self, connections: int) -> tuple[str, ...]:
        """Who is measured at this number of connections."""
        return self.busy if connections == BUSY else self.alone


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every round's figures by case, connections and system; `memory` is the systems' at the end, in bytes."""

    rounds: dict[tuple[str, int, str], list[Load]]
    memory: dict[str, int]

    def measured(self, case: str, connections: int, system: str) -> Load:
        """The medians of one cell. Raises KeyError for one that was not measured."""
        rounds = self.rounds[case, connections, system]
        return Load(*(median(getattr(each, figure.name) for each in rounds) for figure in fields(Load)))

    def cells(self) -> Iterator[tuple[str, str]]:
        """Every case with every system that was measured in it, in order."""
        names = dict.fromkeys(case for case, _, _ in self.rounds)
        yield from ((case, system) for case in names for system in SYSTEMS if (case, BUSY, system) in self.rounds)

    def costs(self, case: str, other: str, system: str = GATEWAY, other_system: str = GATEWAY) -> float:
        """CPU of a request as a multiple of another's: the median of the rounds' own ratios.

        Unlike requests per second it hardly depends on what else runs. Raises KeyError.
        """
        pairs = zip(self.rounds[case, BUSY, system], self.rounds[other, BUSY, other_system], strict=True)
        return median(mine.cpu / others.cpu for mine, others in pairs)

    def share(self, case: str) -> float:
        """The gateway's throughput as a share of the floor's, each alone on its core. Raises KeyError."""
        return self.costs(case, case, FLOOR, GATEWAY)

    def added(self, case: str) -> float:
        """The latency that the gateway adds at one connection, p50, as a multiple of the floor's. Raises KeyError."""
        mine, direct, floor = (self.rounds[case, ALONE, system] for system in (GATEWAY, DIRECT, FLOOR))
        cells = zip(mine, direct, floor, strict=True)
        return median((through.p50 - without.p50) / alone.p50 for through, without, alone in cells)

    def noise(self) -> float:
        """How much a cell's rounds differ: the median over all cells of (most - least) / median of the CPU."""
        busy = [rounds for (_, connections, _), rounds in self.rounds.items() if connections == BUSY]
        cells = [[each.cpu for each in rounds] for rounds in busy]
        return median((max(figures) - min(figures)) / median(figures) for figures in cells)


async def compare(
    deployment: Deployment, folder: Path, provider: Running, cases: Sequence[Case], rounds: int
) -> Comparison:
    """Measures the cases in `rounds` rounds: in each, all systems of a case one right after the other."""
    starting = {
        FLOOR: servers.in_worker(servers.FLOOR),
        GATEWAY: servers.in_worker(PROJECT, deployment.environment),
        NGINX: servers.reverse_proxy(folder, provider),
        HAPROXY: servers.token_proxy(folder, provider, tenant_id(NATIVE), await deployment.public_key()),
    }
    found: dict[tuple[str, int, str], list[Load]] = {}
    async with AsyncExitStack() as started:
        needed = {GATEWAY}.union(*(case.busy + case.alone for case in cases)) - {DIRECT}
        systems = {name: await started.enter_async_context(starting[name]) for name in sorted(needed)}
        await _have_a_page_handle(systems[GATEWAY], await _bearer(deployment, NATIVE))
        for measured, case in product(range(-1, rounds), cases):
            for connections in (BUSY, ALONE) if measured >= 0 else (BUSY,):
                for system in case.systems(connections):
                    seen = await _run((systems | {DIRECT: provider})[system], case, system, folder, connections)
                    if measured >= 0:
                        found.setdefault((case.name, connections, system), []).append(seen)
        return Comparison(found, {name: server.memory_bytes() for name, server in systems.items()})


async def _run(server: Running, case: Case, system: str, folder: Path, connections: int) -> Load:
    """One run, or a longer one where the machine was too busy for it. Raises UnexpectedResponse.

    Costs are taken on a crowded core: a worker with time to spare is woken for each message by itself, which nearly
    doubles what the floor takes, and no host of ours is fast enough to keep one busy that has a core for itself.
    """

    async def run(seconds: int) -> Load:
        requests = await case.of(system)
        async with crowded(SERVER_CORE) if connections == BUSY else nullcontext():
            number = min(connections, case.at_once)
            return await load(server, requests, folder, connections=number, seconds=seconds)

    for seconds in (1, 2):
        with suppress(UnexpectedResponse):
            return await run(seconds)
    return await run(4)


async def cases_of(deployment: Deployment) -> list[Case]:
    """All cases, for a gateway on the large directory."""
    native, form = tenant_id(NATIVE), {"Content-Type": FORM}
    bearer, split = await _bearer(deployment, NATIVE), await _bearer(deployment, SPLIT)
    fhir, batch = {"Content-Type": "application/fhir+json"}, recorded.batch(servers.BATCH_ENTRIES)
    criteria = "patient=p1&category=vital-signs&_sort=-date"
    search = f"/stu3/Observation?{criteria}"

    async def drawn() -> list[Prepared]:
        numbers = random.sample(range(SPLIT + 1, DIRECTORY), _MAX_IN_A_RUN)
        return [Prepared("GET", "/stu3/Patient/p1", await _bearer(deployment, number)) for number in numbers]

    async def pages() -> list[Prepared]:
        handles = [secrets.token_urlsafe(24) for _ in range(_MAX_IN_A_RUN)]
        return [Prepared("GET", f"/stu3/Encounter?_page={handle}", bearer) for handle in handles]

    def token(form_of: Callable[[], bytes], number: int = 1) -> _Requests:
        async def requests() -> list[Prepared]:
            return [Prepared("POST", "/oauth2/token", form, form_of()) for _ in range(number)]

        return requests

    def asserted(algorithm: str) -> _Requests:
        return token(partial(deployment.assertion_form, native, algorithm), _MAX_IN_A_RUN)

    def always(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> _Requests:
        async def requests() -> list[Prepared]:
            return [Prepared(method, target, headers, body)]

        return requests

    return [
        Case(STATEMENT, always("GET", "/stu3/metadata", {"Accept": "application/fhir+json"}), OURS),
        Case(TOKEN, token(partial(deployment.token_form, native)), OURS, OURS),
        Case(TOKEN_BY_RS384, asserted("RS384")),
        Case(TOKEN_BY_ES384, asserted("ES384")),
        Case(READ, always("GET", "/stu3/Patient/p1", bearer), SYSTEMS, SYSTEMS),
        Case(READ_DRAWN, drawn),
        Case(SEARCHSET, always("GET", search, bearer), SYSTEMS, SYSTEMS),
        Case("searchset, 22 KB, gzip", always("GET", search, {**bearer, "Accept-Encoding": "gzip"})),
        Case("POST _search, 22 KB", always("POST", "/stu3/Observation/_search", bearer | form, criteria.encode())),
        Case(PAGE, pages),
        Case(LARGE, always("GET", "/stu3/Patient?_count=480", bearer), SYSTEMS, SYSTEMS, at_once=4),
        Case("batch of 7, native", always("POST", "/stu3", bearer | fhir, batch)),
        Case("batch of 7, split", always("POST", "/stu3", split | fhir, batch)),
    ]


def _direct(request: Prepared) -> Prepared:
    headers = {name: value for name, value in request.headers.items() if name != "Authorization"}
    return replace(request, target=request.target.replace("/stu3", "/fhir", 1), headers=headers)


async def _bearer(deployment: Deployment, number: int) -> dict[str, str]:
    token = await deployment.token(tenant_id(number))
    return {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}


async def _have_a_page_handle(gateway: Running, headers: Mapping[str, str]) -> None:
    """Has the gateway write the row of a page handle, which the stand-in of the tables responds with for all."""
    url = f"http://127.0.0.1:{gateway.port}/stu3/Encounter?patient=p1"
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url, headers=headers) as response:
        await response.read()
