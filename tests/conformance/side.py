"""The two sides of a comparison: a server itself, and the gateway in front of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin

import aiohttp
from yarl import URL

from shared.fhir.negotiation import media_type_format
from shared.fhir.versions import FhirFormat, FhirVersion

_HEADERS = ("ETag", "Last-Modified", "Location", "Content-Location")

_PLACEHOLDER = "https://base.invalid/fhir"
_ID = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# What HAPI gives each Bundle that it makes: an id, the time, and an address below [base]/Bundle.
_BUNDLE_JSON = re.compile(rb'({"resourceType":"Bundle","id":")' + _ID + rb'(","meta":{"lastUpdated":")[^"]*')
_BUNDLE_XML = re.compile(rb'(<Bundle [^>]*><id value=")' + _ID + rb'("></id><meta><lastUpdated value=")[^"]*')
_TIME = re.compile(rb'("lastUpdated":"|<lastUpdated value=")[^"]*')
_VERSION = re.compile(rb'("versionId":")' + _ID)
_LINK = re.compile(rb'("relation":"[^"]*","url":"|<relation value="[^"]*"(?:></relation>|/>)<url value=")([^"]*)')
_PAGE = re.compile(r"/?[A-Za-z]*[/?]_(?:page[/=]|getpages=)")


@dataclass(frozen=True)
class Response:
    """A response as it came over the wire, and the URL that was requested."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def format(self) -> FhirFormat | None:
        """The format that its Content-Type names."""
        return media_type_format(self.headers.get("Content-Type"))

    @property
    def is_fhir(self) -> bool:
        """Whether it is what a FHIR client can read: a resource, or nothing at all."""
        known = self.format is FhirFormat.XML or (self.format is not None and b'"resourceType"' in self.body)
        return not self.body or known

    @property
    def document(self) -> Any:
        """The body as JSON, whose numbers keep their digits."""
        return json.loads(self.body, parse_float=str)

    def link(self, relation: str) -> str | None:
        """The absolute URL of a Bundle's link, in either format."""
        text = self.body.decode()
        json_link = rf'{{"relation":"{relation}","url":"([^"]*)"'
        xml_link = rf'<relation value="{relation}"(?:></relation>|/>)<url value="([^"]*)"'
        found = re.search(xml_link if text.startswith("<") else json_link, text)
        return urljoin(self.url, found[1].replace("&amp;", "&")) if found else None


@dataclass
class Side:
    """One side: requests go below `base`. `own` is for the ids of what only this side writes.

    `made` collects the ids that the server gave to what this side created; `wrote` says that it changed anything.
    """

    session: aiohttp.ClientSession
    base: str
    version: FhirVersion
    own: str
    headers: Mapping[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    wrote: bool = False

    async def get(self, path: str, **headers: str) -> Response:
        return await self.send("GET", path, **headers)

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """Sends a request; keyword headers have `_` for `-`. A `path` that is a whole URL is sent as it is."""
        url = path if path.startswith("http") else f"{self.base}/{path}" if path else self.base
        media_type = self.version.media_type(FhirFormat.JSON)
        sent = {"Accept": media_type, **self.headers}
        if body is not None:
            sent["Content-Type"] = media_type
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, str | None) else json.dumps(body)
        async with self.session.request(
            method, URL(url, encoded=True), data=data, headers=sent, allow_redirects=False
        ) as response:
            return Response(url, response.status, response.headers, await response.read())

    async def write(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """Sends a request that changes something, and notes the id of what it creates."""
        self.wrote = True
        response = await self.send(method, path, body, **headers)
        location = re.search(r"[A-Z][A-Za-z]+/([^/]+)", response.headers.get("Location", "").removeprefix(self.base))
        if location is not None and location[1] != self.own:
            self.made.append(location[1])
        return response

    def neutral(self, response: Response) -> "Neutral":
        """The response without what must differ from one side to the other, or from one request to the next."""
        headers = {name: value for name in _HEADERS if (value := response.headers.get(name)) is not None}
        for name in ("Location", "Content-Location"):
            if name in headers:
                headers[name] = self._neutral_text(urljoin(response.url, headers[name]))
        body = _LINK.sub(lambda found: found[1] + self._neutral_link(found[2], response), response.body)
        is_bundle = b"Bundle" in body[:150]
        if is_bundle:
            body = _BUNDLE_XML.sub(rb"\1\2", _BUNDLE_JSON.sub(rb"\1\2", body))
            headers.pop("Last-Modified", None)
            headers.pop("Content-Location", None)
        body = self._neutral_text(body.decode()).encode()
        if self.wrote:
            body = _VERSION.sub(rb"\1", _TIME.sub(rb"\1", body))
            headers.pop("Last-Modified", None)
            headers = {name: re.sub(_ID.decode(), "", value) for name, value in headers.items()}
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        return Neutral(response.status, media_type if response.body else "", headers, body)

    def _neutral_link(self, link: bytes, response: Response) -> bytes:
        """A link as an absolute URL; a page that has no address of its own below the base is a page all the same."""
        absolute = urljoin(response.url, link.decode())
        rest = absolute.removeprefix(self.base)
        if absolute.startswith(self.base) and _PAGE.match(rest):
            return b"page"
        return absolute.encode() if absolute.startswith(self.base) else link

    def _neutral_text(self, text: str) -> str:
        text = text.replace(self.base, _PLACEHOLDER).replace(quote(self.base, safe=""), quote(_PLACEHOLDER, safe=""))
        for id in (self.own, *self.made):
            text = text.replace(id, "own")
        return text


@dataclass(frozen=True)
class Neutral:
    """The parts of a response that are compared."""

    status: int
    media_type: str
    headers: Mapping[str, str]
    body: bytes
