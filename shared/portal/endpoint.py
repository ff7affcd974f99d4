"""The registration portal's endpoint: routing, access to pages, forms of other sites, and errors as pages."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

from msgspec import structs

from shared.directory.access_requests import AccessRequests
from shared.directory.activity import ActivityLog
from shared.directory.client_registry import ClientRegistry
from shared.directory.errors import UnknownClient
from shared.directory.key_sets import KeySets
from shared.directory.tenant_csv import TenantImport
from shared.directory.traffic_history import TrafficHistory
from shared.directory.usage import Usage
from shared.message import Request, Response
from shared.oauth.client_assertion import ClientAssertions
from shared.onboarding.checks import CheckLog
from shared.portal.access_pages import AccessPages
from shared.portal.check_page import CheckPage
from shared.portal.client_finder import ClientFinder
from shared.portal.client_pages import ClientPages
from shared.portal.client_test_page import ClientTestPage
from shared.portal.connect_page import ConnectPage
from shared.portal.errors import ChangedMeanwhile, CrossOrigin, NotFound, PortalError, Unavailable
from shared.portal.forms import parse_form, parse_upload
from shared.portal.hospital_list import HospitalList
from shared.portal.import_pages import ImportPages
from shared.portal.key_pages import KeyPages
from shared.portal.key_reader import KeyReader
from shared.portal.overview_page import OverviewPage
from shared.portal.principal import ANONYMOUS
from shared.portal.rendering import ROOT, Renderer, not_found, redirect
from shared.portal.request import AccessLevel, PortalRequest, Route, find_route, is_cross_origin
from shared.portal.secret_cookie import SecretCookies
from shared.portal.secret_pages import SecretPages
from shared.portal.sign_in import LocalSignIn, SignInPage, sign_in_for
from shared.portal.tenant_add import TenantAdd
from shared.portal.tenant_form import TenantForm
from shared.portal.tenant_list import TenantList
from shared.portal.tenant_pages import TenantPages
from shared.settings import Settings
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import CLIENTS, TENANTS, Table, TableAccount
from shared.stores.vault import Vault

_log = logging.getLogger(__name__)


class PortalEndpoint:
    """Serves everything below `portal`; every path is a 404 where nobody can sign in safely (see `sign_in_for`)."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        tables: TableAccount,
        vault: Vault,
        usage: Usage,
        traffic: TrafficHistory,
        activity: ActivityLog,
        checks: CheckLog,
        key_sets: KeySets,
        assertions: ClientAssertions,
    ) -> None:
        self._sign_in = sign_in_for(settings, environment)
        self._renderer = Renderer(self._sign_in.sign_out, self._sign_in.sign_out_method, settings.cache_seconds)
        tenants = TenantList(Table(tables, TENANTS), settings, activity)
        hospitals = HospitalList(settings, tenants, traffic, checks)
        table = Table(tables, CLIENTS)
        clients, requests = ClientRegistry(table, vault, local=settings.local), AccessRequests(table)
        finder, cookies = (
            ClientFinder(clients, requests, table, activity),
            SecretCookies(vault, secure=self._sign_in.secure),
        )
        keys = KeyReader(usage, activity, key_sets)
        checking = CheckPage(settings, self._renderer, tenants, vault, activity, checks, hospitals)
        self._routes: tuple[Route, ...] = (
            *OverviewPage(self._renderer, hospitals, traffic, clients, requests, activity).routes(),
            Route("GET", "/static/{name}", self._file, AccessLevel.PUBLIC),
            *ConnectPage(settings, self._renderer, clients, tenants, keys).routes(),
            *ClientPages(settings, self._renderer, finder, usage, tenants, traffic, cookies, keys).routes(),
            *KeyPages(settings, self._renderer, finder, keys).routes(),
            *SecretPages(settings, self._renderer, finder, usage, tenants, cookies).routes(),
            *AccessPages(self._renderer, finder, tenants).routes(),
            *ClientTestPage(settings, self._renderer, finder, tenants, cookies, keys, assertions).routes(),
            *ImportPages(self._renderer, tenants, TenantImport(tenants.registry), activity).routes(),
            *TenantAdd(settings, self._renderer, tenants, vault, checking).routes(),
            *TenantForm(self._renderer, tenants, vault).routes(),
            *TenantPages(settings, self._renderer, tenants, hospitals, traffic, checks, activity, vault).routes(),
            *checking.routes(),
        )
        if isinstance(self._sign_in, LocalSignIn):
            self._routes += tuple(SignInPage(self._renderer, self._sign_in).routes())

    async def __call__(self, request: Request) -> Response:
        response = await self._respond(request) if self._sign_in.is_open(request) else not_found()
        return structs.replace(response, body=b"") if request.method == "HEAD" else response

    async def _respond(self, message: Request) -> Response:
        # The path below the root begins with a slash; the host's routes match the root in any case.
        path, query = message.path[len(ROOT) :].rstrip("/") or "/", dict(parse_qsl(message.query, errors="replace"))
        principal, cookies = self._sign_in.principal(message) or ANONYMOUS, message.headers.get("cookie", "")
        request = PortalRequest(message.method, path, query, principal, cookies=cookies)
        try:
            return await self._route(request, message)
        except PortalError as error:
            return self._renderer.error(request, error)
        except UnknownClient:  # deleted since the page was read
            return self._renderer.error(request, NotFound())
        except StoreConflict:
            return self._renderer.error(request, ChangedMeanwhile())
        except StoreUnavailable as error:
            _log.error("portal: %s", error)
            return self._renderer.error(request, Unavailable())
        except Exception:
            _log.exception("portal: unexpected error")
            return self._renderer.error(request, PortalError())

    async def _route(self, request: PortalRequest, message: Request) -> Response:
        if is_cross_origin(message.method, message.headers, secure=self._sign_in.secure):
            raise CrossOrigin
        found = find_route(self._routes, request.method, request.path)
        if found is None or found[0].access is not AccessLevel.PUBLIC:
            if request.principal is ANONYMOUS:
                return self._ask_to_sign_in(request)
            if not request.principal.roles:
                return self._renderer.page("no_role.html", request, 403)
        if found is None or (found[0].access is AccessLevel.ADMIN and not request.principal.is_admin):
            raise NotFound
        route, parameters = found
        request = replace(request, parameters=parameters)
        if route.upload:
            form, file = parse_upload(message)
            request = replace(request, form=form, file=file)
        elif route.method == "POST":
            request = replace(request, form=parse_form(message))
        return await route.handler(request)

    def _ask_to_sign_in(self, request: PortalRequest) -> Response:
        if request.method == "POST":
            # Not a redirect: the pages' policy stops one that leads a form to another host.
            return self._renderer.page("signed_out.html", request, 401, url=self._sign_in.url("/"))
        return redirect(self._sign_in.url(request.path))

    async def _file(self, request: PortalRequest) -> Response:
        return self._renderer.file(request.parameters["name"])
