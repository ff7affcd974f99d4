"""A request to the portal, the routes that take it to a handler, and the check that no other site sent it."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from shared.message import Response
from shared.portal.forms import Form
from shared.portal.principal import Principal

_PARAMETER = re.compile(r"\{(\w+)\}")  # the `{client}` of `/clients/{client}/edit`


class AccessLevel(Enum):
    """The people a page is for; for everyone else the page does not exist."""

    PUBLIC = "public"
    MEMBER = "member"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class PortalRequest:
    """One request. `path` is below the portal's root, `parameters` are what the route's pattern names.

    `query` holds the parameters that have a value; `cookies` is the header; `form` and `file` are empty but for a POST.
    """

    method: str
    path: str
    query: Mapping[str, str]
    principal: Principal
    parameters: Mapping[str, str] = field(default_factory=dict)
    form: Form = field(default_factory=dict)
    file: bytes = b""
    cookies: str = field(default="", repr=False)


Handler = Callable[[PortalRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A page. `{name}` in `pattern` stands for one segment; `upload` takes a multipart form with a file."""

    method: str
    pattern: str
    handler: Handler
    access: AccessLevel = AccessLevel.MEMBER
    upload: bool = False


def find_route(routes: Iterable[Route], method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
    """The first route for a method and a path, with its parameters; HEAD is served as GET."""
    for route in routes:
        if route.method == ("GET" if method == "HEAD" else method):
            found = re.fullmatch(_PARAMETER.sub(r"(?P<\1>[^/]+)", route.pattern), path)
            if found is not None:
                return route, found.groupdict()
    return None


def cookie_value(header: str, name: str) -> str:
    """The value of a cookie in a `Cookie` header, "" without one; of two the first, whose path is the longer one."""
    pairs = (pair.partition("=") for pair in header.split(";"))
    return next((value.strip() for found, _, value in pairs if found.strip() == name), "")


def is_cross_origin(method: str, headers: Mapping[str, str], *, secure: bool) -> bool:
    """Whether a request may change something without proof that a page of this very origin sent it.

    Browsers since 2023 tell the sender in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata), which no page can
    set: `same-origin`, or `none` for what the person themselves began. Without that header `Origin` has to name the
    portal itself. A request with neither is refused: an old browser would send the person's cookies along with a form
    of any site, and a program that has such cookies can send a header too. `Origin: null` proves nothing: the pages'
    `Referrer-Policy: no-referrer` causes it (https://fetch.spec.whatwg.org/#append-a-request-origin-header).

    Names of `headers` are in lower case; `secure` says that browsers come by https.
    """
    if method in ("GET", "HEAD"):
        return False
    site, origin, host = headers.get("sec-fetch-site"), headers.get("origin", "null").lower(), headers.get("host", "")
    own = f"{'https' if secure else 'http'}://{host.lower()}"
    if not host or origin not in ("null", own):
        return True
    return origin != own if site is None else site not in ("same-origin", "none")
