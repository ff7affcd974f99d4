"""The page that checks a tenant's server with the app's calls. For admins only."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.directory.activity import ActivityLog
from shared.directory.errors import RowError
from shared.directory.provider import AuthKind, Provider
from shared.directory.tenant_columns import COLUMNS
from shared.message import Response
from shared.onboarding.app_call import is_id
from shared.onboarding.check import check
from shared.onboarding.checks import CheckLog
from shared.onboarding.probe import open_probe
from shared.onboarding.problem import Mender, Problem, ProblemKind
from shared.onboarding.report import Report, summary, verdict
from shared.onboarding.section import Step
from shared.portal.errors import NotFound, UnusableRow
from shared.portal.hospital_list import HospitalList
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer
from shared.portal.request import AccessLevel, PortalRequest, Route
from shared.portal.tenant_list import TenantList, tenant_of, tenant_path
from shared.settings import Settings
from shared.stores.vault import Vault

# The check is one request: in several, each would need the patient that the first one found, and no page and no table
# may hold that. A server that takes 2.5 s for every call is through in 136 s, one that never responds (with the default
# timeout) in 60 s; the platform ends a request at 230 s.
_MAX_SECONDS = 180


@dataclass(frozen=True, slots=True)
class CheckPage:
    """Plays the app's calls against a tenant's server and shows the report, which holds no patient's data.

    A server that the gateway's managed identity opens is not checked: the portal has another identity, which may write
    to the stores, and whose tokens are for no provider.
    """

    _settings: Settings
    _renderer: Renderer
    _tenants: TenantList
    _vault: Vault
    _activity: ActivityLog
    _checks: CheckLog
    _hospitals: HospitalList

    def routes(self) -> Sequence[Route]:
        """The form of the check, and the check."""
        handlers = {"GET": self._show, "POST": self._check}
        pattern = "/tenants/{tenant}/{version}/check"
        return [Route(method, pattern, handler, AccessLevel.ADMIN) for method, handler in handlers.items()]

    async def _show(self, request: PortalRequest) -> Response:
        return self._form(request, await self._provider(request))

    async def _check(self, request: PortalRequest) -> Response:
        provider = await self._provider(request)
        if provider.auth.kind is AuthKind.MANAGED_IDENTITY:
            return self._form(request, provider, CONFLICT)
        patient_id = request.form.get("patient", "").strip() or None
        if patient_id is not None and not is_id(patient_id):
            problem = "An ID has 1 to 255 letters, digits and any of - . _ ~."
            return self._form(request, provider, UNPROCESSABLE, problem)
        return await self.report(request, provider, patient_id)

    async def report(
        self, request: PortalRequest, provider: Provider, patient_id: str | None = None, *, added: bool = False
    ) -> Response:
        """The page with the report of a check made now; `added` says that the row was made just before."""
        subject = f"{provider.tenant}/{provider.version.value}"
        await self._activity.change(actor=request.principal.user_name, action="tenant.verify", subject=subject)
        steps: list[Step] = []
        report: Report | None = None
        try:
            async with asyncio.timeout(_MAX_SECONDS), open_probe(provider, self._vault, self._settings) as probe:
                report = await check(probe, patient_id=patient_id, on_step=steps.append)
        except TimeoutError:
            pass  # the page shows the steps until then
        await self._checks.record(provider, report, request.principal.user_name, self._vault)
        self._hospitals.expire()
        sections = list(dict.fromkeys(step.section for step in steps))
        resources = report.resources if report is not None else ()
        path = tenant_path(provider.tenant, provider.version)
        return self._renderer.page(
            "tenant_checked.html",
            request,
            provider=provider,
            path=path,
            added=added,
            report=report,
            verdict=verdict(report) if report is not None else "",
            summary=summary(report) if report is not None else "",
            problems={
                mender.value: [(*found, _links(path, found[1])) for found in report.to_mend(mender)]
                for mender in (Mender.ADMIN, Mender.HOSPITAL)
            }
            if report is not None
            else {},
            fields=[(resource.type, field) for resource in resources for field in resource.fields if field.entries],
            steps=sorted(steps, key=lambda step: sections.index(step.section)),
            max_seconds=_MAX_SECONDS,
        )

    async def _provider(self, request: PortalRequest) -> Provider:
        try:
            provider = await self._tenants.registry.get(*tenant_of(request))
        except RowError as error:
            raise UnusableRow(f"{error.sentence}. Edit the row first.") from error
        if provider is None:
            raise NotFound
        return provider

    def _form(self, request: PortalRequest, provider: Provider, status: int = 200, problem: str = "") -> Response:
        context = {"provider": provider, "path": tenant_path(provider.tenant, provider.version), "problem": problem}
        return self._renderer.page("tenant_check.html", request, status, **context)


def _links(path: str, problem: Problem) -> Sequence[tuple[str, str]]:
    """The pages below the portal's root that what is to be done leads to, each with its text."""
    named = [column for column in COLUMNS if re.search(rf"\b{column}\b", problem.hint)]
    links = [(f"{path}/edit#{column}", f"Edit {column}") for column in named]
    if problem.kind in (ProblemKind.NO_CREDENTIAL, ProblemKind.CREDENTIAL_REFUSED):
        links.append((f"{path}/credential", "Set the credential"))
    return links
