"""Hospitals that a test scripts, and the app's requests to them through the gateway."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from shared.message import Response
from tests.deployment import Deployment

PATIENT = {"resourceType": "Patient", "id": "1", "name": [{"family": "Black"}]}


def batch(*urls: str) -> dict[str, Any]:
    """A batch of GETs."""
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


@dataclass
class Hospital:
    """A scripted FHIR server at /fhir of a port of its own, which keeps its requests, and one tenant's way to it.

    It answers everything with a patient until a test says otherwise.
    """

    deployment: Deployment
    base_url: str = ""
    tenant: str = ""
    token: str = ""
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = field(init=False)

    def __post_init__(self) -> None:
        self.answers(PATIENT)

    def answers(self, body: object, status: int = 200, **headers: str) -> None:
        """Always this; a `str` or `bytes` body goes out as it is, anything else as JSON."""
        raw = body if isinstance(body, str | bytes) else json.dumps(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Content-Type", "application/fhir+json; charset=utf-8")

        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status, body=raw.encode() if isinstance(raw, str) else raw, headers=sent)

        self.answer = answer

    async def row(self, version: str = "stu3", **columns: object) -> None:
        """A new tenant's row for this hospital: what is sent from now on is that tenant's."""
        self.tenant = await self.deployment.tenant(self.base_url, version, **columns)
        self.token = await self.deployment.token(self.tenant)

    async def send(
        self, method: str, target: str, body: bytes | str | dict[str, Any] = b"", **headers: str
    ) -> Response:
        """The app's request, with a token for this hospital's tenant."""
        if not self.token:
            await self.row()
        return await self.deployment.send(method, target, self.token, body, **headers)

    @property
    def targets(self) -> list[str]:
        """The raw request targets, as they came over the wire."""
        return [request.raw_path for request in self.requests]


@asynccontextmanager
async def served(hospital: Hospital) -> AsyncIterator[Hospital]:
    """Serves a hospital, and sets its base URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        hospital.requests.append(request)
        hospital.bodies.append(await request.read())
        return await hospital.answer(request)

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hospital.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/fhir"
    try:
        yield hospital
    finally:
        await runner.cleanup()


@pytest.fixture
async def hospital(deployment: Deployment) -> AsyncIterator[Hospital]:
    async with served(Hospital(deployment)) as hospital:
        yield hospital
