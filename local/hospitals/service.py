"""The FHIR interactions of a hospital's server and its statement, free of HTTP's plumbing."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

import orjson

from local.hospitals.credentials import ClientSecret
from local.hospitals.hospital import Hospital
from local.hospitals.paging import Search, first_page
from local.hospitals.request import Pairs, Request, RequestError, Resource, Response
from local.hospitals.resources import medication_request, resources
from local.hospitals.search import PARAMETERS, included, parameters_of, search
from shared.fhir.versions import FhirFormat, FhirVersion

TOKEN_PATH = "/oauth2/token"
WRITABLE = "Observation"

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


class FhirService:
    """One hospital's interactions; charts end the day before `today`."""

    def __init__(self, hospital: Hospital, today: date) -> None:
        self._hospital = hospital
        self._today = today
        self._types = _types(hospital)
        self._records: dict[str, dict[str, Resource]] = {type: {} for type in self._types}
        for resource in resources(hospital, today):
            self._records[resource["resourceType"]][resource["id"]] = resource
        self._paging = hospital.paging()

    def respond(self, request: Request) -> Response:
        """The interaction that a request stands for, carried out. Raises RequestError."""
        match request.method, request.segments:
            case "GET", ("metadata",):
                return Response(200, _statement(self._hospital, request.base, self._today))
            case "GET", ("",):
                return self._further_page(request, "", posted=False)
            case "POST", ("",):
                return self._batch(request)
            case "GET", (type, "_search"):
                return self._further_page(request, self._known(type), posted=True)
            case "POST", (type, "_search"):
                return self._search_by_post(request, self._known(type))
            case "GET", (type,):
                return self._search(request, self._known(type))
            case "GET", (type, id):
                return self._read(self._known(type), id)
            case "POST", (type,) if self._known(type) == WRITABLE:
                return self._create(request)
            case "PUT", (type, id) if self._known(type) == WRITABLE:
                return self._update(request, id)
            case "DELETE", (type, id) if self._known(type) == WRITABLE:
                self._records[type].pop(id, None)
                return Response(204)
        raise _not_here(request)

    def _known(self, type: str) -> str:
        if type not in self._types:
            raise RequestError(404, "not-supported", "This server has no such resource type")
        return type

    def _read(self, type: str, id: str) -> Response:
        resource = self._find(type, id)
        if resource is None:
            raise RequestError(404, "not-found", "There is no such resource")
        return Response(200, resource, _version_headers(resource))

    def _find(self, type: str, id: str) -> Resource | None:
        return self._records.get(type, {}).get(id)

    def _put(self, id: str, resource: Resource) -> Resource:
        """Stores the resource as the next version, and returns it with its `id` and `meta`."""
        old = self._find(WRITABLE, id)
        version = int(old["meta"]["versionId"]) + 1 if old else 1
        meta = {"versionId": str(version), "lastUpdated": datetime.now(UTC).isoformat(timespec="seconds")}
        self._records[WRITABLE][id] = {**resource, "id": id, "meta": meta}
        return self._records[WRITABLE][id]

    def _search(self, request: Request, type: str) -> Response:
        pairs = _pairs(request.query)
        page = self._paging.resume(type, pairs, posted=False) or first_page(type, pairs)
        return self._page(request.base, page)

    def _search_by_post(self, request: Request, type: str) -> Response:
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/x-www-form-urlencoded":
            raise RequestError(415, "not-supported", "A search by POST takes application/x-www-form-urlencoded")
        query = _pairs(request.query)
        if self._paging.resume(type, query, posted=True):
            raise RequestError(405, "not-supported", "A further page is fetched with GET", {"Allow": "GET, HEAD"})
        try:
            form = request.body.decode("ascii")
        except UnicodeDecodeError:
            raise RequestError(400, "invalid", "The form is not percent-encoded") from None
        return self._page(request.base, first_page(type, query + _pairs(form), posted=True))

    def _further_page(self, request: Request, type: str, *, posted: bool) -> Response:
        page = self._paging.resume(type, _pairs(request.query), posted=posted)
        if page is None:
            raise RequestError(404, "not-supported", "There is no search here, only the further pages of one")
        return self._page(request.base, page)

    def _page(self, base: str, page: Search) -> Response:
        found = search(self._records[page.type].values(), page.type, page.parameters, base)
        counted, end = page.count == 0 or ("_summary", "count") in page.parameters, page.offset + page.count
        matches = [] if counted else found[page.offset : end]
        own = self._paging.link(base, page) if page.offset else f"{base}/{page.type}?{page.query}".rstrip("?")
        links = [{"relation": "self", "url": own}]
        if matches and end < len(found):
            links.append({"relation": "next", "url": self._paging.link(base, replace(page, offset=end))})
        others = included(matches, page.parameters, self._find)
        entries = [_entry(base, resource, "match") for resource in matches]
        entries += [_entry(base, resource, "include") for resource in others]
        bundle = {"resourceType": "Bundle", "id": str(uuid4()), "type": "searchset", "total": len(found), "link": links}
        return Response(200, bundle | ({"entry": entries} if entries else {}))

    def _create(self, request: Request) -> Response:
        resource = self._put(str(uuid4()), self._body(request, WRITABLE))
        location = f"{request.base}/{WRITABLE}/{resource['id']}"
        return Response(201, resource, {"Location": location, **_version_headers(resource)})

    def _update(self, request: Request, id: str) -> Response:
        body = self._body(request, WRITABLE)
        if body.get("id") != id or not re.fullmatch(r"[A-Za-z0-9.-]{1,64}", id):
            raise RequestError(400, "invalid", "The resource's id is not the URL's, or is none")
        old = self._find(WRITABLE, id)
        wanted = request.headers.get("If-Match")
        if wanted is not None and (old is None or _etag(old) != wanted.strip()):
            raise RequestError(412, "conflict", "The resource's version is another one")
        resource = self._put(id, body)
        return Response(200 if old else 201, resource, _version_headers(resource))

    def _batch(self, request: Request) -> Response:
        if not self._hospital.batch:
            raise RequestError(501, "not-supported", "This server does not support batch")
        bundle = self._body(request, "Bundle")
        entries = bundle.get("entry", [])
        if bundle.get("type") != "batch" or not isinstance(entries, list):
            raise RequestError(400, "invalid", "Only a Bundle of type batch can be posted here")
        responses = [self._batch_entry(request, entry) for entry in entries]
        result: Resource = {"resourceType": "Bundle", "id": str(uuid4()), "type": "batch-response"}
        return Response(200, result | ({"entry": responses} if responses else {}))

    def _batch_entry(self, request: Request, entry: object) -> Resource:
        try:
            response = self.respond(_entry_request(request.base, entry))
        except RequestError as error:
            response = error.response
        described = {"status": f"{response.status} {HTTPStatus(response.status).phrase}"}
        if "ETag" in response.headers and response.resource is not None:
            described |= {"etag": response.headers["ETag"], "lastModified": response.resource["meta"]["lastUpdated"]}
        # DSTU2's entries have no response.outcome.
        if response.status >= 400 and self._hospital.version is not FhirVersion.DSTU2:
            return {"response": described | {"outcome": response.resource}}
        return {"resource": response.resource, "response": described}

    def _body(self, request: Request, type: str) -> Resource:
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            raise RequestError(400, "invalid", "The body is not JSON") from None
        if not isinstance(body, dict) or body.get("resourceType") != type:
            raise RequestError(400, "invalid", f"The body is not a {type}")
        return body


def _types(hospital: Hospital) -> tuple[str, ...]:
    """The resource types the hospital has."""
    others = {medication_request(version) for version in FhirVersion} - {medication_request(hospital.version)}
    return tuple(type for type in PARAMETERS if type not in others)


def _statement(hospital: Hospital, base: str, today: date) -> Resource:
    """The Conformance (DSTU2) or CapabilityStatement of the server reached at `base`."""
    version = hospital.version
    resources = [_resource(type) for type in _types(hospital)]
    return {
        "resourceType": "Conformance" if version is FhirVersion.DSTU2 else "CapabilityStatement",
        "status": "active",
        "date": today.isoformat(),
        "publisher": hospital.name,
        "kind": "instance",
        "software": {"name": f"{hospital.name} demo server"},
        "implementation": {"description": hospital.name, "url": base},
        "fhirVersion": version.number,
        **({} if version.since(FhirVersion.R4) else {"acceptUnknown": "extensions"}),
        "format": [version.media_type(FhirFormat.JSON), "json"],
        "rest": [{"mode": "server", "security": _security(hospital, base), "resource": resources, **_batch(hospital)}],
    }


def _resource(type: str) -> Resource:
    writes = ("create", "update", "delete") if type == WRITABLE else ()
    parameters = parameters_of(type).items()
    return {
        "type": type,
        "interaction": [{"code": code} for code in ("read", "search-type", *writes)],
        "searchParam": [{"name": name, "type": parameter.kind.value} for name, parameter in parameters],
    }


def _security(hospital: Hospital, base: str) -> Resource:
    if hospital.credential is not ClientSecret:
        return {"description": "A credential of this server is needed for everything but this statement."}
    token = base.removesuffix(hospital.base_path) + TOKEN_PATH
    return {"extension": [{"url": _OAUTH_URIS, "extension": [{"url": "token", "valueUri": token}]}]}


def _batch(hospital: Hospital) -> Resource:
    if not hospital.batch:
        return {}
    if hospital.version is FhirVersion.DSTU2:
        return {"transactionMode": "batch"}
    return {"interaction": [{"code": "batch"}]}


def _not_here(request: Request) -> RequestError:
    writable = request.segments[0] == WRITABLE
    match request.segments:
        case (_, "_search"):
            allowed = "POST"
        case (type,):
            allowed = "GET, HEAD, POST" if writable or not type else "GET, HEAD"
        case (_, _):
            allowed = "GET, HEAD, PUT, DELETE" if writable else "GET, HEAD"
        case _:
            return RequestError(404, "not-found", "There is nothing at this path")
    return RequestError(405, "not-supported", f"{request.method} is not supported here", {"Allow": allowed})


def _entry_request(base: str, entry: object) -> Request:
    match entry:
        case {"request": {"method": "GET", "url": str(url)}}:
            path, _, query = url.removeprefix(base).partition("?")
            return Request("GET", base, unquote(path), query)
        case {"request": {"url": str()}}:
            raise RequestError(405, "not-supported", "Only GET is supported in a batch")
    raise RequestError(400, "invalid", "The entry has no request")


def _entry(base: str, resource: Resource, mode: str) -> Resource:
    full_url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": full_url, "resource": resource, "search": {"mode": mode}}


def _pairs(query: str) -> Pairs:
    return tuple(parse_qsl(query, keep_blank_values=True))


def _etag(resource: Resource) -> str:
    return f'W/"{resource["meta"]["versionId"]}"'


def _version_headers(resource: Resource) -> dict[str, str]:
    updated = datetime.fromisoformat(resource["meta"]["lastUpdated"])
    return {"ETag": _etag(resource), "Last-Modified": format_datetime(updated, usegmt=True)}
