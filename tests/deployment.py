"""The product on real stores, as every suite stands it up: the settings, the directory, and what a client sends."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

from aiohttp import web
from aiohttp.typedefs import Handler

from local.vault.certificates import server_context
from local.vault.server import VaultServer, create_app
from local.vault.store import Store
from shared.application import Application
from shared.directory.client import ALGORITHM_TAG, hash_of, new_client_secret, secret_id_of, vault_name
from shared.message import Request, Response
from shared.oauth.signing_keys import SECRET_NAME, rotate
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, TENANTS, Table, table_service
from tests.host import App, Host, app

GATEWAY = "https://gateway.example"
FORM = "application/x-www-form-urlencoded"


@dataclass
class SwitchedVault:
    """The Key Vault stand-in, which keeps the paths it was asked for and can be made to fail.

    `mode`: `pass`, `hang`, `refuse` (resets the connection), `slow` (a second a request), or the status of every
    response, with `headers`.
    """

    folder: Path
    url: str = ""
    mode: str | int = "pass"
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SwitchedVault"]:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "token").write_text("vault-token")
        app = create_app(Store(self.folder / "secrets.json"), "vault-token")
        app.middlewares.insert(0, self._switch)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(self.folder)).start()
            self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            self.mode = "pass"
            await runner.cleanup()

    @web.middleware
    async def _switch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.mode == "hang":
            await asyncio.sleep(3600)
        if self.mode == "refuse" and request.transport is not None:
            request.transport.abort()
        if self.mode == "slow":
            await asyncio.sleep(1)
        if isinstance(self.mode, int):
            return web.Response(status=self.mode, headers=self.headers)
        return await handler(request)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client's id and one of its secrets."""

    client_id: str
    client_secret: str

    @property
    def secret_id(self) -> str:
        return secret_id_of(self.client_secret)

    def form(self, scope: str, **more: str) -> dict[str, str]:
        """The fields of a token request (RFC 6749 section 4.4.2)."""
        named = {"client_id": self.client_id, "client_secret": self.client_secret, "scope": scope}
        return {"grant_type": "client_credentials", **named, **more}

    def basic(self) -> str:
        """The value of `Authorization` (RFC 6749 section 2.3.1)."""
        text = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return f"Basic {base64.b64encode(text.encode()).decode()}"


class Deployment:
    """One instance of the app in this process, what is in its stores, and further instances on the same stores."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.hosts: list[Host] = []
        """The instances in processes of their own, in the order of their start."""
        self.hosts_environment: Mapping[str, str] = {}
        """What their settings differ in."""
        self.settings = Settings.from_environment(environment)
        self.application = Application(self.settings)
        self.vault = self.application.vault
        self._tables = table_service(self.settings)
        self._parts = AsyncExitStack()

    @classmethod
    @asynccontextmanager
    async def on(cls, vault: VaultServer | SwitchedVault, tables: str, **changes: str) -> AsyncIterator["Deployment"]:
        """A deployment on a running `vault` and the `tables` of a connection string, made ready; changed settings."""
        stores = {"KEY_VAULT_URL": vault.url, "LOCAL_VAULT": str(vault.folder), "TABLES_CONNECTION_STRING": tables}
        deployment = cls({"PUBLIC_BASE_URL": GATEWAY, **stores, **changes})
        try:
            for name in ALL_TABLES:
                await deployment.table(name).create()
            if not await deployment.vault.versions(SECRET_NAME):
                await rotate(deployment.vault, deployment.settings)
            yield deployment
        finally:
            await deployment.close()

    def instance(self, **changes: str) -> "Deployment":
        """A further instance on the same stores, in this process, with changed settings."""
        instance = Deployment({**self.environment, **changes})
        self._parts.push_async_callback(instance.close)
        return instance

    async def host(self, port: int = 0, module: str = "local.functions_host", **changes: str) -> Host:
        """A further instance in a process of its own, served over HTTP; its log stands beside the vault's files."""
        environment = {**self.environment, **self.hosts_environment, **changes}
        log = Path(environment["LOCAL_VAULT"]) / f"host-{uuid.uuid4().hex}.log"
        self.hosts.append(await Host.start(environment, log, port, module))
        self._parts.push_async_callback(self.hosts[-1].stop)
        return self.hosts[-1]

    @asynccontextmanager
    async def app(self, host: Host, tenants: str = "*") -> AsyncIterator[App]:
        """An app with a new client, on one of the hosts."""
        async with app(host, await self.client(tenants)) as new:
            yield new

    async def close(self) -> None:
        await self._parts.aclose()
        await self._tables.close()
        await self.application.close()

    def table(self, name: str) -> Table:
        return Table(self._tables, name)

    async def client(self, tenants: str = "*", **columns: object) -> Credentials:
        """A new client with a secret."""
        client_id = str(uuid.uuid4())
        row = {"Name": "A test's", "Owner": "tests@example.com", "Tenants": tenants, "Enabled": True, **columns}
        await self.table(CLIENTS).put({"PartitionKey": client_id, "RowKey": "client", **row})
        return Credentials(client_id, await self.add_secret(client_id))

    async def add_secret(
        self,
        client_id: str,
        secret: str | None = None,
        *,
        expires: datetime | None = None,
        vault_expires: datetime | None = None,
    ) -> str:
        """A further secret of a client: the vault before the row, as the portal does it."""
        secret = secret or new_client_secret()
        id = secret_id_of(secret)
        await self.vault.set(vault_name(client_id, id), hash_of(secret), tags=ALGORITHM_TAG, expires=vault_expires)
        row: dict[str, object] = {"PartitionKey": client_id, "RowKey": f"secret-{id}", "Hint": secret[-4:]}
        row |= {"Created": datetime.now(UTC)} | ({"Expires": expires} if expires else {})
        await self.table(CLIENTS).put(row)
        return secret

    async def tenant(
        self,
        base_url: str = "https://hospital.example/fhir",
        version: str = "stu3",
        tenant: str | None = None,
        **columns: object,
    ) -> str:
        """A tenant's GUID, after one row is written for it (under `tenant` as a person typed it)."""
        key = tenant or str(uuid.uuid4())
        await self.table(TENANTS).put({"PartitionKey": key, "RowKey": version, "BaseUrl": base_url, **columns})
        return key.strip(" {}").lower()

    async def secret(self, value: str) -> str:
        """The name of a provider's secret with this value."""
        name = f"provider-{uuid.uuid4().hex}"
        await self.vault.set(name, value)
        return name

    async def request_token(self, client: Credentials, scope: str, **more: str) -> Response:
        """A token request by form."""
        return await self.oauth(urlencode(client.form(scope, **more)))

    async def token(self, tenant: str, scope: str = "", client: Credentials | None = None) -> str:
        """An access token for a tenant, of a new client when none is named."""
        response = await self.request_token(client or await self.client(), f"{tenant} {scope}".strip())
        assert response.status == 200, response.body
        return str(json.loads(response.body)["access_token"])

    async def oauth(
        self,
        body: bytes | str = b"",
        *,
        method: str = "POST",
        path: str = "/oauth2/token",
        query: str = "",
        content_type: str | None = FORM,
        **headers: str,
    ) -> Response:
        """A request to the authorization server as the Functions host hands it over; `_` in keywords is `-`."""
        sent = _headers(headers) | ({"content-type": content_type} if content_type is not None else {})
        return await self.application.oauth(Request(method, path, query, sent, _bytes(body)))

    async def send(
        self,
        method: str,
        target: str,
        token: str | None = None,
        body: bytes | str | dict[str, Any] = b"",
        **headers: str,
    ) -> Response:
        """A FHIR request as the Functions host hands it over; `_` in keywords is `-`."""
        sent = _headers(headers)
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        if isinstance(body, dict):
            sent.setdefault("content-type", "application/fhir+json")
            body = json.dumps(body)
        if content := _bytes(body):
            sent["content-length"] = str(len(content))
        path, _, query = target.partition("?")
        return await self.application.gateway(Request(method, path, query, sent, content))


def _headers(keywords: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").lower(): value for name, value in keywords.items()}


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body
