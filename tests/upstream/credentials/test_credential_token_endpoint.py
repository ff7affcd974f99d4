"""Token requests to a real server: what is sent, what is kept, and what an operator is told when it fails."""

import asyncio
import socket

import pytest
from aiohttp import web

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.errors import CredentialError


def auth_at(url: str, kind: AuthKind = AuthKind.CLIENT_SECRET_POST) -> ProviderAuth:
    return ProviderAuth(kind, token_url=f"{url}/token", client_id="gateway", secret="client-secret")


@pytest.fixture(autouse=True)
def stored_secret(vault):
    vault.stored["client-secret"] = "s3cret"


async def test_a_hundred_requests_make_one_token_request_and_a_401_makes_one_more(
    session, serve, credentials, provider
):
    issued: list[str] = []
    revoked: set[str] = set()

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/token":
            form = await request.post()
            assert dict(form) == {
                "grant_type": "client_credentials",
                "client_id": "gateway",
                "client_secret": "s3cret",
            }
            issued.append(f"token-{len(issued) + 1}")
            await asyncio.sleep(0.01)
            return web.json_response({"access_token": issued[-1], "token_type": "Bearer", "expires_in": 3600})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return web.Response(status=200 if token in issued and token not in revoked else 401)

    url = await serve(handler)
    credential = credentials.of(provider(auth_at(url)))

    async def read_patient() -> tuple[int, int]:
        headers = await credential.headers()
        async with session.get(f"{url}/Patient/1", headers=headers) as response:
            first = response.status
        if first == 401:
            credential.reject(headers)
            async with session.get(f"{url}/Patient/1", headers=await credential.headers()) as response:
                return first, response.status
        return first, first

    assert await asyncio.gather(*(read_patient() for _ in range(100))) == [(200, 200)] * 100
    assert issued == ["token-1"]
    revoked.add("token-1")
    assert await asyncio.gather(*(read_patient() for _ in range(100))) == [(401, 200)] * 100
    assert issued == ["token-1", "token-2"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            401,
            '{"error": "invalid_client", "error_description": "s3cret"}',
            "token endpoint answered 401 invalid_client",
        ),
        (400, '{"error": "s3cret!"}', "token endpoint answered 400"),
        (400, '{"error": {"code": "x"}}', "token endpoint answered 400"),
        (500, "<html>s3cret</html>", "token endpoint answered 500"),
        (302, "", "token endpoint answered 302"),
        (200, "", "token endpoint answered 200 with something that is not a JSON object"),
        (200, "[1]", "token endpoint answered 200 with something that is not a JSON object"),
        (200, "{}", "token endpoint answered without a usable access token"),
        (200, '{"access_token": "' + "x" * 65_536 + '"}', "token endpoint answered with more than 65536 bytes"),
    ],
)
async def test_a_failure_says_what_happened_and_nothing_secret(serve, credentials, provider, status, body, message):
    async def handler(request: web.Request) -> web.Response:
        if request.path != "/token":
            return web.json_response({"access_token": "of-another-host", "token_type": "bearer"})
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"})

    credential = credentials.of(provider(auth_at(await serve(handler))))
    with pytest.raises(CredentialError) as caught:
        await credential.headers()
    assert str(caught.value) == message


async def test_a_compressed_answer_is_not_wanted_and_can_not_grow_beyond_the_limit(serve, credentials, provider):
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        response = web.Response(text='{"access_token": "' + "x" * 10_000_000 + '"}')
        response.enable_compression(web.ContentCoding.gzip)
        return response

    with pytest.raises(CredentialError, match="more than 65536 bytes"):
        await credentials.of(provider(auth_at(await serve(handler)))).headers()


async def test_an_unreachable_token_endpoint_is_not_named(credentials, provider, unused_port):
    credential = credentials.of(provider(auth_at(f"http://127.0.0.1:{unused_port}")))
    with pytest.raises(CredentialError) as caught:
        await credential.headers()
    assert str(caught.value) == "token endpoint can't be reached (ClientConnectorError)"
    assert caught.value.__suppress_context__


@pytest.fixture
def unused_port():
    """A port that is bound, so that nobody else gets it, but not listened on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_a_replaced_secret_is_read_after_the_token_endpoint_refused_the_old_one(
    serve, credentials, vault, provider
):
    async def handler(request: web.Request) -> web.Response:
        if (await request.post())["client_secret"] != "replaced":
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response({"access_token": "token", "token_type": "bearer", "expires_in": 60})

    auth = auth_at(await serve(handler))
    with pytest.raises(CredentialError, match="401 invalid_client"):
        await credentials.of(provider(auth)).headers()
    assert vault.forgotten == ["client-secret"]
    vault.stored["client-secret"] = "replaced"
    # The same account in another row, whose token source remembers no failure.
    assert await credentials.of(provider(auth, "https://other.example.com")).headers() == {
        "Authorization": "Bearer token"
    }
