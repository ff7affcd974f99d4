"""The responses outside the FHIR bases, which name the bases there are and show the guide for an app's developer."""

import asyncio
import base64
import hashlib
from html import escape

from shared import app_guide
from shared.fhir.errors import FhirError
from shared.fhir.outcome import error_response, format_for_errors
from shared.fhir.statement import SOFTWARE_NAME
from shared.fhir.versions import FhirVersion, fhir_bases
from shared.message import Request, Response

_STYLE = (
    ":root{color-scheme:light dark;background:Canvas;color:CanvasText}"
    "body{max-width:60rem;margin:auto;padding:1rem;font:1rem/1.5 system-ui,sans-serif;overflow-wrap:break-word}"
    "table{border-collapse:collapse}th,td,pre{padding:.3rem .6rem;border:1px solid #8888}"
    "th,td{text-align:left;vertical-align:top}pre{white-space:pre-wrap}:target{outline:3px solid}"
    "@media(max-width:40rem){thead{display:none}td,tbody th{display:block}}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{SOFTWARE_NAME}</title>
<style>{{style}}</style></head>
<body><main>
<h1>{SOFTWARE_NAME}</h1>
{{addresses}}
<h2>Connect an app</h2>
{{guide}}</main></body>
</html>
"""


class RootEndpoint:
    """Answers `/` and whatever is below none of the gateway's other paths; nothing is raised.

    A browser gets a page with the bases, the token URL and the guide, where the `error_uri` of an OAuth error leads;
    any other client an OperationOutcome that names the bases. It is a 404, but for the page at `/`.
    """

    def __init__(self, public_base_url: str, default_version: FhirVersion) -> None:
        self._default_version = default_version
        urls = {f"{public_base_url}/{base}": version for base, version in fhir_bases(default_version).items()}
        named = ", ".join(f"{url} ({version.name})" for url, version in urls.items())
        self._error = FhirError(
            404,
            "not-found",
            f"There is no FHIR server at this address. Its bases are {named}. "
            "The statement of each, [base]/metadata, has the token URL.",
        )
        self._base_url = f"{public_base_url}/{default_version.value}"
        self._addresses = _addresses(urls, f"{public_base_url}/oauth2")

    async def __call__(self, request: Request) -> Response:
        accept = request.headers.get("accept")
        reads = request.method in ("GET", "HEAD")
        if reads and "text/html" in (accept or "").lower():
            guide = await asyncio.to_thread(app_guide.page, self._base_url)
            page = _PAGE.format(style=_STYLE, addresses=self._addresses, guide=guide)
            response = Response(200 if request.path == "/" else 404, _PAGE_HEADERS, page.encode())
        else:
            response = error_response(self._error, self._default_version, format_for_errors(request.query, accept))
        return Response(response.status, response.headers) if request.method == "HEAD" else response


def _addresses(bases: dict[str, FhirVersion], oauth2: str) -> str:
    rows = "\n".join(
        f"<li><code>{escape(base)}</code>: {version.name}, FHIR {version.number}"
        f' (<a href="{escape(base)}/metadata">statement</a>,'
        f' <a href="{escape(base)}/.well-known/smart-configuration">SMART configuration</a>)</li>'
        for base, version in bases.items()
    )
    return f"""<h2>FHIR bases</h2>
<ul>
{rows}
</ul>
<h2>Token URL</h2>
<p><code>POST {escape(oauth2)}/token</code>, the keys at
<a href="{escape(oauth2)}/keys">{escape(oauth2)}/keys</a></p>"""
