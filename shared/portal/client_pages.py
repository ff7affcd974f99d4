"""The pages of clients: an owner's own ones, and all of them for an admin."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from azure.data.tables.aio import TableServiceClient

from shared.audit import AuditLog
from shared.directory.client import CLIENT_ID, CLIENT_ROW, Client, ClientSecret
from shared.directory.client_registry import ALL_TENANTS, MOST_LIVE_SECRETS, ClientRegistry, NewSecret
from shared.directory.provider import RowError
from shared.directory.refusals import Refusal, TooManyClients, UnknownClient
from shared.directory.usage import Usage
from shared.message import Response
from shared.portal.errors import NotFound, Unusable
from shared.portal.pages import Pages, see_other
from shared.portal.paging import page_of
from shared.portal.snapshot import Snapshot
from shared.portal.tenant_list import TenantList
from shared.portal.visit import Route, Visit
from shared.settings import Settings
from shared.stores.errors import StoreConflict
from shared.stores.tables import CLIENTS, Row, Table, etag_of
from shared.stores.vault import Vault

_LIFETIMES = {"90": "90 days", "180": "180 days", "365": "1 year", "never": "Never"}
_UNPROCESSABLE = 422
_CONFLICT = 409


class ClientPages:
    """Lists, makes, shows, changes and ends clients and their secrets."""

    def __init__(
        self,
        settings: Settings,
        pages: Pages,
        service: TableServiceClient,
        vault: Vault,
        usage: Usage,
        tenants: TenantList,
        audit: AuditLog,
    ) -> None:
        self._pages = pages
        self._service = service
        self._vault = vault
        self._table = Table(service, CLIENTS)
        self._clients = ClientRegistry(self._table, vault)
        self._usage = usage
        self._tenants = tenants
        self._audit = audit
        self._most_of_owner = settings.clients_per_owner
        self._creating = asyncio.Lock()

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
            Route("GET", f"{client}/disable", self._confirm_disable),
            Route("POST", f"{client}/disable", self._disable),
            Route("POST", f"{client}/enable", self._enable),
            Route("GET", f"{client}/delete", self._confirm_delete),
            Route("POST", f"{client}/delete", self._delete),
        )

    async def _list(self, visit: Visit) -> Response:
        search = visit.query.get("q", "").strip().lower()
        clients: list[Client] = []
        broken: list[tuple[str, RowError]] = []
        async for client_id, entry in self._clients.list():
            if isinstance(entry, Client):
                if visit.principal.may_see(entry) and _matches(entry, search):
                    clients.append(entry)
            elif visit.principal.is_admin:
                broken.append((client_id, entry))
        page = page_of(
            sorted(clients, key=lambda client: (client.name.lower(), client.id)), visit.query.get("page", "1")
        )
        found = await asyncio.gather(*(self._usage.last_used(client.id) for client in page.items))
        used = [max(hours.values(), default=None) for hours in found]
        return self._pages.page("clients.html", visit, page=page, search=search, broken=broken, used=used)

    async def _show(self, visit: Visit) -> Response:
        return await self._client_page(visit, await self._own(visit))

    async def _new(self, visit: Visit) -> Response:
        return self._new_form(visit, {"name": "", "lifetime": "180"})

    async def _create(self, visit: Visit) -> Response:
        name = visit.form.get("name", "")
        try:
            # One at a time, or many at once would each find room for one more.
            async with self._creating:
                await self._check_room(visit)
                new = await self._clients.create(name, visit.principal.id, (), expires=_expiry(visit.form))
        except Refusal as error:
            return self._new_form(visit, visit.form, _sentence(error), _UNPROCESSABLE)
        self._audit_change(visit, "client.create", new.client_id, f"secret {new.secret_id}")
        return self._secret_page(visit, new, name.strip(), reaches_any=False)

    async def _check_room(self, visit: Visit) -> None:
        if visit.principal.is_admin:
            return
        found = [entry async for _, entry in self._clients.list()]
        if sum(isinstance(entry, Client) and visit.principal.may_see(entry) for entry in found) >= self._most_of_owner:
            raise TooManyClients(self._most_of_owner)

    async def _add_secret(self, visit: Visit) -> Response:
        client = await self._own(visit)
        try:
            new = await self._clients.add_secret(client.id, _expiry(visit.form))
        except Refusal as error:
            return await self._client_page(visit, client, _sentence(error), _UNPROCESSABLE)
        self._audit_change(visit, "client.add-secret", client.id, f"secret {new.secret_id}")
        return self._secret_page(visit, new, client.name, reaches_any=client.tenants != frozenset())

    async def _confirm_delete_secret(self, visit: Visit) -> Response:
        client = await self._own(visit)
        secret = _secret(visit, client)
        live = [other for other in client.secrets if other.id != secret.id and _is_live(other)]
        used = (await self._usage.last_used(client.id)).get(secret.id)
        return self._pages.page("secret_delete.html", visit, client=client, secret=secret, others=len(live), used=used)

    async def _delete_secret(self, visit: Visit) -> Response:
        client = await self._own(visit)
        secret = _secret(visit, client)
        await self._clients.delete_secret(client.id, secret.id)
        self._audit_change(visit, "client.delete-secret", client.id, f"secret {secret.id}")
        return see_other(f"/clients/{client.id}", "secret-deleted")

    async def _confirm_disable(self, visit: Visit) -> Response:
        return self._pages.page("client_disable.html", visit, client=await self._own(visit))

    async def _disable(self, visit: Visit) -> Response:
        return await self._switch(visit, enabled=False)

    async def _enable(self, visit: Visit) -> Response:
        return await self._switch(visit, enabled=True)

    async def _switch(self, visit: Visit, *, enabled: bool) -> Response:
        client = await self._own(visit)
        await self._clients.set_enabled(client.id, enabled)
        word = "enable" if enabled else "disable"
        self._audit_change(visit, f"client.{word}", client.id)
        return see_other(f"/clients/{client.id}", f"client-{word}d")

    async def _confirm_delete(self, visit: Visit) -> Response:
        return self._pages.page("client_delete.html", visit, client=await self._own(visit))

    async def _delete(self, visit: Visit) -> Response:
        client = await self._own(visit)
        await self._clients.delete(client.id)
        self._audit_change(visit, "client.delete", client.id)
        return see_other("/clients", "client-deleted")

    async def _edit(self, visit: Visit) -> Response:
        row = await self._row(visit)
        client = await self._own(visit)
        return self._edit_form(visit, client, _values(client), etag_of(row))

    async def _save(self, visit: Visit) -> Response:
        row = await self._row(visit)
        client = await self._own(visit)
        etag = etag_of(row)
        values = {name: visit.form.get(name, "") for name in _values(client)}
        values["tenants"] = values["tenants"].replace(",", "\n")
        if visit.form.get("etag") != etag:
            return self._edit_form(visit, client, values, etag, stored=_values(client), status=_CONFLICT)
        registry = ClientRegistry(Snapshot(self._service, CLIENTS, [row]), self._vault)
        # What an owner may not change is not looked at, whatever the form holds.
        may = ("name", "owner", "tenants") if visit.principal.is_admin else ("name",)
        changes = {name: values[name] for name in may if values[name].split() != _values(client)[name].split()}
        try:
            if changes:
                await registry.change(
                    client.id,
                    name=changes.get("name"),
                    owner=changes.get("owner"),
                    tenants=",".join(changes["tenants"].split()) if "tenants" in changes else None,
                )
        except Refusal as error:
            return self._edit_form(visit, client, values, etag, problem=_sentence(error), status=_UNPROCESSABLE)
        except StoreConflict:
            return await self._save(visit)  # the row has another ETag by now, so this shows what is in it
        if changes:
            self._audit_change(visit, "client.set", client.id, ", ".join(name.capitalize() for name in changes))
        return see_other(f"/clients/{client.id}", "renamed")

    async def _own(self, visit: Visit) -> Client:
        """The client that the URL names, if it is this person's to see. Raises NotFound, or Unusable for an admin."""
        try:
            client = await self._clients.get(visit.parameters["client"])
        except UnknownClient:
            raise NotFound from None
        except RowError as error:
            if visit.principal.is_admin:
                raise Unusable(str(error)) from error
            raise NotFound from None
        if not visit.principal.may_see(client):
            raise NotFound
        return client

    async def _row(self, visit: Visit) -> Row:
        """The client's row, read before the client is: an ETag that is too old is refused, one too new is not."""
        client_id = visit.parameters["client"]
        row = await self._table.get(client_id, CLIENT_ROW) if CLIENT_ID.fullmatch(client_id) else None
        if row is None:
            raise NotFound
        return row

    async def _client_page(
        self, visit: Visit, client: Client, problem: str | None = None, status: int = 200
    ) -> Response:
        live = sum(map(_is_live, client.secrets))
        names = await self._tenants.names()
        tenants = None if client.tenants is None else sorted((names.get(id, ""), id) for id in client.tenants)
        return self._pages.page(
            "client.html",
            visit,
            status,
            client=client,
            secrets=sorted(client.secrets, key=lambda secret: secret.created or datetime.min.replace(tzinfo=UTC)),
            used=await self._usage.last_used(client.id),
            now=datetime.now(UTC),
            tenants=tenants,
            full=live >= MOST_LIVE_SECRETS,
            lifetimes=_LIFETIMES,
            problem=problem,
        )

    def _secret_page(self, visit: Visit, new: NewSecret, name: str, *, reaches_any: bool) -> Response:
        """The page that shows a secret. It asks no store for anything: what fails now would take the secret along."""
        return self._pages.page("secret.html", visit, new=new, name=name or new.client_id, reaches_any=reaches_any)

    def _new_form(
        self, visit: Visit, values: Mapping[str, str], problem: str | None = None, status: int = 200
    ) -> Response:
        context = {"name": values.get("name", ""), "lifetime": values.get("lifetime", ""), "problem": problem}
        return self._pages.page("client_new.html", visit, status, lifetimes=_LIFETIMES, **context)

    def _edit_form(
        self,
        visit: Visit,
        client: Client,
        values: Mapping[str, str],
        etag: str,
        *,
        stored: Mapping[str, str] | None = None,
        problem: str | None = None,
        status: int = 200,
    ) -> Response:
        context = {"client": client, "values": values, "etag": etag, "stored": stored, "problem": problem}
        return self._pages.page("client_edit.html", visit, status, **context)

    def _audit_change(self, visit: Visit, action: str, client_id: str, detail: str = "") -> None:
        self._audit.change(actor=visit.principal.id, action=action, subject=client_id, detail=detail)


def _matches(client: Client, search: str) -> bool:
    return any(search in text.lower() for text in (client.name, client.owner, client.id))


def _is_live(secret: ClientSecret) -> bool:
    return secret.expires is None or datetime.now(UTC) < secret.expires


def _secret(visit: Visit, client: Client) -> ClientSecret:
    secret = next((secret for secret in client.secrets if secret.id == visit.parameters["secret"]), None)
    if secret is None:
        raise NotFound
    return secret


def _expiry(form: Mapping[str, str]) -> datetime | None:
    """When a new secret ends; Refusal when the form says no time that it offers."""
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
