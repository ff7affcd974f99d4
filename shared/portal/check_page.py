"""The onboarding check of a tenant's server, by a button. For admins only."""

import asyncio
from collections.abc import Sequence

from shared.audit import AuditLog
from shared.directory.provider import AuthKind, Provider, RowError
from shared.directory.tenant_registry import TenantRegistry
from shared.message import Response
from shared.onboarding.app_call import is_id
from shared.onboarding.check import check
from shared.onboarding.probe import open_probe
from shared.onboarding.report import Report, summary
from shared.onboarding.section import Step
from shared.portal.errors import NotFound, Unusable
from shared.portal.pages import Pages
from shared.portal.tenant_path import tenant_of, tenant_path
from shared.portal.visit import Audience, Route, Visit
from shared.settings import Settings
from shared.stores.vault import Vault

# The check is one request: in steps, each would need the patient that the first one found, and no page and no table may
# hold that. A server that takes 2.5 s for every call is through in 136 s, one that never answers (with the default
# timeout) in 60 s; the platform ends a request at 230 s.
_MOST_SECONDS = 180
_UNPROCESSABLE = 422
_CONFLICT = 409


class CheckPage:
    """Plays the app's calls against a tenant's server and shows the report, which holds no patient's data.

    A server that the gateway's managed identity opens is not checked: the portal has another one, which may write the
    stores, and whose tokens are for no provider.
    """

    def __init__(
        self, settings: Settings, pages: Pages, tenants: TenantRegistry, vault: Vault, audit: AuditLog
    ) -> None:
        self._settings = settings
        self._pages = pages
        self._tenants = tenants
        self._vault = vault
        self._audit = audit

    def routes(self) -> Sequence[Route]:
        """The form that asks for a check, and the check."""
        pattern = "/tenants/{tenant}/{version}/check"
        return (
            Route("GET", pattern, self._ask, Audience.ADMINS),
            Route("POST", pattern, self._check, Audience.ADMINS),
        )

    async def _ask(self, visit: Visit) -> Response:
        return self._form(visit, await self._provider(visit))

    async def _check(self, visit: Visit) -> Response:
        provider = await self._provider(visit)
        if provider.auth.kind is AuthKind.MANAGED_IDENTITY:
            return self._form(visit, provider, status=_CONFLICT)
        patient_id = visit.form.get("patient", "").strip() or None
        if patient_id is not None and not is_id(patient_id):
            problem = "An ID has 1 to 255 letters, digits and any of - . _ ~."
            return self._form(visit, provider, problem, _UNPROCESSABLE)
        subject = f"{provider.tenant}/{provider.version.value}"
        self._audit.change(actor=visit.principal.id, action="tenant.verify", subject=subject)
        steps: list[Step] = []
        report: Report | None = None
        try:
            async with asyncio.timeout(_MOST_SECONDS), open_probe(provider, self._vault, self._settings) as probe:
                report = await check(probe, patient_id=patient_id, on_step=steps.append)
        except TimeoutError:
            pass  # what was found until then is shown
        sections = list(dict.fromkeys(step.section for step in steps))
        context: dict[str, object] = {
            "provider": provider,
            "path": _path(provider),
            "report": report,
            "steps": sorted(steps, key=lambda step: sections.index(step.section)),
            "most_seconds": _MOST_SECONDS,
        }
        if report is not None:
            context["summary"] = summary(report)
            context["fields"] = [(of.type, field) for of in report.resources for field in of.fields if field.entries]
        return self._pages.page("tenant_checked.html", visit, 200, **context)

    async def _provider(self, visit: Visit) -> Provider:
        try:
            provider = await self._tenants.get(*tenant_of(visit))
        except RowError as error:
            raise Unusable(f"{error.column} {error.problem}. Edit the row first.") from error
        if provider is None:
            raise NotFound
        return provider

    def _form(self, visit: Visit, provider: Provider, problem: str | None = None, status: int = 200) -> Response:
        context = {"provider": provider, "path": _path(provider), "problem": problem}
        return self._pages.page("tenant_check.html", visit, status, **context)


def _path(provider: Provider) -> str:
    return tenant_path(provider.tenant, provider.version)
