"""Against requests that another site makes a signed-in browser send: where it comes from, and a double-submit token."""

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from shared.portal.cookies import cookie, read_cookies

FIELD = "csrf"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def is_same_origin(headers: Mapping[str, str], *, secure: bool) -> bool:
    """Whether a browser says that a page of this very host sent the request (names of `headers` in lower case).

    The pages' `Referrer-Policy: no-referrer` makes browsers send `Origin: null` (Fetch, section 3.2), so `null` tells
    nothing, and `Sec-Fetch-Site` decides. A browser that sends neither is refused.
    """
    origin = headers.get("origin", "null").lower()
    host = headers.get("host", "").lower()
    own = f"{'https' if secure else 'http'}://{host}"
    if not host or origin not in ("null", own):
        return False
    site = headers.get("sec-fetch-site")
    return origin == own if site is None else site == "same-origin"


@dataclass(frozen=True, slots=True)
class CsrfToken:
    """A random value that a browser keeps as a cookie and a form repeats; `is_new` until the browser has it."""

    value: str
    is_new: bool

    @classmethod
    def of(cls, headers: Mapping[str, str], *, secure: bool) -> "CsrfToken":
        """The browser's token, or a new one."""
        value = read_cookies(headers.get("cookie", "")).get(_cookie_name(secure), "")
        if _TOKEN.fullmatch(value):
            return cls(value, is_new=False)
        return cls(secrets.token_urlsafe(32), is_new=True)

    def matches(self, form: Mapping[str, str]) -> bool:
        """Whether the form repeats the token that came as a cookie."""
        return not self.is_new and hmac.compare_digest(form.get(FIELD, "").encode(), self.value.encode())

    def cookie(self, *, secure: bool) -> str:
        """The `Set-Cookie` value that gives the token to the browser."""
        # Not Strict: whoever comes back from signing in would get a new one, and the forms they left open be refused.
        return cookie(_cookie_name(secure), self.value, same_site="Lax", secure=secure)


def _cookie_name(secure: bool) -> str:
    # The prefix keeps other hosts of the domain from setting it; browsers take it only over https.
    return "__Host-portal-csrf" if secure else "portal-csrf"
