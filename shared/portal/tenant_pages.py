"""The pages of tenants: which FHIR server belongs to a hospital. For admins only."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.audit import AuditLog
from shared.directory.columns import canonical, column_text
from shared.directory.provider import Provider, RowError
from shared.directory.tenant_csv import HEADER, write_csv
from shared.directory.tenant_id import parse_tenant_id
from shared.directory.tenant_import import ImportPlan, PlannedRow, TenantImport
from shared.directory.tenant_registry import TenantRegistry
from shared.directory.tenant_row import COLUMNS, KEY_COLUMNS, parse_provider, parse_version
from shared.directory.text_file import credential, decoded
from shared.fhir.versions import FhirVersion
from shared.message import Response
from shared.portal.errors import Changed, NotFound, Unusable
from shared.portal.pages import Pages, download, see_other
from shared.portal.paging import page_of
from shared.portal.tenant_form import FIELD_GROUPS, column_texts
from shared.portal.tenant_list import TenantList
from shared.portal.tenant_path import tenant_of, tenant_path
from shared.portal.visit import Audience, Handler, Route, Visit
from shared.settings import Settings
from shared.stores.errors import SecretNameHeld, StoreConflict, StoreUnavailable
from shared.stores.tables import Row, Table, etag_of
from shared.stores.vault import Vault

_log = logging.getLogger(__name__)

_MOST_CREDENTIAL_BYTES = 25 * 1024  # of Key Vault
_UNPROCESSABLE = 422
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class _Draft:
    """A tenant's form as it is shown: what is in it, what is wrong with it, what others stored meanwhile."""

    values: Mapping[str, str]
    etag: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    removed: bool = False


class TenantPages:
    """Lists, shows, edits, imports and exports tenants' rows."""

    def __init__(
        self,
        settings: Settings,
        pages: Pages,
        table: Table,
        vault: Vault,
        tenants: TenantList,
        audit: AuditLog,
    ) -> None:
        self._settings = settings
        self._pages = pages
        self._table = table
        self._registry = TenantRegistry(table, local=settings.local)
        self._vault = vault
        self._tenants = tenants
        self._audit = audit
        self._import = TenantImport(self._registry)

    def routes(self) -> Sequence[Route]:
        """The pages and what their forms do."""
        row = "/tenants/{tenant}/{version}"

        def route(method: str, pattern: str, handler: Handler, *, upload: bool = False) -> Route:
            return Route(method, pattern, handler, Audience.ADMINS, upload)

        return (
            route("GET", "/tenants", self._list),
            route("GET", "/tenants/new", self._new),
            route("POST", "/tenants/new", self._create),
            route("GET", "/tenants/import", self._choose_file),
            route("POST", "/tenants/import", self._preview, upload=True),
            route("POST", "/tenants/import/write", self._write_import, upload=True),
            route("GET", "/tenants/export", self._export),
            route("GET", row, self._show),
            route("GET", f"{row}/edit", self._edit),
            route("POST", f"{row}/edit", self._save),
            route("GET", f"{row}/disable", self._confirm_disable),
            route("POST", f"{row}/disable", self._disable),
            route("POST", f"{row}/enable", self._enable),
            route("GET", f"{row}/remove", self._confirm_remove),
            route("POST", f"{row}/remove", self._remove),
            route("GET", f"{row}/credential", self._ask_credential),
            route("POST", f"{row}/credential", self._store_credential),
        )

    async def _list(self, visit: Visit) -> Response:
        search = visit.query.get("q", "")
        page = page_of(await self._tenants.entries(search), visit.query.get("page", "1"))
        return self._pages.page("tenants.html", visit, page=page, search=search, everything=not search)

    async def _show(self, visit: Visit) -> Response:
        row = await self._row(visit)
        provider, error = self._understood(row)
        tenant, version = tenant_of(visit)
        return self._pages.page(
            "tenant.html",
            visit,
            tenant=tenant,
            version=version,
            path=tenant_path(tenant, version),
            texts=column_texts(row),
            groups=FIELD_GROUPS,
            provider=provider,
            error=error,
            base=f"{self._settings.public_base_url}/{version.value}",
            credentials=[(name, await self._stored_on(name)) for name in _credential_names(provider)],
        )

    async def _new(self, visit: Visit) -> Response:
        version = self._settings.default_fhir_version.value
        return self._new_form(visit, _Draft({**dict.fromkeys(COLUMNS, ""), "PartitionKey": "", "RowKey": version}))

    async def _create(self, visit: Visit) -> Response:
        values = {column: visit.form.get(column, "") for column in (*KEY_COLUMNS, *COLUMNS)}
        tenant, version = parse_tenant_id(values["PartitionKey"]), parse_version(values["RowKey"])
        if tenant is None:
            problem = "is not a GUID such as 72f988bf-86f1-41af-91ab-2d7cd011db47"
            return self._new_form(visit, _Draft(values, errors={"PartitionKey": problem}), _UNPROCESSABLE)
        if version is None:
            return self._new_form(visit, _Draft(values, errors={"RowKey": "is no FHIR version"}), _UNPROCESSABLE)
        taken = _Draft(values, errors={"PartitionKey": f"has a row for {version.value} already: edit that one"})
        if await self._find(tenant, version) is not None:
            return self._new_form(visit, taken, _CONFLICT)
        columns = {column: values[column] for column in COLUMNS if values[column].strip()}
        try:
            await self._set(tenant, version, (), columns)
        except RowError as error:
            return self._new_form(visit, _Draft(values, errors={error.column: error.problem}), _UNPROCESSABLE)
        except StoreConflict:
            return self._new_form(visit, taken, _CONFLICT)
        self._changed(visit, "tenant.set", tenant, version, ", ".join(columns))
        return see_other(tenant_path(tenant, version), "saved")

    async def _edit(self, visit: Visit) -> Response:
        row = await self._row(visit)
        error = self._understood(row)[1]
        errors = {} if error is None else {error.column: error.problem}
        return self._edit_form(visit, row, _Draft(column_texts(row), etag_of(row), errors))

    async def _save(self, visit: Visit) -> Response:
        tenant, version = tenant_of(visit)
        values = {column: visit.form.get(column, "") for column in COLUMNS}
        row = await self._find(tenant, version)
        if row is None:
            draft = _Draft({**values, "PartitionKey": tenant, "RowKey": version.value}, removed=True)
            return self._new_form(visit, draft, _CONFLICT)
        etag, stored = etag_of(row), column_texts(row)
        if visit.form.get("etag") != etag:
            others = {column: text for column, text in stored.items() if text != values[column].strip()}
            return self._edit_form(visit, row, _Draft(values, etag, stored=others), _CONFLICT)
        changes = {column: text for column, text in values.items() if text.strip() != stored[column]}
        changes |= dict.fromkeys(_unknown_columns(row), "")
        try:
            await self._set(tenant, version, (row,), changes)
        except RowError as error:
            draft = _Draft(values, etag, {error.column: error.problem})
            return self._edit_form(visit, row, draft, _UNPROCESSABLE)
        except StoreConflict:
            return await self._save(visit)  # the row has another ETag by now, so this shows what is in it
        self._changed(visit, "tenant.set", tenant, version, ", ".join(changes))
        return see_other(_path(visit), "saved")

    async def _confirm_disable(self, visit: Visit) -> Response:
        return self._pages.page("tenant_disable.html", visit, path=_path(visit), name=_name(await self._row(visit)))

    async def _disable(self, visit: Visit) -> Response:
        return await self._switch(visit, enabled=False)

    async def _enable(self, visit: Visit) -> Response:
        return await self._switch(visit, enabled=True)

    async def _switch(self, visit: Visit, *, enabled: bool) -> Response:
        tenant, version = tenant_of(visit)
        row = await self._row(visit)
        try:
            await self._set(tenant, version, (row,), {"Enabled": str(enabled).lower()})
        except RowError as error:
            raise Unusable(f"{error.column} {error.problem}. Edit the row first.") from error
        self._changed(visit, f"tenant.{'enable' if enabled else 'disable'}", tenant, version)
        return see_other(_path(visit), "switched-on" if enabled else "switched-off")

    async def _confirm_remove(self, visit: Visit) -> Response:
        return self._remove_form(visit, _name(await self._row(visit)))

    async def _remove(self, visit: Visit) -> Response:
        tenant, version = tenant_of(visit)
        name = _name(await self._row(visit))
        typed = visit.form.get("confirmation", "")
        if typed.strip().lower() != name.lower() and parse_tenant_id(typed) != tenant:
            return self._remove_form(
                visit, name, "What you typed is neither the tenant's name nor its GUID.", _UNPROCESSABLE
            )
        await self._registry.remove(tenant, version)
        self._changed(visit, "tenant.remove", tenant, version)
        return see_other("/tenants", "removed")

    async def _ask_credential(self, visit: Visit) -> Response:
        return self._credential_form(visit, _credential_names(await self._provider(visit)))

    async def _store_credential(self, visit: Visit) -> Response:
        tenant, version = tenant_of(visit)
        names = _credential_names(await self._provider(visit))
        name = visit.form.get("name", "")
        if name not in names:
            raise Changed
        # Browsers end a text area's lines with CR LF, which a PEM file doesn't.
        value = credential(visit.form.get("value", "").replace("\r\n", "\n"))
        if not 1 <= len(value.encode()) <= _MOST_CREDENTIAL_BYTES:
            problem = f"A credential has 1 to {_MOST_CREDENTIAL_BYTES} bytes."
            return self._credential_form(visit, names, problem, _UNPROCESSABLE)
        try:
            await self._vault.set(name, value)
        except SecretNameHeld as error:
            return self._credential_form(visit, names, f"{error}.", _CONFLICT)
        self._changed(visit, "tenant.set-secret", tenant, version, f"secret {name}")
        return see_other(_path(visit), "secret-set")

    async def _choose_file(self, visit: Visit) -> Response:
        return self._pages.page("tenant_import.html", visit, header=HEADER, error=None)

    async def _preview(self, visit: Visit) -> Response:
        content = visit.file or visit.form.get("text", "").encode()
        if not content.strip():
            problem = "Choose a file, or paste its lines."
            return self._pages.page("tenant_import.html", visit, _UNPROCESSABLE, header=HEADER, error=problem)
        return self._previewed(visit, content, await self._import.plan(content), changed=False)

    async def _write_import(self, visit: Visit) -> Response:
        content = visit.form.get("text", "").encode()
        plan = await self._import.plan(content)
        if plan.problems or plan.fingerprint != visit.form.get("fingerprint"):
            return self._previewed(visit, content, plan, changed=True)

        written: list[PlannedRow] = []

        def note(row: PlannedRow) -> None:
            written.append(row)
            columns = ", ".join(row.change.columns)
            self._changed(visit, "tenant.import", row.record.tenant, row.record.version, columns)

        try:
            met = await self._import.carry_out(plan.rows, note)
        except StoreUnavailable as error:
            _log.error("portal: import: %s", error)
            met = ()
        return self._pages.page(
            "tenant_imported.html", visit, written=len(written), planned=len(plan.rows), met=len(met)
        )

    async def _export(self, visit: Visit) -> Response:
        return download("tenants.csv", write_csv(await self._registry.rows()), "text/csv; charset=utf-8")

    def _previewed(self, visit: Visit, content: bytes, plan: ImportPlan, *, changed: bool) -> Response:
        return self._pages.page(
            "tenant_import_preview.html",
            visit,
            _CONFLICT if changed else _UNPROCESSABLE if plan.problems else 200,
            plan=plan,
            text=_typed(content),
            changed=changed,
        )

    async def _find(self, tenant: str, version: FhirVersion) -> Row | None:
        """A tenant's row as it is now, also one whose key or columns were typed in another spelling."""
        row = await self._table.get(tenant, version.value)
        if row is None:
            async for typed in self._table.scan([*KEY_COLUMNS]):
                key = (str(typed["PartitionKey"]), str(typed["RowKey"]))
                if (parse_tenant_id(key[0]), parse_version(key[1])) == (tenant, version):
                    row = await self._table.get(*key)
                    break
        return None if row is None else canonical(row, COLUMNS)

    async def _row(self, visit: Visit) -> Row:
        row = await self._find(*tenant_of(visit))
        if row is None:
            raise NotFound
        return row

    def _understood(self, row: Row) -> tuple[Provider | None, RowError | None]:
        try:
            return parse_provider(row, local=self._settings.local), None
        except RowError as error:
            return None, error

    async def _provider(self, visit: Visit) -> Provider:
        provider, error = self._understood(await self._row(visit))
        if provider is None:
            raise Unusable("Edit the row first.") from error
        return provider

    async def _stored_on(self, name: str) -> datetime | None:
        """When the credential of this name was stored; None if there is none that can be used. Its value isn't read."""
        versions = await self._vault.versions(name)
        return versions[0].created if versions and versions[0].usable(datetime.now(UTC)) else None

    async def _set(
        self, tenant: str, version: FhirVersion, rows: Sequence[Row], changes: Mapping[str, str | None]
    ) -> None:
        """Changes the row as it was read, or makes one when there was none; StoreConflict when it isn't so any more."""
        await self._registry.write(self._registry.changed((tenant, version), rows, changes))

    def _changed(self, visit: Visit, action: str, tenant: str, version: FhirVersion, detail: str = "") -> None:
        self._tenants.changed()
        self._audit.change(actor=visit.principal.id, action=action, subject=f"{tenant}/{version.value}", detail=detail)

    def _new_form(self, visit: Visit, draft: _Draft, status: int = 200) -> Response:
        return self._pages.page(
            "tenant_form.html",
            visit,
            status,
            draft=draft,
            groups=FIELD_GROUPS,
            problems=_sentences(draft.errors),
            differing=(),
            versions=[(version.value, version.name) for version in FhirVersion],
            path=None,
            unknown={},
        )

    def _edit_form(self, visit: Visit, row: Row, draft: _Draft, status: int = 200) -> Response:
        unknown = {column: column_text(row[column]) for column in _unknown_columns(row)}
        return self._pages.page(
            "tenant_form.html",
            visit,
            status,
            draft=draft,
            groups=FIELD_GROUPS,
            problems=_sentences(draft.errors),
            differing=_sentences(dict.fromkeys(draft.stored, "was changed")),
            path=_path(visit),
            name=_name(row),
            unknown=unknown,
        )

    def _remove_form(self, visit: Visit, name: str, problem: str | None = None, status: int = 200) -> Response:
        context = {"path": _path(visit), "name": name, "tenant": tenant_of(visit)[0], "problem": problem}
        return self._pages.page("tenant_remove.html", visit, status, **context)

    def _credential_form(
        self, visit: Visit, names: Sequence[str], problem: str | None = None, status: int = 200
    ) -> Response:
        context = {"path": _path(visit), "names": names, "problem": problem}
        return self._pages.page("tenant_credential.html", visit, status, **context)


def _typed(content: bytes) -> str:
    """A file's text, for the page to send again; what is no text has problems, and is not sent."""
    try:
        return decoded(content)
    except UnicodeDecodeError:
        return content.decode(errors="replace")


def _path(visit: Visit) -> str:
    return tenant_path(*tenant_of(visit))


def _name(row: Row) -> str:
    return column_text(row.get("Name")) or str(row["PartitionKey"])


def _sentences(errors: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    labels = {"PartitionKey": "Tenant ID", "RowKey": "FHIR version"}
    labels |= {field.column: field.label for group in FIELD_GROUPS for field in group.fields}
    return [(column, f"{labels.get(column, column)} {problem}") for column, problem in errors.items()]


def _unknown_columns(row: Row) -> Sequence[str]:
    return [column for column in row if column not in (*KEY_COLUMNS, *COLUMNS)]


def _credential_names(provider: Provider | None) -> Sequence[str]:
    if provider is None:
        return ()
    return [name for name in (provider.auth.secret, provider.auth.certificate) if name is not None]
