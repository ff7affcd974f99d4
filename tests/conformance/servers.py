"""FHIR servers that others wrote, each started as a process of its own and loaded over HTTP."""

import asyncio
import importlib.metadata
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from local.child_process import ChildProcess
from local.hospitals.hospital import HOSPITALS
from local.hospitals.resources import resources
from shared.fhir.versions import FhirFormat, FhirVersion
from tests.clients import installation
from tests.clients.installation import Unavailable

DSTU2, STU3, R4, R4B, R5 = FhirVersion
OBSERVATIONS = 120
_TYPES = ("Location", "Patient", "Encounter", "Condition", "Observation")
_HERE = Path(__file__).parent
_PROJECT = _HERE / "hapi"
_FHIRSTARTER = _HERE.parents[1] / ".fhirstarter"
_START_SECONDS = 60.0
_AT_ONCE = 8


@dataclass(frozen=True)
class Server:
    """A server under test: `key` names it in tests and in the table, `title` and `release` for people."""

    key: str
    title: str
    version: FhirVersion


SERVERS = (
    Server("hapi-dstu2", "HAPI FHIR", DSTU2), Server("hapi-stu3", "HAPI FHIR", STU3),
    Server("hapi-r4", "HAPI FHIR", R4), Server("hapi-r4b", "HAPI FHIR", R4B), Server("hapi-r5", "HAPI FHIR", R5),
    Server("medplum-r4", "Medplum", R4),
    Server("fhirstarter-stu3", "fhirstarter", STU3), Server("fhirstarter-r4b", "fhirstarter", R4B),
    Server("fhirstarter-r5", "fhirstarter", R5),
)  # fmt: skip
HAPI, FHIRSTARTER = ([each for each in SERVERS if each.title == title] for title in ("HAPI FHIR", "fhirstarter"))


@dataclass(frozen=True)
class Running:
    """What runs: base URLs by the servers' keys, and why the others do not."""

    bases: Mapping[str, str]
    unavailable: Mapping[str, str]


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    """Starts and loads all servers side by side, and stops them."""
    bases: dict[str, str] = {}
    unavailable: dict[str, str] = {}

    async def start(keys: Sequence[str], start: Callable[[AsyncExitStack], Awaitable[Sequence[str]]]) -> None:
        try:
            bases.update(zip(keys, await start(processes), strict=True))
        except Unavailable as reason:
            unavailable.update(dict.fromkeys(keys, str(reason)))

    async with AsyncExitStack() as processes:
        async with asyncio.TaskGroup() as starting:
            starting.create_task(start([server.key for server in HAPI], start_hapi))
            starting.create_task(start(["medplum-r4"], _start_medplum))
            for server in FHIRSTARTER:
                starting.create_task(start([server.key], partial(_start_fhirstarter, version=server.version)))
        versions = {server.key: server.version for server in SERVERS}
        await asyncio.gather(*(load(base, versions[key], charts(versions[key])) for key, base in bases.items()))
        yield Running(bases, unavailable)


def releases() -> dict[str, str]:
    """The release of each server that runs here, by its title."""
    packages = json.loads((installation.CLIENTS / "package-lock.json").read_text())["packages"]
    pom = (_PROJECT / "pom.xml").read_text()
    hapi = re.search(r"<hapi.version>(.+)</hapi.version>", pom)
    assert hapi is not None
    return {
        "HAPI FHIR": hapi[1],
        "Medplum": packages["node_modules/@medplum/fhir-router"]["version"],
        "fhirstarter": fhirstarter().version,
    }


def charts(version: FhirVersion) -> Iterator[dict[str, Any]]:
    """What a server is loaded with: the demo hospital of its version, with fewer observations."""
    hospital = next(hospital for hospital in HOSPITALS if hospital.version is version)
    by_type: dict[str, list[dict[str, Any]]] = {type: [] for type in _TYPES}
    for resource in resources(hospital, date(2026, 1, 1)):
        by_type.get(resource["resourceType"], []).append(resource)
    del by_type["Observation"][OBSERVATIONS:]
    for type in _TYPES:
        yield from by_type[type]


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def process(command: Sequence[str], url: str, **environment: str) -> AsyncIterator[None]:
    """Runs a server until the block ends; entered once it answers at `url`."""
    child = await ChildProcess.start(command[0], command, os.environ | environment)
    ended = asyncio.create_task(child.ended())
    try:
        async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession() as session:
            while not await _answers(session, url):
                assert not ended.done(), ended.result()
                await asyncio.sleep(0.05)
        yield
    finally:
        ended.cancel()
        await child.stop()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status < 500
    except aiohttp.ClientError:
        return False


async def hapi(main_class: str, *arguments: str) -> list[str]:
    """The command that runs a class of the Java project, once that is built. Raises Unavailable."""
    return [*await asyncio.to_thread(installation.java, _PROJECT), main_class, *arguments]


async def start_hapi(processes: AsyncExitStack) -> list[str]:
    """Starts HAPI FHIR, empty; gives its bases in the order of HAPI. Raises Unavailable."""
    port = free_port()
    command = await hapi("server.HapiServer", str(port))
    origin = f"http://127.0.0.1:{port}"
    await processes.enter_async_context(process(command, f"{origin}/r4/metadata"))
    return [f"{origin}/{server.version.value}" for server in HAPI]


async def _start_medplum(processes: AsyncExitStack) -> list[str]:
    node = await asyncio.to_thread(installation.node)
    port = free_port()
    base = f"http://127.0.0.1:{port}/fhir/R4"
    script = str(installation.CLIENTS / "medplum_server.mjs")
    await processes.enter_async_context(process((node, script, str(port)), f"{base}/Patient"))
    return [base]


OTHERS_PYTHON = _FHIRSTARTER / "bin" / "python"
"""Runs what has an environment of its own."""


def fhirstarter() -> importlib.metadata.Distribution:
    """fhirstarter's distribution, in an environment of its own. Raises Unavailable where `make test` has made none."""
    paths = [str(path) for path in _FHIRSTARTER.glob("lib/python*/site-packages")]
    for found in importlib.metadata.distributions(name="fhirstarter", path=paths):
        return found
    raise Unavailable("fhirstarter is not installed: make test installs it")


async def _start_fhirstarter(processes: AsyncExitStack, version: FhirVersion) -> list[str]:
    fhirstarter()
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = (str(OTHERS_PYTHON), str(_HERE / "fhirstarter_server.py"), str(port))
    await processes.enter_async_context(process(command, f"{base}/metadata", FHIR_SEQUENCE=version.name))
    return [base]


async def load(base: str, version: FhirVersion, resources: Iterable[dict[str, Any]]) -> None:
    """Puts resources on a server."""
    headers = {"Content-Type": version.media_type(FhirFormat.JSON)}
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def put(session: aiohttp.ClientSession, resource: dict[str, Any]) -> None:
        url = f"{base}/{resource['resourceType']}/{resource['id']}"
        async with at_once, session.put(url, data=_text(resource), headers=headers) as response:
            assert response.status in (200, 201), await response.text()

    async with aiohttp.ClientSession() as session:
        first, *others = resources
        await put(session, first)
        await asyncio.gather(*(put(session, resource) for resource in others))


def _text(resource: dict[str, Any]) -> str:
    """A resource as JSON whose decimals end in a zero, which is lost where a number is read and written again."""
    return re.sub(r'("value": \d+\.\d)\b', r"\g<1>0", json.dumps(resource))
