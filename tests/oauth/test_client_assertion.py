"""Clients that prove themselves by a signed assertion (RFC 7523, SMART Backend Services)."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from local.serving import serving
from shared.directory import key_sets
from shared.directory.client_keys import ALGORITHMS, InvalidKeySet, parse_key_set
from shared.directory.client_registry import ClientRegistry
from shared.directory.errors import KeySetUnavailable
from shared.directory.key_sets import KeySets, is_public, key_set_url_problem
from shared.stores.tables import CLIENTS
from tests.deployment import GATEWAY, Deployment
from tests.oauth.conftest import granted, refused, until
from tests.oauth.keyed_app import KEYS, P256, P384, RSA, KeyedApp, jwk, key_set

REFUSED = (401, "invalid_client")
UNSIGNED = jwt.utils.base64url_encode(b'{"alg":"none","kid":"one"}').decode()


@pytest.fixture
def registry(server: Deployment) -> ClientRegistry:
    return ClientRegistry(server.table(CLIENTS), server.vault, local=True)


@pytest.fixture
async def app(server: Deployment, registry: ClientRegistry, tenant: str) -> KeyedApp:
    keys = key_set(jwk(P384))
    return KeyedApp(server, await registry.create_with_keys("Bulk", "ada", "*", jwks=keys), tenant)


def kinds(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the audit log says of each request's end."""
    records = [record.getMessage() for record in caplog.records if record.name == "gateway.audit"]
    return [json.loads(line)["kind"] for record in records for line in record.splitlines()]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("audience", [GATEWAY, f"{GATEWAY}/oauth2/token", [f"{GATEWAY}/oauth2/token"]])
async def test_an_assertion_by_each_algorithm_gets_a_token_that_names_the_key(
    server: Deployment, registry: ClientRegistry, tenant: str, algorithm: str, audience: object
) -> None:
    key = KEYS[algorithm]
    keys = key_set(jwk(P256 if key is not P256 else P384, "other"), jwk(key))
    app = KeyedApp(server, await registry.create_with_keys("Bulk", "ada", tenant, jwks=keys), tenant, key)
    more = {"client_id": app.client_id} if audience == GATEWAY else {}
    body = granted(await app.ask(app.assertion(algorithm, aud=audience), scope=f"{tenant} system/*.rs", **more))
    grant = await server.application.tokens.verify(body["access_token"])
    (_, key_id) = (found.id for found in parse_key_set(keys))
    assert (grant.client_id, grant.tenant, grant.credential_id) == (app.client_id, tenant, key_id)
    assert (await server.send("GET", "/stu3/Patient/1", body["access_token"])).status != 401


async def test_another_client_id_beside_an_assertion_is_a_refusal_that_smears_nobody(
    app: KeyedApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    other = await app.server.client()
    for client_id in ("another", other.client_id):
        assert refused(await app.ask(app.assertion(), client_id=client_id)) == REFUSED
    assert kinds(caplog) == ["assertion-malformed"] * 2


async def test_both_kinds_of_credential_work_side_by_side_and_a_removed_key_ends_its_tokens(
    app: KeyedApp, registry: ClientRegistry
) -> None:
    new = await registry.add_secret(app.client_id)
    token = granted(await app.ask(app.assertion()))["access_token"]
    form = {"grant_type": "client_credentials", "client_id": app.client_id, "client_secret": new.client_secret}
    by_secret = granted(await app.server.oauth(urlencode(form | {"scope": app.tenant})))["access_token"]
    await registry.change(app.client_id, jwks=key_set(jwk(P256, "one")))

    async def ended() -> bool:
        return (await app.server.send("GET", "/stu3/Patient/1", token)).status == 401

    await until(ended, "the key's token has ended")
    assert refused(await app.ask(app.assertion())) == REFUSED
    granted(await app.ask(app.assertion("ES256", key=P256)))
    assert (await app.server.send("GET", "/stu3/Patient/1", by_secret)).status != 401
    await registry.change(app.client_id, jwks="")
    assert (await registry.get(app.client_id)).keys == ()


@dataclass
class KeyServer:
    """A client's own web server."""

    keys: str = ""
    asked: int = 0
    respond: Callable[[], web.StreamResponse] | None = None
    url: str = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        return self.respond() if self.respond else web.Response(text=self.keys, content_type="application/json")


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    server, app = KeyServer(key_set(jwk(P384))), web.Application()
    app.router.add_get("/{path:.*}", server.serve)
    async with serving(web.AppRunner(app, access_log=None), 0) as port:
        server.url = f"http://127.0.0.1:{port}/jwks.json"
        yield server


async def test_keys_at_a_url_are_fetched_remembered_and_served_while_their_server_is_away(
    server: Deployment, registry: ClientRegistry, tenant: str, key_server: KeyServer
) -> None:
    app = KeyedApp(server, await registry.create_with_keys("Bulk", "ada", "*", jwks_url=key_server.url), tenant)
    token = granted(await app.ask(app.assertion()))["access_token"]
    for _ in range(3):  # an unknown kid makes no server be asked again, within a minute
        assert refused(await app.ask(app.assertion(head={"kid": "two"}))) == REFUSED
    assert key_server.asked == 1
    key_server.respond = lambda: web.Response(status=503)
    await asyncio.sleep(1.2)  # CACHE_SECONDS is 1
    granted(await app.ask(app.assertion()))
    other = server.instance()
    assert refused(await app.ask(app.assertion(), other)) == REFUSED  # it never had them
    stranger = await server.client()
    for path, told in (("introspect", b'{"active":false}'), ("revoke", b"")):  # and tells nobody else so
        about = await other.oauth(f"token={token}", path=f"/oauth2/{path}", authorization=stranger.basic())
        assert (about.status, about.body) == (200, told)
    key_server.respond, key_server.keys = None, key_set(jwk(P256, "two"))

    async def ended() -> bool:
        return (await server.send("GET", "/stu3/Patient/1", token)).status == 401

    await until(ended, "the token of the key that is gone has ended")


async def test_a_key_set_that_can_not_be_had_is_a_refusal_of_the_client(
    server: Deployment,
    registry: ClientRegistry,
    tenant: str,
    key_server: KeyServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """tests/faults has all that can be wrong with its server."""
    caplog.set_level("INFO", "gateway.audit")
    key_server.respond = lambda: web.Response(status=302, headers={"Location": "/elsewhere"})
    app = KeyedApp(server, await registry.create_with_keys("Bulk", "ada", "*", jwks_url=key_server.url), tenant)
    for _ in range(2):
        assert refused(await app.ask(app.assertion())) == REFUSED
    assert (kinds(caplog), key_server.asked) == (["keys-unavailable"] * 2, 1)  # nobody floods it through the gateway


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://app.example.com/jwks", ""),
        ("https://app.example.com:8443/jwks?v=1", ""),
        *((url, "must begin with https://") for url in ("http://app.example.com/", "ftp://app.example.com/")),
        *(
            (f"https://{host}/", "must name a public host")
            for host in (
                *("localhost", "10.0.0.1", "[::1]", "169.254.169.254", "metadata", "[fec0::1]", "168.63.129.16"),
                *("[::ffff:10.0.0.1]", "[64:ff9b::a00:1]"),
                *("127.1", "127.0.0.1.", "0x7f.0.0.1", "%31%32%37.0.0.1", "10.0.0.1%2e"),
            )
        ),
        *((url, "is no URL") for url in ("https://", "x", "https://a b.example/", "https://[/", "https://ü.example/")),
        ("https://user@app.example.com/", "must have neither credentials nor a fragment in it"),
    ],
)
def test_a_key_set_is_fetched_from_public_hosts_by_https_alone(url: str, problem: str) -> None:
    assert key_set_url_problem(url, local=False) == problem


@given(st.ip_addresses())
def test_no_address_within_a_network_is_public(address: Any) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not any((address.is_private, address.is_loopback, address.is_link_local, address.is_multicast))


WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 (to be refused)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("{", "is not JSON"),
        *((text, "is not a JWK set") for text in ("[]", "{}", '{"keys": []}', '{"keys": {}}')),
        (key_set("x"), "that is no object"),
        (key_set({**jwk(P384), "d": "x"}), "with a private part"),
        (key_set({**jwk(RSA), "q": "x"}), "with a private part"),
        (key_set({"kty": "oct", "kid": "one", "k": "x"}), "with a private part"),
        (key_set({"kty": "oct", "kid": "one"}), "neither of kty EC nor of RSA"),
        (key_set({**jwk(P384), "kid": None}), "without a kid"),
        (key_set(jwk(P384), jwk(P256)), "two keys of one kid"),
        (key_set(jwk(WEAK)), "of RSA with other than 2048"),
        (key_set({**jwk(RSA), "e": "AQAAAAAAAAAB"}), "an exponent of more than 32 bits"),
        (key_set(jwk(P384, use="enc")), "not for signatures"),
        (key_set(jwk(P384, alg="RS384")), "for none of"),
        (key_set(jwk(ec.generate_private_key(ec.SECP521R1()))), "for none of"),
        (key_set({**jwk(P384), "x": "AA"}), "that can't be read"),
        *((key_set({**jwk(P384), "kty": kind}), "neither of kty EC nor of RSA") for kind in ([], {})),
        *((key_set({**jwk(P384), "key_ops": use}), "not for signatures") for use in (None, 5, "verify")),
        (" " * 40_000, "is larger than"),
    ],
)
def test_a_key_set_with_a_key_that_is_no_good_is_refused(keys: str, problem: str) -> None:
    with pytest.raises(InvalidKeySet, match=problem):
        parse_key_set(keys)


@given(
    st.recursive(
        st.none() | st.text(max_size=5),
        lambda inside: (
            st.dictionaries(
                st.sampled_from(["keys", "kty", "kid", "crv", "x", "y", "n", "e", "use", "alg"]), inside, max_size=5
            )
            | st.lists(inside)
        ),
    )
)
def test_any_json_is_a_key_set_or_refused(document: Any) -> None:
    with pytest.raises(InvalidKeySet):
        parse_key_set(json.dumps(document))


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
async def test_a_name_that_came_to_mean_this_machine_is_refused_as_it_is_connected_to(
    server: Deployment, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Rebinding DNS: the URL was good when it was registered."""
    connected, resolve = 0, socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **named: resolve(address, *more, **named))

    async def connect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        writer.close()

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as listening:
        url = f"https://keys.example.com:{listening.sockets[0].getsockname()[1]}/jwks.json"
        assert key_set_url_problem(url, local=False) == ""
        fetched = KeySets(structs.replace(server.settings, local_vault=None))
        with pytest.raises(KeySetUnavailable):
            await fetched.get(url)
        await fetched.close()
        assert connected == 0


async def test_names_that_nobody_resolves_hold_up_nobody_else(
    server: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's resolver takes many seconds over a name whose servers say nothing, and a thread."""
    silent, resolve = threading.Event(), socket.getaddrinfo

    def look_up(host: str, *more: Any, **named: Any) -> Any:
        if host.endswith(".example.com"):
            silent.wait()
        return resolve(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(key_sets, "_SECONDS", 0.3)
    fetched = KeySets(server.settings)
    try:
        urls = [f"https://{number}.example.com/" for number in range(30)]
        failed = await asyncio.gather(*(fetched.get(url) for url in urls), return_exceptions=True)
        assert {type(error) for error in failed} == {KeySetUnavailable}
        async with asyncio.timeout(20):
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)  # as for a hospital
    finally:
        silent.set()
        await fetched.close()
