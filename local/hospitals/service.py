"""The FHIR interactions of a hospital's server, free of HTTP's plumbing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

import orjson

from local.hospitals.hospital import Hospital
from local.hospitals.paging import Pairs, Search, first_page
from local.hospitals.records import Records, Resource
from local.hospitals.refusal import Refusal
from local.hospitals.resources import resources
from local.hospitals.search import included, search
from local.hospitals.statement import WRITABLE, statement, types
from shared.fhir.versions import FhirVersion


@dataclass(frozen=True, slots=True)
class Call:
    """A request under a FHIR base: `path` is decoded and below `base`, header names match in any case."""

    method: str
    base: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.strip("/").split("/"))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    resource: Resource | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class FhirService:
    """One hospital's interactions; charts end the day before `today`."""

    def __init__(self, hospital: Hospital, today: date) -> None:
        self._hospital = hospital
        self._today = today
        self._types = types(hospital)
        self._records = Records(resources(hospital, today))
        self._paging = hospital.paging()

    def answer(self, call: Call) -> Answer:
        """What a call leads to; raises Refusal."""
        match call.method, call.segments:
            case "GET", ("metadata",):
                return Answer(200, statement(self._hospital, call.base, self._today))
            case "GET", ("",):
                return self._resumed(call, "", posted=False)
            case "POST", ("",):
                return self._batch(call)
            case "GET", (type, "_search"):
                return self._resumed(call, self._known(type), posted=True)
            case "POST", (type, "_search"):
                return self._search_by_post(call, self._known(type))
            case "GET", (type,):
                return self._search(call, self._known(type))
            case "GET", (type, id):
                return self._read(self._known(type), id)
            case "POST", (type,) if self._known(type) == WRITABLE:
                return self._create(call)
            case "PUT", (type, id) if self._known(type) == WRITABLE:
                return self._update(call, id)
            case "DELETE", (type, id) if self._known(type) == WRITABLE:
                self._records.delete(type, id)
                return Answer(204)
        raise _not_here(call)

    def outcome(self, refusal: Refusal) -> Answer:
        """The OperationOutcome for a refusal."""
        issue = {"severity": "error", "code": refusal.code, "diagnostics": refusal.diagnostics}
        return Answer(refusal.status, {"resourceType": "OperationOutcome", "issue": [issue]}, refusal.headers)

    def _known(self, type: str) -> str:
        if type not in self._types:
            raise Refusal(404, "not-supported", "This server has no such resource type")
        return type

    def _read(self, type: str, id: str) -> Answer:
        resource = self._records.find(type, id)
        if resource is not None:
            return Answer(200, resource, _version_headers(resource))
        if self._records.deleted(type, id):
            raise Refusal(410, "not-found", "The resource was deleted")
        raise Refusal(404, "not-found", "There is no such resource")

    def _search(self, call: Call, type: str) -> Answer:
        pairs = _pairs(call.query)
        page = self._paging.resume(type, pairs, posted=False) or first_page(type, pairs, posted=False)
        return self._page(call.base, page)

    def _search_by_post(self, call: Call, type: str) -> Answer:
        if _media_type(call) != "application/x-www-form-urlencoded":
            raise Refusal(415, "not-supported", "A search by POST takes application/x-www-form-urlencoded")
        if self._paging.resume(type, _pairs(call.query), posted=True):
            raise Refusal(405, "not-supported", "A further page is fetched with GET", {"Allow": "GET, HEAD"})
        try:
            form = call.body.decode("ascii")
        except UnicodeDecodeError:
            raise Refusal(400, "invalid", "The form is not percent-encoded") from None
        return self._page(call.base, first_page(type, _pairs(call.query) + _pairs(form), posted=True))

    def _resumed(self, call: Call, type: str, *, posted: bool) -> Answer:
        page = self._paging.resume(type, _pairs(call.query), posted=posted)
        if page is None:
            raise Refusal(404, "not-supported", "There is no search here, only the further pages of one")
        return self._page(call.base, page)

    def _page(self, base: str, page: Search) -> Answer:
        found = search(self._records.of(page.type), page.type, page.parameters, base)
        counted = page.count == 0 or ("_summary", "count") in page.parameters
        matches = [] if counted else found[page.offset : page.offset + page.count]
        own = self._paging.link(base, page) if page.offset else f"{base}/{page.type}?{page.query}".rstrip("?")
        links = [{"relation": "self", "url": own}]
        if matches and page.offset + page.count < len(found):
            following = replace(page, offset=page.offset + page.count)
            links.append({"relation": "next", "url": self._paging.link(base, following)})
        entries = [_entry(base, resource, "match") for resource in matches]
        entries += [_entry(base, resource, "include") for resource in self._included(matches, page.parameters)]
        bundle = {"resourceType": "Bundle", "id": str(uuid4()), "type": "searchset", "total": len(found), "link": links}
        return Answer(200, bundle | ({"entry": entries} if entries else {}))

    def _included(self, matches: list[Resource], parameters: Pairs) -> list[Resource]:
        return list(included(matches, parameters, self._records.find))

    def _create(self, call: Call) -> Answer:
        resource = self._records.put(self._body(call, WRITABLE), str(uuid4()))
        location = f"{call.base}/{WRITABLE}/{resource['id']}"
        return Answer(201, resource, {"Location": location, **_version_headers(resource)})

    def _update(self, call: Call, id: str) -> Answer:
        body = self._body(call, WRITABLE)
        if body.get("id") != id or not re.fullmatch(r"[A-Za-z0-9.-]{1,64}", id):
            raise Refusal(400, "invalid", "The resource's id is not the URL's, or is none")
        old = self._records.find(WRITABLE, id)
        wanted = call.headers.get("If-Match")
        if wanted is not None and (old is None or _etag(old) != wanted.strip()):
            raise Refusal(412, "conflict", "The resource's version is another one")
        resource = self._records.put(body, id)
        return Answer(200 if old else 201, resource, _version_headers(resource))

    def _batch(self, call: Call) -> Answer:
        if not self._hospital.batch:
            raise Refusal(501, "not-supported", "This server does not support batch")
        bundle = self._body(call, "Bundle")
        entries = bundle.get("entry", [])
        if bundle.get("type") != "batch" or not isinstance(entries, list):
            raise Refusal(400, "invalid", "Only a Bundle of type batch can be posted here")
        answers = [self._batch_entry(call, entry) for entry in entries]
        result: Resource = {"resourceType": "Bundle", "id": str(uuid4()), "type": "batch-response"}
        return Answer(200, result | ({"entry": answers} if answers else {}))

    def _batch_entry(self, call: Call, entry: object) -> Resource:
        try:
            answer = self.answer(_entry_call(call, entry))
        except Refusal as refusal:
            answer = self.outcome(refusal)
        response = {"status": f"{answer.status} {HTTPStatus(answer.status).phrase}"}
        if "ETag" in answer.headers and answer.resource is not None:
            response |= {"etag": answer.headers["ETag"], "lastModified": answer.resource["meta"]["lastUpdated"]}
        # DSTU2's entries have no response.outcome.
        if answer.status >= 400 and self._hospital.version is not FhirVersion.DSTU2:
            return {"response": response | {"outcome": answer.resource}}
        return {"resource": answer.resource, "response": response}

    def _body(self, call: Call, type: str) -> Resource:
        try:
            body = orjson.loads(call.body)
        except orjson.JSONDecodeError:
            raise Refusal(400, "invalid", "The body is not JSON") from None
        if not isinstance(body, dict) or body.get("resourceType") != type:
            raise Refusal(400, "invalid", f"The body is not a {type}")
        return body


def _not_here(call: Call) -> Refusal:
    match call.segments:
        case (type, "_search"):
            allowed = "POST"
        case ("",):
            allowed = "GET, HEAD, POST"
        case (type,):
            allowed = "GET, HEAD, POST" if type == WRITABLE else "GET, HEAD"
        case (type, _):
            allowed = "GET, HEAD, PUT, DELETE" if type == WRITABLE else "GET, HEAD"
        case _:
            return Refusal(404, "not-found", "There is nothing at this path")
    return Refusal(405, "not-supported", f"{call.method} is not supported here", {"Allow": allowed})


def _entry_call(call: Call, entry: object) -> Call:
    request = entry.get("request") if isinstance(entry, dict) else None
    url = request.get("url") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(url, str):
        raise Refusal(400, "invalid", "The entry has no request")
    if request.get("method") != "GET":
        raise Refusal(405, "not-supported", "Only GET is supported in a batch")
    path, _, query = url.removeprefix(call.base).partition("?")
    return Call("GET", call.base, unquote(path), query)


def _entry(base: str, resource: Resource, mode: str) -> Resource:
    full_url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": full_url, "resource": resource, "search": {"mode": mode}}


def _pairs(query: str) -> Pairs:
    return tuple(parse_qsl(query, keep_blank_values=True))


def _media_type(call: Call) -> str:
    return call.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _etag(resource: Resource) -> str:
    return f'W/"{resource["meta"]["versionId"]}"'


def _version_headers(resource: Resource) -> dict[str, str]:
    updated = datetime.fromisoformat(resource["meta"]["lastUpdated"])
    return {"ETag": _etag(resource), "Last-Modified": format_datetime(updated, usegmt=True)}
