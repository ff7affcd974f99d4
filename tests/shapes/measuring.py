"""What a body costs a gateway in a process of its own, and what another tenant sees of it meanwhile."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from local.azurite.table_service import TableService
from shared.fhir.versions import FhirVersion
from tests.faults import hospitals
from tests.faults.stack import running
from tests.host import App
from tests.shapes.shapes import MEGABYTE, SHAPES, Shape, Way

_GATEWAY = "https://gateway.example/stu3"
_SECONDS = 200


@dataclass(frozen=True)
class Figures:
    """`hold` is the longest that the event loop was held, `work` the most it worked without a turn for others (ms).

    `cpu` is the processor time (ms per MB), `memory` the peak beyond what the process held before, in bodies. `others`
    has the milliseconds of each of another tenant's requests, and `wrong` their statuses but 200.
    """

    statuses: list[int]
    hold: float
    work: float
    cpu: float
    memory: float
    others: list[float]
    wrong: list[int]


@dataclass
class Bench:
    """A gateway under watch, and a provider that answers what it is told to, after `pause` seconds."""

    app: App
    watch: aiohttp.ClientSession
    base_url: str = ""
    tenant: str = ""
    other: str = ""
    answer: tuple[bytes, str] = b"", ""
    pause: float = 0.0

    async def measure(self, shape: Shape, way: Way, size: int, times: int = 1, at_once: int = 1) -> Figures:
        """The shape through the gateway, `times` one after the other or `at_once`."""
        media = FhirVersion.STU3.media_type(shape.format)
        base, type = (_GATEWAY, "batch") if way is Way.UP else (self.base_url, "searchset")
        body = shape.body(size, base, type)
        small = '{"resourceType":"Bundle","type":"batch-response"}' if shape.is_bundle else '{"resourceType":"Patient"}'
        self.answer = (small.encode(), "application/fhir+json") if way is Way.UP else (body, media)
        await (await self.watch.get("http://watched/begin")).read()
        others = asyncio.create_task(self._others())
        statuses = []
        for _ in range(times):
            statuses += await asyncio.gather(*(self._send(shape, way, body, media) for _ in range(at_once)))
        others.cancel()
        (seen,) = await asyncio.gather(others, return_exceptions=True)
        figures = await (await self.watch.get("http://watched/end")).json()
        assert isinstance(seen, asyncio.CancelledError), seen
        return Figures(
            statuses,
            figures["hold"] * 1000,
            figures["work"] * 1000,
            figures["cpu"] * 1000 / (len(body) / MEGABYTE * times * at_once),
            figures["memory"] / (len(body) * at_once),
            [milliseconds for status, milliseconds in self._seen if status == 200],
            [status for status, _ in self._seen if status != 200],
        )

    async def _send(self, shape: Shape, way: Way, body: bytes, media: str) -> int:
        if way is Way.DOWN:
            path = "Patient?name=x" if shape.is_bundle else "Patient/1"
            headers = {"Accept": media, "Accept-Encoding": "identity"}
            return (await self.app.fhir(self.tenant, path, headers=headers)).status
        method, path = ("POST", "") if shape.is_bundle else ("PUT", "Patient/1")
        headers = {"Content-Type": media}
        return (await self.app.fhir(self.tenant, path, method, headers=headers, data=io.BytesIO(body))).status

    async def _others(self) -> None:
        """Ten requests a second of another tenant."""
        self._seen: list[tuple[int, float]] = []
        pending: set[asyncio.Task[None]] = set()

        async def ask() -> None:
            began = time.monotonic()
            answer = await self.app.fhir(self.other, "Patient/1")
            self._seen.append((answer.status, (time.monotonic() - began) * 1000))

        try:
            while True:
                pending.add(asyncio.create_task(ask()))
                await asyncio.sleep(0.1)
        finally:
            await asyncio.gather(*pending)

    async def provide(self, request: web.BaseRequest) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        if self.pause:
            await asyncio.sleep(self.pause)
        content, media = self.answer
        return web.Response(body=content, headers={"Content-Type": media})


@asynccontextmanager
async def bench(folder: Path, tables: TableService) -> AsyncIterator[Bench]:
    """A gateway with the settings of a deployment that sets none."""
    socket = str(folder / "watch")
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with (
        running(folder, tables) as (stack, _, _),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as watch,
        hospitals.well() as origin,
    ):
        host = await stack.host(module="tests.shapes.watched", WATCH_SOCKET=socket)
        async with stack.app(host) as own, aiohttp.ClientSession(timeout=timeout) as session:
            own.session, unlimited = session, own.session
            measured = Bench(own, watch)
            async with _provider(measured):
                columns = {"Access": "write", "TimeoutSeconds": str(_SECONDS)}
                measured.tenant = await stack.tenant(measured.base_url, **columns)
                measured.other = await stack.tenant(f"{origin}/other")
                await own.token(measured.other)
                for shape in SHAPES[:2]:  # what is loaded and made once is no part of the figures
                    for way in Way:
                        await measured.measure(shape, way, 10_000)
                yield measured
            own.session = unlimited


@asynccontextmanager
async def _provider(measured: Bench) -> AsyncIterator[None]:
    runner = web.ServerRunner(web.Server(measured.provide, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    measured.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/fhir"
    try:
        yield
    finally:
        await runner.cleanup()
