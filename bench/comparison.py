"""The gateway side by side with what else a user could put there: the same requests, in turn, in one run."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import aiohttp

from bench import recorded, servers
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
    """A request as the gateway gets it, the systems that it is sent to, and the number of connections at most."""

    name: str
    request: Prepared
    systems: tuple[str, ...] = _OURS
    max_connections: int = max(CONNECTIONS)

    def systems_at(self, connections: int) -> tuple[str, ...]:
        """The systems that are measured at this number of connections."""
        if connections > self.max_connections:
            return ()
        left_out = () if connections in _WORKER_CONNECTIONS else _IN_WORKER
        return tuple(system for system in self.systems if system not in left_out)

    def of(self, system: str) -> Prepared:
        """The request as `system` gets it: the provider has no token and its own base."""
        if system != DIRECT:
            return self.request
        headers = {name: value for name, value in self.request.headers.items() if name != "Authorization"}
        return replace(self.request, target=self.request.target.replace("/stu3", "/fhir", 1), headers=headers)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every round's figures by case, connections and system; `memory` is the systems' at the end, in bytes."""

    rounds: dict[tuple[str, int, str], list[Load]]
    memory: dict[str, int]

    def measured(self, case: str, connections: int, system: str) -> Load:
        """The medians of one cell."""
        rounds = self.rounds[case, connections, system]
        return Load(*(median(getattr(each, figure.name) for each in rounds) for figure in fields(Load)))

    def has(self, case: str, connections: int, system: str) -> bool:
        """True for a cell that was measured."""
        return (case, connections, system) in self.rounds

    def cases(self) -> Iterator[tuple[str, int]]:
        """Every case with every number of connections, in order."""
        yield from dict.fromkeys((case, connections) for case, connections, _ in self.rounds)

    def share(self, case: str, connections: int, system: str, of: str) -> float:
        """Throughput of `system` as a share of `of`'s, each alone on its core: by the CPU that a request takes.

        The median of the rounds' own ratios. Unlike requests per second it hardly depends on what else runs.
        """
        pairs = zip(self.rounds[case, connections, system], self.rounds[case, connections, of], strict=True)
        return median(others.cpu / mine.cpu for mine, others in pairs)

    def min_p50(self, case: str, connections: int, system: str) -> float:
        """The p50 of the round that was disturbed least, in milliseconds."""
        return min(each.p50 for each in self.rounds[case, connections, system])

    def noise(self) -> float:
        """How much a cell's rounds differ: the median over all cells of (most - least) / median throughput."""
        cells = [[each.per_second for each in rounds] for rounds in self.rounds.values()]
        return median((max(figures) - min(figures)) / median(figures) for figures in cells)


async def compare(
    deployment: Deployment, folder: Path, provider: Running, *, rounds: int, seconds: int, connections: Sequence[int]
) -> Comparison:
    """Measures every case in `rounds` rounds: in each, all systems of a case one right after the other."""
    base = f"http://127.0.0.1:{provider.port}/fhir"
    # Each of so many connections needs a response at least once, however slow the case and busy the machine.
    long = {number: 2 * seconds if number > 32 else seconds for number in connections}
    native = await deployment.tenant(base, MaxConcurrent="1000")
    split = await deployment.tenant(base, MaxConcurrent="1000", Batch="split")
    public_key = await deployment.public_key()
    starting = {
        FLOOR: servers.floor(),
        GATEWAY: servers.gateway(deployment.environment),
        WORKER_FLOOR: servers.in_worker(servers.FLOOR),
        WORKER_GATEWAY: servers.in_worker(PROJECT, deployment.environment),
        NGINX: servers.reverse_proxy(folder, provider),
        HAPROXY: servers.token_proxy(folder, provider, native, public_key),
    }
    async with AsyncExitStack() as started:
        systems = {name: await started.enter_async_context(server) for name, server in starting.items()}
        systems[DIRECT] = provider
        token = await deployment.token(native)
        handle = await _page_handle(systems[GATEWAY], token)
        further_page = Case("page handle, 22 KB", Prepared("GET", handle, {"Authorization": f"Bearer {token}"}))
        cases = [*_cases(deployment, native, token, await deployment.token(split)), further_page]
        plain = next(case for case in cases if NGINX in case.systems)
        for system in (FLOOR, WORKER_FLOOR, NGINX, HAPROXY):
            await load(systems[system], [plain.of(system)], folder, connections=8, seconds=1)
        for case in cases:
            for system in {GATEWAY, WORKER_GATEWAY}.intersection(case.systems):
                await load(systems[system], [case.request], folder, connections=8, seconds=1)
        found: dict[tuple[str, int, str], list[Load]] = {}
        for _, case, number in product(range(rounds), cases, connections):
            for system in case.systems_at(number):
                sent, seconds = [case.of(system)], long[number]
                measured = await load(systems[system], sent, folder, connections=number, seconds=seconds)
                found.setdefault((case.name, number, system), []).append(measured)
        return Comparison(found, {name: server.memory_bytes() for name, server in systems.items() if name != DIRECT})


async def prepared_requests(deployment: Deployment, provider: Running) -> dict[str, Prepared]:
    """The requests of the cases by name, but for the page handle."""
    tenant = await deployment.tenant(f"http://127.0.0.1:{provider.port}/fhir")
    token = await deployment.token(tenant)
    return {case.name: case.request for case in _cases(deployment, tenant, token, token)}


def _cases(deployment: Deployment, tenant: str, token: str, split_token: str) -> list[Case]:
    bearer = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    split = {**bearer, "Authorization": f"Bearer {split_token}"}
    client = f"{deployment.client.client_id}:{deployment.client.client_secret}"
    basic = {"Content-Type": FORM, "Authorization": f"Basic {base64.b64encode(client.encode()).decode()}"}
    fhir, form = {"Content-Type": "application/fhir+json"}, {"Content-Type": FORM}
    grant = urlencode({"grant_type": "client_credentials", "scope": tenant}).encode()
    batch = recorded.batch(servers.BATCH_ENTRIES)
    criteria = "patient=p1&category=vital-signs&_sort=-date"
    search, by_post, ours = f"/stu3/Observation?{criteria}", "/stu3/Observation/_search", _OURS + _IN_WORKER
    return [
        Case("statement", Prepared("GET", "/stu3/metadata", {"Accept": "application/fhir+json"}), ours),
        Case("token (post)", Prepared("POST", "/oauth2/token", form, deployment.token_form(tenant)), ours),
        Case("token (basic)", Prepared("POST", "/oauth2/token", basic, grant), ours),
        Case("read, 2 KB", Prepared("GET", "/stu3/Patient/p1", bearer), ours + _OTHERS),
        Case("searchset, 22 KB", Prepared("GET", search, bearer), ours + _OTHERS),
        Case("searchset, 22 KB, gzip", Prepared("GET", search, {**bearer, "Accept-Encoding": "gzip"}), ours),
        # More at once for one tenant than the gateway holds: it refuses the rest, as it should.
        Case("searchset, 1 MB", Prepared("GET", "/stu3/Patient?_count=480", bearer), _OURS + _OTHERS, 32),
        Case("POST _search, 22 KB", Prepared("POST", by_post, bearer | form, criteria.encode()), _OURS + _OTHERS),
        Case("batch of 7, native", Prepared("POST", "/stu3", bearer | fhir, batch), ours + _OTHERS),
        Case("batch of 7, split", Prepared("POST", "/stu3", split | fhir, batch), ours),
    ]


async def _page_handle(gateway: Running, token: str) -> str:
    """Path and query of a further page that only a handle leads to."""
    url = f"http://127.0.0.1:{gateway.port}/stu3/Encounter?patient=p1"
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url, headers=headers) as response:
        bundle = await response.json(content_type=None)
    link: str = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
    return link[link.index("/stu3/") :]
