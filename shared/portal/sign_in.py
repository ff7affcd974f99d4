"""How a person gets in: App Service Authentication with Entra in Azure, a name and a role on a laptop, else not."""

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import ClassVar, Protocol
from urllib.parse import quote, urlsplit

from shared.message import Request
from shared.portal.cookies import cookie, read_cookies
from shared.portal.pages import ROOT
from shared.portal.principal import Principal, Role, parse_client_principal, person_id
from shared.settings import Settings, is_loopback

_SESSION = "portal-session"
_SESSION_SECONDS = 12 * 3600


class SignIn(Protocol):
    """A way in. `secure` says that browsers come by https; `sign_out` is a URL for `sign_out_method`."""

    secure: ClassVar[bool]
    sign_out: ClassVar[str]
    sign_out_method: ClassVar[str]

    def admits(self, request: Request) -> bool:
        """Whether there is a portal for this request at all."""
        ...

    def principal(self, request: Request) -> Principal | None:
        """Who sent the request, if anyone is signed in."""
        ...

    def url(self, path: str) -> str:
        """Where to sign in, to come back to a path of the portal."""
        ...


def sign_in_for(settings: Settings, environment: Mapping[str, str]) -> SignIn | None:
    """The way in of a deployment, or None: then there is no portal.

    With App Service Authentication on, which sets WEBSITE_AUTH_ENABLED, nobody outside can set the header that says who
    is signed in. With it off the header arrives as the client sent it, so the setting alone opens nothing.
    On a laptop it never counts.
    """
    if settings.local:
        return LocalSignIn()
    vouched = environment.get("WEBSITE_AUTH_ENABLED") == "True"
    return EntraSignIn() if settings.portal_auth == "entra" and vouched else None


class EntraSignIn:
    """The platform's: it asks for the password and sets the header."""

    secure: ClassVar[bool] = True
    sign_out: ClassVar[str] = f"/.auth/logout?post_logout_redirect_uri={ROOT}"
    sign_out_method: ClassVar[str] = "get"

    def admits(self, request: Request) -> bool:
        return True

    def principal(self, request: Request) -> Principal | None:
        return parse_client_principal(request.headers.get("x-ms-client-principal", ""))

    def url(self, path: str) -> str:
        return f"/.auth/login/aad?post_login_redirect_uri={quote(ROOT + path, safe='')}"


class LocalSignIn:
    """The laptop's: whoever sits there says who they are. A cookie keeps it, signed with this process's own key."""

    secure: ClassVar[bool] = False
    sign_out: ClassVar[str] = f"{ROOT}/sign-out"
    sign_out_method: ClassVar[str] = "post"

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def admits(self, request: Request) -> bool:
        """Only under a name of this machine: a stranger's page may have its own name lead to 127.0.0.1 (rebinding)."""
        try:
            return is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname)
        except ValueError:
            return False

    def principal(self, request: Request) -> Principal | None:
        payload, _, signature = read_cookies(request.headers.get("cookie", "")).get(_SESSION, "").partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(payload).encode()):
            return None
        name, role, until = json.loads(urlsafe_b64decode(payload + "=="))
        return Principal(person_id(name), name, frozenset({Role(role)})) if time.time() < until else None

    def url(self, path: str) -> str:
        return f"{ROOT}/sign-in"

    def cookie(self, name: str, role: Role) -> str:
        """The `Set-Cookie` value that signs a person in for 12 hours."""
        until = int(time.time()) + _SESSION_SECONDS
        payload = _base64url(json.dumps([name, role.value, until]).encode())
        return cookie(
            _SESSION,
            f"{payload}.{self._signature(payload)}",
            same_site="Strict",
            secure=False,
            seconds=_SESSION_SECONDS,
        )

    def cookie_of_nobody(self) -> str:
        """The `Set-Cookie` value that signs a person out."""
        return cookie(_SESSION, "", same_site="Strict", secure=False, seconds=0)

    def _signature(self, payload: str) -> str:
        return _base64url(hmac.digest(self._key, payload.encode(), hashlib.sha256))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
