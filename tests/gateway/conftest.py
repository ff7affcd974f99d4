"""A whole deployment on real tables and a real vault, and providers that a test scripts."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.application import Application
from shared.directory.client import vault_name
from shared.directory.client_secret import ALGORITHM_TAG, hash_of, new_client_secret, secret_id_of
from shared.message import Request, Response
from shared.oauth.signing_keys import rotate
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, TENANTS, Table, table_service

GATEWAY = "https://gateway.example"


@dataclass
class Credentials:
    client_id: str
    client_secret: str


class Deployment:
    """The application and what an admin does to its directory."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.service = table_service(application.settings)

    def table(self, name: str) -> Table:
        return Table(self.service, name)

    async def client(self, tenants: str = "*") -> Credentials:
        client_id, secret = uuid.uuid4().hex, new_client_secret()
        await self.application.vault.set(
            vault_name(client_id, secret_id_of(secret)), hash_of(secret), tags=ALGORITHM_TAG
        )
        row = {"PartitionKey": client_id, "RowKey": f"secret-{secret_id_of(secret)}", "Created": datetime.now(UTC)}
        await self.table(CLIENTS).put(row)
        row = {"PartitionKey": client_id, "RowKey": "client", "Name": "Test", "Tenants": tenants, "Enabled": True}
        await self.table(CLIENTS).put(row)
        return Credentials(client_id, secret)

    async def tenant(self, base_url: str, version: str = "stu3", tenant: str | None = None, **columns: object) -> str:
        tenant = tenant or str(uuid.uuid4())
        row = {"PartitionKey": tenant, "RowKey": version, "BaseUrl": base_url, **columns}
        await self.table(TENANTS).put(row)
        return tenant

    async def secret(self, value: str) -> str:
        name = f"provider-{uuid.uuid4().hex}"
        await self.application.vault.set(name, value)
        return name

    async def token(self, tenant: str, scope: str = "", client: Credentials | None = None) -> str:
        client = client or await self.client()
        form = (
            f"grant_type=client_credentials&client_id={client.client_id}"
            f"&client_secret={client.client_secret}&scope={tenant} {scope}"
        )
        answer = await self.application.oauth(
            Request("POST", "/oauth2/token", "", {"content-type": "application/x-www-form-urlencoded"}, form.encode())
        )
        assert answer.status == 200, answer.body
        return str(json.loads(answer.body)["access_token"])

    async def send(
        self,
        method: str,
        target: str,
        token: str | None = None,
        body: bytes | str | dict[str, Any] = b"",
        **headers: str,
    ) -> Response:
        """A FHIR request as the Functions host hands it over; keyword headers have `_` for `-`."""
        sent = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        if isinstance(body, dict):
            sent.setdefault("content-type", "application/fhir+json")
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        if body:
            sent["content-length"] = str(len(body))
        path, _, query = target.partition("?")
        return await self.application.gateway(Request(method, path, query, sent, body))


@pytest.fixture(scope="session")
async def deployment(table_service: TableService, vault_server: VaultServer) -> AsyncIterator[Deployment]:
    application = Application(
        Settings.from_environment(
            {
                "PUBLIC_BASE_URL": GATEWAY,
                "KEY_VAULT_URL": vault_server.url,
                "TABLES_CONNECTION_STRING": table_service.connection_string,
                "LOCAL_VAULT": str(vault_server.folder),
            }
        )
    )
    deployment = Deployment(application)
    for name in ALL_TABLES:
        await deployment.table(name).create()
    if not await application.vault.versions("token-signing-key"):
        await rotate(application.vault, application.settings)
    yield deployment
    await deployment.service.close()
    await application.close()


@dataclass
class Provider:
    """A scripted FHIR server: it answers as `answer` says and keeps what it was asked."""

    base_url: str = ""
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    def answers(self, body: object, status: int = 200, **headers: str) -> None:
        """Always this; a `str` or `bytes` body goes out as it is, anything else as JSON."""
        raw = body if isinstance(body, str | bytes) else json.dumps(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Content-Type", "application/fhir+json; charset=utf-8")

        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status, body=raw.encode() if isinstance(raw, str) else raw, headers=sent)

        self.answer = answer

    @property
    def targets(self) -> list[str]:
        """The raw request targets, as they came over the wire."""
        return [request.raw_path for request in self.requests]


@asynccontextmanager
async def served(provider: Provider) -> AsyncIterator[str]:
    """The base URL of a provider, at /fhir of a port of its own."""

    async def handle(request: web.Request) -> web.StreamResponse:
        provider.requests.append(request)
        provider.bodies.append(await request.read())
        assert provider.answer is not None
        return await provider.answer(request)

    server = web.Server(handle, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/fhir"
    try:
        yield provider.base_url
    finally:
        await runner.cleanup()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider at /fhir of its own port."""
    provider = Provider()
    async with served(provider):
        yield provider


@pytest.fixture
async def second_provider() -> AsyncIterator[Provider]:
    """Another one, on another port."""
    provider = Provider()
    async with served(provider):
        yield provider


RawServer = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def raw_provider() -> AsyncIterator[RawServer]:
    """Starts servers that answer every request with these very bytes and then close the connection."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/fhir"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()
