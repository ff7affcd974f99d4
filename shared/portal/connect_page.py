"""How an app connects: the endpoints, the token request, and lines that work in a shell."""

from collections.abc import Sequence

from shared.directory.client import Client
from shared.directory.client_registry import ClientRegistry
from shared.directory.provider import RowError
from shared.directory.refusals import UnknownClient
from shared.fhir.versions import FhirVersion
from shared.message import Response
from shared.portal.pages import Pages
from shared.portal.tenant_list import TenantList
from shared.portal.visit import Route, Visit
from shared.settings import Settings


class ConnectPage:
    """The page "How to connect"; `?client=` fills in the id and a tenant of a client that the visitor may see."""

    def __init__(self, settings: Settings, pages: Pages, clients: ClientRegistry, tenants: TenantList) -> None:
        self._settings = settings
        self._pages = pages
        self._clients = clients
        self._tenants = tenants

    def routes(self) -> Sequence[Route]:
        """The one page."""
        return (Route("GET", "/connect", self._show),)

    async def _show(self, visit: Visit) -> Response:
        client = await self._client(visit)
        reachable = client.tenants if client is not None else None
        entry = next(
            (entry for entry in await self._tenants.entries() if reachable and entry.tenant in reachable), None
        )
        return self._pages.page(
            "connect.html",
            visit,
            gateway=self._settings.public_base_url,
            default=self._settings.default_fhir_version,
            versions=list(FhirVersion),
            client=client,
            tenant=entry.tenant if entry is not None else None,
            base=f"/{entry.version.value}" if entry is not None and entry.version is not None else "/fhir",
        )

    async def _client(self, visit: Visit) -> Client | None:
        client_id = visit.query.get("client")
        if client_id is None:
            return None
        try:
            client = await self._clients.get(client_id)
        except (UnknownClient, RowError):
            return None
        return client if visit.principal.may_see(client) else None
