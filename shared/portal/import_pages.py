"""The pages that import tenants' rows from a CSV file and export them. For admins only."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from shared.directory.activity import ActivityLog
from shared.directory.tenant_csv import HEADER, ImportPlan, PlannedRow, TenantImport, write_csv
from shared.directory.typed_text import decoded
from shared.message import Response
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, download
from shared.portal.request import AccessLevel, PortalRequest, Route
from shared.portal.tenant_list import TenantList
from shared.stores.errors import StoreUnavailable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImportPages:
    """Shows what a file would do to the rows, does it when it is confirmed, and makes such a file."""

    _renderer: Renderer
    _tenants: TenantList
    _import: TenantImport
    _activity: ActivityLog

    def routes(self) -> Sequence[Route]:
        """The pages and what their forms do."""
        return (
            Route("GET", "/tenants/import", self._choose_file, AccessLevel.ADMIN),
            Route("POST", "/tenants/import", self._preview, AccessLevel.ADMIN, upload=True),
            Route("POST", "/tenants/import/write", self._write, AccessLevel.ADMIN, upload=True),
            Route("GET", "/tenants/export", self._export, AccessLevel.ADMIN),
        )

    async def _choose_file(self, request: PortalRequest) -> Response:
        return self._renderer.page("tenant_import.html", request, header=HEADER, error=None)

    async def _preview(self, request: PortalRequest) -> Response:
        content = request.file or request.form.get("text", "").encode()
        if not content.strip():
            problem = "Choose a file, or paste its lines."
            return self._renderer.page("tenant_import.html", request, UNPROCESSABLE, header=HEADER, error=problem)
        return self._plan_page(request, content, await self._import.plan(content), changed=False)

    async def _write(self, request: PortalRequest) -> Response:
        content = request.form.get("text", "").encode()
        plan = await self._import.plan(content)
        if plan.problems or plan.fingerprint != request.form.get("fingerprint"):
            return self._plan_page(request, content, plan, changed=True)
        written: list[PlannedRow] = []

        async def on_written(row: PlannedRow) -> None:
            written.append(row)
            subject, columns = f"{row.record.tenant}/{row.record.version.value}", ", ".join(row.change.columns)
            await self._activity.change(
                actor=request.principal.user_name,
                action="tenant.import",
                subject=subject,
                detail=columns,
                in_all=False,
            )

        try:
            conflicts = len(await self._import.carry_out(plan.rows, on_written))
        except StoreUnavailable as error:
            _log.error("portal: import: %s", error)
            conflicts = 0
        finally:
            self._tenants.expire()
            if written:
                await self._activity.change(
                    actor=request.principal.user_name, action="tenant.import", subject="", detail=f"{len(written)} rows"
                )
        context = {"written": len(written), "planned": len(plan.rows), "conflicts": conflicts}
        return self._renderer.page("tenant_imported.html", request, **context)

    async def _export(self, request: PortalRequest) -> Response:
        rows = await self._tenants.registry.rows()
        return download("tenants.csv", write_csv(rows), "text/csv; charset=utf-8")

    def _plan_page(self, request: PortalRequest, content: bytes, plan: ImportPlan, *, changed: bool) -> Response:
        status = CONFLICT if changed else UNPROCESSABLE if plan.problems else 200
        context = {"plan": plan, "text": _text(content), "changed": changed}
        return self._renderer.page("tenant_import_preview.html", request, status, **context)


def _text(content: bytes) -> str:
    """A file's text, for the page to send again; content that is no text has problems, and is not sent again."""
    try:
        return decoded(content)
    except UnicodeDecodeError:
        return content.decode(errors="replace")
