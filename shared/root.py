"""The responses outside the FHIR bases, which name the bases there are."""

from html import escape

from shared.fhir.errors import FhirError
from shared.fhir.outcome import error_response, format_for_errors
from shared.fhir.statement import SOFTWARE_NAME
from shared.fhir.versions import FhirVersion, fhir_bases
from shared.message import Request, Response

_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


class RootEndpoint:
    """Answers `/` and whatever is below none of the gateway's other paths; nothing is raised.

    A browser gets a page with the bases, the token URL and how to use them, any other client an OperationOutcome that
    names the bases. It is a 404, but for the page at `/`.
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
        self._page = _page(urls, f"{public_base_url}/oauth2").encode()

    async def __call__(self, request: Request) -> Response:
        accept = request.headers.get("accept")
        reads = request.method in ("GET", "HEAD")
        if reads and "text/html" in (accept or "").lower():
            response = Response(200 if request.path == "/" else 404, _PAGE_HEADERS, self._page)
        else:
            response = error_response(self._error, self._default_version, format_for_errors(request.query, accept))
        return Response(response.status, response.headers) if request.method == "HEAD" else response


def _page(bases: dict[str, FhirVersion], oauth2: str) -> str:
    rows = "\n".join(
        f"<li><code>{escape(base)}</code>: {version.name}, FHIR {version.number}"
        f' (<a href="{escape(base)}/metadata">statement</a>,'
        f' <a href="{escape(base)}/.well-known/smart-configuration">SMART configuration</a>)</li>'
        for base, version in bases.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{SOFTWARE_NAME}</title></head>
<body>
<h1>{SOFTWARE_NAME}</h1>
<h2>FHIR bases</h2>
<ul>
{rows}
</ul>
<h2>Token URL</h2>
<p><code>POST {escape(oauth2)}/token</code>, the keys at <a href="{escape(oauth2)}/keys">{escape(oauth2)}/keys</a></p>
<h2>Documentation</h2>
<p>An app asks the token URL by OAuth 2.0 client credentials, with the tenant's GUID as the scope:</p>
<pre>
grant_type=client_credentials&amp;client_id=[client_id]&amp;client_secret=[client_secret]&amp;scope=[tenant GUID]
</pre>
<p>It sends each request to a base with <code>Authorization: Bearer [access_token]</code>; the token's tenant says whose
FHIR server answers. A base's statement says what it serves, and needs no token. Everything else is in
<code>README.md</code> and <code>docs/</code> of the gateway's source, the HTTP interface in
<code>docs/openapi.yaml</code>.</p>
</body>
</html>
"""
