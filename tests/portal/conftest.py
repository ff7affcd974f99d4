"""The portal on real tables and a real vault, and people who use it without a browser."""

import html
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.application import Application
from shared.directory.access_requests import AccessRequests
from shared.directory.client_registry import ClientRegistry
from shared.directory.provider import Provider
from shared.directory.tenant_registry import TenantRegistry
from shared.fhir.versions import FhirVersion
from shared.message import Request, Response
from shared.stores.tables import CLIENTS, TENANTS
from tests.deployment import FORM, Deployment
from tests.portal.browser import browser, stack

__all__ = ["browser", "stack"]

HOST = "127.0.0.1:7072"
Changes = Callable[[], list[tuple[str, ...]]]


@dataclass(frozen=True)
class Page:
    """A response of the portal."""

    response: Response

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def text(self) -> str:
        return self.response.body.decode()

    @property
    def words(self) -> str:
        """The text that a person reads on the page, in one line."""
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.text)))

    @property
    def location(self) -> str:
        return self.response.headers["Location"]

    def field(self, name: str) -> str:
        """The value of an input or text area of the page's form."""
        pattern = rf'name="{name}"(?: value="([^"]*)"|[^>]*>\n([^<]*)</textarea>)'
        found = re.search(pattern, self.text)
        assert found is not None, f"no field {name}"
        return html.unescape(found[1] or found[2] or "")


@dataclass
class Person:
    """Someone with cookie jars, one for all paths and one by path; `headers` go with every request."""

    application: Application
    headers: dict[str, str] = field(default_factory=lambda: {"host": HOST})
    cookies: dict[str, str] = field(default_factory=dict)
    scoped: dict[str, dict[str, str]] = field(default_factory=dict)

    async def get(self, path: str, method: str = "GET") -> Page:
        return await self.send(method, path, {}, b"")

    async def post(self, path: str, form: Mapping[str, str] | None = None) -> Page:
        """Sends a form as a page of the portal would."""
        body = urlencode(form or {}).encode()
        return await self.send("POST", path, {"content-type": FORM, "sec-fetch-site": "same-origin"}, body)

    async def upload(self, path: str, form: Mapping[str, str], file: bytes = b"") -> Page:
        parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in form.items()]
        parts.append(b'name="file"; filename="t.csv"\r\nContent-Type: text/csv\r\n\r\n' + file)
        body = b"".join(b"--edge\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--edge--"
        headers = {"content-type": "multipart/form-data; boundary=edge", "sec-fetch-site": "same-origin"}
        return await self.send("POST", path, headers, body)

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Page:
        path, _, query = path.partition("?")
        scoped = [jar for root, jar in self.scoped.items() if f"{path}/".startswith(f"{root}/")]
        cookie = "; ".join(f"{name}={value}" for jar in (*scoped, self.cookies) for name, value in jar.items())
        request = Request(method, path, query, {**self.headers, **headers, "cookie": cookie}, body)
        response = await self.application.portal(request)
        for name, morsel in SimpleCookie(response.headers.get("Set-Cookie", "")).items():
            jar = self.cookies if morsel["path"] == "/" else self.scoped.setdefault(morsel["path"], {})
            jar[name] = morsel.value
        return Page(response)

    async def sign_in(self, name: str, role: str) -> "Person":
        page = await self.post("/portal/sign-in", {"name": name, "role": role})
        assert page.status == 303, page.text
        return self


class Portal:
    """The portal of a deployment, and what is in its stores."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.application, self.vault = deployment.application, deployment.vault
        self.tenants_table, self.clients_table = deployment.table(TENANTS), deployment.table(CLIENTS)
        self.clients = ClientRegistry(self.clients_table, self.vault)
        self.requests = AccessRequests(self.clients_table)
        self.tenants = TenantRegistry(self.tenants_table, local=True)

    async def admin(self, name: str = "grace@example.com") -> Person:
        return await Person(self.application).sign_in(name, "Gateway.Admin")

    async def owner(self, name: str = "ada@example.com") -> Person:
        return await Person(self.application).sign_in(name, "Gateway.ClientOwner")

    async def tenant(self, **columns: str) -> tuple[str, str]:
        """The id of a new tenant with an STU3 row, and the path of its page."""
        id = await self.deployment.tenant("https://fhir.riverside.example/stu3", **columns)
        return id, f"/portal/tenants/{id}/stu3"

    async def provider(self, tenant: str) -> Provider:
        """The provider of a tenant's STU3 row, which has to be there."""
        provider = await self.tenants.get(tenant, FhirVersion.STU3)
        assert provider is not None
        return provider


@pytest.fixture(scope="session")
async def portal(tmp_path_factory: pytest.TempPathFactory, vault_server: VaultServer) -> AsyncIterator[Portal]:
    """A portal with tables of its own, as its lists show every row."""
    settings = {"PUBLIC_BASE_URL": "http://127.0.0.1:7071", "CLIENTS_PER_OWNER": "1000"}
    tables = await TableService.start(tmp_path_factory.mktemp("portal-tables"))
    async with Deployment.on(vault_server, tables.connection_string, **settings) as deployment:
        yield Portal(deployment)
    await tables.stop()


@pytest.fixture
def changes(caplog: pytest.LogCaptureFixture) -> Changes:
    """The changes in the audit log so far, each as its actor, action, subject and detail."""
    caplog.set_level("INFO", "gateway.audit")

    def read() -> list[tuple[str, ...]]:
        lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.audit"]
        keys = ("actor", "action", "subject", "detail")
        return [tuple(line[key] for key in keys) for line in lines if line["event"] == "change"]

    return read
