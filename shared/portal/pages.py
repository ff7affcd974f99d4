"""Pages made from templates, with the headers that keep them safe."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shared.message import Response
from shared.portal.errors import NotFound, PortalError
from shared.portal.visit import Visit

ROOT = "/portal"

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
_NOT_KEPT = {**_SECURITY, "Cache-Control": "no-store"}

# What a page says after something was done, by the word in its query.
_DONE = {
    "renamed": "The client is saved.",
    "secret-deleted": "The secret is deleted.",
    "client-disabled": "The client is disabled.",
    "client-enabled": "The client is enabled.",
    "client-deleted": "The client is deleted.",
    "saved": "The tenant's row is saved.",
    "switched-off": "The tenant is switched off.",
    "switched-on": "The tenant is switched on.",
    "removed": "The tenant is removed.",
    "secret-set": "The credential is stored.",
}


class Pages:
    """The portal's pages and files.

    `sign_out` is where the form goes that signs a person out; `seconds` is how long a change may take to be seen by the
    gateway.
    """

    def __init__(self, sign_out: str, sign_out_method: str, seconds: int) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"day": _day, "hour": _hour, "segment": lambda text: quote(text, safe="")}
        self._files = {path.name: path.read_bytes() for path in sorted((_FOLDER / "static").iterdir())}
        self._environment.globals |= {
            "root": ROOT,
            "sign_out": sign_out,
            "sign_out_method": sign_out_method,
            "seconds": seconds,
            "static": {name: f"{ROOT}/static/{name}?v={_digest(content)}" for name, content in self._files.items()},
        }

    def page(self, template: str, visit: Visit, /, status: int = 200, **context: object) -> Response:
        """A page, never kept by anyone; the query's `done` says what was done before."""
        done = _DONE.get(visit.query.get("done", "")) if visit.request.method != "POST" else None
        text = self._environment.get_template(template).render(visit=visit, done=done, **context)
        return Response(status, {"Content-Type": "text/html; charset=utf-8", **_NOT_KEPT}, text.encode())

    def problem(self, visit: Visit, error: PortalError) -> Response:
        """The page for an error."""
        return self.page("problem.html", visit, error.status, title=error.title, text=str(error))

    def file(self, name: str) -> Response:
        """The stylesheet or the script; raises NotFound. Its URL has its digest, so it may be kept."""
        content = self._files.get(name)
        if content is None:
            raise NotFound
        headers = {"Content-Type": _MEDIA_TYPES[Path(name).suffix], "Cache-Control": "private, max-age=86400"}
        return Response(200, {**headers, **_SECURITY}, content)


def nothing() -> Response:
    """The answer where there is no portal."""
    return Response(404, _NOT_KEPT)


def see_other(path: str, done: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """Sends the browser to a page of the portal, which says what was done."""
    response = redirect(f"{ROOT}{path}{f'?done={done}' if done else ''}")
    return replace(response, headers={**response.headers, **(headers or {})})


def redirect(url: str) -> Response:
    """Sends the browser elsewhere, with GET."""
    return Response(303, {**_NOT_KEPT, "Location": url})


def download(name: str, content: bytes, media_type: str) -> Response:
    """A file to save."""
    disposition = {"Content-Type": media_type, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(200, {**_NOT_KEPT, **disposition}, content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.day} {moment:%B %Y}"


def _hour(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.day} {moment:%B %Y, %H}:00 UTC"
