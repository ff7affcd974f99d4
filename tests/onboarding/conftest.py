"""The onboarding check against the demo hospitals, whole or with what a test changes in their responses."""

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date
from inspect import isawaitable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import strategies as st

from local.hospitals.hospital import HILLCREST, LAKESIDE, NORTHGATE, RIVERSIDE, SEASIDE, Hospital
from local.hospitals.server import create_app
from shared.directory.tenant_row import parse_provider
from shared.onboarding.check import check
from shared.onboarding.probe import open_probe
from shared.onboarding.report import Report
from shared.onboarding.section import OnStep
from shared.settings import Settings
from shared.stores.tables import Row
from shared.stores.vault import Vault
from tests.deployment import Deployment

NAMES = st.sampled_from(["a", "b", "c", "d", "family", "given", "value", "system"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(NAMES, inside, max_size=3),
    max_leaves=20,
)
TOKEN_URL = "{origin}/oauth2/token"
ACCESS: dict[Hospital, tuple[dict[str, str], dict[str, str], str]] = {
    RIVERSIDE: ({"username": "gateway", "password": "p"}, {"Auth": "basic"}, "gateway:p"),
    LAKESIDE: (
        {"client_id": "gateway", "client_secret": "s"},
        {"Auth": "client_secret_basic", "AuthTokenUrl": TOKEN_URL, "AuthClientId": "gateway"},
        "s",
    ),
    NORTHGATE: ({"key": "k"}, {"Auth": "header", "AuthHeader": "Ocp-Apim-Subscription-Key", "Batch": "split"}, "k"),
    HILLCREST: ({"username": "gateway", "password": "p"}, {"Auth": "basic", "Batch": "split"}, "gateway:p"),
    SEASIDE: ({"key": "k"}, {"Auth": "header", "AuthHeader": "Ocp-Apim-Subscription-Key"}, "k"),
}
"""The credential that a hospital demands, the columns that say how to get in, and the value of their secret."""

Twist = Callable[[web.Request, Any], Any]
"""A test's change of a response's JSON: in place, or by returning (or awaiting) another body or a whole response."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def type_of(request: web.Request) -> str:
    """The resource type that a request to Lakeside names, "" for the base itself."""
    return request.path.removeprefix(LAKESIDE.base_path).strip("/").partition("/")[0]


@dataclass
class Onboarding:
    """Runs the check; `targets` are the raw targets of requests to the server, `bodies` the bodies beside them."""

    vault: Vault
    settings: Settings
    running: AsyncExitStack
    targets: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    async def start(self, hospital: Hospital, twist: Twist | None = None) -> str:
        """Starts a hospital and gives its origin."""

        @web.middleware
        async def change(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.targets.append(f"{request.method} {request.raw_path}")
            self.bodies.append((await request.read()).decode())
            response = await handler(request)
            if twist is None or request.path.endswith("/token") or not isinstance(response, web.Response):
                return response
            body = json.loads(response.body) if isinstance(response.body, bytes) else None
            changed = twist(request, body)
            while isawaitable(changed):
                changed = await changed
            if isinstance(changed, web.StreamResponse):
                return changed
            sent = body if changed is None else changed
            return web.json_response(sent, status=response.status, content_type=response.content_type)

        app = create_app(hospital, hospital.credential(**ACCESS[hospital][0]), date(2026, 3, 14))
        app.middlewares.append(change)
        server = await self.running.enter_async_context(TestServer(app, host="127.0.0.1", access_log=None))
        return str(server.make_url("/")).rstrip("/")

    async def row(
        self, hospital: Hospital = LAKESIDE, twist: Twist | None = None, secret: str | None = None, **columns: object
    ) -> Row:
        """A new tenant's row for a hospital, and its credential in the vault (none for "")."""
        origin = await self.start(hospital, twist)
        _, access, value = ACCESS[hospital]
        name = f"provider-{uuid.uuid4().hex}"
        if secret != "":
            await self.vault.set(name, secret or value)
        key = {"PartitionKey": str(uuid.uuid4()), "RowKey": hospital.version.value, "AuthSecret": name}
        access = {column: text.format(origin=origin) for column, text in access.items()}
        return {**key, "BaseUrl": origin + hospital.base_path, "Name": hospital.name, **access, **columns}

    async def __call__(
        self,
        hospital: Hospital = LAKESIDE,
        twist: Twist | None = None,
        patient_id: str | None = None,
        on_step: OnStep = lambda step: None,
        **columns: Any,
    ) -> Report:
        """The report on a hospital whose responses a test changes."""
        provider = parse_provider(await self.row(hospital, twist, **columns), local=True)
        async with open_probe(provider, self.vault, self.settings) as probe:
            return await check(probe, patient_id=patient_id, on_step=on_step)


@pytest.fixture
async def onboarding(deployment: Deployment) -> AsyncIterator[Onboarding]:
    async with AsyncExitStack() as running:
        yield Onboarding(deployment.vault, deployment.settings, running)
