"""The pages of clients: an owner's own ones, and all of them for an admin."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from shared.directory.client import Client
from shared.directory.client_registry import MAX_LIVE_SECRETS, client_name, secret_label
from shared.directory.errors import Refusal, RowError, TooManyClients
from shared.directory.traffic_history import TrafficHistory
from shared.directory.usage import Usage
from shared.message import Response
from shared.portal.client_finder import ClientFinder, noted, sentence
from shared.portal.client_traffic import client_traffic
from shared.portal.key_pages import TypedKeys, typed_keys
from shared.portal.key_reader import KeyReader
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, list_page, see_other
from shared.portal.request import PortalRequest, Route
from shared.portal.secret_cookie import SecretCookies, secret_path
from shared.portal.secret_pages import DEFAULT_LIFETIME, LIFETIMES, expiry, secret_states, soonest
from shared.portal.tenant_list import TenantList
from shared.settings import Settings
from shared.stores.errors import StoreConflict


@dataclass(frozen=True, slots=True)
class ClientPages:
    """Lists, makes, shows, changes and ends clients."""

    _settings: Settings
    _renderer: Renderer
    _finder: ClientFinder
    _usage: Usage
    _tenants: TenantList
    _traffic: TrafficHistory
    _cookies: SecretCookies
    _keys: KeyReader
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
        used = await self._usage.last_used(client.id)
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
            used=used,
            keys=await self._keys.read(client, used),
            full=len(client.live_secrets) >= MAX_LIVE_SECRETS,
            traffic=await client_traffic(self._traffic, client.id),
        )

    async def _new(self, request: PortalRequest) -> Response:
        return self._new_form(request, {"lifetime": DEFAULT_LIFETIME, "proof": "secret"})

    async def _create(self, request: PortalRequest) -> Response:
        form, problems = request.form, dict[str, str]()
        with noted(problems, "name"):
            name = client_name(form.get("name", ""))
        if form.get("proof") == "keys":
            typed = typed_keys(form, (), local=self._settings.local)
            problems |= typed.problems
            if not problems:
                with noted(problems, "name"):
                    return await self._create_with_keys(request, name, typed)
            return self._new_form(request, {**form, "jwks": typed.shown}, problems)
        with noted(problems, "label"):
            label = secret_label(form.get("label", ""))
        with noted(problems, "lifetime"):
            expires = expiry(form)
        if not problems:
            with noted(problems, "name"):
                return await self._create_with_secret(request, name, expires, label)
        return self._new_form(request, form, problems)

    async def _create_with_secret(
        self, request: PortalRequest, name: str, expires: datetime | None, label: str
    ) -> Response:
        who, key = request.principal, await self._cookies.key()
        async with self._room(request):
            new = await self._finder.registry.create(
                name, who.user_name, (), owner_id=who.id, expires=expires, label=label
            )
        await self._finder.changed(request, "create", new.client_id, f"secret {new.secret_id}")
        path = secret_path(new.client_id, new.secret_id)
        return see_other(path, cookie=self._cookies.sealed(key, request, new))

    async def _create_with_keys(self, request: PortalRequest, name: str, typed: TypedKeys) -> Response:
        who = request.principal
        async with self._room(request):
            client_id = await self._finder.registry.create_with_keys(
                name, who.user_name, (), owner_id=who.id, jwks=typed.jwks, jwks_url=typed.url
            )
        await self._finder.changed(request, "create", client_id, typed.detail(()))
        return see_other(f"/clients/{client_id}", "client-created")

    @asynccontextmanager
    async def _room(self, request: PortalRequest) -> AsyncIterator[None]:
        """Room for one more client, one at a time: many at once would each find it. Raises TooManyClients."""
        async with self._creating:
            await self._check_room(request)
            yield

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
        etag, client = await self._finder.etag(request), await self._finder.client(request)
        return self._edit_form(request, client, values=_values(client), etag=etag)

    async def _save(self, request: PortalRequest) -> Response:
        etag, client = await self._finder.etag(request), await self._finder.client(request)
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

    def _new_form(
        self, request: PortalRequest, values: Mapping[str, str], problems: Mapping[str, str] | None = None
    ) -> Response:
        context = {"values": values, "lifetimes": LIFETIMES, "problems": problems or {}}
        return self._renderer.page("client_new.html", request, UNPROCESSABLE if problems else 200, **context)

    def _edit_form(self, request: PortalRequest, client: Client, status: int = 200, **context: object) -> Response:
        context = {"client": client, "stored": None, "problem": None, **context}
        return self._renderer.page("client_edit.html", request, status, **context)


def _matches(client: Client, search: str) -> bool:
    return any(search in text.lower() for text in (client.name, client.owner, client.id))


def _values(client: Client) -> Mapping[str, str]:
    return {"name": client.name, "owner": client.owner}
