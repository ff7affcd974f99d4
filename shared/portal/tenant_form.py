"""The forms of tenants' rows: editing one, and storing its credential. For admins only."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.directory.errors import RowError
from shared.directory.provider import Provider
from shared.directory.tenant_columns import ALL_COLUMNS, COLUMN_GROUPS, COLUMNS, KEY_COLUMNS
from shared.directory.typed_text import column_text, credential
from shared.message import Response
from shared.portal.errors import ChangedMeanwhile, UnusableRow
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, see_other
from shared.portal.request import AccessLevel, Handler, PortalRequest, Route
from shared.portal.tenant_list import (
    TenantList,
    column_texts,
    name_of,
    path_of,
    tenant_of,
)
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


@dataclass(frozen=True, slots=True)
class TenantForm:
    """Edits tenants' rows, and stores their credentials."""

    _renderer: Renderer
    _tenants: TenantList
    _vault: Vault

    def routes(self) -> Sequence[Route]:
        """The forms and what they do."""
        row = "/tenants/{tenant}/{version}"
        handlers: tuple[tuple[str, str, Handler], ...] = (
            ("GET", f"{row}/edit", self._edit),
            ("POST", f"{row}/edit", self._save),
            ("GET", f"{row}/credential", self._credential),
            ("POST", f"{row}/credential", self._store_credential),
        )
        return [Route(*handler, AccessLevel.ADMIN) for handler in handlers]

    async def _edit(self, request: PortalRequest) -> Response:
        row = await self._tenants.stored(request)
        error = self._tenants.parsed(row)[1]
        errors = {} if error is None else dict(error.problems)
        return self._edit_form(request, row, _Draft(column_texts(row), etag_of(row), errors))

    async def _save(self, request: PortalRequest) -> Response:
        key = tenant_of(request)
        values = {column: request.form.get(column, "") for column in COLUMNS}
        row = await self._tenants.row(*key)
        etag, stored = ("", dict.fromkeys(COLUMNS, "")) if row is None else (etag_of(row), column_texts(row))
        if request.form.get("etag") != etag:
            others = {column: text for column, text in stored.items() if text != values[column].strip()}
            return self._edit_form(request, row, _Draft(values, etag, stored=others), CONFLICT)
        changes = {column: text for column, text in values.items() if text.strip() != stored[column]}
        changes |= dict.fromkeys(_unknown_columns(row), "")
        try:
            await self._tenants.set(key, () if row is None else (row,), changes)
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
        name = request.form.get("name", "")
        if name not in provider.auth.secrets:
            raise ChangedMeanwhile
        value = typed_credential(request)
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

    def _edit_form(self, request: PortalRequest, row: Row | None, draft: _Draft, status: int = 200) -> Response:
        """The form with a draft; `row` is what is stored, None when it was removed meanwhile."""
        return self._renderer.page(
            "tenant_form.html",
            request,
            status,
            path=path_of(request),
            name=(draft.values["Name"].strip() or tenant_of(request)[0]) if row is None else name_of(row),
            removed=row is None,
            unknown={column: column_text((row or {})[column]) for column in _unknown_columns(row)},
            draft=draft,
            groups=COLUMN_GROUPS,
            problems=sentences(draft.errors),
            differing=sentences(dict.fromkeys(draft.stored, "was changed")),
        )

    def _credential_form(
        self, request: PortalRequest, provider: Provider, problem: str = "", status: int = 200
    ) -> Response:
        expectations = {name: expected(provider.auth, name) for name in provider.auth.secrets}
        context = {"path": path_of(request), "expectations": expectations, "problem": problem}
        return self._renderer.page("tenant_credential.html", request, status, **context)


def typed_credential(request: PortalRequest) -> str:
    """The credential in a form."""
    # Browsers end a text area's lines with CR LF, which a PEM file doesn't.
    return credential(request.form.get("value", "").replace("\r\n", "\n"))


def sentences(errors: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """What is wrong with columns, each with a sentence about its field's label."""
    labels = {"PartitionKey": "Tenant ID", "RowKey": "FHIR version", "credential": "Credential"}
    labels |= {column.name: column.label for column in ALL_COLUMNS}
    return [(column, f"{labels.get(column, column)} {problem}") for column, problem in errors.items()]


def _unknown_columns(row: Row | None) -> Sequence[str]:
    return [column for column in row or () if column not in (*KEY_COLUMNS, *COLUMNS)]
