"""The forms of tenants' rows: adding one, editing it, and storing its credential. For admins only."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.directory.errors import RowError
from shared.directory.provider import Provider
from shared.directory.tenant_columns import ALL_COLUMNS, COLUMN_GROUPS, COLUMNS, KEY_COLUMNS
from shared.directory.tenant_row import parse_version
from shared.directory.typed_text import column_text, credential, parse_tenant_id
from shared.fhir.versions import FhirVersion
from shared.message import Response
from shared.portal.errors import ChangedMeanwhile, UnusableRow
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, see_other
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
from shared.stores.errors import SecretNameHeld, StoreConflict
from shared.stores.tables import Row, etag_of
from shared.stores.vault import Vault
from shared.upstream.credentials.stored import expected, refusal


@dataclass(frozen=True, slots=True)
class _Draft:
    """The content of a tenant's form, with what is wrong with it, and what others stored meanwhile, by column."""

    values: Mapping[str, str]
    etag: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    removed: bool = False


@dataclass(frozen=True, slots=True)
class TenantForm:
    """Adds and edits tenants' rows, and stores their credentials."""

    _settings: Settings
    _renderer: Renderer
    _tenants: TenantList
    _vault: Vault

    def routes(self) -> Sequence[Route]:
        """The forms and what they do."""
        row = "/tenants/{tenant}/{version}"
        handlers: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/tenants/new", self._new),
            ("POST", "/tenants/new", self._create),
            ("GET", f"{row}/edit", self._edit),
            ("POST", f"{row}/edit", self._save),
            ("GET", f"{row}/credential", self._credential),
            ("POST", f"{row}/credential", self._store_credential),
        )
        return [Route(*handler, AccessLevel.ADMIN) for handler in handlers]

    async def _new(self, request: PortalRequest) -> Response:
        version = self._settings.default_fhir_version.value
        return self._new_form(request, _Draft({**dict.fromkeys(COLUMNS, ""), "PartitionKey": "", "RowKey": version}))

    async def _create(self, request: PortalRequest) -> Response:
        values = {column: request.form.get(column, "") for column in (*KEY_COLUMNS, *COLUMNS)}
        tenant, version = parse_tenant_id(values["PartitionKey"]), parse_version(values["RowKey"])
        if tenant is None or version is None:
            no_tenant = {"PartitionKey": "is not a GUID such as 72f988bf-86f1-41af-91ab-2d7cd011db47"}
            errors = no_tenant if tenant is None else {"RowKey": "is no FHIR version"}
            return self._new_form(request, _Draft(values, errors=errors), UNPROCESSABLE)
        taken = _Draft(values, errors={"PartitionKey": f"has a row for {version.value} already: edit that one"})
        if await self._tenants.row(tenant, version) is not None:
            return self._new_form(request, taken, CONFLICT)
        columns = {column: values[column] for column in COLUMNS if values[column].strip()}
        try:
            await self._tenants.set((tenant, version), (), columns)
        except RowError as error:
            return self._new_form(request, _Draft(values, errors=dict(error.problems)), UNPROCESSABLE)
        except StoreConflict:
            return self._new_form(request, taken, CONFLICT)
        await self._tenants.changed(request, "set", (tenant, version), ", ".join(columns))
        return see_other(tenant_path(tenant, version), "saved")

    async def _edit(self, request: PortalRequest) -> Response:
        row = await self._tenants.stored(request)
        error = self._tenants.parsed(row)[1]
        errors = {} if error is None else dict(error.problems)
        return self._edit_form(request, row, _Draft(column_texts(row), etag_of(row), errors))

    async def _save(self, request: PortalRequest) -> Response:
        tenant, version = key = tenant_of(request)
        values = {column: request.form.get(column, "") for column in COLUMNS}
        row = await self._tenants.row(*key)
        if row is None:
            draft = _Draft({**values, "PartitionKey": tenant, "RowKey": version.value}, removed=True)
            return self._new_form(request, draft, CONFLICT)
        etag, stored = etag_of(row), column_texts(row)
        if request.form.get("etag") != etag:
            others = {column: text for column, text in stored.items() if text != values[column].strip()}
            return self._edit_form(request, row, _Draft(values, etag, stored=others), CONFLICT)
        changes = {column: text for column, text in values.items() if text.strip() != stored[column]}
        changes |= dict.fromkeys(_unknown_columns(row), "")
        try:
            await self._tenants.set(key, (row,), changes)
        except RowError as error:
            draft = _Draft(values, etag, dict(error.problems))
            return self._edit_form(request, row, draft, UNPROCESSABLE)
        except StoreConflict:
            return await self._save(request)  # the row has another ETag by now, so this shows what is in it
        await self._tenants.changed(request, "set", key, ", ".join(changes))
        return see_other(path_of(request), "saved")

    async def _credential(self, request: PortalRequest) -> Response:
        return self._credential_form(request, await self._provider(request))

    async def _store_credential(self, request: PortalRequest) -> Response:
        provider = await self._provider(request)
        names, name = credential_names(provider), request.form.get("name", "")
        if name not in names:
            raise ChangedMeanwhile
        value = _typed_credential(request)
        if problem := await asyncio.to_thread(refusal, provider.auth, name, value):
            return self._credential_form(request, provider, f"The value {problem}.", UNPROCESSABLE)
        try:
            await self._vault.set(name, value)
        except SecretNameHeld as error:
            return self._credential_form(request, provider, f"{error}.", CONFLICT)
        await self._tenants.changed(request, "set-secret", tenant_of(request), f"secret {name}")
        return see_other(path_of(request), "secret-set")

    async def _provider(self, request: PortalRequest) -> Provider:
        provider, error = self._tenants.parsed(await self._tenants.stored(request))
        if provider is None:
            raise UnusableRow("Edit the row first.") from error
        return provider

    def _new_form(self, request: PortalRequest, draft: _Draft, status: int = 200) -> Response:
        versions = [(version.value, version.name) for version in FhirVersion]
        return self._form(request, draft, status, path=None, unknown={}, versions=versions)

    def _edit_form(self, request: PortalRequest, row: Row, draft: _Draft, status: int = 200) -> Response:
        unknown = {column: column_text(row[column]) for column in _unknown_columns(row)}
        return self._form(request, draft, status, path=path_of(request), unknown=unknown, name=name_of(row))

    def _form(self, request: PortalRequest, draft: _Draft, status: int, **context: object) -> Response:
        return self._renderer.page(
            "tenant_form.html",
            request,
            status,
            draft=draft,
            groups=COLUMN_GROUPS,
            problems=_sentences(draft.errors),
            differing=_sentences(dict.fromkeys(draft.stored, "was changed")),
            **context,
        )

    def _credential_form(
        self, request: PortalRequest, provider: Provider, problem: str = "", status: int = 200
    ) -> Response:
        expectations = {name: expected(provider.auth, name) for name in credential_names(provider)}
        context = {"path": path_of(request), "expectations": expectations, "problem": problem}
        return self._renderer.page("tenant_credential.html", request, status, **context)


def _typed_credential(request: PortalRequest) -> str:
    # Browsers end a text area's lines with CR LF, which a PEM file doesn't.
    return credential(request.form.get("value", "").replace("\r\n", "\n"))


def _sentences(errors: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    labels = {"PartitionKey": "Tenant ID", "RowKey": "FHIR version"}
    labels |= {column.name: column.label for column in ALL_COLUMNS}
    return [(column, f"{labels.get(column, column)} {problem}") for column, problem in errors.items()]


def _unknown_columns(row: Row) -> Sequence[str]:
    return [column for column in row if column not in (*KEY_COLUMNS, *COLUMNS)]
