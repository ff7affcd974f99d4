"""Authorization servers on real tables and vaults of their own, whose requests can be counted and refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url  # type: ignore[import-untyped]

from local.azurite.table_service import TableService
from local.ports import free_port
from local.vault.certificates import server_context
from shared.message import Request, Response
from tests.deployment import GATEWAY, Credentials, Deployment, SwitchedVault

Start = Callable[..., Deployment]


def granted(response: Response) -> dict[str, Any]:
    """The body of a success, whose form is checked."""
    assert response.status == 200, response.body
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert headers == {"content-type": "application/json", "cache-control": "no-store", "pragma": "no-cache"}
    body: dict[str, Any] = json.loads(response.body)
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], type(body["expires_in"])) == ("Bearer", int)
    return body


def refused(response: Response) -> tuple[int, str]:
    """Status and error code of a refusal, whose form is checked (RFC 6749 section 5.2)."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert headers["content-type"] == "application/json"
    assert (headers["cache-control"], headers["pragma"]) == ("no-store", "no-cache")
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    body = json.loads(response.body)
    assert set(body) == {"error", "error_description", "error_uri"}
    assert body["error_uri"] == f"{GATEWAY}/#{body['error']}"
    assert all(" " <= c <= "~" and c not in '"\\' for c in body["error_description"])
    assert ("www-authenticate" in headers) == (response.status == 401) == (body["error"] == "invalid_client")
    return response.status, str(body["error"])


async def until(found: Callable[[], Any], what: str) -> Any:
    """What the coroutine function `found` returns once that is true; fails after 10 s."""
    for _ in range(200):
        if result := await found():
            return result
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within 10 s: {what}")


@pytest.fixture
async def own_vault(tmp_path: Path) -> AsyncIterator[SwitchedVault]:
    """A vault of this test's own, still empty."""
    async with SwitchedVault(tmp_path).running() as vault:
        yield vault


@pytest.fixture
def start(own_vault: SwitchedVault, deployment: Deployment) -> Start:
    """Starts instances on this test's own vault and the tables of all; keyword arguments are settings."""
    return partial(deployment.instance, KEY_VAULT_URL=own_vault.url, LOCAL_VAULT=str(own_vault.folder))


@pytest.fixture(scope="session")
async def server(table_service: TableService, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """An instance that all tests share, with a signing key, and a second as its cache time."""
    async with (
        SwitchedVault(tmp_path_factory.mktemp("oauth-vault")).running() as vault,
        Deployment.on(vault, table_service.connection_string, CACHE_SECONDS="1") as server,
    ):
        yield server


@pytest.fixture(scope="module")
async def client(server: Deployment) -> Credentials:
    """A client of all tenants."""
    return await server.client()


@pytest.fixture(scope="module")
async def tenant(server: Deployment) -> str:
    """A tenant that is on board."""
    return await server.tenant()


@dataclass(frozen=True)
class Endpoint:
    """An instance over HTTPS."""

    issuer: str
    ca: str
    instance: Deployment

    def metadata(self) -> AuthorizationServerMetadata:
        """The discovered metadata, as authlib validates it but for its want of a response type: nobody signs in."""
        found = requests.get(get_well_known_url(self.issuer, external=True), verify=self.ca, timeout=30).json()
        metadata = AuthorizationServerMetadata(found)
        for key in set(metadata.REGISTRY_KEYS) - {"response_types_supported"}:
            getattr(metadata, f"validate_{key}")()
        return metadata


@pytest.fixture(scope="module")
async def endpoint(server: Deployment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Endpoint]:
    port = free_port()
    instance = server.instance(PUBLIC_BASE_URL=f"https://127.0.0.1:{port}")

    async def serve(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        path, _, query = request.raw_path.partition("?")
        sent = Request(request.method, path, query, headers, await request.read())
        application = instance.application
        response = await (application.oauth if path.startswith("/oauth2/") else application.documents)(sent)
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    folder: Path = tmp_path_factory.mktemp("tls")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=server_context(folder)).start()
    yield Endpoint(instance.settings.public_base_url, str(folder / "ca.pem"), instance)
    await runner.cleanup()
