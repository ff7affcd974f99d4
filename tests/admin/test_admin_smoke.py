"""`./gateway smoke`, against the whole stack, and against gateways that are not as they should be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from local.demo_file import Demo
from local.functions_host.server import KEY_STORE
from local.stack import Host, running
from tests.admin.command_line import CommandLine, Result

STEPS = ["statement", "no token", "token", "wrong secret", "search", "read", "search by code", "batch", "next page"]
STEPS += ["addresses", "Server-Timing"]
CARELESS = "smoke --json --client-id c --tenant t --base r4 --base-url"
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


@pytest.fixture(scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """The stack, as it is started on a laptop."""
    async with running(tmp_path_factory.mktemp("stack"), 0, Host.LOCAL, lambda line: None) as stack:
        yield stack.demo


@pytest.fixture
def smoke(tmp_path: Path) -> CommandLine:
    """The command line, where there are no settings."""
    return CommandLine(tmp_path)


def arguments(demo: Demo, version: str, *options: str) -> tuple[str, ...]:
    tenant = next(tenant for tenant in demo.tenants if tenant.version == version)
    client = ("--base-url", demo.base_url, "--client-id", demo.client_id)
    return ("--json", "smoke", *client, "--tenant", tenant.tenant_id, "--base", version, *options)


def states(result: Result) -> dict[str, str]:
    return {finding["subject"]: finding["state"] for finding in result.json}


@pytest.mark.parametrize("version", ["dstu2", "stu3", "r4"])
async def test_a_gateway_that_is_well_passes_every_step(demo: Demo, smoke: CommandLine, version: str) -> None:
    result = await smoke(*arguments(demo, version), stdin=f"{demo.client_secret}\n".encode())
    assert result.code == 0, result.stdout
    assert states(result) == dict.fromkeys(STEPS, "ok")
    assert (result.stderr, result.audit) == ("", [])


async def test_a_lost_key_store_is_told(smoke: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_STORE, "unavailable")
    async with running(tmp_path / "stack", 0, Host.LOCAL, lambda line: None) as stack:
        result = await smoke(*arguments(stack.demo, "r4"), stdin=stack.demo.client_secret.encode())
    assert result.code == 1
    assert [name for name, state in states(result).items() if state != "ok"] == ["search by code", "Server-Timing"]


async def test_neither_secret_nor_patient_is_printed(demo: Demo, smoke: CommandLine) -> None:
    environment = {"GATEWAY_CLIENT_SECRET": demo.client_secret}
    result = await smoke(*arguments(demo, "r4", "--family", "Black")[1:], environment=environment)
    assert result.code == 0, result.stdout
    assert "\nok    batch          6 of 6 searches succeeded\n" in result.stdout
    for text in ("Black", "Ruth", "1001", demo.client_secret.partition(".")[2]):
        assert text not in result.stdout + result.stderr


async def test_what_is_not_there_or_refused_is_reported(demo: Demo, smoke: CommandLine) -> None:
    secret = demo.client_secret.encode()
    nobody = await smoke(*arguments(demo, "r4", "--family", "Nobody"), stdin=secret)
    assert (nobody.code, states(nobody)["search"]) == (0, "warn")
    assert not {"read", "batch"} & states(nobody).keys()
    refused = await smoke(*arguments(demo, "r4"), stdin=b"abc.def")
    assert (refused.code, states(refused)) == (1, {"statement": "ok", "no token": "ok", "token": "fail"})
    other_base = await smoke(*arguments(demo, "r4", "--base", "stu3"), stdin=secret)
    assert (other_base.code, states(other_base)["search"]) == (1, "fail")


async def test_the_secret_is_asked_for_on_a_terminal(demo: Demo, smoke: CommandLine) -> None:
    result = await smoke(*arguments(demo, "r4"), terminal=f"{demo.client_secret}\n".encode())
    assert result.code == 0
    assert demo.client_secret not in result.stderr


async def test_a_secret_goes_only_to_an_https_origin_that_answers(smoke: CommandLine) -> None:
    for url in ("http://gateway.example.com", "gateway.example.com", "https://a.example/stu3"):
        result = await smoke(CARELESS, url, stdin=b"secret")
        assert (result.code, result.stdout) == (2, "")
    without = await smoke(CARELESS, "https://127.0.0.1:1")
    assert (without.code, "GATEWAY_CLIENT_SECRET" in without.stderr) == (2, True)
    nowhere = await smoke(CARELESS, "https://127.0.0.1:1", stdin=b"secret")
    found = [(finding["state"], finding["text"]) for finding in nowhere.json]
    assert (nowhere.code, found) == (1, [("fail", "no response (ConnectionError)")])


@asynccontextmanager
async def careless(token_url: str = "") -> AsyncIterator[tuple[str, list[str]]]:
    """A gateway that lets everyone in, lets addresses out and times nothing; and what it was asked."""
    asked: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        asked.append(request.path)
        origin = f"http://{request.host}"
        if request.path == "/r4/metadata":
            uris = {"url": OAUTH_URIS, "extension": [{"url": "token", "valueUri": token_url or f"{origin}/token"}]}
            return web.json_response({"fhirVersion": "4.0.1", "rest": [{"security": {"extension": [uris]}}]})
        if request.path == "/token":
            return web.json_response({"access_token": "t", "token_type": "Bearer", "expires_in": 60})
        if request.path == "/r4/Patient/1":
            outcome = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "Ruth Black is locked"}]}
            return web.json_response(outcome, status=423)
        if request.path == "/r4":
            return web.json_response({"resourceType": "Bundle", "entry": [{"response": {"status": "404"}}] * 6})
        elsewhere = {"link": [{"other": {"reference": "https://third.example/P/1"}}]}
        patient = {"resourceType": "Patient", "id": "1", **elsewhere}
        entry = {"fullUrl": "https://provider.example/Patient/1", "resource": patient}
        return web.json_response({"resourceType": "Bundle", "entry": [entry]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/"), asked


async def test_a_careless_gateway_fails_every_step_that_it_should(smoke: CommandLine) -> None:
    async with careless() as (url, _):
        result = await smoke(f"{CARELESS} {url}", stdin=b"secret")
    assert result.code == 1
    failed = ["no token", "wrong secret", "read", "batch", "addresses", "Server-Timing"]
    assert [subject for subject, state in states(result).items() if state == "fail"] == failed
    texts = {finding["subject"]: finding["text"] for finding in result.json}
    assert texts["read"] == "response 423"
    assert texts["addresses"] == "links lead elsewhere: provider.example (2)"


async def test_the_secret_is_not_sent_to_a_token_url_of_someone_else(smoke: CommandLine) -> None:
    async with careless() as (other, asked), careless(f"{other}/token") as (url, _):
        result = await smoke(f"{CARELESS} {url}", stdin=b"secret")
    assert (result.code, states(result), asked) == (1, {"statement": "fail"}, [])
