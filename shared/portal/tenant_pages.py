"""The pages of tenants' rows: each leads a hospital to its FHIR server. For admins only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from shared.directory.errors import RowError
from shared.directory.tenant_columns import COLUMN_GROUPS
from shared.directory.typed_text import parse_tenant_id
from shared.message import Response
from shared.portal.errors import UnusableRow
from shared.portal.rendering import UNPROCESSABLE, Renderer, list_page, see_other
from shared.portal.request import AccessLevel, Handler, PortalRequest, Route
from shared.portal.tenant_list import (
    TenantList,
    column_texts,
    credential_names,
    name_of,
    path_of,
    tenant_of,
    tenant_path,
)
from shared.settings import Settings
from shared.stores.vault import Vault


@dataclass(frozen=True, slots=True)
class TenantPages:
    """Lists, shows, switches and removes tenants' rows."""

    _settings: Settings
    _renderer: Renderer
    _tenants: TenantList
    _vault: Vault

    def routes(self) -> Sequence[Route]:
        """The pages and what their forms do."""
        row = "/tenants/{tenant}/{version}"
        handlers: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/tenants", self._list),
            ("GET", row, self._show),
            ("GET", f"{row}/disable", self._confirm_disable),
            ("POST", f"{row}/disable", partial(self._switch, "disable")),
            ("POST", f"{row}/enable", partial(self._switch, "enable")),
            ("GET", f"{row}/remove", self._confirm_remove),
            ("POST", f"{row}/remove", self._remove),
        )
        return [Route(*handler, AccessLevel.ADMIN) for handler in handlers]

    async def _list(self, request: PortalRequest) -> Response:
        search = request.query.get("q", "")
        page = list_page(await self._tenants.entries(search), request.query)
        return self._renderer.page("tenants.html", request, page=page, search=search)

    async def _show(self, request: PortalRequest) -> Response:
        row = await self._tenants.stored(request)
        provider, error = self._tenants.parsed(row)
        tenant, version = tenant_of(request)
        return self._renderer.page(
            "tenant.html",
            request,
            tenant=tenant,
            version=version,
            path=tenant_path(tenant, version),
            texts=column_texts(row),
            groups=COLUMN_GROUPS,
            provider=provider,
            error=error,
            base=f"{self._settings.public_base_url}/{version.value}",
            credentials=[(name, await self._created(name)) for name in credential_names(provider)],
        )

    async def _confirm_disable(self, request: PortalRequest) -> Response:
        name = name_of(await self._tenants.stored(request))
        return self._renderer.page("tenant_disable.html", request, path=path_of(request), name=name)

    async def _switch(self, action: str, request: PortalRequest) -> Response:
        row, key = await self._tenants.stored(request), tenant_of(request)
        try:
            await self._tenants.set(key, (row,), {"Enabled": "true" if action == "enable" else "false"})
        except RowError as error:
            raise UnusableRow(f"{error.sentence}. Edit the row first.") from error
        await self._tenants.changed(request, action, key)
        return see_other(path_of(request), "switched-on" if action == "enable" else "switched-off")

    async def _confirm_remove(self, request: PortalRequest) -> Response:
        return self._remove_form(request, name_of(await self._tenants.stored(request)))

    async def _remove(self, request: PortalRequest) -> Response:
        key, name = tenant_of(request), name_of(await self._tenants.stored(request))
        typed = request.form.get("confirmation", "")
        if typed.strip().lower() != name.lower() and parse_tenant_id(typed) != key[0]:
            return self._remove_form(request, name, "What you typed is neither the tenant's name nor its GUID.")
        await self._tenants.registry.remove(*key)
        await self._tenants.changed(request, "remove", key)
        return see_other("/tenants", "removed")

    async def _created(self, name: str) -> datetime | None:
        """The time a credential was stored under this name, without reading it; None when there is none to use."""
        versions = await self._vault.versions(name)
        return versions[0].created if versions and versions[0].usable(datetime.now(UTC)) else None

    def _remove_form(self, request: PortalRequest, name: str, problem: str | None = None) -> Response:
        context = {"path": path_of(request), "name": name, "tenant": tenant_of(request)[0], "problem": problem}
        return self._renderer.page("tenant_remove.html", request, UNPROCESSABLE if problem else 200, **context)
