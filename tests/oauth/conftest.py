"""Authorization servers on real tables and vaults of their own, whose requests can be counted and refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local.azurite.table_service import TableService
from shared.message import Response
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
