"""The registration portal's HTTP side: who may see which page, and what stands between another site and a form."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from azure.data.tables.aio import TableServiceClient

from shared.audit import AuditLog
from shared.directory.client_registry import ClientRegistry
from shared.directory.refusals import UnknownClient
from shared.directory.tenant_registry import TenantRegistry
from shared.directory.usage import Usage
from shared.message import Request, Response
from shared.portal.check_page import CheckPage
from shared.portal.client_pages import ClientPages
from shared.portal.connect_page import ConnectPage
from shared.portal.csrf import CsrfToken, is_same_origin
from shared.portal.errors import Changed, CrossSite, NotFound, PortalError, Unavailable
from shared.portal.form import Form, parse_form, parse_upload
from shared.portal.pages import ROOT, Pages, nothing, redirect, see_other
from shared.portal.principal import NOBODY, Principal
from shared.portal.sign_in import LocalSignIn, SignIn, sign_in_for
from shared.portal.sign_in_page import SignInPage
from shared.portal.tenant_list import TenantList
from shared.portal.tenant_pages import TenantPages
from shared.portal.visit import Audience, Route, Visit, find_route
from shared.settings import Settings
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import CLIENTS, TENANTS, Table
from shared.stores.vault import Vault

_log = logging.getLogger(__name__)


class PortalEndpoint:
    """Answers everything below `portal`.

    Without a way to sign in that can be trusted (see `sign_in_for`) there is no portal: every path is a 404.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        tables: TableServiceClient,
        vault: Vault,
        usage: Usage,
        audit: AuditLog,
    ) -> None:
        sign_in = sign_in_for(settings, environment)
        self._desk = None if sign_in is None else _Desk(sign_in, settings, tables, vault, usage, audit)

    async def __call__(self, request: Request) -> Response:
        response = nothing() if self._desk is None else await self._desk.answer(request)
        return replace(response, body=b"") if request.method == "HEAD" else response


class _Desk:
    """The portal where there is one."""

    def __init__(
        self,
        sign_in: SignIn,
        settings: Settings,
        tables: TableServiceClient,
        vault: Vault,
        usage: Usage,
        audit: AuditLog,
    ) -> None:
        self._sign_in = sign_in
        self._pages = Pages(sign_in.sign_out, sign_in.sign_out_method, settings.cache_seconds)
        tenants_table = Table(tables, TENANTS)
        tenants = TenantList(tenants_table, local=settings.local)
        registry = TenantRegistry(tenants_table, local=settings.local)
        clients = ClientRegistry(Table(tables, CLIENTS), vault)
        self._routes: tuple[Route, ...] = (
            Route("GET", "/", self._start),
            Route("GET", "/static/{name}", self._file, Audience.ANYONE),
            *ConnectPage(settings, self._pages, clients, tenants).routes(),
            *ClientPages(settings, self._pages, tables, vault, usage, tenants, audit).routes(),
            *TenantPages(settings, self._pages, tenants_table, vault, tenants, audit).routes(),
            *CheckPage(settings, self._pages, registry, vault, audit).routes(),
        )
        if isinstance(sign_in, LocalSignIn):
            self._routes += tuple(SignInPage(self._pages, sign_in).routes())

    async def answer(self, request: Request) -> Response:
        if not self._sign_in.admits(request):
            return nothing()
        secure = self._sign_in.secure
        csrf = CsrfToken.of(request.headers, secure=secure)
        principal = self._sign_in.principal(request)
        visit = Visit(request, _path(request), principal or NOBODY, csrf)
        response = await self._answer(visit, principal)
        if csrf.is_new and "Set-Cookie" not in response.headers:
            return replace(response, headers={**response.headers, "Set-Cookie": csrf.cookie(secure=secure)})
        return response

    async def _answer(self, visit: Visit, principal: Principal | None) -> Response:
        try:
            return await self._visit(visit, principal)
        except PortalError as error:
            return self._pages.problem(visit, error)
        except UnknownClient:  # it was there a moment ago
            return self._pages.problem(visit, NotFound())
        except StoreConflict:
            return self._pages.problem(visit, Changed())
        except StoreUnavailable as error:
            _log.error("portal: %s", error)
            return self._pages.problem(visit, Unavailable())
        except Exception:
            _log.exception("portal: unexpected error")
            return self._pages.problem(visit, PortalError("It has been logged. Try again, or tell the operator."))

    async def _visit(self, visit: Visit, principal: Principal | None) -> Response:
        found = find_route(self._routes, visit.request.method, visit.path)
        if found is None or found[0].audience is not Audience.ANYONE:
            if principal is None:
                return self._sent_to_sign_in(visit)
            if not principal.roles:
                return self._pages.page("no_role.html", visit, 403)
        if found is None or (found[0].audience is Audience.ADMINS and not visit.principal.is_admin):
            raise NotFound
        route, parameters = found
        visit = replace(visit, parameters=parameters)
        if route.method == "POST":
            visit = self._with_form(visit, route)
        return await route.handler(visit)

    def _with_form(self, visit: Visit, route: Route) -> Visit:
        """The visit with its form, once it is certain that a page of ours sent it."""
        if not is_same_origin(visit.request.headers, secure=self._sign_in.secure):
            raise CrossSite
        form: Form
        form, file = parse_upload(visit.request) if route.upload else (parse_form(visit.request), b"")
        if not visit.csrf.matches(form):
            raise CrossSite
        return replace(visit, form=form, file=file)

    def _sent_to_sign_in(self, visit: Visit) -> Response:
        if visit.request.method == "POST":
            # Not a redirect: the pages' policy stops one that leads a form to another host.
            return self._pages.page("signed_out.html", visit, 401, url=self._sign_in.url("/"))
        return redirect(self._sign_in.url(visit.path))

    async def _start(self, visit: Visit) -> Response:
        return see_other("/clients")

    async def _file(self, visit: Visit) -> Response:
        return self._pages.file(visit.parameters["name"])


def _path(request: Request) -> str:
    """The path below the portal's root, which begins with a slash; routes match the root in any case."""
    return request.path[len(ROOT) :].rstrip("/") or "/"
