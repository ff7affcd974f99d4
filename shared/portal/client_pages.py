"""The pages of clients: an owner's own ones, and all of them for an admin."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from shared.directory.activity import ActivityLog
from shared.directory.client import CLIENT_ID, CLIENT_ROW, Client, ClientSecret
from shared.directory.client_registry import ALL_TENANTS, MAX_LIVE_SECRETS, ClientRegistry, NewSecret
from shared.directory.errors import Refusal, RowError, TooManyClients, UnknownClient
from shared.directory.usage import Usage
from shared.message import Response
from shared.portal.errors import NotFound, UnusableRow
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, list_page, see_other
from shared.portal.request import PortalRequest, Route
from shared.portal.tenant_list import TenantList
from shared.settings import Settings
from shared.stores.errors import StoreConflict
from shared.stores.tables import Table, etag_of

_LIFETIMES = {"90": "90 days", "180": "180 days", "365": "1 year", "never": "Never"}


@dataclass(frozen=True, slots=True)
class ClientPages:
    """Lists, makes, shows, changes and ends clients and their secrets."""

    _settings: Settings
    _renderer: Renderer
    _table: Table
    _clients: ClientRegistry
    _usage: Usage
    _tenants: TenantList
    _activity: ActivityLog
    _creating: asyncio.Lock = field(default_factory=asyncio.Lock)

    def routes(self) -> Sequence[Route]:
        """The pages and what their forms do."""
        client = "/clients/{client}"
        secret = f"{client}/secrets/{{secret}}"
        return (
            Route("GET", "/clients", self._list),
            Route("GET", "/clients/new", self._new),
            Route("POST", "/clients/new", self._create),
            Route("GET", client, self._show),
            Route("GET", f"{client}/edit", self._edit),
            Route("POST", f"{client}/edit", self._save),
            Route("POST", f"{client}/secrets", self._add_secret),
            Route("GET", f"{secret}/delete", self._confirm_delete_secret),
            Route("POST", f"{secret}/delete", self._delete_secret),
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
        async for client_id, entry in self._clients.list():
            if isinstance(entry, Client):
                if request.principal.may_see(entry) and _matches(entry, search):
                    clients.append(entry)
            elif request.principal.is_admin:
                broken.append((client_id, entry))
        clients = [await self._claimed(request, client) for client in clients]
        page = list_page(sorted(clients, key=lambda client: (client.name.lower(), client.id)), request.query)
        found = await asyncio.gather(*(self._usage.last_used(client.id) for client in page.items))
        used = [max(hours.values(), default=None) for hours in found]
        return self._renderer.page("clients.html", request, page=page, search=search, broken=broken, used=used)

    async def _show(self, request: PortalRequest) -> Response:
        return await self._client_page(request, await self._claimed(request, await self._own(request)))

    async def _new(self, request: PortalRequest) -> Response:
        return self._new_form(request, {"name": "", "lifetime": "180"})

    async def _create(self, request: PortalRequest) -> Response:
        name = request.form.get("name", "")
        try:
            # One at a time, or many at once would each find room for one more.
            async with self._creating:
                await self._check_room(request)
                who, expires = request.principal, _expiry(request.form)
                new = await self._clients.create(name, who.user_name, (), owner_id=who.id, expires=expires)
        except Refusal as error:
            return self._new_form(request, request.form, _sentence(error))
        await self._audit_change(request, "create", new.client_id, f"secret {new.secret_id}")
        return self._secret_page(request, new, name.strip(), reaches_any=False)

    async def _check_room(self, request: PortalRequest) -> None:
        if request.principal.is_admin:
            return
        most, found = self._settings.clients_per_owner, [entry async for _, entry in self._clients.list()]
        if sum(isinstance(entry, Client) and request.principal.may_see(entry) for entry in found) >= most:
            raise TooManyClients(most)

    async def _add_secret(self, request: PortalRequest) -> Response:
        client = await self._own(request)
        try:
            new = await self._clients.add_secret(client.id, _expiry(request.form))
        except Refusal as error:
            return await self._client_page(request, client, _sentence(error))
        await self._audit_change(request, "add-secret", client.id, f"secret {new.secret_id}")
        return self._secret_page(request, new, client.name, reaches_any=client.tenants != frozenset())

    async def _confirm_delete_secret(self, request: PortalRequest) -> Response:
        client = await self._own(request)
        secret = _secret(request, client)
        others = sum(other.id != secret.id for other in client.live_secrets)
        used = (await self._usage.last_used(client.id)).get(secret.id)
        context = {"client": client, "secret": secret, "others": others, "used": used}
        return self._renderer.page("secret_delete.html", request, 200, **context)

    async def _delete_secret(self, request: PortalRequest) -> Response:
        client = await self._own(request)
        secret = _secret(request, client)
        await self._clients.delete_secret(client.id, secret.id)
        await self._audit_change(request, "delete-secret", client.id, f"secret {secret.id}")
        return see_other(f"/clients/{client.id}", "secret-deleted")

    async def _confirm(self, template: str, request: PortalRequest) -> Response:
        return self._renderer.page(template, request, client=await self._own(request))

    async def _switch(self, action: str, request: PortalRequest) -> Response:
        client = await self._own(request)
        await self._clients.set_enabled(client.id, action == "enable")
        await self._audit_change(request, action, client.id)
        return see_other(f"/clients/{client.id}", f"client-{action}d")

    async def _delete(self, request: PortalRequest) -> Response:
        client = await self._own(request)
        await self._clients.delete(client.id)
        await self._audit_change(request, "delete", client.id)
        return see_other("/clients", "client-deleted")

    async def _edit(self, request: PortalRequest) -> Response:
        etag, client = await self._etag(request), await self._own(request)
        return self._edit_form(request, client, values=_values(client), etag=etag)

    async def _save(self, request: PortalRequest) -> Response:
        etag, client = await self._etag(request), await self._own(request)
        stored = _values(client)
        values = {name: request.form.get(name, "") for name in stored}
        values["tenants"] = values["tenants"].replace(",", "\n")
        if request.form.get("etag") != etag:
            return self._edit_form(request, client, CONFLICT, values=values, etag=etag, stored=stored)
        # An owner changes the name alone, whatever the form holds.
        names = ("name", "owner", "tenants") if request.principal.is_admin else ("name",)
        changes = {name: values[name] for name in names if values[name].split() != stored[name].split()}
        if "tenants" in changes:
            changes["tenants"] = ",".join(changes["tenants"].split())
        if not changes:
            return see_other(f"/clients/{client.id}", "renamed")
        try:
            await self._clients.change(client.id, etag=etag, **changes)
        except Refusal as error:
            problem = _sentence(error)
            return self._edit_form(request, client, UNPROCESSABLE, values=values, etag=etag, problem=problem)
        except StoreConflict:
            return await self._save(request)  # the row has another ETag by now, so this shows what is in it
        await self._audit_change(request, "set", client.id, ", ".join(name.capitalize() for name in changes))
        return see_other(f"/clients/{client.id}", "renamed")

    async def _own(self, request: PortalRequest) -> Client:
        """The client that the URL names, if the person may see it. Raises NotFound, or UnusableRow for an admin."""
        try:
            client = await self._clients.get(request.parameters["client"])
        except UnknownClient:
            raise NotFound from None
        except RowError as error:
            if request.principal.is_admin:
                raise UnusableRow(str(error)) from error
            raise NotFound from None
        if not request.principal.may_see(client):
            raise NotFound
        return client

    async def _claimed(self, request: PortalRequest, client: Client) -> Client:
        """The client, which is this person's for good once its row knew the person by user name alone."""
        if client.owner_id or not request.principal.owns(client):
            return client
        if await self._clients.claim(client, request.principal.id):
            await self._audit_change(request, "claim", client.id)
        return replace(client, owner_id=request.principal.id)

    async def _etag(self, request: PortalRequest) -> str:
        """The ETag of the client's row, read before the client is: one too old is refused, one too new is not."""
        client_id = request.parameters["client"]
        row = await self._table.get(client_id, CLIENT_ROW) if CLIENT_ID.fullmatch(client_id) else None
        if row is None:
            raise NotFound
        return etag_of(row)

    async def _client_page(self, request: PortalRequest, client: Client, problem: str | None = None) -> Response:
        names = await self._tenants.names()
        tenants = None if client.tenants is None else sorted((names.get(id, ""), id) for id in client.tenants)
        return self._renderer.page(
            "client.html",
            request,
            UNPROCESSABLE if problem else 200,
            client=client,
            secrets=sorted(client.secrets, key=lambda secret: secret.created or datetime.min.replace(tzinfo=UTC)),
            used=await self._usage.last_used(client.id),
            now=datetime.now(UTC),
            tenants=tenants,
            full=len(client.live_secrets) >= MAX_LIVE_SECRETS,
            lifetimes=_LIFETIMES,
            problem=problem,
        )

    def _secret_page(self, request: PortalRequest, new: NewSecret, name: str, *, reaches_any: bool) -> Response:
        """The page that shows a secret. It reads no store: a failure now would lose the secret."""
        return self._renderer.page("secret.html", request, new=new, name=name or new.client_id, reaches_any=reaches_any)

    def _new_form(self, request: PortalRequest, values: Mapping[str, str], problem: str | None = None) -> Response:
        context = {"name": values.get("name", ""), "lifetime": values.get("lifetime", ""), "problem": problem}
        status = UNPROCESSABLE if problem else 200
        return self._renderer.page("client_new.html", request, status, lifetimes=_LIFETIMES, **context)

    def _edit_form(self, request: PortalRequest, client: Client, status: int = 200, **context: object) -> Response:
        context = {"client": client, "stored": None, "problem": None, **context}
        return self._renderer.page("client_edit.html", request, status, **context)

    async def _audit_change(self, request: PortalRequest, action: str, client_id: str, detail: str = "") -> None:
        await self._activity.change(
            actor=request.principal.user_name, action=f"client.{action}", subject=client_id, detail=detail
        )


def _matches(client: Client, search: str) -> bool:
    return any(search in text.lower() for text in (client.name, client.owner, client.id))


def _secret(request: PortalRequest, client: Client) -> ClientSecret:
    secret = next((secret for secret in client.secrets if secret.id == request.parameters["secret"]), None)
    if secret is None:
        raise NotFound
    return secret


def _expiry(form: Mapping[str, str]) -> datetime | None:
    """The end of a new secret's life, or None; Refusal when the form has none of the lifetimes it offers."""
    lifetime = form.get("lifetime", "")
    if lifetime not in _LIFETIMES:
        raise Refusal("choose how long the secret is to work")
    if lifetime == "never":
        return None
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(lifetime))


def _sentence(refusal: Refusal) -> str:
    text = str(refusal)
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _values(client: Client) -> Mapping[str, str]:
    tenants = ALL_TENANTS if client.tenants is None else "\n".join(sorted(client.tenants))
    return {"name": client.name, "owner": client.owner, "tenants": tenants}
