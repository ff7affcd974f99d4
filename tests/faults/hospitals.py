"""Hospitals on this test's event loop: one that is well and serves many tenants, and those that do as a script says."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.faults.provider_faults import Script


@asynccontextmanager
async def well() -> AsyncIterator[str]:
    """The origin of a server where every first path segment is a hospital whose data bear that segment as a mark."""

    async def answer(request: web.BaseRequest) -> web.Response:
        _, mark, *rest = request.path.split("/")
        base = f"http://{request.host}/{mark}"
        patient: dict[str, Any] = {
            "resourceType": "Patient",
            "id": rest[-1] if rest else "1",
            "name": [{"family": mark}],
        }
        body: dict[str, Any] = patient
        if "page" in request.query and len(rest) < 2:
            body = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": {**patient, "id": "2"}}]}
        elif not rest or rest == [""]:
            asked = json.loads(await request.read())
            entry: dict[str, Any] = {"resource": patient, "response": {"status": "200 OK"}}
            body = {
                "resourceType": "Bundle",
                "type": "batch-response",
                "entry": [entry for _ in asked.get("entry", ())],
            }
        elif len(rest) == 1 or rest[1] == "_search":
            page = {"relation": "next", "url": f"{base}?page={mark}"}
            entry = {"fullUrl": f"{base}/Patient/1", "resource": {**patient, "id": "1"}}
            body = {"resourceType": "Bundle", "type": "searchset", "total": 1, "link": [page], "entry": [entry]}
        if "slow" in request.query:
            await asyncio.sleep(float(request.query["slow"]))
        return web.json_response(body, content_type="application/fhir+json")

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class Scripted:
    """A hospital that does as `script` says on every connection, after it has read the request's head."""

    script: Script
    base_url: str = ""
    heads: list[bytes] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def connections(self) -> int:
        return len(self.heads)


@asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    hospital = Scripted(script)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            hospital.heads.append(await reader.readuntil(b"\r\n\r\n"))
            hospital.reached.set()
            await hospital.script(reader, writer)
        writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    hospital.base_url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/fhir"
    try:
        yield hospital
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
