"""The pages of tenants' rows: each leads a hospital to its FHIR server. For admins only."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from shared.directory.activity import ActivityLog
from shared.directory.errors import RowError
from shared.directory.provider import ProviderAuth
from shared.directory.tenant_columns import COLUMN_GROUPS
from shared.directory.traffic import hospital_subject
from shared.directory.traffic_history import TrafficHistory
from shared.directory.typed_text import parse_tenant_id
from shared.fhir.versions import FhirVersion
from shared.message import Response
from shared.onboarding.checks import CheckLog
from shared.onboarding.hospital_state import State, hospital_state
from shared.onboarding.report import VERDICTS
from shared.portal.errors import UnusableRow
from shared.portal.hospital_list import HospitalList, Selection
from shared.portal.hospital_traffic import Span, errors, hops, latency_picture, remedy, requests_picture, total
from shared.portal.rendering import UNPROCESSABLE, Renderer, list_page, see_other
from shared.portal.request import AccessLevel, Handler, PortalRequest, Route
from shared.portal.tenant_list import (
    TenantList,
    column_texts,
    name_of,
    path_of,
    tenant_of,
    tenant_path,
)
from shared.settings import Settings
from shared.stores.vault import Vault
from shared.upstream.credentials.stored import stored_credentials


@dataclass(frozen=True, slots=True)
class TenantPages:
    """Lists, shows, switches and removes tenants' rows."""

    _settings: Settings
    _renderer: Renderer
    _tenants: TenantList
    _hospitals: HospitalList
    _traffic: TrafficHistory
    _checks: CheckLog
    _activity: ActivityLog
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
        hospitals, selection = await self._hospitals.all(), Selection.from_query(request.query)
        page = list_page(selection.of(hospitals), request.query)
        return self._renderer.page(
            "tenants.html",
            request,
            page=page,
            total=len(hospitals),
            selection=selection,
            states=[(state.code, state.word) for state in State],
            versions=[(version.value, version.name) for version in FhirVersion],
            now=datetime.now(UTC),
        )

    async def _show(self, request: PortalRequest) -> Response:
        row = await self._tenants.stored(request)
        provider, error = self._tenants.parsed(row)
        tenant, version = tenant_of(request)
        subject, now = hospital_subject(tenant, version.value), datetime.now(UTC)
        span = Span.of(request.query, now)
        digest, slots, check, changes, credentials = await asyncio.gather(
            self._traffic.digest(),
            self._traffic.series(subject, span.since, span.until, span.step),
            self._checks.latest(tenant, version),
            self._activity.latest(subject),
            stored_credentials(self._vault, provider.auth if provider else ProviderAuth()),
        )
        figures, sections = total(slots), _sections(check.report) if check and check.report else ()
        hospital = hospital_state(
            enabled=provider is None or provider.enabled,
            problem=error.sentence if error else "",
            binding=provider.binding if provider else "",
            day=digest.subjects.get(subject),
            check=check,
        )
        return self._renderer.page(
            "tenant.html",
            request,
            name=name_of(row),
            tenant=tenant,
            version=version,
            path=tenant_path(tenant, version),
            texts=column_texts(row),
            groups=COLUMN_GROUPS,
            provider=provider,
            error=error,
            hospital=hospital,
            base=f"{self._settings.public_base_url}/{version.value}",
            credentials=credentials,
            span=span,
            figures=figures,
            requests=requests_picture(slots),
            latency=latency_picture(slots),
            hops=hops(figures),
            errors=errors(figures),
            remedy=hospital.kind and remedy(hospital.kind),
            check=check,
            verdict=VERDICTS[check.verdict] if check and check.verdict else "it took too long",
            sections=sections,
            problems=[(section, problem) for section, part in sections for problem in part["problems"]],
            changes=changes,
            now=now,
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
            return self._remove_form(request, name, "What you typed is neither the hospital's name nor its GUID.")
        await self._tenants.registry.remove(*key)
        await self._tenants.changed(request, "remove", key)
        return see_other("/tenants", "removed")

    def _remove_form(self, request: PortalRequest, name: str, problem: str | None = None) -> Response:
        context = {"path": path_of(request), "name": name, "tenant": tenant_of(request)[0], "problem": problem}
        return self._renderer.page("tenant_remove.html", request, UNPROCESSABLE if problem else 200, **context)


def _sections(report: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The parts of a check's report that the app needs, each by its name."""
    resources = [(resource["type"], resource) for resource in report["resources"] if not resource["spare"]]
    return [("statement", report["statement"]), *resources, *((name, report[name]) for name in ("batch", "paging"))]
