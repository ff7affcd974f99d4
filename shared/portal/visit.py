"""A request to the portal with all that is known about it, and which handler answers it."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl

from shared.message import Request, Response
from shared.portal.csrf import CsrfToken
from shared.portal.form import Form
from shared.portal.principal import Principal

_PARAMETER = re.compile(r"\{(\w+)\}")


class Audience(Enum):
    """Whom a page is for; for everyone else it is not there."""

    ANYONE = "anyone"
    MEMBERS = "members"
    ADMINS = "admins"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: `path` is below the portal's root, `parameters` are what the route's pattern names.

    `form` and `file` are empty unless the request is a POST, whose origin and token have been checked by then.
    """

    request: Request
    path: str
    principal: Principal
    csrf: CsrfToken
    parameters: Mapping[str, str] = field(default_factory=dict)
    form: Form = field(default_factory=dict)
    file: bytes = b""

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters, without those of no value."""
        return dict(parse_qsl(self.request.query, errors="replace"))


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A page. `{name}` in `pattern` stands for one segment; `upload` takes a multipart form with a file."""

    method: str
    pattern: str
    handler: Handler
    audience: Audience = Audience.MEMBERS
    upload: bool = False

    def match(self, method: str, path: str) -> Mapping[str, str] | None:
        """The parameters, or None when it is another page."""
        if method != self.method:
            return None
        found = re.fullmatch(_PARAMETER.sub(r"(?P<\1>[^/]+)", self.pattern), path)
        return None if found is None else found.groupdict()


def find_route(routes: Iterable[Route], method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
    """The first route for a method and a path, with its parameters; HEAD is answered as GET."""
    for route in routes:
        parameters = route.match("GET" if method == "HEAD" else method, path)
        if parameters is not None:
            return route, parameters
    return None
