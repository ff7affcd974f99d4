"""Signing in to the portal: App Service Authentication with Entra in Azure, a name and a role on a laptop."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote, urlsplit

from shared.message import Request, Response
from shared.oauth.jws import decoded, encoded
from shared.portal.principal import Principal, Role, parse_client_principal, person_id
from shared.portal.rendering import ROOT, UNPROCESSABLE, Renderer, see_other
from shared.portal.request import AccessLevel, PortalRequest, Route, cookie_value
from shared.settings import Settings, is_loopback

_SESSION = "portal-session"
_SESSION_SECONDS = 12 * 3600
_MAX_NAME_CHARACTERS = 64


def sign_in_for(settings: Settings, environment: Mapping[str, str]) -> "EntraSignIn | LocalSignIn":
    """The way to sign in to a deployment.

    With App Service Authentication on, which sets WEBSITE_AUTH_ENABLED, nobody outside can set the header that names
    the person. With it off the header arrives as the client sent it, so the setting PORTAL_AUTH alone opens nothing.
    On a laptop the header never counts.
    """
    if settings.local:
        return LocalSignIn()
    return EntraSignIn(settings.portal_auth == "entra" and environment.get("WEBSITE_AUTH_ENABLED") == "True")


class EntraSignIn:
    """App Service Authentication: the platform asks for the password and sets the header, if it is `trusted`.

    `secure` says that browsers come by https; `sign_out` is a URL for `sign_out_method`.
    """

    secure: ClassVar[bool] = True
    sign_out: ClassVar[str] = f"/.auth/logout?post_logout_redirect_uri={ROOT}"
    sign_out_method: ClassVar[str] = "get"

    def __init__(self, trusted: bool) -> None:
        self._trusted = trusted

    def is_open(self, request: Request) -> bool:
        """Whether there is a portal for this request at all."""
        return self._trusted

    def principal(self, request: Request) -> Principal | None:
        """The person who sent the request, if anyone is signed in."""
        return parse_client_principal(request.headers.get("x-ms-client-principal", "")) if self._trusted else None

    def url(self, path: str) -> str:
        """The address to sign in at, to come back to a path of the portal."""
        return f"/.auth/login/aad?post_login_redirect_uri={quote(ROOT + path, safe='')}"


class LocalSignIn:
    """The laptop's: people say who they are, and a cookie signed with this process's own key holds it."""

    secure: ClassVar[bool] = False
    sign_out: ClassVar[str] = f"{ROOT}/sign-out"
    sign_out_method: ClassVar[str] = "post"

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def is_open(self, request: Request) -> bool:
        """Only under a name of this machine: a stranger's page may have its own name lead to 127.0.0.1 (rebinding)."""
        try:
            return is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname)
        except ValueError:
            return False

    def principal(self, request: Request) -> Principal | None:
        payload, _, signature = cookie_value(request.headers.get("cookie", ""), _SESSION).partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(payload).encode()):
            return None
        name, role, until = json.loads(decoded(payload.encode()))
        return (
            Principal(person_id(name), person_id(name), name, frozenset({Role(role)})) if time.time() < until else None
        )

    def url(self, path: str) -> str:
        return f"{ROOT}/sign-in"

    def cookie(self, name: str, role: Role) -> str:
        """The `Set-Cookie` value (RFC 6265) that signs a person in for 12 hours."""
        payload = encoded(json.dumps([name, role.value, int(time.time()) + _SESSION_SECONDS]).encode()).decode()
        return _cookie(f"{payload}.{self._signature(payload)}", _SESSION_SECONDS)

    def _signature(self, payload: str) -> str:
        return encoded(hmac.digest(self._key, payload.encode(), hashlib.sha256)).decode()


@dataclass(frozen=True, slots=True)
class SignInPage:
    """The laptop's form for a name and a role, and signing out."""

    _renderer: Renderer
    _sign_in: LocalSignIn

    def routes(self) -> Sequence[Route]:
        """The page and what its forms do."""
        return (
            Route("GET", "/sign-in", self._show, AccessLevel.PUBLIC),
            Route("POST", "/sign-in", self._enter, AccessLevel.PUBLIC),
            Route("POST", "/sign-out", self._leave, AccessLevel.PUBLIC),
        )

    async def _show(self, request: PortalRequest) -> Response:
        return self._renderer.page("sign_in.html", request, roles=Role, name="", role=Role.ADMIN.value, problem=None)

    async def _enter(self, request: PortalRequest) -> Response:
        name, role = request.form.get("name", "").strip(), request.form.get("role", "")
        if not name or len(name) > _MAX_NAME_CHARACTERS or not name.isprintable():
            problem = f"A name has 1 to {_MAX_NAME_CHARACTERS} printable characters."
            context = {"roles": Role, "name": name, "role": role, "problem": problem}
            return self._renderer.page("sign_in.html", request, UNPROCESSABLE, **context)
        chosen = Role.ADMIN if role == Role.ADMIN.value else Role.CLIENT_OWNER
        return see_other("/", cookie=self._sign_in.cookie(name, chosen))

    async def _leave(self, request: PortalRequest) -> Response:
        return see_other("/sign-in", cookie=_cookie("", 0))


def _cookie(value: str, seconds: int) -> str:
    # Base64url and dots alone: the host percent-encodes anything else.
    return f"{_SESSION}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}"
