"""The pages of clients: an owner's own ones, and all of them for an admin."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from shared.directory.client import CLIENT_ID, CLIENT_ROW, Client
from shared.directory.client_registry import MAX_LIVE_SECRETS
from shared.directory.errors import Refusal, RowError, TooManyClients
from shared.directory.traffic_history import TrafficHistory
from shared.directory.usage import Usage
from shared.message import Response
from shared.portal.client_finder import ClientFinder, sentence
from shared.portal.client_traffic import client_traffic
from shared.portal.errors import NotFound
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, list_page, see_other
from shared.portal.request import PortalRequest, Route
from shared.portal.secret_cookie import SecretCookies, secret_path
from shared.portal.secret_pages import DEFAULT_LIFETIME, LIFETIMES, expiry, secret_states, soonest
from shared.portal.tenant_list import TenantList
from shared.settings import Settings
from shared.stores.errors import StoreConflict
from shared.stores.tables import Table, etag_of


@dataclass(frozen=True, slots=True)
class ClientPages:
    """Lists, makes, shows, changes and ends clients."""

    _settings: Settings
    _renderer: Renderer
    _table: Table
    _finder: ClientFinder
    _usage: Usage
    _tenants: TenantList
    _traffic: TrafficHistory
    _cookies: SecretCookies
    _creating: asyncio.Lock = field(default_factory=asyncio.Lock)

    def routes(self) -> Sequence[Route]:
        """The pages and what their forms do."""
        client = "/clients/{client}"
        return (
            Route("GET", "/clients", self._list),
            Route("GET", "/clients/new", self._new),
            Route("POST", "/clients/new", self._create),
            Route("GET", client, self._show),
            Route("GET", f"{client}/edit", self._edit),
            Route("POST", f"{client}/edit", self._save),
            Route("GET", f"{client}/disable", partial(self._confirm, "client_disable.html")),
            Route("POST", f"{client}/disable", partial(self._switch, "disable")),
            Route("POST", f"{client}/enable", partial(self._switch, "enable")),
            Route("GET", f"{client}/delete", partial(self._confirm, "client_delete.html")),
            Route("POST", f"{client}/delete", self._delete),
        )

    async def _list(self, request: PortalRequest) -> Response:
        search = request.query.get("q", "").strip().lower()
        clients: list[Client] = []
        broken: list[tuple[str, RowError]] = []
        async for client_id, entry in self._finder.registry.list():
            if isinstance(entry, Client):
                if request.principal.may_see(entry) and _matches(entry, search):
                    clients.append(entry)
            elif request.principal.is_admin:
                broken.append((client_id, entry))
        clients = [await self._finder.claimed(request, client) for client in clients]
        page = list_page(sorted(clients, key=lambda client: (client.name.lower(), client.id)), request.query)
        found = await asyncio.gather(*(self._usage.last_used(client.id) for client in page.items))
        used = [max(hours.values(), default=None) for hours in found]
        ending = [soonest(client) for client in page.items]
        context = {"page": page, "search": search, "broken": broken, "used": used, "ending": ending}
        return self._renderer.page("clients.html", request, 200, **context)

    async def _show(self, request: PortalRequest) -> Response:
        client = await self._finder.claimed(request, await self._finder.client(request))
        names = await self._tenants.names()
        tenants = None if client.tenants is None else sorted((names.get(id, ""), id) for id in client.tenants)
        return self._renderer.page(
            "client.html",
            request,
            client=client,
            tenants=tenants,
            asked=await self._finder.requests.waiting(client.id),
            names=names,
            states=secret_states(client),
            used=await self._usage.last_used(client.id),
            full=len(client.live_secrets) >= MAX_LIVE_SECRETS,
            traffic=await client_traffic(self._traffic, client.id),
        )

    async def _new(self, request: PortalRequest) -> Response:
        return self._new_form(request, {"lifetime": DEFAULT_LIFETIME})

    async def _create(self, request: PortalRequest) -> Response:
        name, label, key = request.form.get("name", ""), request.form.get("label", ""), await self._cookies.key()
        try:
            # One at a time, or many at once would each find room for one more.
            async with self._creating:
                await self._check_room(request)
                who, expires = request.principal, expiry(request.form)
                new = await self._finder.registry.create(
                    name, who.user_name, (), owner_id=who.id, expires=expires, label=label
                )
        except Refusal as error:
            return self._new_form(request, request.form, sentence(error))
        await self._finder.changed(request, "create", new.client_id, f"secret {new.secret_id}")
        path = secret_path(new.client_id, new.secret_id)
        return see_other(path, cookie=self._cookies.sealed(key, request, new))

    async def _check_room(self, request: PortalRequest) -> None:
        if request.principal.is_admin:
            return
        most, found = self._settings.clients_per_owner, [entry async for _, entry in self._finder.registry.list()]
        if sum(isinstance(entry, Client) and request.principal.may_see(entry) for entry in found) >= most:
            raise TooManyClients(most)

    async def _confirm(self, template: str, request: PortalRequest) -> Response:
        return self._renderer.page(template, request, client=await self._finder.client(request))

    async def _switch(self, action: str, request: PortalRequest) -> Response:
        client = await self._finder.client(request)
        await self._finder.registry.set_enabled(client.id, action == "enable")
        await self._finder.changed(request, action, client.id)
        return see_other(f"/clients/{client.id}", f"client-{action}d")

    async def _delete(self, request: PortalRequest) -> Response:
        client = await self._finder.client(request)
        await self._finder.registry.delete(client.id)
        await self._finder.changed(request, "delete", client.id)
        return see_other("/clients", "client-deleted")

    async def _edit(self, request: PortalRequest) -> Response:
        etag, client = await self._etag(request), await self._finder.client(request)
        return self._edit_form(request, client, values=_values(client), etag=etag)

    async def _save(self, request: PortalRequest) -> Response:
        etag, client = await self._etag(request), await self._finder.client(request)
        stored = _values(client)
        values = {name: request.form.get(name, "") for name in stored}
        if request.form.get("etag") != etag:
            return self._edit_form(request, client, CONFLICT, values=values, etag=etag, stored=stored)
        # An owner changes the name alone, whatever the form holds.
        names = ("name", "owner") if request.principal.is_admin else ("name",)
        changes = {name: values[name] for name in names if values[name].split() != stored[name].split()}
        if not changes:
            return see_other(f"/clients/{client.id}", "renamed")
        try:
            await self._finder.registry.change(client.id, etag=etag, **changes)
        except Refusal as error:
            problem = sentence(error)
            return self._edit_form(request, client, UNPROCESSABLE, values=values, etag=etag, problem=problem)
        except StoreConflict:
            return await self._save(request)  # the row has another ETag by now, so this shows what is in it
        await self._finder.changed(request, "set", client.id, ", ".join(name.capitalize() for name in changes))
        return see_other(f"/clients/{client.id}", "renamed")

    async def _etag(self, request: PortalRequest) -> str:
        """The ETag of the client's row, read before the client is: one too old is refused, one too new is not."""
        client_id = request.parameters["client"]
        row = await self._table.get(client_id, CLIENT_ROW) if CLIENT_ID.fullmatch(client_id) else None
        if row is None:
            raise NotFound
        return etag_of(row)

    def _new_form(self, request: PortalRequest, values: Mapping[str, str], problem: str | None = None) -> Response:
        context = {"values": values, "lifetimes": LIFETIMES, "problem": problem}
        return self._renderer.page("client_new.html", request, UNPROCESSABLE if problem else 200, **context)

    def _edit_form(self, request: PortalRequest, client: Client, status: int = 200, **context: object) -> Response:
        context = {"client": client, "stored": None, "problem": None, **context}
        return self._renderer.page("client_edit.html", request, status, **context)


def _matches(client: Client, search: str) -> bool:
    return any(search in text.lower() for text in (client.name, client.owner, client.id))


def _values(client: Client) -> Mapping[str, str]:
    return {"name": client.name, "owner": client.owner}
