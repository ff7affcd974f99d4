"""Adding a hospital in three steps: its product, its server and credential, the check's report. For admins only."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from shared.directory.errors import RowError
from shared.directory.presets import PRESETS, Preset, preset
from shared.directory.provider import AuthKind
from shared.directory.tenant_row import parse_provider, parse_version
from shared.directory.typed_text import parse_tenant_id
from shared.fhir.versions import FhirVersion
from shared.message import Response
from shared.portal.check_page import CheckPage
from shared.portal.errors import NotFound
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, see_other
from shared.portal.request import AccessLevel, Handler, PortalRequest, Route
from shared.portal.tenant_form import sentences, typed_credential
from shared.portal.tenant_list import Key, TenantList, tenant_path
from shared.settings import Settings
from shared.stores.errors import SecretNameHeld, StoreConflict
from shared.stores.vault import Vault
from shared.upstream.credentials.stored import expected, refusal

_KEPT = "The credential is stored in Key Vault under this name, and no row names it: leave the field empty to use it."


@dataclass(frozen=True, slots=True)
class TenantAdd:
    """Adds a tenant's row with its credential, and checks its server.

    The credential goes from the form to Key Vault, before the row is written and once nothing is wrong with either.
    """

    _settings: Settings
    _renderer: Renderer
    _tenants: TenantList
    _vault: Vault
    _checks: CheckPage

    def routes(self) -> Sequence[Route]:
        """The steps."""
        handlers: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/tenants/new", self._products),
            ("GET", "/tenants/new/{preset}", self._new),
            ("POST", "/tenants/new/{preset}", self._add),
        )
        return [Route(*handler, AccessLevel.ADMIN) for handler in handlers]

    async def _products(self, request: PortalRequest) -> Response:
        products = [(name, list(ways)) for name, ways in groupby(PRESETS, lambda preset: preset.product)]
        return self._renderer.page("tenant_add.html", request, products=products)

    async def _new(self, request: PortalRequest) -> Response:
        chosen = _preset(request)
        values = {column: chosen.filled_in(column) for column in _columns(chosen)}
        # Not of the product's or the hospital's name, which may begin as the names of the gateway's own secrets do.
        return self._form(request, chosen, {**values, "AuthSecret": f"hospital-{secrets.token_hex(5)}"}, {})

    async def _add(self, request: PortalRequest) -> Response:
        chosen = _preset(request)
        value = typed_credential(request) if chosen.needs_secret else ""
        typed = {column: request.form.get(column, "").strip() for column in _columns(chosen)}
        row = {**chosen.given, **{column: text for column, text in typed.items() if text}}
        errors: dict[str, str] = {}
        try:
            parse_provider(row, local=self._settings.local)
        except RowError as error:
            errors = dict(error.problems)
        if chosen.needs_secret:
            errors |= await self._secret_problems(chosen, typed, value, known="AuthSecret" not in errors)
        tenant, version = parse_tenant_id(typed["PartitionKey"]), parse_version(typed["RowKey"])
        if tenant is None or version is None:
            return self._form(request, chosen, typed, errors)
        key = (tenant, version)
        if await self._tenants.row(*key) is not None:
            return self._form(request, chosen, typed, errors, taken=key)
        if errors:
            return self._form(request, chosen, typed, errors)
        if value:
            try:
                await self._vault.set(typed["AuthSecret"], value)
            except SecretNameHeld as error:
                return self._form(request, chosen, typed, {"AuthSecret": f"can't be used: {error}"})
            await self._tenants.changed(request, "set-secret", key, f"secret {typed['AuthSecret']}")
        columns = {column: text for column, text in row.items() if column not in ("PartitionKey", "RowKey")}
        try:
            await self._tenants.set(key, (), columns)
        except StoreConflict:
            return self._form(request, chosen, typed, {}, taken=key, kept=bool(value))
        await self._tenants.changed(request, "set", key, ", ".join(columns))
        provider = await self._tenants.registry.get(*key)
        if provider is None or provider.auth.kind is AuthKind.MANAGED_IDENTITY:
            return see_other(tenant_path(*key), "saved")
        return await self._checks.report(request, provider, added=True)

    async def _secret_problems(
        self, chosen: Preset, typed: Mapping[str, str], value: str, *, known: bool
    ) -> Mapping[str, str]:
        """What is wrong with the credential, or its name, which is `known` when it is one."""
        name = typed["AuthSecret"]
        versions = await self._vault.versions(name) if known else []
        stored = bool(versions) and versions[0].usable(datetime.now(UTC))
        auth = chosen.auth(name, typed.get("AuthClientId", ""))
        if not value:
            return {} if stored else {"credential": f"is missing: {expected(auth, name)}"}
        if problem := await asyncio.to_thread(refusal, auth, name, value):
            return {"credential": problem}
        if stored:
            return {"AuthSecret": "names a credential that is stored already: leave the credential empty to use that"}
        # Other rows may name one that has ended: a new value would go to their servers.
        return {"AuthSecret": "names a credential that has ended: choose another name"} if versions else {}

    def _form(
        self,
        request: PortalRequest,
        chosen: Preset,
        values: Mapping[str, str],
        errors: Mapping[str, str],
        *,
        taken: Key | None = None,
        kept: bool = False,
    ) -> Response:
        """Step two. A credential that was typed is not in it: it never comes back.

        `taken` is the key of the row that is there already, `kept` says that the credential is stored nevertheless.
        """
        there = {"PartitionKey": f"has a row for {taken[1].value} already"} if taken else {}
        problems = sentences(there | dict(errors))
        return self._renderer.page(
            "tenant_add_server.html",
            request,
            CONFLICT if taken else UNPROCESSABLE if problems else 200,
            taken=tenant_path(*taken) if taken else "",
            preset=chosen,
            values=values,
            problems=problems,
            errors=dict(problems),
            kept=_KEPT if kept else "",
            typed=request.method == "POST",
            versions=[(version.value, version.name) for version in FhirVersion],
            expected=expected(chosen.auth("s", values.get("AuthClientId", "")), "s") if chosen.needs_secret else "",
        )


def _preset(request: PortalRequest) -> Preset:
    chosen = preset(request.parameters["preset"])
    if chosen is None:
        raise NotFound
    return chosen


def _columns(chosen: Preset) -> Sequence[str]:
    """The columns that step two asks for."""
    secret = ("AuthSecret",) if chosen.needs_secret else ()
    return ("PartitionKey", "Name", "RowKey", *(column.name for column in chosen.asked), *secret)
