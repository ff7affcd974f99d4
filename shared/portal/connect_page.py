"""The page on how an app connects: the endpoints, the token request, and lines that work in a shell."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.directory.client import Client
from shared.directory.client_registry import ClientRegistry
from shared.directory.errors import RowError, UnknownClient
from shared.fhir.versions import FhirVersion
from shared.message import Response
from shared.portal.rendering import Renderer
from shared.portal.request import PortalRequest, Route
from shared.portal.tenant_list import TenantEntry, TenantList
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class ConnectPage:
    """The page "How to connect"; `?client=` fills in the id and a tenant of a client that the person may see."""

    _settings: Settings
    _renderer: Renderer
    _clients: ClientRegistry
    _tenants: TenantList

    def routes(self) -> Sequence[Route]:
        """The one page."""
        return (Route("GET", "/connect", self._show),)

    async def _show(self, request: PortalRequest) -> Response:
        client = await self._client(request)
        entry = await self._reachable(client) if client is not None else None
        return self._renderer.page(
            "connect.html",
            request,
            gateway=self._settings.public_base_url,
            default=self._settings.default_fhir_version,
            versions=list(FhirVersion),
            client=client,
            tenant=entry.tenant if entry is not None else None,
            base=f"/{entry.version.value}" if entry is not None and entry.version is not None else "/fhir",
        )

    async def _reachable(self, client: Client) -> TenantEntry | None:
        """The first tenant that the client may reach and that is served."""
        entries = [entry for entry in await self._tenants.entries() if entry.enabled and not entry.problem]
        return next((entry for entry in entries if entry.tenant is not None and client.may_reach(entry.tenant)), None)

    async def _client(self, request: PortalRequest) -> Client | None:
        try:
            client = await self._clients.get(request.query.get("client", ""))
        except (UnknownClient, RowError):
            return None
        return client if request.principal.may_see(client) else None
