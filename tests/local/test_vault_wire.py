"""What a client without the SDK sees of the stand-in."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.vault.server import VaultServer

VERSION = {"api-version": "7.4"}


@pytest.fixture(scope="module")
async def wire(vault_server: VaultServer) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=vault_server.folder / "ca.pem")
    authorization = {"Authorization": f"Bearer {(vault_server.folder / 'token').read_text()}"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(vault_server.url, connector=connector, headers=authorization) as session:
        yield session


async def error_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body = await response.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "innererror"}
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic d3Jvbmc=", "Bearer wröng"])
async def test_without_the_token_every_path_is_challenged(wire: aiohttp.ClientSession, authorization: str) -> None:
    for path in ("/secrets", "/secrets/some-name", "/nowhere"):
        async with wire.get(path, headers={"Authorization": authorization}) as response:
            assert response.status == 401
            challenge = response.headers["WWW-Authenticate"]
            assert challenge.startswith('Bearer authorization="https://login.microsoftonline.com/')
            assert challenge.endswith('resource="https://vault.azure.net"')
            assert (await error_of(response))["code"] == "Unauthorized"


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        *(("GET", "/secrets", query, 400) for query in ({}, {"api-version": ""}, {"api-version": "newest"})),
        *(("GET", "/secrets", VERSION | {"maxresults": size}, 400) for size in ("0", "26", "9" * 5000)),
        *(("GET", "/secrets", VERSION | {"$skiptoken": token}, 400) for token in ("a", "_w", "ü")),
        ("GET", "/keys", VERSION, 404),
        ("POST", "/secrets/some-name", VERSION, 405),
    ],
)
async def test_what_is_not_the_protocol_gets_an_error_in_its_shape(
    wire: aiohttp.ClientSession, method: str, path: str, query: dict[str, str], status: int
) -> None:
    async with wire.request(method, path, params=query) as response:
        assert response.status == status
        await error_of(response)


async def test_only_set_and_get_answer_with_the_value(wire: aiohttp.ClientSession) -> None:
    with_value = []
    for method, path in (
        *((method, "/secrets/told") for method in ("PUT", "PATCH", "GET")),
        *(("GET", "/secrets/told/versions"), ("GET", "/secrets"), ("DELETE", "/secrets/told")),
        *(("GET", "/deletedsecrets/told"), ("GET", "/deletedsecrets"), ("POST", "/deletedsecrets/told/recover")),
    ):
        body = {"value": "hush-hush"} if method == "PUT" else {}
        async with wire.request(method, path, params=VERSION, json=body) as response:
            assert response.status == 200
            if "hush-hush" in await response.text():
                with_value.append((method, path))
    assert with_value == [("PUT", "/secrets/told"), ("GET", "/secrets/told")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
attributes = json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(("enabled", "nbf", "exp"), json_values))
fields = {"contentType": json_values, "tags": json_values, "attributes": attributes}
bodies = json_values | st.fixed_dictionaries({}, optional=fields | {"value": st.text() | json_values})


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
async def test_any_json_is_taken_and_comes_back_or_is_refused(wire: aiohttp.ClientSession, body: object) -> None:
    async with wire.put("/secrets/anything", params=VERSION, json=body) as response:
        if response.status != 200:
            assert response.status == 400
            assert (await error_of(response))["code"] == "BadParameter"
            return
        made = await response.json()
    assert isinstance(body, dict)
    assert made["value"] == body["value"]
    assert made.get("contentType") == body.get("contentType")
    async with wire.get(f"/secrets/anything/{made['id'].rsplit('/', 1)[1]}", params=VERSION) as response:
        assert await response.json() == made if made["attributes"]["enabled"] else response.status == 403


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[" * 100_000, b"\xff", b'{"value": ' + b"9" * 5000 + b"}", b'{"value": "x", "tags": {"a": 1}}'),
        *(
            b'{"value": "x", "attributes": {"%s}}' % part
            for part in (b'exp": true', b'nbf": "1700000000"', b'enabled": 1')
        ),
        *(b'{"value": "x", "attributes": []}', b'{"value": "x", "contentType": 1}'),
    ],
)
async def test_a_malformed_body_is_refused(wire: aiohttp.ClientSession, body: bytes) -> None:
    async with wire.put("/secrets/anything", params=VERSION, data=body) as response:
        assert response.status == 400
        assert (await error_of(response))["code"] == "BadParameter"
