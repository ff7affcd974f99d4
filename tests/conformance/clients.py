"""FHIR and OAuth clients that others wrote, each as a program that takes the same steps on both sides."""

import asyncio
import json
import os
import re
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import pytest

from shared.directory.provider import BatchMode
from tests.clients import installation
from tests.clients.installation import CLIENTS as PROGRAMS
from tests.clients.installation import Unavailable
from tests.conformance.conftest import Gateway
from tests.conformance.servers import FHIRSTARTER, HAPI, OBSERVATIONS, SERVERS, Running, Server, releases

STEPS = {
    "token": "token",
    "statement": "statement",
    "read": "read",
    "missing": "read of what is not there",
    "search": "search, `_include`",
    "post": "search by POST",
    "pages": "pages, to the last one",
    "history": "history, vread",
    "write": "create, update, delete",
    "batch": "batch",
    "xml": "all in XML",
}
"""What a program may do, by the names it prints, and the columns of the table."""

_ALL, _HAPI, _FHIRSTARTER = (tuple(server.key for server in found) for found in (SERVERS, HAPI, FHIRSTARTER))

DIFFERENCES = {
    "the server has no batch: the gateway takes it apart": {
        (client, server, "batch")
        for client in ("hapi", "fhir-sdk", "medplum", "fhir-kit-client", "fhirclient-js", "fhirpy")
        for server in (*_HAPI, *_FHIRSTARTER)
    },
    "the server has no statement: the gateway has its own": {
        (client, "medplum-r4", "statement")
        for client in ("fhir-sdk", "google-fhir", "medplum", "fhir-kit-client", "fhirclient-js", "fhirpy", "fhirclient")
    },
    "the client can't follow the server's relative links; the gateway's are absolute": {
        *(("fhirclient-js", server, "write") for server in _FHIRSTARTER),
        ("fhirclient", "fhirstarter-r4b", "pages"),
    },
    "the server's 404 is no FHIR: the gateway's is, and the client's error holds it": {
        ("fhir-kit-client", server, "history") for server in _FHIRSTARTER
    },
    "the client keeps only a link's query, and finds HAPI's further pages only by the gateway's handle in it": {
        ("medplum", "hapi-r4", "pages")
    },
}
"""The reasons why a client finds something else at the gateway, and where: client, server and step."""
_MAY_FAIL = ("history", "pages")
_SECONDS = 120.0
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r'"lastUpdated": ?"[^"]*"')
_PLACEHOLDER = "https://base.invalid/fhir"


@dataclass(frozen=True)
class Client:
    """A client and the servers (by their keys) that its program can talk to.

    `release` is what the lock files pin. `command` gives what starts the program, and raises Unavailable where that
    can't be had.
    """

    key: str
    title: str
    release: str
    servers: Sequence[str]
    command: Callable[[], Sequence[str]]


Found = Mapping[str, Mapping[str, Any]]
"""What a program found, by its steps: each has `found` or `error`."""


def _pinned(path: str, pattern: str) -> str:
    """The version that a file of the programs pins."""
    found = re.search(pattern, (PROGRAMS / path).read_text())
    assert found is not None
    return found[1]


def _npm(name: str, lock: str = "package-lock.json") -> str:
    return _pinned(lock, rf'"node_modules/{name}": {{\s+"version": "([^"]+)"')


def _maven(artifact: str) -> str:
    return _pinned("java/pom.xml", rf"<artifactId>{artifact}</artifactId>\s+<version>(.+)</version>")


def _python(module: str) -> Sequence[str]:
    return (sys.executable, "-m", f"tests.clients.{module}")


def _java(name: str) -> Sequence[str]:
    return (*installation.java(PROGRAMS / "java"), f"clients.{name}")


def _script(name: str) -> Sequence[str]:
    installation.node()
    return (installation.node((PROGRAMS / name).parent), str(PROGRAMS / name))


_TYPED = ("hapi-stu3", "hapi-r4", "medplum-r4")
_R4 = ("hapi-r4", "medplum-r4", "fhirstarter-r4b")
_RUST = _pinned("rust/Cargo.lock", r'name = "fhir-sdk"\nversion = "(.+)"')
_GO = _pinned("go/go.mod", r"google/fhir/go v(\S+)")
_JS = _npm("fhirclient", "fhirclient/package-lock.json")

_KIT = _npm("fhir-kit-client")
_SPRING = _maven("spring-security-oauth2-client")

CLIENTS = (
    Client("hapi", "HAPI FHIR client (Java)", releases()["HAPI FHIR"], _HAPI, partial(_java, "HapiClient")),
    Client("httpclient", "Apache HttpClient", _maven("httpclient5"), _HAPI, partial(_java, "ApacheClient")),
    Client("spring", "Spring Security OAuth client", _SPRING, _HAPI, partial(_java, "SpringClient")),
    Client(
        "fhir-sdk",
        "fhir-sdk (Rust)",
        _RUST,
        (*_TYPED, "hapi-r4b"),
        lambda: installation.rust(PROGRAMS / "rust", "fhir-sdk-client"),
    ),
    Client("google-fhir", "google/fhir (Go)", _GO, _TYPED, lambda: installation.go(PROGRAMS / "go")),
    Client("medplum", "MedplumClient", _npm("@medplum/core"), _R4[:2], partial(_script, "medplum_client.mjs")),
    Client("fhir-kit-client", "fhir-kit-client", _KIT, _ALL, partial(_script, "fhir_kit_client.mjs")),
    Client("fhirclient-js", "fhirclient (JavaScript)", _JS, _ALL, partial(_script, "fhirclient/client.mjs")),
    Client("fhirpy", "fhirpy", version("fhirpy"), _ALL, partial(_python, "fhirpy_client")),
    Client("fhirclient", "fhirclient (Python)", version("fhirclient"), _R4, partial(_python, "fhirclient_client")),
)
PAIRS = [
    pytest.param(client, server, id=f"{client.key}-{server.key}")
    for client in CLIENTS
    for server in SERVERS
    if server.key in client.servers
]
"""The tests' parameters: each client with each of its servers."""


async def compare(client: Client, server: Server, running: Running, gateway: Gateway) -> dict[str, str]:
    """The table's cells by step, once what a client finds at the gateway is what it finds at the server itself.

    What differs needs a reason in DIFFERENCES. Skips the test where server or client can't run here.
    """
    if server.key in running.unavailable:
        pytest.skip(running.unavailable[server.key])
    try:
        direct, through = await _both(client, server, running, gateway)
    except Unavailable as reason:
        pytest.skip(str(reason))
    ids = through["pages"].get("found")
    assert ids is None or len(set(ids)) == len(ids) == OBSERVATIONS
    assert through.keys() <= STEPS.keys()
    assert through.keys() - {"token"} == direct.keys()
    return {step: _cell((client.key, server.key, step), direct.get(step), through.get(step)) for step in STEPS}


def _cell(place: tuple[str, str, str], direct: Any, through: Any) -> str:
    client, server, step = place
    if through is None:
        return "–"
    if step == "token":
        assert "found" in through, through
        return "got"
    if through == direct:
        return "equal" if "found" in through or step == "missing" else "not done"
    reasons = [reason for reason, places in DIFFERENCES.items() if place in places]
    assert reasons, f"{client} at {server}, {step}:\n  direct  {direct}\n  gateway {through}"
    assert "found" in through or step in _MAY_FAIL, through
    return f"differs ({list(DIFFERENCES).index(reasons[0]) + 1})"


async def _both(client: Client, server: Server, running: Running, gateway: Gateway) -> tuple[Found, Found]:
    """What a client's program finds at a server itself, and at the gateway in front of it."""
    command = await asyncio.to_thread(client.command)
    tenant, credentials = gateway.accounts[server.key, BatchMode.SPLIT]
    through = {
        "TOKEN_URL": f"{gateway.origin}/oauth2/token",
        "CLIENT_ID": credentials.client_id,
        "CLIENT_SECRET": credentials.client_secret,
        "TENANT": tenant,
        "TOKEN": await gateway.token(server, BatchMode.SPLIT),
    }
    direct = await _steps(command, server, running.bases[server.key], {})
    return direct, await _steps(command, server, gateway.base(server), through)


async def _steps(command: Sequence[str], server: Server, base: str, settings: Mapping[str, str]) -> Found:
    own = uuid.uuid4().hex
    common = {"FHIR_BASE": base, "VERSION": server.version.value, "OWN": own}
    environment = os.environ | common | settings
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=PROGRAMS.parents[1], stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, errors.decode()[-2000:]
    text = output.decode().replace(base, _PLACEHOLDER).replace(quote(base, safe=""), quote(_PLACEHOLDER, safe=""))
    text = _TIME.sub('"lastUpdated": ""', _UUID.sub("id", text.replace(own, "own")))
    results = [json.loads(line, parse_float=str) for line in text.splitlines()]
    return {result.pop("step"): result for result in results}
