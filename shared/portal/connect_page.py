"""The page "How to connect": the guide for an app's developer, filled in for a client and a hospital."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from shared import app_guide
from shared.directory.client import Client
from shared.directory.client_registry import ClientRegistry
from shared.fhir.versions import FhirVersion
from shared.message import Response
from shared.portal.assertion_settings import assertion_settings
from shared.portal.key_reader import KeyReader, ShownKeys
from shared.portal.rendering import Renderer
from shared.portal.request import PortalRequest, Route
from shared.portal.tenant_list import TenantEntry, TenantList
from shared.settings import Settings

_MAX_CHOICES = 100


@dataclass(frozen=True, slots=True)
class ConnectPage:
    """`?client=` and `?hospital=<tenant>/<version>` choose what is filled in, `?language=` the program that is shown.

    What can't be chosen is taken for none: then the first client that the person may see, and the first hospital that
    it may reach, of those whose name has `?q=` in it.
    """

    _settings: Settings
    _renderer: Renderer
    _clients: ClientRegistry
    _tenants: TenantList
    _keys: KeyReader

    def routes(self) -> Sequence[Route]:
        """The one page."""
        return (Route("GET", "/connect", self._show),)

    async def _show(self, request: PortalRequest) -> Response:
        query = request.query
        clients = await self._visible(request)
        client = next((client for client in clients if client.id == query.get("client")), next(iter(clients), None))
        hospitals = await self._tenants.reachable(client) if client is not None else []
        found = [hospital for hospital in hospitals if _matches(hospital, query.get("q", ""))]
        hospital = next((each for each in found if each.choice == query.get("hospital")), next(iter(found), None))
        language = query.get("language", "")
        language = language if language in app_guide.LANGUAGES else next(iter(app_guide.LANGUAGES))

        keys = await self._keys.read(client) if client is not None else ShownKeys(())
        gateway = self._settings.public_base_url
        base = hospital.version.value if hospital is not None and hospital.version is not None else "fhir"
        values = {"BASE_URL": f"{gateway}/{base}"}
        values |= {"CLIENT_ID": client.id} if client is not None else {}
        values |= {"TENANT_ID": hospital.tenant} if hospital is not None and hospital.tenant is not None else {}
        chosen = {"client": client.id if client else "", "hospital": hospital.choice if hospital else ""}
        return self._renderer.page(
            "connect.html",
            request,
            gateway=gateway,
            default=self._settings.default_fhir_version,
            versions=list(FhirVersion),
            selects=[
                _select("client", "Client", [(each.id, each.name or each.id) for each in clients], chosen),
                _select("hospital", "Hospital", [(each.choice, _label(each)) for each in found], chosen),
            ],
            chosen=chosen,
            client=client,
            signing=client and assertion_settings(self._settings, client, [shown.key for shown in keys.keys]),
            search=query.get("q", ""),
            language=language,
            values=values,
            blocks=[
                (block, _with_links(block.html, chosen, language))
                for block in await asyncio.to_thread(app_guide.blocks)
                if block.language in ("", language)
            ],
        )

    async def _visible(self, request: PortalRequest) -> list[Client]:
        """The clients that the person may see, by name."""
        entries = [entry async for _, entry in self._clients.list()]
        seen = [entry for entry in entries if isinstance(entry, Client) and request.principal.may_see(entry)]
        return sorted(seen, key=lambda client: (client.name.lower(), client.id))


def _select(
    name: str, label: str, options: Sequence[tuple[str, str]], chosen: Mapping[str, str]
) -> tuple[str, str, Sequence[tuple[str, str]], str]:
    """A list to choose from: its name, its label, at most a hundred values with their texts, and the chosen value."""
    if len(options) > _MAX_CHOICES:
        label = f"{label} (the first {_MAX_CHOICES} of {len(options):,})"
    rest = (option for option in options[_MAX_CHOICES:] if option[0] == chosen[name])
    return name, label, [*options[:_MAX_CHOICES], *rest], chosen[name]


def _label(hospital: TenantEntry) -> str:
    return f"{hospital.name} ({hospital.version.name if hospital.version else ''})"


def _matches(hospital: TenantEntry, search: str) -> bool:
    """By name and ID: a hospital's address is not for everyone who may reach it."""
    return search.strip().lower() in f"{hospital.name} {hospital.tenant}".lower()


def _with_links(html: str, chosen: Mapping[str, str], language: str) -> str:
    """The guide's links to its languages, as links to this page in that language."""

    def link(found: re.Match[str]) -> str:
        if found[1] not in app_guide.LANGUAGES:
            return found[0]
        query = urlencode({**{name: value for name, value in chosen.items() if value}, "language": found[1]})
        current = ' aria-current="true"' if found[1] == language else ""
        return f'href="?{escape(query)}#the-programs"{current}'

    return re.sub('href="#([^"]+)"', link, html)
