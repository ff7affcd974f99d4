"""The pages of tenants' rows: each leads a hospital to its FHIR server. For admins only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from shared.audit import AuditLog
from shared.directory.errors import RowError
from shared.directory.provider import Provider
from shared.directory.tenant_columns import ALL_COLUMNS, COLUMN_GROUPS, COLUMNS, KEY_COLUMNS, Column
from shared.directory.tenant_row import parse_provider, parse_version
from shared.directory.typed_text import column_text, credential, parse_tenant_id
from shared.fhir.versions import FhirVersion
from shared.message import Response
from shared.portal.errors import ChangedMeanwhile, NotFound, UnusableRow
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, list_page, see_other
from shared.portal.request import AccessLevel, Handler, PortalRequest, Route
from shared.portal.tenant_list import Key, TenantList, tenant_of, tenant_path
from shared.settings import Settings
from shared.stores.errors import SecretNameHeld, StoreConflict
from shared.stores.tables import Row, etag_of
from shared.stores.vault import Vault

_MAX_CREDENTIAL_BYTES = 25 * 1024  # of Key Vault


@dataclass(frozen=True, slots=True)
class _Draft:
    """The content of a tenant's form, with what is wrong with it, and what others stored meanwhile, by column."""

    values: Mapping[str, str]
    etag: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    removed: bool = False


@dataclass(frozen=True, slots=True)
class TenantPages:
    """Lists, shows, adds, edits, switches and removes tenants' rows, and stores their credentials."""

    _settings: Settings
    _renderer: Renderer
    _tenants: TenantList
    _vault: Vault
    _audit: AuditLog

    def routes(self) -> Sequence[Route]:
        """The pages and what their forms do."""
        row = "/tenants/{tenant}/{version}"
        handlers: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/tenants", self._list),
            ("GET", "/tenants/new", self._new),
            ("POST", "/tenants/new", self._create),
            ("GET", row, self._show),
            ("GET", f"{row}/edit", self._edit),
            ("POST", f"{row}/edit", self._save),
            ("GET", f"{row}/disable", self._confirm_disable),
            ("POST", f"{row}/disable", partial(self._switch, "disable")),
            ("POST", f"{row}/enable", partial(self._switch, "enable")),
            ("GET", f"{row}/remove", self._confirm_remove),
            ("POST", f"{row}/remove", self._remove),
            ("GET", f"{row}/credential", self._credential),
            ("POST", f"{row}/credential", self._store_credential),
        )
        return [Route(*handler, AccessLevel.ADMIN) for handler in handlers]

    async def _list(self, request: PortalRequest) -> Response:
        search = request.query.get("q", "")
        page = list_page(await self._tenants.entries(search), request.query)
        return self._renderer.page("tenants.html", request, page=page, search=search)

    async def _show(self, request: PortalRequest) -> Response:
        row = await self._row(request)
        provider, error = self._parsed(row)
        tenant, version = tenant_of(request)
        return self._renderer.page(
            "tenant.html",
            request,
            tenant=tenant,
            version=version,
            path=tenant_path(tenant, version),
            texts=_column_texts(row),
            groups=COLUMN_GROUPS,
            provider=provider,
            error=error,
            base=f"{self._settings.public_base_url}/{version.value}",
            credentials=[(name, await self._created(name)) for name in _credential_names(provider)],
        )

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
            await self._set((tenant, version), (), columns)
        except RowError as error:
            return self._new_form(request, _Draft(values, errors={error.column: error.problem}), UNPROCESSABLE)
        except StoreConflict:
            return self._new_form(request, taken, CONFLICT)
        self._changed(request, "set", (tenant, version), ", ".join(columns))
        return see_other(tenant_path(tenant, version), "saved")

    async def _edit(self, request: PortalRequest) -> Response:
        row = await self._row(request)
        error = self._parsed(row)[1]
        errors = {} if error is None else {error.column: error.problem}
        return self._edit_form(request, row, _Draft(_column_texts(row), etag_of(row), errors))

    async def _save(self, request: PortalRequest) -> Response:
        tenant, version = key = tenant_of(request)
        values = {column: request.form.get(column, "") for column in COLUMNS}
        row = await self._tenants.row(*key)
        if row is None:
            draft = _Draft({**values, "PartitionKey": tenant, "RowKey": version.value}, removed=True)
            return self._new_form(request, draft, CONFLICT)
        etag, stored = etag_of(row), _column_texts(row)
        if request.form.get("etag") != etag:
            others = {column: text for column, text in stored.items() if text != values[column].strip()}
            return self._edit_form(request, row, _Draft(values, etag, stored=others), CONFLICT)
        changes = {column: text for column, text in values.items() if text.strip() != stored[column]}
        changes |= dict.fromkeys(_unknown_columns(row), "")
        try:
            await self._set(key, (row,), changes)
        except RowError as error:
            draft = _Draft(values, etag, {error.column: error.problem})
            return self._edit_form(request, row, draft, UNPROCESSABLE)
        except StoreConflict:
            return await self._save(request)  # the row has another ETag by now, so this shows what is in it
        self._changed(request, "set", key, ", ".join(changes))
        return see_other(_path(request), "saved")

    async def _confirm_disable(self, request: PortalRequest) -> Response:
        name = _name(await self._row(request))
        return self._renderer.page("tenant_disable.html", request, path=_path(request), name=name)

    async def _switch(self, action: str, request: PortalRequest) -> Response:
        row, key = await self._row(request), tenant_of(request)
        try:
            await self._set(key, (row,), {"Enabled": "true" if action == "enable" else "false"})
        except RowError as error:
            raise UnusableRow(f"{error.column} {error.problem}. Edit the row first.") from error
        self._changed(request, action, key)
        return see_other(_path(request), "switched-on" if action == "enable" else "switched-off")

    async def _confirm_remove(self, request: PortalRequest) -> Response:
        return self._remove_form(request, _name(await self._row(request)))

    async def _remove(self, request: PortalRequest) -> Response:
        key, name = tenant_of(request), _name(await self._row(request))
        typed = request.form.get("confirmation", "")
        if typed.strip().lower() != name.lower() and parse_tenant_id(typed) != key[0]:
            return self._remove_form(request, name, "What you typed is neither the tenant's name nor its GUID.")
        await self._tenants.registry.remove(*key)
        self._changed(request, "remove", key)
        return see_other("/tenants", "removed")

    async def _credential(self, request: PortalRequest) -> Response:
        return self._credential_form(request, _credential_names(await self._provider(request)))

    async def _store_credential(self, request: PortalRequest) -> Response:
        names = _credential_names(await self._provider(request))
        name = request.form.get("name", "")
        if name not in names:
            raise ChangedMeanwhile
        # Browsers end a text area's lines with CR LF, which a PEM file doesn't.
        value = credential(request.form.get("value", "").replace("\r\n", "\n"))
        if not 1 <= len(value.encode()) <= _MAX_CREDENTIAL_BYTES:
            problem = f"A credential has 1 to {_MAX_CREDENTIAL_BYTES} bytes."
            return self._credential_form(request, names, problem, UNPROCESSABLE)
        try:
            await self._vault.set(name, value)
        except SecretNameHeld as error:
            return self._credential_form(request, names, f"{error}.", CONFLICT)
        self._changed(request, "set-secret", tenant_of(request), f"secret {name}")
        return see_other(_path(request), "secret-set")

    async def _row(self, request: PortalRequest) -> Row:
        row = await self._tenants.row(*tenant_of(request))
        if row is None:
            raise NotFound
        return row

    def _parsed(self, row: Row) -> tuple[Provider | None, RowError | None]:
        try:
            return parse_provider(row, local=self._settings.local), None
        except RowError as error:
            return None, error

    async def _provider(self, request: PortalRequest) -> Provider:
        provider, error = self._parsed(await self._row(request))
        if provider is None:
            raise UnusableRow("Edit the row first.") from error
        return provider

    async def _created(self, name: str) -> datetime | None:
        """The time a credential was stored under this name, without reading it; None when there is none to use."""
        versions = await self._vault.versions(name)
        return versions[0].created if versions and versions[0].usable(datetime.now(UTC)) else None

    async def _set(self, key: Key, rows: Sequence[Row], changes: Mapping[str, str | None]) -> None:
        """Changes the row that was read, or makes one where there was none; else raises StoreConflict."""
        await self._tenants.registry.write(self._tenants.registry.changed(key, rows, changes))

    def _changed(self, request: PortalRequest, action: str, key: Key, detail: str = "") -> None:
        self._tenants.expire()
        subject = f"{key[0]}/{key[1].value}"
        self._audit.change(actor=request.principal.user_name, action=f"tenant.{action}", subject=subject, detail=detail)

    def _new_form(self, request: PortalRequest, draft: _Draft, status: int = 200) -> Response:
        versions = [(version.value, version.name) for version in FhirVersion]
        return self._form(request, draft, status, path=None, unknown={}, versions=versions)

    def _edit_form(self, request: PortalRequest, row: Row, draft: _Draft, status: int = 200) -> Response:
        unknown = {column: column_text(row[column]) for column in _unknown_columns(row)}
        return self._form(request, draft, status, path=_path(request), unknown=unknown, name=_name(row))

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

    def _remove_form(self, request: PortalRequest, name: str, problem: str | None = None) -> Response:
        context = {"path": _path(request), "name": name, "tenant": tenant_of(request)[0], "problem": problem}
        return self._renderer.page("tenant_remove.html", request, UNPROCESSABLE if problem else 200, **context)

    def _credential_form(
        self, request: PortalRequest, names: Sequence[str], problem: str | None = None, status: int = 200
    ) -> Response:
        context = {"path": _path(request), "names": names, "problem": problem}
        return self._renderer.page("tenant_credential.html", request, status, **context)


def _path(request: PortalRequest) -> str:
    return tenant_path(*tenant_of(request))


def _name(row: Row) -> str:
    return column_text(row.get("Name")) or str(row["PartitionKey"])


def _column_texts(row: Row) -> Mapping[str, str]:
    """Every column of a row as its field has it: "" for one that is not there, or says what holds without it."""
    return {column.name: _field_text(column, column_text(row.get(column.name))) for column in ALL_COLUMNS}


def _field_text(column: Column, text: str) -> str:
    if not column.choices:
        return text
    choice = text.strip().lower()
    return "" if choice == column.default else choice


def _sentences(errors: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    labels = {"PartitionKey": "Tenant ID", "RowKey": "FHIR version"}
    labels |= {column.name: column.label for column in ALL_COLUMNS}
    return [(column, f"{labels.get(column, column)} {problem}") for column, problem in errors.items()]


def _unknown_columns(row: Row) -> Sequence[str]:
    return [column for column in row if column not in (*KEY_COLUMNS, *COLUMNS)]


def _credential_names(provider: Provider | None) -> Sequence[str]:
    if provider is None:
        return ()
    return [name for name in (provider.auth.secret, provider.auth.certificate) if name is not None]
