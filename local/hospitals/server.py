"""A hospital's FHIR server as a web application: credentials, formats and headers around the interactions."""

from datetime import UTC, date, datetime

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from local.hospitals.credentials import TOKEN_LIFETIME_SECONDS, ClientSecret, Credential, TokenError
from local.hospitals.hospital import Hospital
from local.hospitals.request import Request, RequestError, Response
from local.hospitals.service import TOKEN_PATH, FhirService
from shared.fhir.versions import FhirFormat, FhirVersion


def create_app(hospital: Hospital, credential: Credential, today: date | None = None) -> web.Application:
    """The hospital's server, for callers with `credential`.

    Charts end the day before `today` (a UTC date, by default the current one). Every URL it gives out is at the
    origin the request named, below `hospital.base_path`.
    """
    endpoint = _Endpoint(hospital, credential, today or datetime.now(UTC).date())
    app = web.Application()
    app.router.add_route("*", hospital.base_path + "{path:(?:/.*)?}", endpoint.fhir)
    if isinstance(credential, ClientSecret):
        app.router.add_post(TOKEN_PATH, _token_endpoint(credential))
    return app


class _Endpoint:
    def __init__(self, hospital: Hospital, credential: Credential, today: date) -> None:
        self._hospital = hospital
        self._credential = credential
        self._service = FhirService(hospital, today)
        self._media_type = hospital.version.media_type(FhirFormat.JSON)

    async def fhir(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        method = "GET" if request.method == "HEAD" else request.method
        try:
            if path != "/metadata" and not self._credential.accepts(request.headers):
                challenge = {"WWW-Authenticate": self._credential.challenge}
                raise RequestError(401, "login", "The credential is missing or wrong", challenge)
            self._check_formats(request)
            base = f"{request.scheme}://{request.host}{self._hospital.base_path}"
            body = await request.read()
            query = request.rel_url.raw_query_string
            response = self._service.respond(Request(method, base, path, query, request.headers, body))
        except RequestError as error:
            response = error.response
        return self._web_response(request, response)

    def _check_formats(self, request: web.Request) -> None:
        wanted = request.query.get("_format") or request.headers.get("Accept") or "*/*"
        if not any(self._serves(part) for part in wanted.split(",")):
            raise RequestError(406, "not-supported", f"This server speaks {self._media_type} only")
        sent = request.content_type
        form = sent == "application/x-www-form-urlencoded" and request.match_info["path"].endswith("/_search")
        if request.can_read_body and not form and sent not in (self._media_type, "application/json"):
            raise RequestError(415, "not-supported", f"This server reads {self._media_type} only")

    def _serves(self, media_range: str) -> bool:
        """True where a part of Accept, or `_format`, allows this version's JSON, in a spelling that it knows."""
        # A "+" that a client left bare in `_format` arrives as a space.
        type = media_range.partition(";")[0].strip().lower().replace(" ", "+")
        spellings = {"json", "application/json", "text/json", "*/*", "application/*", self._media_type}
        if self._hospital.version is FhirVersion.STU3:
            spellings.add("application/json+fhir")
        return type in spellings

    def _web_response(self, request: web.Request, response: Response) -> web.Response:
        headers = {"Cache-Control": "no-store", **response.headers}
        if _is_known(request, response):
            return web.Response(status=304, headers=headers)
        if response.resource is None:
            return web.Response(status=response.status, headers=headers)
        headers["Content-Type"] = f"{self._media_type}; charset=utf-8"
        sent = web.Response(status=response.status, headers=headers, body=orjson.dumps(response.resource))
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            sent.enable_compression(web.ContentCoding.gzip)
        return sent


def _token_endpoint(credential: ClientSecret) -> Handler:
    async def token(request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
        try:
            form = await request.read() if request.content_type == "application/x-www-form-urlencoded" else b""
            token = credential.grant(request.headers.get("Authorization", ""), form.decode("ascii", "replace"))
        except TokenError as error:
            challenge = {"WWW-Authenticate": 'Basic realm="oauth2"'} if error.basic else {}
            return web.json_response({"error": error.error}, status=error.status, headers=headers | challenge)
        body = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LIFETIME_SECONDS}
        return web.json_response(body, headers=headers)

    return token


def _is_known(request: web.Request, response: Response) -> bool:
    """True where If-None-Match names the version that the response has."""
    etag = response.headers.get("ETag")
    known = [known.strip() for known in request.headers.get("If-None-Match", "").split(",")]
    return request.method in ("GET", "HEAD") and etag is not None and (etag in known or "*" in known)
