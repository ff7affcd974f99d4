"""The page of the hospitals that a client may reach: an admin chooses them by name, its owner asks for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from shared.directory.client import Client
from shared.directory.client_registry import ALL_TENANTS
from shared.directory.errors import Refusal, UnknownTenants
from shared.directory.typed_text import parse_tenant_id
from shared.message import Response
from shared.portal.client_finder import ClientFinder, sentence
from shared.portal.errors import ChangedMeanwhile, NotFound
from shared.portal.rendering import UNPROCESSABLE, Renderer, list_page, see_other
from shared.portal.request import AccessLevel, PortalRequest, Route
from shared.portal.tenant_list import TenantList

_MIN_LETTERS = 3
_MAX_FOUND = 20


@dataclass(frozen=True, slots=True)
class AccessPages:
    """Shows and changes what a client may reach; requests for it are made, taken back, granted and refused."""

    _renderer: Renderer
    _finder: ClientFinder
    _tenants: TenantList

    def routes(self) -> Sequence[Route]:
        """The page and what its forms do."""
        hospitals, requests = "/clients/{client}/hospitals", "/clients/{client}/requests/{tenant}"
        admin = AccessLevel.ADMIN
        return (
            Route("GET", hospitals, self._show),
            Route("POST", f"{hospitals}/all", partial(self._set_all, all=True), admin),
            Route("POST", f"{hospitals}/chosen", partial(self._set_all, all=False), admin),
            Route("POST", f"{hospitals}/{{tenant}}/add", partial(self._set_reach, allowed=True), admin),
            Route("POST", f"{hospitals}/{{tenant}}/remove", partial(self._set_reach, allowed=False), admin),
            Route("POST", requests, self._ask),
            Route("POST", f"{requests}/withdraw", self._withdraw),
            Route("POST", f"{requests}/grant", self._grant, admin),
            Route("POST", f"{requests}/refuse", self._refuse, admin),
        )

    async def _show(self, request: PortalRequest) -> Response:
        return await self._page(request, await self._finder.client(request))

    async def _page(self, request: PortalRequest, client: Client, problem: str | None = None) -> Response:
        search = (request.query or request.form).get("q", "").strip()
        names, asked = await self._tenants.names(), await self._finder.requests.waiting(client.id)
        found = await self._found(request, search)
        reached = sorted((names.get(id, ""), id) for id in client.tenants or ())
        return self._renderer.page(
            "client_hospitals.html",
            request,
            UNPROCESSABLE if problem else 200,
            client=client,
            names=names,
            asked=asked,
            waiting={each.tenant for each in asked},
            page=list_page(reached, request.query),
            search=search,
            found=found[:_MAX_FOUND],
            more=len(found) > _MAX_FOUND,
            min_letters=_MIN_LETTERS,
            problem=problem,
        )

    async def _found(self, request: PortalRequest, search: str) -> Sequence[tuple[str, str]]:
        """Hospitals by name and GUID. An owner finds those that are served, by three letters or the GUID."""
        wanted, tenant = search.lower(), parse_tenant_id(search)
        if not wanted or (not request.principal.is_admin and len(wanted) < _MIN_LETTERS):
            return ()
        served = await self._served(request)
        return sorted({(name, id) for id, name in served.items() if id == tenant or wanted in name.lower()})

    async def _served(self, request: PortalRequest) -> Mapping[str, str]:
        """The names of the hospitals that a person may choose, by GUID."""
        if request.principal.is_admin:
            return await self._tenants.names()
        entries = await self._tenants.entries()
        return {each.tenant: each.name for each in entries if each.tenant and each.enabled and not each.problem}

    async def _known(self, request: PortalRequest) -> str:
        """The GUID in the path. Raises NotFound for none, UnknownTenants for one that the person can't choose."""
        tenant = _tenant(request)
        if request.principal.is_admin and tenant not in await self._tenants.names():
            self._tenants.expire()  # it may have been added elsewhere since
        if tenant not in await self._served(request):
            raise UnknownTenants([tenant], "add the hospital first" if request.principal.is_admin else "search for it")
        return tenant

    async def _set_all(self, request: PortalRequest, *, all: bool) -> Response:
        client = await self._finder.client(request)
        if (client.tenants is None) is not all:
            await self._finder.registry.change(client.id, tenants=ALL_TENANTS if all else "")
            await self._finder.changed(request, "set", client.id, "Tenants")
        return self._back(request, "reach-all" if all else "reach-chosen")

    async def _set_reach(self, request: PortalRequest, *, allowed: bool) -> Response:
        client = await self._finder.client(request)
        try:
            tenant = await self._known(request) if allowed else _tenant(request)
            changed = await self._finder.requests.set_reach(client.id, tenant, allowed=allowed)
        except Refusal as error:
            return await self._page(request, client, sentence(error))
        if changed:
            action = "add-hospital" if allowed else "remove-hospital"
            await self._finder.changed(request, action, client.id, f"tenant {tenant}")
        return self._back(request, "hospital-added" if allowed else "hospital-removed")

    async def _ask(self, request: PortalRequest) -> Response:
        client = await self._finder.client(request)
        try:
            tenant = await self._known(request)
            asked = await self._finder.requests.ask(client.id, tenant, request.principal.user_name)
        except Refusal as error:
            return await self._page(request, client, sentence(error))
        if asked:
            await self._finder.changed(request, "ask-for-hospital", client.id, f"tenant {tenant}")
        return self._back(request, "asked")

    async def _withdraw(self, request: PortalRequest) -> Response:
        client, tenant = await self._finder.client(request), _tenant(request)
        if await self._finder.requests.refuse(client.id, tenant):
            await self._finder.changed(request, "withdraw-request", client.id, f"tenant {tenant}")
        return self._back(request, "withdrawn")

    async def _grant(self, request: PortalRequest) -> Response:
        client = await self._finder.client(request)
        try:
            tenant = await self._known(request)
            granted = await self._finder.requests.grant(client.id, tenant)
        except Refusal as error:
            return await self._page(request, client, sentence(error))
        return await self._decided(request, client, "granted" if granted else "", tenant)

    async def _refuse(self, request: PortalRequest) -> Response:
        client, tenant = await self._finder.client(request), _tenant(request)
        refused = await self._finder.requests.refuse(client.id, tenant)
        return await self._decided(request, client, "refused" if refused else "", tenant)

    async def _decided(self, request: PortalRequest, client: Client, decision: str, tenant: str) -> Response:
        if not decision:
            raise ChangedMeanwhile("Somebody decided about this request already, or it was taken back.")
        action = {"granted": "grant-request", "refused": "refuse-request"}[decision]
        await self._finder.changed(request, action, client.id, f"tenant {tenant}")
        if request.form.get("from") == "overview":
            return see_other("/", decision)
        return self._back(request, decision)

    def _back(self, request: PortalRequest, done: str) -> Response:
        """To the page of the client's hospitals, with the search that the person came from."""
        query = {name: value for name in ("q", "page") if (value := request.form.get(name))}
        return see_other(f"/clients/{request.parameters['client']}/hospitals?{urlencode({**query, 'done': done})}")


def _tenant(request: PortalRequest) -> str:
    tenant = parse_tenant_id(request.parameters["tenant"])
    if tenant is None:
        raise NotFound
    return tenant
