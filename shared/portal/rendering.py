"""Responses of the portal: pages made from templates, files and redirects, with the headers that keep them safe."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shared.message import Response
from shared.onboarding.hospital_state import ago
from shared.portal.errors import NotFound, PortalError
from shared.portal.request import PortalRequest

T = TypeVar("T")

ROOT = "/portal"
CONFLICT = 409
UNPROCESSABLE = 422
LIST_PAGE_SIZE = 50

_FOLDER = Path(__file__).parent
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NOT_STORED = {**_SECURITY, "Cache-Control": "no-store"}

# The message of a page after a change, by the value of `done` in its query.
_MESSAGES = {
    "renamed": "The client is saved.",
    "secret-kept": "The secret is shown no more. Test it, or tell your app.",
    "asked": "An admin has been asked. The page says so until they decide.",
    "withdrawn": "The request is taken back.",
    "granted": "The client may reach the hospital now.",
    "refused": "The request is refused.",
    "hospital-added": "The client may reach the hospital, within a minute everywhere.",
    "hospital-removed": "The client may not reach the hospital any more.",
    "reach-all": "The client may reach all hospitals.",
    "reach-chosen": "The client may reach the hospitals of its list only.",
    "secret-deleted": "The secret is deleted.",
    "client-created": "The client is made. It signs in with its own keys: see how to connect, and test it.",
    "keys-saved": "The keys are saved. Within a minute they are good everywhere.",
    "keys-removed": "The keys are removed.",
    "client-disabled": "The client is disabled.",
    "client-enabled": "The client is enabled.",
    "client-deleted": "The client is deleted.",
    "saved": "The hospital is saved.",
    "switched-off": "The hospital is switched off.",
    "switched-on": "The hospital is switched on.",
    "removed": "The hospital is removed.",
    "secret-set": "The credential is stored.",
}


class Renderer:
    """Makes the portal's pages and serves its static files.

    `sign_out` is the URL of the form that signs a person out, `seconds` is how long the gateway may take to see a
    change.
    """

    def __init__(self, sign_out: str, sign_out_method: str, seconds: int) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "ago": ago,
            "day": _day,
            "hour": _hour,
            "minute": lambda moment: f"{moment.day} {moment:%B %Y, %H:%M} UTC",
            "milliseconds": lambda value: f"{value:.3g} ms" if value < 100 else f"{value:,.0f} ms",
            "segment": lambda text: quote(text, safe=""),
        }
        self._files = {path.name: path.read_bytes() for path in sorted((_FOLDER / "static").iterdir())}
        self._environment.globals |= {
            "root": ROOT,
            "sign_out": sign_out,
            "sign_out_method": sign_out_method,
            "seconds": seconds,
            "static": {name: f"{ROOT}/static/{name}?v={_digest(content)}" for name, content in self._files.items()},
        }

    def page(self, template: str, request: PortalRequest, /, status: int = 200, **context: object) -> Response:
        """A page that no cache stores; the query's `done` names the message about a change just made."""
        done = _MESSAGES.get(request.query.get("done", "")) if request.method != "POST" else None
        text = self._environment.get_template(template).render(request=request, done=done, **context)
        return Response(status, {"Content-Type": "text/html; charset=utf-8", **_NOT_STORED}, text.encode())

    def error(self, request: PortalRequest, error: PortalError) -> Response:
        """The page for an error."""
        return self.page("problem.html", request, error.status, title=error.title, text=str(error))

    def file(self, name: str) -> Response:
        """A stylesheet or script, which caches may store, as its URL has its digest. Raises NotFound."""
        content = self._files.get(name)
        if content is None:
            raise NotFound
        headers = {"Content-Type": _MEDIA_TYPES[Path(name).suffix], "Cache-Control": "private, max-age=86400"}
        return Response(200, {**headers, **_SECURITY}, content)


def not_found() -> Response:
    """The response of a deployment without a portal."""
    return Response(404, _NOT_STORED)


def see_other(path: str, done: str = "", *, cookie: str | None = None) -> Response:
    """Sends the browser to a page of the portal, with the name of the message about a change and with a cookie."""
    response = redirect(f"{ROOT}{path}{f'?done={done}' if done else ''}")
    return response if cookie is None else Response(303, {**response.headers, "Set-Cookie": cookie})


def redirect(url: str) -> Response:
    """Sends the browser elsewhere, with GET."""
    return Response(303, {**_NOT_STORED, "Location": url})


def download(name: str, content: bytes, media_type: str) -> Response:
    """A file to save."""
    disposition = {"Content-Type": media_type, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(200, {**_NOT_STORED, **disposition}, content)


@dataclass(frozen=True, slots=True)
class ListPage(Generic[T]):
    """Up to 50 items of a list of `total` items: page `number` (from 1) of `count`, whose first item is the `first`."""

    items: Sequence[T]
    number: int
    count: int
    total: int

    @property
    def first(self) -> int:
        """The place of the page's first item in the list, from 1."""
        return (self.number - 1) * LIST_PAGE_SIZE + 1

    @property
    def numbers(self) -> Sequence[int | None]:
        """The pages to link to: the first, those about this one, and the last; None where some are left out."""
        numbers: list[int | None] = []
        for number in sorted({1, *range(max(1, self.number - 1), min(self.count, self.number + 1) + 1), self.count}):
            if numbers and numbers[-1] != number - 1:
                numbers.append(None)
            numbers.append(number)
        return numbers


def list_page(items: Sequence[T], query: Mapping[str, str]) -> ListPage[T]:
    """The page that the query's `page` names; the first or the last for a number that is none or too large."""
    number, count = query.get("page", ""), max(1, -(-len(items) // LIST_PAGE_SIZE))
    wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1
    place = min(max(wanted, 1), count)
    return ListPage(items[(place - 1) * LIST_PAGE_SIZE : place * LIST_PAGE_SIZE], place, count, len(items))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.day} {moment:%B %Y}"


def _hour(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.day} {moment:%B %Y, %H}:00 UTC"
