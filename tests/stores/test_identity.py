import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from local.serving import serving
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.stores.identity import Bearer, azure_credential
from tests.deployment import GATEWAY

SCOPE = "https://vault.azure.net/.default"
SETTINGS = {
    "PUBLIC_BASE_URL": GATEWAY,
    "KEY_VAULT_URL": "https://name.vault.azure.net",
    "TABLES_ENDPOINT": "https://t.x",
}


class Endpoint:
    """The endpoint of an app's managed identity, which gives another token each time."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.failure: tuple[int, str] | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append({**request.query, "header": request.headers["X-IDENTITY-HEADER"]})
        if self.failure is not None:
            return web.Response(status=self.failure[0], text=self.failure[1])
        token = {"access_token": f"token-{len(self.asked)}", "expires_on": str(int(time.time()) + 3600)}
        return web.json_response({**token, "resource": request.query["resource"], "token_type": "Bearer"})


@pytest.fixture
async def endpoint(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    endpoint, app = Endpoint(), web.Application()
    app.router.add_get("/msi/token/", endpoint.answer)
    async with serving(web.AppRunner(app, access_log=None)) as port:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{port}/msi/token/")
        monkeypatch.setenv("IDENTITY_HEADER", "853b9a84")
        monkeypatch.setenv("AZURE_CLIENT_ID", "c1")
        yield endpoint


async def test_a_token_of_the_managed_identity_serves_until_it_is_refused(endpoint: Endpoint) -> None:
    credential = azure_credential(Settings.from_environment(SETTINGS))
    bearer = Bearer(credential, SCOPE)
    assert [await bearer.authorization() for _ in range(3)] == ["Bearer token-1"] * 3
    bearer.expire()
    assert await bearer.authorization() == "Bearer token-2"
    resource = "https://vault.azure.net"
    assert (
        endpoint.asked
        == [{"api-version": "2019-08-01", "resource": resource, "client_id": "c1", "header": "853b9a84"}] * 2
    )
    await credential.close()


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ((400, '{"message":"hidden"}'), "the managed identity answered 400"),
        ((500, "hidden"), "the managed identity answered 500"),
        *(((200, text), "something else than a token") for text in ("hidden", "[]", "{}", '{"access_token":"hidden"}')),
    ],
)
async def test_without_a_token_the_store_is_unavailable(
    endpoint: Endpoint, failure: tuple[int, str], told: str
) -> None:
    credential, endpoint.failure = azure_credential(Settings.from_environment(SETTINGS)), failure
    with pytest.raises(StoreUnavailable, match=told) as raised:
        await Bearer(credential, SCOPE).authorization()
    assert "hidden" not in str(raised.value)
    await credential.close()


async def test_an_endpoint_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token/")
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    credential = azure_credential(Settings.from_environment(SETTINGS))
    with pytest.raises(StoreUnavailable, match="the managed identity did not answer"):
        await credential.get_token(SCOPE)
    await credential.close()


def test_a_start_imports_no_sdk_for_the_vault() -> None:
    code = "import sys, shared.stores.vault; print({'aiohttp', 'azure.core', 'azure.identity'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert ran.stdout.strip() == "set()"
