"""Redox's legacy flow: an API key and a secret as JSON."""

from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.errors import CredentialError


@pytest.fixture
async def redox(serve) -> str:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/auth/authenticate":
            if request.content_type != "application/json" or await request.json() != {"apiKey": "k", "secret": "s"}:
                return web.Response(status=401, text="Invalid API key")
            expires = datetime.now(UTC) + timedelta(hours=24)
            return web.json_response({"accessToken": "redox-token", "expires": expires.isoformat()})
        return web.Response(status=200 if request.headers.get("Authorization") == "Bearer redox-token" else 401)

    return await serve(handler)


def auth_at(url: str) -> ProviderAuth:
    token_url = f"{url}/auth/authenticate"
    return ProviderAuth(AuthKind.REDOX_LEGACY, token_url=token_url, client_id="k", secret="redox")


async def test_redox_accepts_the_token(redox, session, credentials, vault, provider):
    vault.stored["redox"] = "s"
    headers = await credentials.of(provider(auth_at(redox))).headers()
    async with session.get(f"{redox}/fhir/Patient", headers=headers) as response:
        assert response.status == 200


async def test_redox_refuses_a_wrong_secret(redox, credentials, vault, provider):
    vault.stored["redox"] = "wrong"
    with pytest.raises(CredentialError, match=r"^token endpoint answered 401$"):
        await credentials.of(provider(auth_at(redox))).headers()
