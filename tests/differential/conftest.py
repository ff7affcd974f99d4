"""A gateway in a process of its own, a provider that answers as its case says, and HAPI as the second reader."""

import asyncio
import json
import struct
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from shared.fhir.versions import FhirFormat, FhirVersion
from tests.conformance import servers
from tests.deployment import Deployment
from tests.differential.cases import OPERATION, PAGE, ROWS, TYPES, Case, Row
from tests.differential.documents import plain
from tests.faults.conftest import own_app, stack, written_page
from tests.host import App, Host, HttpResponse

__all__ = ["own_app", "stack", "written_page"]
_AT_ONCE = 32
_MAX_LINE = 16 * 1_048_576


@pytest.fixture(scope="session")
async def host(stack: Deployment) -> AsyncIterator[Host]:
    host = await stack.host()
    yield host
    assert host.unexpected() == []


@dataclass(frozen=True)
class Sent:
    """What the gateway asked of the provider; `path` is below its base."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def format(self) -> FhirFormat:
        return FhirFormat.XML if "xml" in self.headers.get("content-type", "") else FhirFormat.JSON


@dataclass
class Way:
    """Through the gateway and back: what a case's request made of the gateway's, and what came of its answers."""

    app: App
    base_url: str
    tenants: dict[Row, str]
    pages: dict[Row, str] = field(default_factory=dict)
    under_way: dict[str, Case] = field(default_factory=dict)
    sent: defaultdict[str, list[Sent]] = field(default_factory=lambda: defaultdict(list))

    async def go(self, cases: list[Case]) -> list[tuple[Case, list[Sent], HttpResponse]]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(case: Case) -> tuple[Case, list[Sent], HttpResponse]:
            async with slots:
                return await self._go(case)

        return await asyncio.gather(*map(one, cases))

    async def _go(self, case: Case) -> tuple[Case, list[Sent], HttpResponse]:
        key = f"case-{case.number}"
        self.under_way[key] = case
        headers = {**case.headers, "X-Request-Id": key}
        content = None
        if case.sent is not None:
            plainly = case.row.version.media_type(case.sent.format)
            headers["Content-Type"] = plainly if case.answers else _content_type(case, case.sent.format)
            content = case.sent.content
        tenant, base = self.tenants[case.row], case.row.version.value
        path = self.pages[case.row] if case.path == PAGE else case.path
        answer = await self.app.fhir(tenant, path, case.method, base, headers=headers, data=content)
        del self.under_way[key]
        return case, self.sent.pop(key, []), answer

    async def answer(self, request: web.BaseRequest) -> web.Response:
        key = request.headers["X-Request-Id"]
        case, sent = self.under_way[key], self.sent[key]
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = request.raw_path.removeprefix("/fhir").removeprefix("/")
        sent.append(Sent(request.method, path, headers, await request.read()))
        if not case.answers:
            return web.json_response({"resourceType": "Patient", "id": "1"}, content_type="application/fhir+json")
        document = case.answers[min(len(sent), len(case.answers)) - 1]
        return web.Response(body=document.content, headers={"Content-Type": _content_type(case, document.format)})


def _content_type(case: Case, format: FhirFormat) -> str:
    return case.row.version.media_type(format) + (f"; charset={case.charset}" if case.charset else "")


@pytest.fixture(scope="session")
async def way(stack: Deployment, own_app: App) -> AsyncIterator[Way]:
    way = Way(own_app, "", {})
    runner = web.ServerRunner(web.Server(way.answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        way.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/fhir"
        for row in ROWS:
            operations = f"Patient/{OPERATION}"
            columns = {"Access": row.access, "Batch": row.batch, "Types": ",".join(TYPES), "Operations": operations}
            way.tenants[row] = await stack.tenant(way.base_url, row.version.value, **columns)
            await own_app.token(way.tenants[row])
            way.pages[row] = await _page(way, row)
        yield way
    finally:
        await runner.cleanup()


async def _page(way: Way, row: Row) -> str:
    """The path of a page handle."""
    link = {"relation": "next", "url": f"{way.base_url}?_getpages=1"}
    answer = plain({"resourceType": "Bundle", "type": "searchset", "link": [link]}, FhirFormat.JSON)
    ((_, _, found),) = await way.go([Case(0, row, "GET", "Patient?name=x", None, (answer,))])
    return str(json.loads(found.body)["link"][0]["url"]).partition(f"/{row.version.value}/")[2]


@dataclass(frozen=True)
class Reader:
    """HAPI's own parsers in a process that reads one document after the other (`reader/Reader.java`)."""

    into: asyncio.StreamWriter
    output: asyncio.StreamReader

    async def read(self, documents: Sequence[tuple[FhirVersion, FhirFormat, bytes]]) -> list[dict[str, Any]]:
        """What HAPI finds in each of the documents, or `unreadable` with the name of its error."""
        written = asyncio.create_task(self._write(documents))
        found = []
        for _ in documents:
            line = await self.output.readline()
            assert line, "the reader has ended"
            found.append(json.loads(line))
        await written
        return found

    async def _write(self, documents: Sequence[tuple[FhirVersion, FhirFormat, bytes]]) -> None:
        for version, format, content in documents:
            number = list(FhirVersion).index(version)
            self.into.write(struct.pack(">BBi", number, format is FhirFormat.XML, len(content)) + content)
            await self.into.drain()


@pytest.fixture(scope="session")
async def second_reader() -> AsyncIterator[Reader]:
    try:
        command = await servers.hapi("reader.Reader")
    except servers.Unavailable as reason:
        pytest.skip(str(reason))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_MAX_LINE)
    assert process.stdin is not None
    assert process.stdout is not None
    yield Reader(process.stdin, process.stdout)
    process.stdin.close()
    await process.wait()
