"""The project's functions run in the real Functions worker, and answer there as they do in the local functions host."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web
from yarl import URL

from bench import recorded, servers
from bench.cores import LOAD_CORE
from bench.deployment import PUBLIC_BASE_URL, Deployment, deployed
from bench.process import PROJECT, ProcessEnded, Running, running
from local.ports import free_port
from local.serving import serving
from tests.host import with_upkeep_every_second

NO_WORKER = "no Python 3.13 or later: make .functions-worker/.installed"
pytestmark = pytest.mark.skipif(not servers.WORKER_PYTHON.exists(), reason=NO_WORKER)

_EACH_OWN = {"Date", "Server", "X-Request-Id", "Server-Timing"}


class Provider:
    """A FHIR server that answers everything with a Patient, and keeps what it was asked."""

    def __init__(self) -> None:
        self.base_url = ""
        self.asked: list[tuple[str, str, bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.raw_path, await request.read()))
        body = recorded.searchset if "Observation" in request.path else recorded.patient
        return web.Response(body=body(self.base_url), content_type="application/fhir+json")


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.answer)
    async with serving(web.AppRunner(app, access_log=None)) as port:
        provider.base_url = f"http://127.0.0.1:{port}/fhir"
        yield provider


@pytest.fixture(scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path_factory.mktemp("deployment")) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("host") / "log"


@pytest.fixture(scope="module")
async def worker(deployment: Deployment, log: Path) -> AsyncIterator[Running]:
    more = ("discovery_fn", "health_fn", "portal_fn", "root_fn", "upkeep_fn")
    with log.open("wb") as errors:
        async with servers.in_worker(PROJECT, deployment.environment, more=more, errors=errors) as worker:
            yield worker


@pytest.fixture(scope="module")
async def local(deployment: Deployment) -> AsyncIterator[Running]:
    port = free_port()
    functions = ("metadata_fn", "token_fn", "fhir_proxy_fn")
    only = [argument for name in functions for argument in ("--only", name)]
    command = [sys.executable, "-m", "local.functions_host", "--port", str(port), "--root", str(PROJECT), *only]
    async with running(command, port, core=LOAD_CORE, environment=deployment.environment) as local:
        yield local


@pytest.fixture(scope="module")
async def tenant(deployment: Deployment, provider: Provider) -> str:
    return await deployment.tenant(provider.base_url)


@pytest.fixture(scope="module")
async def bearer(deployment: Deployment, tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {await deployment.token(tenant)}"}


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


async def ask(server: Running, path: str, method: str = "GET", **options: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    url = URL(f"http://127.0.0.1:{server.port}{path}", encoded=True)
    async with aiohttp.ClientSession() as session, session.request(method, url, **options) as response:
        return response, await response.read()


async def test_a_token_reads_a_patient_whose_links_lead_to_the_gateway(
    worker: Running, deployment: Deployment, tenant: str, provider: Provider
) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response, body = await ask(worker, "/oauth2/token", "POST", data=deployment.token_form(tenant), headers=form)
    assert response.status == 200, body
    bearer = {"Authorization": f"Bearer {json.loads(body)['access_token']}"}
    response, body = await ask(worker, "/stu3/Patient/p1", headers=bearer)
    assert response.status == 200
    assert json.loads(body) == json.loads(recorded.patient(f"{PUBLIC_BASE_URL}/stu3"))
    assert provider.asked[-1][:2] == ("GET", "/fhir/Patient/p1")


async def test_query_and_body_arrive_byte_for_byte(worker: Running, bearer: dict[str, str], provider: Provider) -> None:
    query = "date=ge2026-01-01&date=lt2026-02-01&code=http%3A%2F%2Floinc.org%7C8867-4,8310-5&_sort=-date&patient=p+1"
    response, body = await ask(worker, f"/stu3/Observation?{query}", headers={**bearer, "X-Request-Id": "an-apps.1"})
    assert (response.status, response.headers["X-Request-Id"]) == (200, "an-apps.1"), body
    assert provider.asked[-1] == ("GET", f"/fhir/Observation?{query}", b"")
    hops = [hop.partition(";dur=")[0] for hop in response.headers["Server-Timing"].split(", ")]
    assert hops == ["auth", "directory", "credential", "upstream", "gateway"]
    body = b"date=ge2026-01-01&date=lt2026-02-01&code=%C3%A4+%2B"
    headers = {**bearer, "Content-Type": "application/x-www-form-urlencoded"}
    response, _ = await ask(worker, "/stu3/Observation/_search", "POST", headers=headers, data=body)
    assert response.status == 200
    assert provider.asked[-1] == ("POST", "/fhir/Observation/_search", body)


async def test_the_host_gets_the_audit_line(worker: Running, bearer: dict[str, str], log: Path) -> None:
    await ask(worker, "/stu3/Patient/p1", headers={**bearer, "X-Request-Id": "to-be-found"})
    # It was sent before the answer, in the same stream.
    line = next(line for line in lines(log) if "to-be-found" in line)
    assert json.loads(line.removeprefix("INFO gateway.audit: "))["event"] == "fhir"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        *((method, path, 200) for method in ("GET", "HEAD") for path in ("/stu3/metadata", "/stu3/Patient/p1")),
        *(("OPTIONS", "/stu3/Patient/p1", 204), ("DELETE", "/stu3/Patient/p1", 403), ("GET", "/oauth2/keys", 200)),
        *(("POST", "/oauth2/token", 400), ("GET", "/oauth2/nowhere", 404)),
    ],
)
async def test_the_local_host_answers_as_the_real_worker(
    worker: Running, local: Running, bearer: dict[str, str], method: str, target: str, status: int
) -> None:
    found = []
    for server in (worker, local):
        response, body = await ask(server, target, method, headers=bearer)
        headers = {name: value for name, value in response.headers.items() if name.title() not in _EACH_OWN}
        found.append((response.status, headers, body))
    assert found[0] == found[1]
    assert found[0][0] == status
    assert found[0][2] != b"" or method == "HEAD" or status in (204, 404)


async def test_the_other_functions_load_too_and_nothing_is_read_without_a_token(worker: Running) -> None:
    for method, target, status, content_type in (
        ("GET", "/health", 200, "application/json"),
        ("PUT", "/fhir%0a/Patient", 404, "application/fhir+json"),
        ("GET", "/portal/", 200, "text/html"),
        ("GET", "/stu3/Patient/p1", 401, "application/fhir+json"),
    ):
        response, _ = await ask(worker, target, method)
        assert (response.status, response.content_type) == (status, content_type)


def write_function(root: Path, name: str, result: str) -> None:
    """An app's function at /{name} that returns this expression of `req`."""
    (root / name).mkdir()
    code = f"import azure.functions as func\nasync def main(req: func.HttpRequest): return {result}\n"
    (root / name / "__init__.py").write_text(code)
    declared = (servers.FLOOR / "floor_fn" / "function.json").read_text().replace("{*path}", name)
    (root / name / "function.json").write_text(declared)


async def test_an_answer_of_any_size_passes_and_a_failure_has_none(tmp_path: Path) -> None:
    write_function(tmp_path, "echo_fn", "func.HttpResponse(req.get_body())")
    write_function(tmp_path, "failing_fn", "1 / 0")
    (tmp_path / "host.json").write_bytes((servers.FLOOR / "host.json").read_bytes())
    async with servers.in_worker(tmp_path) as worker:
        sent = bytes(range(256)) * 40_000
        _, body = await ask(worker, "/echo_fn", "POST", data=sent)
        assert body == sent
        response, body = await ask(worker, "/failing_fn")
        assert (response.status, body) == (500, b"")


async def test_the_worker_runs_the_nights_work(deployment: Deployment, tmp_path: Path) -> None:
    root, log = with_upkeep_every_second(tmp_path), tmp_path / "log"
    with log.open("wb") as errors:
        async with servers.in_worker(root, deployment.environment, more=["upkeep_fn"], errors=errors):
            for _ in range(300):
                if '"event":"upkeep"' in log.read_text():
                    break
                await asyncio.sleep(0.1)
    line = next(line for line in lines(log) if '"event":"upkeep"' in line)
    assert json.loads(line.removeprefix("INFO gateway.audit: "))["failed"] == []


async def test_floor_and_gateway_log_lines_of_one_size_where_the_worker_has_its_own_too(
    deployment: Deployment, bearer: dict[str, str], tmp_path: Path
) -> None:
    host = json.loads((PROJECT / "host.json").read_bytes())
    host["logging"]["logLevel"]["default"] = "Information"
    logged = {}
    for name, source in (("fhir_proxy_fn", PROJECT), ("floor_fn", servers.FLOOR), ("plain_fn", None)):
        root = tmp_path / name
        root.mkdir()
        if source is None:
            write_function(root, name, "func.HttpResponse('ok')")
        else:
            (root / name).symlink_to(source / name)
        (root / "shared").symlink_to(PROJECT / "shared")
        (root / "host.json").write_text(json.dumps(host))
        with (root / "log").open("wb") as errors:
            async with servers.in_worker(root, deployment.environment, errors=errors) as worker:
                response, _ = await ask(worker, "/stu3/Patient/p1" if source else f"/{name}", headers=bearer)
                assert response.status == 200
        logged[name] = lines(root / "log")
        for line in ("Received FunctionInvocationRequest", "Function name: "):
            assert any(line in each for each in logged[name]) == (source is None)
    (audit,) = (line for line in logged["fhir_proxy_fn"] if line.startswith("INFO gateway.audit: "))
    (floor,) = (line for line in logged["floor_fn"] if line.startswith("INFO floor: "))
    # The floor's is not the shorter one by more than its logger's name.
    assert abs(len(floor) - len(audit)) < 40


async def test_a_wrong_setting_stops_the_app_with_a_line_that_names_it(deployment: Deployment, tmp_path: Path) -> None:
    environment = {**deployment.environment, "PUBLIC_BASE_URL": ""}
    with (tmp_path / "log").open("wb") as errors, pytest.raises(ProcessEnded):
        async with servers.in_worker(PROJECT, environment, errors=errors):
            pass
    assert any("PUBLIC_BASE_URL" in line for line in lines(tmp_path / "log"))


async def test_the_worker_does_not_outlive_its_host() -> None:
    async with servers.in_worker(servers.FLOOR) as worker:
        response, body = await ask(worker, "/")
        assert (response.status, body) == (200, b"ok")
        host = worker.process.parent()
        assert host is not None
        host.kill()
        assert psutil.wait_procs([worker.process], timeout=5)[1] == []
