"""The documents that need no token: each base's statement and SMART configuration, and the server's metadata."""

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType

import orjson
from msgspec import Struct

from shared.fhir.errors import FhirError
from shared.fhir.negotiation import content_type, negotiate
from shared.fhir.outcome import error_response, format_for_errors
from shared.fhir.statement import statement
from shared.fhir.versions import FhirFormat, FhirVersion, fhir_bases
from shared.fhir.xml_writer import to_xml
from shared.message import Request, Response

_STATEMENT, _SMART_CONFIGURATION = "metadata", ".well-known/smart-configuration"
_SERVER = ".well-known"
_SERVER_METADATA = ("oauth-authorization-server", "openid-configuration")
_ALLOW = "GET, HEAD, OPTIONS"
# Anonymous and the same for everyone, so any site's script may read them.
_SHARED = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
_OPTIONS = Response(204, MappingProxyType({"Allow": _ALLOW}))


class _Document(Struct, frozen=True):
    """A rendered document: the response to GET, and the one to a client that has it already."""

    etag: str
    found: Response
    not_modified: Response


class DocumentEndpoint:
    """Answers GET, HEAD and OPTIONS of `/{base}/metadata` and `/{base}/.well-known/smart-configuration`, and of
    `/.well-known/oauth-authorization-server` (RFC 8414 section 3) and `/.well-known/openid-configuration`.

    `base` is `fhir` (which speaks `default_version`) or a FHIR version's name, in any case, as the Functions host
    matches routes. The response to anything else is an OperationOutcome of 404, 405 or 406; nothing is raised.
    Documents are rendered when first asked for, and kept: there is a fixed number of them.
    """

    def __init__(self, public_base_url: str, default_version: FhirVersion, portal_url: str | None = None) -> None:
        """`public_base_url` is the gateway's origin; `portal_url` is a statement's `register` and `manage`, if any."""
        self._public_base_url = public_base_url
        self._portal_url = portal_url
        self._default_version = default_version
        self._versions = fhir_bases(default_version)
        self._documents: dict[tuple[str, FhirFormat | None], _Document] = {}

    async def __call__(self, request: Request) -> Response:
        base, _, name = request.path.strip("/").lower().partition("/")
        try:
            response = self._response(request, base, name)
        except FhirError as error:
            format = format_for_errors(request.query, request.headers.get("accept"))
            response = error_response(error, self._versions.get(base, self._default_version), format)
        return Response(response.status, response.headers) if request.method == "HEAD" else response

    def _response(self, request: Request, base: str, name: str) -> Response:
        here = _SERVER_METADATA if base == _SERVER else (_STATEMENT, _SMART_CONFIGURATION)
        if base not in (_SERVER, *self._versions) or name not in here:
            raise FhirError(404, "not-found", f"There is {' and '.join(here)} here, and nothing else")
        if request.method == "OPTIONS":
            return _OPTIONS
        if request.method not in ("GET", "HEAD"):
            raise FhirError(405, "not-supported", "This document can only be read", {"Allow": _ALLOW})
        format = None
        if name == _STATEMENT:
            format = negotiate(request.query, request.headers.get("accept"), self._versions[base])
        document = self._document(base, format)
        known = request.headers.get("if-none-match")
        return document.not_modified if known and _matches(known, document.etag) else document.found

    def _document(self, base: str, format: FhirFormat | None) -> _Document:
        """The statement in `format`; the SMART configuration, which only has one, without."""
        if (base, format) not in self._documents:
            self._documents[base, format] = self._rendered(base, format)
        return self._documents[base, format]

    def _rendered(self, base: str, format: FhirFormat | None) -> _Document:
        oauth2 = f"{self._public_base_url}/oauth2"
        if format is None:
            # It takes the libraries of keys, half of what a start imports, which no statement needs.
            from shared.oauth.server_metadata import server_metadata, smart_configuration

            describe = server_metadata if base == _SERVER else smart_configuration
            return _complete(orjson.dumps(describe(self._public_base_url)), "application/json", {})
        version, base_url, portal = self._versions[base], f"{self._public_base_url}/{base}", self._portal_url
        resource = statement(version, base_url, f"{oauth2}/token", f"{oauth2}/authorize", portal, portal)
        body = to_xml(resource) if format is FhirFormat.XML else orjson.dumps(resource)
        return _complete(body, content_type(version, format), {"Vary": "Accept"})


def _complete(body: bytes, media_type: str, headers: Mapping[str, str]) -> _Document:
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    kept = {**_SHARED, **headers, "ETag": etag}
    return _Document(
        etag,
        Response(200, MappingProxyType({**kept, "Content-Type": media_type}), body),
        Response(304, MappingProxyType(kept)),
    )


def _matches(if_none_match: str, etag: str) -> bool:
    """The weak comparison of RFC 9110, section 13.1.2."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]
