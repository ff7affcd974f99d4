"""The gateway side by side with what else a user could put there: the same requests, in turn, in one run."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import aiohttp

from bench import answers, servers
from bench.deployment import Deployment
from bench.process import PROJECT, Running
from bench.wrk import Load, Prepared, load

FLOOR, GATEWAY, DIRECT, NGINX, HAPROXY = "floor", "gateway", "direct", "nginx", "haproxy"
WORKER_FLOOR, WORKER_GATEWAY = "floor (worker)", "gateway (worker)"
CONNECTIONS = (1, 32, 256)
_IN_WORKER = (WORKER_FLOOR, WORKER_GATEWAY)
_OURS = (FLOOR, GATEWAY)
_OTHERS = (DIRECT, NGINX, HAPROXY)
# Shares are taken at 32, added latency at 1: more would only measure how long the line is.
_WORKER_CONNECTIONS = (1, 32)
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Case:
    """A request as the gateway gets it, who else takes part in answering it, and at how many connections at most."""

    name: str
    request: Prepared
    takers: tuple[str, ...] = _OURS
    most: int = max(CONNECTIONS)

    def takers_at(self, connections: int) -> tuple[str, ...]:
        """Who is measured at this number of connections."""
        if connections > self.most:
            return ()
        return tuple(taker for taker in self.takers if taker not in _IN_WORKER or connections in _WORKER_CONNECTIONS)

    def of(self, taker: str) -> Prepared:
        """The request as `taker` gets it: the provider has no token and its own base."""
        if taker != DIRECT:
            return self.request
        headers = {name: value for name, value in self.request.headers.items() if name != "Authorization"}
        return replace(self.request, target=self.request.target.replace("/stu3", "/fhir", 1), headers=headers)


@dataclass(frozen=True, slots=True)
class Measured:
    """The median of several rounds."""

    per_second: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every round's figures by case, connections and taker; `memory` is the takers' at the end, in bytes."""

    rounds: dict[tuple[str, int, str], list[Load]]
    memory: dict[str, int]

    def measured(self, case: str, connections: int, taker: str) -> Measured:
        """The medians of one cell."""
        rounds = self.rounds[case, connections, taker]
        return Measured(
            *(median(getattr(each, name) for each in rounds) for name in ("per_second", "p50", "p99", "cpu"))
        )

    def has(self, case: str, connections: int, taker: str) -> bool:
        """Whether this cell was measured."""
        return (case, connections, taker) in self.rounds

    def cases(self) -> Iterator[tuple[str, int]]:
        """Every case with every number of connections, in order."""
        yield from dict.fromkeys((case, connections) for case, connections, _ in self.rounds)

    def share(self, case: str, connections: int, taker: str, of: str) -> float:
        """Throughput of `taker` as a share of `of`'s, each alone on its core: by the CPU that a request takes.

        The median of the rounds' own ratios. Unlike requests per second it hardly depends on what else runs.
        """
        pairs = zip(self.rounds[case, connections, taker], self.rounds[case, connections, of], strict=True)
        return median(others.cpu / mine.cpu for mine, others in pairs)

    def quickest(self, case: str, connections: int, taker: str) -> float:
        """The p50 of the round that was disturbed least, in milliseconds."""
        return min(each.p50 for each in self.rounds[case, connections, taker])

    def noise(self) -> float:
        """How much a cell's rounds differ: the median over all cells of (most - least) / median throughput."""
        spreads = []
        for rounds in self.rounds.values():
            figures = [each.per_second for each in rounds]
            spreads.append((max(figures) - min(figures)) / median(figures))
        return median(spreads)


async def compare(
    deployment: Deployment, folder: Path, provider: Running, *, rounds: int, seconds: int, connections: Sequence[int]
) -> Comparison:
    """Measures every case in `rounds` rounds: in each, all who take part in a case one right after the other."""
    base = f"http://127.0.0.1:{provider.port}/fhir"
    # So many connections have each to be answered at least once, however slow the case and busy the machine.
    long = {number: 2 * seconds if number > 32 else seconds for number in connections}
    native = await deployment.tenant(base, MaxConcurrent="1000")
    split = await deployment.tenant(base, MaxConcurrent="1000", Batch="split")
    async with AsyncExitStack() as started:
        takers = {
            FLOOR: await started.enter_async_context(servers.floor()),
            GATEWAY: await started.enter_async_context(servers.gateway(deployment.environment)),
            WORKER_FLOOR: await started.enter_async_context(servers.in_worker(servers.FLOOR)),
            WORKER_GATEWAY: await started.enter_async_context(servers.in_worker(PROJECT, deployment.environment)),
            DIRECT: provider,
            NGINX: await started.enter_async_context(servers.reverse_proxy(folder, provider)),
            HAPROXY: await started.enter_async_context(
                servers.token_proxy(folder, provider, native, await deployment.public_key())
            ),
        }
        token = await deployment.token(native)
        further_page = Prepared("GET", await _page_handle(takers[GATEWAY], token), {"Authorization": f"Bearer {token}"})
        cases = [
            *_cases(deployment, native, token, await deployment.token(split)),
            Case("page handle, 22 KB", further_page),
        ]
        anyones = next(case for case in cases if NGINX in case.takers)
        for taker in (FLOOR, WORKER_FLOOR, NGINX, HAPROXY):
            await load(takers[taker], [anyones.of(taker)], folder, connections=8, seconds=1)
        for case in cases:
            for taker in {GATEWAY, WORKER_GATEWAY}.intersection(case.takers):
                await load(takers[taker], [case.request], folder, connections=8, seconds=1)
        found: dict[tuple[str, int, str], list[Load]] = {}
        for _ in range(rounds):
            for case in cases:
                for number in connections:
                    for taker in case.takers_at(number):
                        measured = await load(
                            takers[taker], [case.of(taker)], folder, connections=number, seconds=long[number]
                        )
                        found.setdefault((case.name, number, taker), []).append(measured)
        return Comparison(found, {name: server.memory_bytes() for name, server in takers.items() if name != DIRECT})


async def prepared_requests(deployment: Deployment, provider: Running) -> dict[str, Prepared]:
    """The requests of the cases by name, but for the page handle."""
    tenant = await deployment.tenant(f"http://127.0.0.1:{provider.port}/fhir")
    token = await deployment.token(tenant)
    return {case.name: case.request for case in _cases(deployment, tenant, token, token)}


def _cases(deployment: Deployment, tenant: str, token: str, split_token: str) -> list[Case]:
    client_id, client_secret = deployment.client.client_id, deployment.client.client_secret
    bearer = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    split = {**bearer, "Authorization": f"Bearer {split_token}"}
    basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    body = {"Content-Type": "application/fhir+json"}
    batch = answers.batch(servers.BATCH_ENTRIES)
    search = b"patient=p1&category=vital-signs&_sort=-date"
    return [
        Case("statement", Prepared("GET", "/stu3/metadata", {"Accept": "application/fhir+json"}), _OURS + _IN_WORKER),
        Case(
            "token (post)",
            Prepared("POST", "/oauth2/token", {"Content-Type": FORM}, deployment.token_form(tenant)),
            _OURS + _IN_WORKER,
        ),
        Case(
            "token (basic)",
            Prepared(
                "POST",
                "/oauth2/token",
                {"Content-Type": FORM, "Authorization": f"Basic {basic}"},
                urlencode({"grant_type": "client_credentials", "scope": tenant}).encode(),
            ),
            _OURS + _IN_WORKER,
        ),
        Case("read, 2 KB", Prepared("GET", "/stu3/Patient/p1", bearer), _OURS + _IN_WORKER + _OTHERS),
        Case(
            "searchset, 22 KB",
            Prepared("GET", f"/stu3/Observation?{search.decode()}", bearer),
            _OURS + _IN_WORKER + _OTHERS,
        ),
        Case(
            "searchset, 22 KB, gzip",
            Prepared("GET", f"/stu3/Observation?{search.decode()}", {**bearer, "Accept-Encoding": "gzip"}),
            _OURS + _IN_WORKER,
        ),
        # More at once for one tenant than the gateway holds: it refuses the rest, as it should.
        Case("searchset, 1 MB", Prepared("GET", "/stu3/Patient?_count=480", bearer), _OURS + _OTHERS, most=32),
        Case(
            "POST _search, 22 KB",
            Prepared("POST", "/stu3/Observation/_search", {**bearer, "Content-Type": FORM}, search),
            _OURS + _OTHERS,
        ),
        Case(
            "batch of 7, native",
            Prepared("POST", "/stu3", {**bearer, **body}, batch),
            _OURS + _IN_WORKER + _OTHERS,
        ),
        Case("batch of 7, split", Prepared("POST", "/stu3", {**split, **body}, batch), _OURS + _IN_WORKER),
    ]


async def _page_handle(gateway: Running, token: str) -> str:
    """Path and query of a further page that only a handle leads to."""
    url = f"http://127.0.0.1:{gateway.port}/stu3/Encounter?patient=p1"
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url, headers=headers) as answer:
        bundle = await answer.json(content_type=None)
    link: str = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
    return link[link.index("/stu3/") :]
