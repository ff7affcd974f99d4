"""Many tenants, slow providers, dead ones, and memory."""

import asyncio
import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench import recorded, servers
from bench.deployment import Deployment
from bench.process import PROJECT, Running
from bench.stand_ins import tenant_id
from bench.wrk import Load, Prepared, connected, load

PROVIDERS = 50
BATCH_MILLISECONDS = 100
IN_FLIGHT = 500
_DEAD_PER_SECOND = 20
_DEAD_TIMEOUT_SECONDS = 2
_PROVIDER_MILLISECONDS = 20
_WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Memory:
    """The gateway's memory after so many requests, drawn from so many tenants."""

    tenants: int
    at_start: int
    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class DeadProvider:
    """p99 in milliseconds of 49 healthy providers' requests, alone and with the fiftieth dead: each round's."""

    alone: tuple[float, ...]
    with_dead: tuple[float, ...]

    @property
    def share(self) -> float:
        """With the dead one, as a multiple of alone, in the rounds that were disturbed least."""
        return min(self.with_dead) / min(self.alone)


async def memory(
    deployment: Deployment, folder: Path, tenants: int, requests: Sequence[int], *, seconds: int
) -> Memory:
    """The gateway's memory after each number of `requests`, from tenants drawn at random."""
    async with servers.in_worker(PROJECT, deployment.environment) as gateway:
        reads = [_read(await deployment.token(tenant_id(number))) for number in range(tenants)]
        await _warm_up(gateway, reads[0])
        at_start = gateway.memory_bytes()
        points: list[tuple[int, int]] = []
        done = 0
        for target in requests:
            while done < target:
                random.shuffle(reads)
                done += int((await load(gateway, reads, folder, connections=32, seconds=seconds)).requests)
            points.append((done, gateway.memory_bytes()))
        return Memory(tenants, at_start, tuple(points))


async def in_flight(deployment: Deployment, folder: Path, *, seconds: int) -> Load:
    """500 connections at a provider that takes 500 ms for everything."""
    async with servers.stand_ins() as slow, servers.in_worker(PROJECT, deployment.environment) as gateway:
        tenant = await deployment.tenant(f"http://127.0.0.1:{slow.port}/500/fhir", MaxConcurrent="1000")
        request = _read(await deployment.token(tenant))
        await _warm_up(gateway, request)
        await load(gateway, [request], folder, connections=IN_FLIGHT, seconds=4)
        return await load(gateway, [request], folder, connections=IN_FLIGHT, seconds=seconds)


async def split_batch(deployment: Deployment, folder: Path, *, seconds: int) -> Load:
    """One batch at a time, of seven reads that take the provider 100 ms each and that the gateway takes apart."""
    async with servers.stand_ins() as slow, servers.in_worker(PROJECT, deployment.environment) as gateway:
        base = f"http://127.0.0.1:{slow.port}/{BATCH_MILLISECONDS}/fhir"
        token = await deployment.token(await deployment.tenant(base, Batch="split"))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
        request = Prepared("POST", "/stu3", headers, recorded.batch(servers.BATCH_ENTRIES))
        await _warm_up(gateway, request)
        return await load(gateway, [request], folder, connections=1, seconds=seconds)


async def dead_provider(deployment: Deployment, folder: Path, *, rounds: int, seconds: int) -> DeadProvider:
    """Fifty providers of 20 ms, one of which takes connections and never responds, at a load well below the most."""
    async with servers.stand_ins() as slow, servers.in_worker(PROJECT, deployment.environment) as gateway:
        base = f"http://127.0.0.1:{slow.port}/{_PROVIDER_MILLISECONDS}/fhir"
        healthy = [_read(await deployment.token(await deployment.tenant(base))) for _ in range(PROVIDERS - 1)]

        async def p99(seconds: int) -> float:
            return (await load(gateway, healthy, folder, connections=16, seconds=seconds)).p99

        await _warm_up(gateway, healthy[0])
        await p99(2)
        alone, with_dead = [], []
        # A port where connections are made and nobody ever says anything.
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            url, timeout = f"http://127.0.0.1:{listener.getsockname()[1]}/fhir", str(_DEAD_TIMEOUT_SECONDS)
            dead = await deployment.token(await deployment.tenant(url, TimeoutSeconds=timeout))
            for _ in range(rounds):
                alone.append(await p99(seconds))
                sending = asyncio.create_task(_send_steadily(gateway, dead))
                try:
                    with_dead.append(await p99(seconds))
                finally:
                    sending.cancel()
                    await asyncio.wait({sending})
        return DeadProvider(tuple(alone), tuple(with_dead))


async def _warm_up(gateway: Running, request: Prepared) -> None:
    async with connected(gateway.port) as send:
        for _ in range(_WARM_UP):
            await send(request)


def _read(token: str) -> Prepared:
    return Prepared("GET", "/stu3/Patient/p1", {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"})


async def _send_steadily(gateway: Running, token: str) -> None:
    """Sends a read every 50 ms, whether or not the ones before have a response."""
    url = f"http://127.0.0.1:{gateway.port}/stu3/Patient/p1"
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as sent:

        async def send() -> None:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    await response.read()

        while True:
            sent.create_task(send())
            await asyncio.sleep(1 / _DEAD_PER_SECOND)
