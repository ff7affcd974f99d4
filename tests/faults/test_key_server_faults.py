"""Every fault of a client's own key server: what its tokens do, known to the instance and not, and what others see."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from shared.directory.client_registry import ClientRegistry
from shared.stores.tables import CLIENTS
from tests.faults import hospitals, page
from tests.faults.bystanders import Scene
from tests.faults.conftest import FULL
from tests.faults.named_host import NAMES
from tests.faults.provider_faults import Script, answers, message, redirects, repeats, resets, says, says_and_hangs
from tests.faults.test_provider_faults import slowest, statuses
from tests.host import HttpResponse
from tests.oauth.keyed_app import P256, P384, KeyedApp, jwk, key_set

_REQUESTS = 12 if FULL else 3
_JSON = "application/json"
_KEYS = key_set(jwk(P384)).encode()
_PRIVATE = key_set({**jwk(P384), "d": jwk(P256)["x"]}).encode()
_METADATA = "http://169.254.169.254/metadata/identity/oauth2/token"
_ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


def serves(body: bytes, status: str = "200 OK", *headers: str) -> Script:
    return answers(body, status, _JSON, *headers)


_FAULTS: dict[str, Script] = {
    "closes the connection without a word": says(b""),
    "resets the connection": resets,
    "hangs before the response": says_and_hangs(b""),
    "hangs amid the headers": says_and_hangs(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "hangs amid the keys": says_and_hangs(message(_KEYS, length=len(_KEYS) + 1)),
    "drips, a byte at a time": repeats(message(b"", length=20_000), b" ", 0.05),
    "drips headers": repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05),
    "sends 100 Continue for ever": repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "ends before its Content-Length": says(message(_KEYS, length=len(_KEYS) + 1)),
    "sends without end": repeats(_ENDLESS, b" " * 65_536),
    "sends headers without end": repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 4096),
    "sends its keys and 40 KB more": serves(_KEYS + b" " * 40_000),
    "announces 400 MB": says_and_hangs(message(b"", length=400 * 1_048_576)),
    "packs its keys, unasked": serves(gzip.compress(_KEYS), "200 OK", "Content-Encoding: gzip"),
    "packs a gigabyte": serves(gzip.compress(bytes(2**24)) * 64, "200 OK", "Content-Encoding: gzip"),
    "does not speak HTTP": says(b"220 smtp.example ESMTP\r\n"),
    "answers HTML": answers(b"<html>", "200 OK", "text/html"),
    "breaks off in JSON": serves(_KEYS[:-2]),
    "nests JSON 25,000 deep": serves(b"[" * 25_000),
    "sends a JSON array": serves(b"[]"),
    "sends no key": serves(b'{"keys":[]}'),
    "publishes a private key": serves(_PRIVATE),
    "publishes a shared secret": serves(b'{"keys":[{"kty":"oct","kid":"one","k":"c2VjcmV0"}]}'),
    "publishes two keys of one kid": serves(key_set(jwk(P384), jwk(P256)).encode()),
    "redirects to its keys": redirects("302 Found", "/keys"),
    "redirects to itself, for ever": redirects("307 Temporary Redirect", "/fhir"),
    "redirects to the cloud's metadata": redirects("303 See Other", _METADATA),
    "answers 404": serves(b"{}", "404 Not Found"),
    "answers 429": serves(b"", "429 Too Many", "Retry-After: 600"),
    "answers 500 with its keys": serves(_KEYS, "500 Oops"),
}


@pytest.fixture(scope="module")
async def neighbour(stack: object) -> AsyncIterator[str]:
    """The URL of another client's keys, which are there."""
    async with hospitals.scripted(serves(_KEYS)) as server:
        yield server.base_url


async def keyed(scene: Scene, url: str) -> KeyedApp:
    """A new client whose keys are at this URL."""
    registry = ClientRegistry(scene.stack.table(CLIENTS), scene.stack.vault, local=True)
    client_id = await registry.create_with_keys("Bulk", "ada", "*", jwks_url=url)
    return KeyedApp(scene.stack, client_id, await scene.stack.tenant("http://127.0.0.1:1/fhir"))


async def asked(scene: Scene, apps: Sequence[KeyedApp]) -> list[HttpResponse]:
    """The responses to a token request of each."""
    return await asyncio.gather(*(scene.app.request("POST", "/oauth2/token", data=app.form()) for app in apps))


async def seen(scene: Scene, fault: str, neighbour: str, known: KeyedApp | None, unknown: KeyedApp) -> None:
    """Looks at what a client gets whose key server has this fault, where its keys are remembered and where not."""
    healthy = await keyed(scene, neighbour)
    form = {"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}
    refusal = await scene.app.request("POST", "/oauth2/token", data=form)
    at_once = [*([known] * _REQUESTS if known else []), *[unknown] * _REQUESTS, healthy]
    async with scene.meanwhile(unknown.tenant):
        *responses, others = await asked(scene, at_once)
    of_known, of_unknown = responses[:-_REQUESTS], responses[-_REQUESTS:]
    assert others.status == 200, others
    assert {response.status for response in of_known} <= {200}, of_known
    assert {(response.status, response.body) for response in of_unknown} == {(401, refusal.body)}
    audited = scene.app.host.audited(*of_unknown)
    assert {(line["client"], line["kind"]) for line in audited} == {(unknown.client_id, "keys-unavailable")}
    told = f"known to the instance: {statuses(of_known)}; " if known else ""
    page.note_fault(
        f"client's key server {fault}",
        len(responses),
        f"{told}unknown: {statuses(of_unknown)}",
        slowest(responses),
        scene.others.told(),
    )


@pytest.mark.parametrize("fault", _FAULTS, ids=lambda fault: fault.replace(" ", "-"))
async def test_a_fault_of_a_key_server_is_its_clients_alone(fault: str, scene: Scene, neighbour: str) -> None:
    async with hospitals.scripted(serves(_KEYS)) as server:
        known, unknown = await keyed(scene, server.base_url), await keyed(scene, f"{server.base_url}/new")
        assert [response.status for response in await asked(scene, [known])] == [200]
        server.script = _FAULTS[fault]
        before = server.connections
        await asyncio.sleep(1.1)  # CACHE_SECONDS is 1
        await seen(scene, fault, neighbour, known, unknown)
        # However many ask: once for each of its URLs, and once more on a connection that was closed without a word.
        assert server.connections - before <= 4


async def test_keys_are_had_again_once_their_server_is_well(scene: Scene) -> None:
    async with hospitals.scripted(says(b"")) as server:
        app = await keyed(scene, server.base_url)
        assert [response.status for response in await asked(scene, [app])] == [401]
        server.script = serves(_KEYS)
        for _ in range(60):  # it is left alone for five seconds
            if (found := [response.status for response in await asked(scene, [app])]) == [200]:
                break
            await asyncio.sleep(0.25)
        assert found == [200]


@pytest.mark.parametrize("problem", ["is of an unknown authority", "has expired"])
async def test_a_certificate_that_is_not_good(problem: str, scene: Scene, neighbour: str) -> None:
    ends = datetime.now(UTC) - timedelta(days=1) if "expired" in problem else None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1", not_after=ends).configure_cert(context)
    async with hospitals.scripted(serves(_KEYS), context) as server:
        unknown = await keyed(scene, server.base_url)
        await seen(scene, f"has a certificate that {problem}", neighbour, None, unknown)
        assert server.connections == 0


@pytest.mark.parametrize("name", ["no-such-app.invalid", *NAMES])
async def test_a_name_that_is_none_or_came_to_mean_what_is_inside(name: str, scene: Scene, neighbour: str) -> None:
    connected = 0

    async def connect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        writer.close()

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as inside:
        unknown = await keyed(scene, f"https://{name}:{inside.sockets[0].getsockname()[1]}/jwks.json")
        what = f"has a name that came to mean {NAMES[name]}" if name in NAMES else "has a name that does not resolve"
        await seen(scene, what, neighbour, None, unknown)
    assert connected == 0


async def test_a_server_that_refuses_connections_or_hangs_in_the_handshake(scene: Scene, neighbour: str) -> None:
    async with AsyncExitStack() as sockets:
        silent = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        closed = sockets.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        for fault, scheme, at in (
            ("refuses connections", "http", closed),
            ("hangs in the TLS handshake", "https", silent),
        ):
            unknown = await keyed(scene, f"{scheme}://127.0.0.1:{at.getsockname()[1]}/")
            await seen(scene, fault, neighbour, None, unknown)
