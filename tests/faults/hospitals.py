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

from shared.message import Response
from tests.faults.provider_faults import Fault, Script
from tests.host import HttpResponse
from tests.raw_server import listening


@asynccontextmanager
async def well() -> AsyncIterator[str]:
    """The origin of a server where every first path segment is a hospital whose data bear that segment as a mark."""

    async def answer(request: web.BaseRequest) -> web.Response:
        _, mark, *rest = request.path.split("/")
        base = f"http://{request.host}/{mark}"
        patient: dict[str, Any] = {"resourceType": "Patient", "id": "1", "name": [{"family": mark}]}
        entry: dict[str, Any] = {"resource": patient}
        found: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "entry": [entry]}
        if "page" in request.query and len(rest) < 2:
            body = found
        elif not rest or rest == [""]:
            entry["response"] = {"status": "200 OK"}
            count = len(json.loads(await request.read()).get("entry", ()))
            body = {**found, "type": "batch-response", "entry": [entry] * count}
        elif len(rest) == 1 or rest[1] == "_search":
            entry["fullUrl"] = f"{base}/Patient/1"
            body = {**found, "total": 1, "link": [{"relation": "next", "url": f"{base}?page={mark}"}]}
        else:
            body = {**patient, "id": rest[-1]}
        await asyncio.sleep(float(request.query.get("slow", 0)))
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

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            hospital.heads.append(await reader.readuntil(b"\r\n\r\n"))
            hospital.reached.set()
            await hospital.script(reader, writer)
        writer.close()

    async with listening(serve, tls) as origin:
        hospital.base_url = f"{origin}/fhir"
        yield hospital


def judged(answer: HttpResponse | Response, fault: Fault, hospital: Scripted) -> None:
    """Fails unless the answer is the fault's: the right status, an outcome that names nobody, or the breaker's 503."""
    assert answer.status in fault.statuses | {503}, answer
    if answer.status == 200:
        assert json.loads(answer.body)["resourceType"] == "Patient"
        return
    assert json.loads(answer.body)["resourceType"] == "OperationOutcome"
    assert (answer.status == 503) <= ("Retry-After" in answer.headers)
    shown = answer.body + str(answer.headers).encode()
    for hidden in (hospital.base_url.split("/")[2], "169.254", "evil.example", "WWW-Authenticate"):
        assert hidden.encode() not in shown
    assert "Location" not in answer.headers
