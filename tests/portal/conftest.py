"""The portal on real tables and a real vault, and people who visit it without a browser."""

import html
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.application import Application
from shared.directory.client_registry import ClientRegistry
from shared.directory.tenant_registry import TenantRegistry
from shared.message import Request, Response
from shared.oauth.signing_keys import rotate
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, TENANTS, Table, table_service

FORM = "application/x-www-form-urlencoded"
HOST = "127.0.0.1:7072"


@dataclass
class Page:
    """An answer, and the request path that led to it."""

    path: str
    response: Response

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def text(self) -> str:
        return self.response.body.decode()

    @property
    def location(self) -> str:
        return self.response.headers["Location"]

    def field(self, name: str) -> str:
        """The value of an input or text area of the page's form."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        if found is None:
            found = re.search(rf'<textarea[^>]*name="{name}"[^>]*>\n([^<]*)</textarea>', self.text)
        assert found is not None, f"no field {name}"
        return html.unescape(found[1])


@dataclass
class Visitor:
    """Someone with a cookie jar; `headers` go with every request."""

    application: Application
    headers: dict[str, str] = field(default_factory=lambda: {"host": HOST})
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, method: str = "GET") -> Page:
        return await self.send(method, path, {}, b"")

    async def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Page:
        """Sends a form as a page of the portal would; keyword headers have `_` for `-`."""
        body = urlencode({"csrf": self.csrf(), **(form or {})}).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("POST", path, {"content-type": FORM, "sec-fetch-site": "same-origin", **sent}, body)

    async def upload(self, path: str, form: Mapping[str, str], file: bytes = b"") -> Page:
        parts = [
            f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in {"csrf": self.csrf(), **form}.items()
        ]
        head = (
            b'--edge\r\nContent-Disposition: form-data; name="file"; filename="t.csv"\r\nContent-Type: text/csv\r\n\r\n'
        )
        body = b"".join(parts) + head + file + b"\r\n--edge--\r\n"
        headers = {"content-type": "multipart/form-data; boundary=edge", "sec-fetch-site": "same-origin"}
        return await self.send("POST", path, headers, body)

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Page:
        sent = {
            **self.headers,
            **headers,
            "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }
        path, _, query = path.partition("?")
        response = await self.application.portal(Request(method, path, query, sent, body))
        for name, morsel in SimpleCookie(response.headers.get("Set-Cookie", "")).items():
            self.cookies[name] = morsel.value
        return Page(path, response)

    def csrf(self) -> str:
        return next((value for name, value in self.cookies.items() if name.endswith("portal-csrf")), "")

    async def sign_in(self, name: str, role: str) -> "Visitor":
        await self.get("/portal/sign-in")
        page = await self.post("/portal/sign-in", {"name": name, "role": role})
        assert page.status == 303, page.text
        return self


@dataclass
class Deployment:
    """The application, and what is in its tables."""

    application: Application
    clients: ClientRegistry
    tenants: TenantRegistry
    tenants_table: Table
    clients_table: Table

    async def admin(self, name: str = "grace@example.com") -> Visitor:
        return await Visitor(self.application).sign_in(name, "Gateway.Admin")

    async def owner(self, name: str = "ada@example.com") -> Visitor:
        return await Visitor(self.application).sign_in(name, "Gateway.ClientOwner")


@pytest.fixture(scope="session")
async def portal_tables(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TableService]:
    """A table service of the portal's own: its lists show whatever there is."""
    service = await TableService.start(tmp_path_factory.mktemp("portal-tables"))
    yield service
    await service.stop()


@pytest.fixture(scope="session")
def environment(portal_tables: TableService, vault_server: VaultServer) -> dict[str, str]:
    return {
        "PUBLIC_BASE_URL": "http://127.0.0.1:7071",
        "KEY_VAULT_URL": vault_server.url,
        "LOCAL_VAULT": str(vault_server.folder),
        "TABLES_CONNECTION_STRING": portal_tables.connection_string,
        "CLIENTS_PER_OWNER": "1000",
    }


@pytest.fixture(scope="session")
async def deployment(environment: dict[str, str]) -> AsyncIterator[Deployment]:
    application = Application(Settings.from_environment(environment))
    service = table_service(application.settings)
    for name in ALL_TABLES:
        await Table(service, name).create()
    if not await application.vault.versions("token-signing-key"):
        await rotate(application.vault, application.settings)
    tenants = Table(service, TENANTS)
    clients = Table(service, CLIENTS)
    yield Deployment(
        application,
        ClientRegistry(clients, application.vault),
        TenantRegistry(tenants, local=True),
        tenants,
        clients,
    )
    await service.close()
    await application.close()


@pytest.fixture
async def azure(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str, bool], Application]]:
    """Builds applications that are told where they run by PORTAL_AUTH and by the platform."""
    built: list[Application] = []

    def build(portal_auth: str, vouched: bool) -> Application:
        monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True" if vouched else "False")
        application = Application(Settings.from_environment({**environment, "PORTAL_AUTH": portal_auth}))
        built.append(application)
        return application

    yield build
    for application in built:
        await application.close()
