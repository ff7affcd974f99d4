"""An authorization server on real tables and a vault of its own, whose requests can be counted and refused."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from azure.data.tables.aio import TableServiceClient

from local.azurite.table_service import TableService
from local.vault.certificates import server_context
from local.vault.server import create_app
from local.vault.store import Store
from shared.application import Application
from shared.directory.client import ALGORITHM_TAG, hash_of, new_client_secret, secret_id_of, vault_name
from shared.message import Request, Response
from shared.oauth.signing_keys import rotate
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, TENANTS, Table
from shared.stores.vault import Vault

GATEWAY = "https://gateway.example"
FORM = "application/x-www-form-urlencoded"


class WatchedVault:
    """The Key Vault stand-in, which notes every path asked for and can be made to answer with one status only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["WatchedVault"]:
        (self.folder / "token").write_text("vault-token")
        app = create_app(Store(self.folder / "secrets.json"), "vault-token")
        app.middlewares.insert(0, self._watch())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(self.folder)).start()
            self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    def _watch(self) -> Middleware:
        @web.middleware
        async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.asked.append(request.path)
            if self.status != 200:
                return web.Response(status=self.status, headers=self.headers)
            return await handler(request)

        return watch


@dataclass(frozen=True)
class Credentials:
    client_id: str
    client_secret: str

    @property
    def secret_id(self) -> str:
        return secret_id_of(self.client_secret)

    def form(self, scope: str, **more: str) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "scope": scope,
            **more,
        }

    def basic(self) -> str:
        text = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return f"Basic {base64.b64encode(text.encode()).decode()}"


class Instance:
    """One instance of the app, and what is kept in the deployment's stores."""

    def __init__(self, settings: Settings, tables: dict[str, Table]) -> None:
        self.application = Application(settings)
        self.settings = settings
        self._tables = tables

    @property
    def vault(self) -> Vault:
        return self.application.vault

    def table(self, name: str) -> Table:
        return self._tables[name]

    async def client(self, tenants: str = "*", **columns: object) -> Credentials:
        client_id = uuid.uuid4().hex
        row = {"PartitionKey": client_id, "RowKey": "client", "Name": "A test's", "Tenants": tenants, "Enabled": True}
        await self.table(CLIENTS).put({**row, **columns})
        return Credentials(client_id, await self.add_secret(client_id))

    async def add_secret(
        self,
        client_id: str,
        secret: str | None = None,
        *,
        expires: datetime | None = None,
        vault_expires: datetime | None = None,
    ) -> str:
        """A further secret of the client; the vault before the row, as the portal does it."""
        secret = secret or new_client_secret()
        name = vault_name(client_id, secret_id_of(secret))
        await self.vault.set(name, hash_of(secret), tags=ALGORITHM_TAG, expires=vault_expires)
        row: dict[str, object] = {"PartitionKey": client_id, "RowKey": f"secret-{secret_id_of(secret)}"}
        row |= {"Created": datetime.now(UTC), "Hint": secret[-4:]} | ({"Expires": expires} if expires else {})
        await self.table(CLIENTS).put(row)
        return secret

    async def tenant(self, *, key: str | None = None, version: str = "stu3", **columns: object) -> str:
        """A tenant's GUID, after one row for it is written (under `key`, as a person typed it)."""
        tenant = (key or str(uuid.uuid4())).strip(" {}").lower()
        row = {"PartitionKey": key or tenant, "RowKey": version, "BaseUrl": "https://hospital.example/fhir", **columns}
        await self.table(TENANTS).put(row)
        return tenant

    async def send(
        self,
        body: bytes | str = b"",
        *,
        method: str = "POST",
        query: str = "",
        content_type: str | None = FORM,
        path: str = "/oauth2/token",
        **headers: str,
    ) -> Response:
        """A request as the Functions host hands it over; keyword headers have `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            sent["content-type"] = content_type
        body = body.encode() if isinstance(body, str) else body
        return await self.application.oauth(Request(method, path, query, sent, body))

    async def ask(self, client: Credentials, scope: str, **more: str) -> Response:
        return await self.send(urlencode(client.form(scope, **more)))

    async def token(self, client: Credentials, scope: str) -> str:
        return str(granted(await self.ask(client, scope))["access_token"])


Start = Callable[..., Instance]


def granted(response: Response) -> dict[str, Any]:
    """The body of a success, whose form is checked."""
    assert response.status == 200, response.body
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert headers == {"content-type": "application/json", "cache-control": "no-store", "pragma": "no-cache"}
    body: dict[str, Any] = json.loads(response.body)
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert body["token_type"] == "Bearer"
    assert type(body["expires_in"]) is int
    return body


def refused(response: Response) -> tuple[int, str]:
    """Status and error code of a refusal, whose form is checked (RFC 6749 section 5.2)."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert headers["pragma"] == "no-cache"
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    body = json.loads(response.body)
    assert set(body) == {"error", "error_description"}
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


def settings_for(vault: WatchedVault, tables: str, **changes: str) -> Settings:
    return Settings.from_environment(
        {
            "PUBLIC_BASE_URL": GATEWAY,
            "KEY_VAULT_URL": vault.url,
            "TABLES_CONNECTION_STRING": tables,
            "LOCAL_VAULT": str(vault.folder),
            **changes,
        }
    )


@pytest.fixture(scope="session")
async def tables(table_service: TableService) -> AsyncIterator[dict[str, Table]]:
    async with TableServiceClient.from_connection_string(table_service.connection_string) as service:
        tables = {name: Table(service, name) for name in ALL_TABLES}
        for table in tables.values():
            await table.create()
        yield tables


@pytest.fixture
async def watched_vault(tmp_path: Path) -> AsyncIterator[WatchedVault]:
    """A vault of this test's own, still empty."""
    async with WatchedVault(tmp_path).running() as vault:
        yield vault


@pytest.fixture
async def start(
    watched_vault: WatchedVault, table_service: TableService, tables: dict[str, Table]
) -> AsyncIterator[Start]:
    """Starts instances on this test's own vault; keyword arguments are settings."""
    async with AsyncExitStack() as stack:

        def start(connection_string: str = table_service.connection_string, **changes: str) -> Instance:
            instance = Instance(settings_for(watched_vault, connection_string, **changes), tables)
            stack.push_async_callback(instance.application.close)
            return instance

        yield start


@pytest.fixture(scope="session")
async def server(
    table_service: TableService, tables: dict[str, Table], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """An instance that all tests share, with a signing key, and a second as its cache time."""
    async with WatchedVault(tmp_path_factory.mktemp("watched-vault")).running() as vault:
        instance = Instance(settings_for(vault, table_service.connection_string, CACHE_SECONDS="1"), tables)
        await rotate(instance.vault, instance.settings)
        yield instance
        await instance.application.close()
