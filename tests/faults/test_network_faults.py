"""Faults below HTTP and beside it: names, TLS, token endpoints, and what the breaker and the limits make of them."""

import asyncio
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from tests.faults import hospitals, page
from tests.faults.bystanders import Scene
from tests.faults.provider_faults import FHIR, PATIENT, answers, message, redirects, repeats, says, says_and_hangs
from tests.faults.test_provider_faults import recovered, slowest, statuses


async def seen(scene: Scene, tenant: str, fault: str, expected: set[int]) -> None:
    """Looks at what a tenant gets whose provider has this fault."""
    async with scene.meanwhile(tenant):
        answers = await asyncio.gather(*(scene.app.fhir(tenant, "Patient/1") for _ in range(3)))
    assert {answer.status for answer in answers} <= expected
    assert all(json.loads(answer.body)["resourceType"] == "OperationOutcome" for answer in answers)
    assert not any(b"127.0.0.1" in answer.body or b"invalid" in answer.body for answer in answers)
    page.note_fault(fault, len(answers), statuses(answers), slowest(answers), scene.others.told())


@pytest.mark.parametrize("problem", ["is of an unknown authority", "has expired"])
async def test_a_certificate_that_is_not_good(problem: str, scene: Scene) -> None:
    ends = datetime.now(UTC) - timedelta(days=1) if "expired" in problem else None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1", not_after=ends).configure_cert(context)
    async with hospitals.scripted(says(message(PATIENT)), context) as hospital:
        tenant = await scene.stack.tenant(hospital.base_url)
        await seen(scene, tenant, f"provider's certificate {problem}", {502})


_UNREACHABLE: dict[str, tuple[str, set[int]]] = {
    "speaks plain HTTP where TLS should be": ("https://127.0.0.1:{plain}", {502}),
    "hangs in the TLS handshake": ("https://127.0.0.1:{silent}", {504}),
    "has a name that does not resolve": ("https://no-such-hospital.invalid", {502, 504}),
    "refuses connections": ("http://127.0.0.1:{closed}", {502}),
}


@pytest.mark.parametrize("fault", _UNREACHABLE)
async def test_a_provider_that_can_not_be_reached(fault: str, scene: Scene) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(message(b"", "400 Bad Request"))
        writer.close()

    url, expected = _UNREACHABLE[fault]
    plain = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with plain:
        with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            servers = {"plain": plain.sockets[0], "silent": silent, "closed": closed}
            ports = {name: server.getsockname()[1] for name, server in servers.items()}
            tenant = await scene.stack.tenant(f"{url.format(**ports)}/fhir", TimeoutSeconds="2")
            await seen(scene, tenant, f"provider {fault}", expected)


_TOKEN_FAULTS = {
    "closes the connection": says(b""),
    "answers 500": answers(b"{}", "500 Oops", "application/json"),
    "answers invalid_client": answers(b'{"error":"invalid_client"}', "401 No", "application/json"),
    "answers HTML": answers(b"<html>", "200 OK", "text/html"),
    "answers without a token": answers(b'{"token_type":"Bearer"}', "200 OK", "application/json"),
    "gives a token with a line break": answers(b'{"access_token":"a\\r\\nX: b"}', "200 OK", "application/json"),
    "redirects to the cloud's metadata": redirects("302 Found", "http://169.254.169.254/"),
    "sends without end": repeats(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" " * 65_536),
    "hangs": says_and_hangs(b""),
}


@pytest.mark.parametrize("fault", _TOKEN_FAULTS)
async def test_a_fault_of_a_token_endpoint(fault: str, scene: Scene) -> None:
    async with hospitals.scripted(_TOKEN_FAULTS[fault]) as endpoint, hospitals.scripted(answers(PATIENT)) as hospital:
        columns = {"Auth": "client_secret_post", "AuthClientId": "gateway", "TimeoutSeconds": "2"}
        columns |= {"AuthTokenUrl": endpoint.base_url, "AuthSecret": await scene.stack.secret("s3cret")}
        tenant = await scene.stack.tenant(hospital.base_url, **columns)
        await seen(scene, tenant, f"provider's token endpoint {fault}", {502, 504})
        assert hospital.connections == 0
        endpoint.script = answers(b'{"access_token":"t","expires_in":300}', "200 OK", "application/json")
        await recovered(scene.app, tenant)


async def test_a_dead_provider_is_left_alone_and_found_again(scene: Scene) -> None:
    async with hospitals.scripted(says(b"")) as hospital:
        tenant = await scene.stack.tenant(hospital.base_url)
        for _ in range(5):
            assert (await scene.app.fhir(tenant, "Patient/1")).status == 502
        reached = hospital.connections
        async with scene.meanwhile(tenant):
            refused = [await scene.app.fhir(tenant, "Patient/1") for _ in range(20)]
        assert {answer.status for answer in refused} == {503}
        assert all(1 <= int(answer.headers["Retry-After"]) <= 5 for answer in refused)
        assert hospital.connections == reached
        hospital.script = answers(PATIENT)
        await recovered(scene.app, tenant)
        seen = "502 (5), then 503 (20) without a connection"
        page.note_fault("provider fails five times: the circuit opens", 25, seen, slowest(refused), scene.others.told())


async def test_a_batch_of_large_answers_is_bounded_and_hurts_nobody(scene: Scene) -> None:
    large = json.dumps({"resourceType": "Patient", "id": "1", "x": "y" * 1_048_576}).encode()
    async with hospitals.scripted(answers(large)) as hospital:
        tenant = await scene.stack.tenant(hospital.base_url, Batch="split")
        entries = [{"request": {"method": "GET", "url": "Patient/1"}}] * 40
        batch = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
        async with scene.meanwhile(tenant):
            answer = await scene.app.fhir(tenant, "", "POST", data=batch, headers={"Content-Type": FHIR})
        assert answer.status == 200
        assert len(answer.body) < 5 * 1_048_576  # the instance's MAX_RESPONSE_MB is 4
        found = [entry["response"]["status"] for entry in json.loads(answer.body)["entry"]]
        assert set(found) == {"200 OK", "502 Bad Gateway"}
        assert found.count("200 OK") == 3
        what, seen = "a batch whose forty answers have a megabyte each", "200: three entries 200, the others 502"
        page.note_fault(what, 1, seen, slowest([answer]), scene.others.told())


async def test_more_than_memory_may_hold_is_refused_in_time(scene: Scene) -> None:
    """A provider that trickles large answers fills its tenant's share; then its tenant is refused, and nobody else."""
    body = message(b" " * 3_900_000, length=3_900_001)
    async with hospitals.scripted(says_and_hangs(body)) as hospital:
        tenant = await scene.stack.tenant(hospital.base_url, TimeoutSeconds="8")
        async with scene.meanwhile(tenant):
            answers = await asyncio.gather(*(scene.app.fhir(tenant, "Patient/1") for _ in range(40)))
        refused = [answer for answer in answers if answer.status == 503]
        assert {answer.status for answer in answers} == {503, 504}
        assert all("Retry-After" in answer.headers for answer in refused)
        assert 40 - len(refused) <= 64 // 3.7
        what = "provider trickles forty large answers at once"
        page.note_fault(what, 40, statuses(answers), slowest(answers), scene.others.told())
