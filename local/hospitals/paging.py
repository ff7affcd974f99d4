"""Three styles of next links, as real servers have them."""

import hmac
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4, uuid5

import orjson
from cachetools import LRUCache

from local.hospitals.request import Pairs, RequestError

DEFAULT_COUNT = 10
MAX_COUNT = 100
_MAX_SEARCHES = 1000
# Makes a link that passes 5,000 characters, which a database's continuation has done at Microsoft's server.
_STATE_BYTES = 3800
# A longer link would not fit a request line of 8,190 bytes.
_MAX_PLACE_BYTES = 1200


@dataclass(frozen=True, slots=True)
class Search:
    """A place in a search's matches. `posted` says that it began as POST [type]/_search."""

    type: str
    parameters: Pairs
    offset: int
    count: int
    posted: bool = False

    @property
    def query(self) -> str:
        return urlencode(self.parameters)


def first_page(type: str, parameters: Pairs, posted: bool = False) -> Search:
    """A search at its start; raises RequestError for a `_count` that is no whole number."""
    count = dict(parameters).get("_count")
    size = DEFAULT_COUNT if count is None else min(_whole(count, "_count"), MAX_COUNT)
    return Search(type, parameters, 0, size, posted)


class Paging(Protocol):
    """A style of page links."""

    def link(self, base: str, search: Search) -> str:
        """The link to a page of a search at `base` (absolute, without a trailing slash)."""

    def resume(self, type: str, parameters: Pairs, *, posted: bool) -> Search | None:
        """The place a link's query leads to, or None for a query that starts a search.

        `type` is "" for a link on the base itself. Raises RequestError for a link that leads nowhere.
        """


class StoredPages:
    """HAPI's style: the server remembers the search and the link is on the base itself."""

    def __init__(self) -> None:
        self._namespace = uuid4()
        self._searches: LRUCache[str, Search] = LRUCache(_MAX_SEARCHES)

    def link(self, base: str, search: Search) -> str:
        handle = str(uuid5(self._namespace, repr((search.type, search.parameters))))
        self._searches[handle] = search
        position = f"_getpagesoffset={search.offset}&_count={search.count}"
        return f"{base}?_getpages={handle}&{position}&_bundletype=searchset"

    def resume(self, type: str, parameters: Pairs, *, posted: bool) -> Search | None:
        fields = dict(parameters)
        if type or "_getpages" not in fields:
            return None
        search = self._searches.get(fields["_getpages"])
        if search is None:
            raise RequestError(410, "expired", "This search has expired")
        offset = _whole(fields.get("_getpagesoffset", "0"), "_getpagesoffset")
        count = _whole(fields.get("_count", str(DEFAULT_COUNT)), "_count")
        return replace(search, offset=offset, count=min(count, MAX_COUNT))


class ContinuationTokens:
    """Microsoft's style: the link carries a long opaque token, on `[type]` or, after a POST, on `[type]/_search`."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def link(self, base: str, search: Search) -> str:
        place = orjson.dumps([search.type, search.parameters, search.offset, search.count])
        if len(place) > _MAX_PLACE_BYTES:
            raise RequestError(400, "too-long", "The search has too many parameters to be paged")
        body = secrets.token_bytes(_STATE_BYTES) + place
        token = b64encode(self._sign(body) + body)
        path = f"{search.type}/_search" if search.posted else search.type
        return f"{base}/{path}?ct={quote(token, safe='')}"

    def resume(self, type: str, parameters: Pairs, *, posted: bool) -> Search | None:
        token = dict(parameters).get("ct")
        if token is None or not type:
            return None
        try:
            raw = b64decode(token, validate=True)
        except ValueError:
            raise RequestError(400, "invalid", "The continuation token is malformed") from None
        signature, body = raw[:32], raw[32:]
        if not hmac.compare_digest(signature, self._sign(body)):
            raise RequestError(400, "invalid", "The continuation token is not one of this server's")
        named, pairs, offset, count = orjson.loads(body[_STATE_BYTES:])
        if named != type:
            raise RequestError(400, "invalid", "The continuation token belongs to another search")
        return Search(type, tuple((name, value) for name, value in pairs), offset, count, posted)

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")


class PageNumbers:
    """The search again with a page number, relative to the host: `/r4/Observation?patient=1001&page=2`."""

    def link(self, base: str, search: Search) -> str:
        page = search.offset // search.count + 1
        return f"{urlsplit(base).path}/{search.type}?{urlencode((*search.parameters, ('page', str(page))))}"

    def resume(self, type: str, parameters: Pairs, *, posted: bool) -> Search | None:
        page = dict(parameters).get("page")
        if page is None or not type:
            return None
        rest = tuple(pair for pair in parameters if pair[0] != "page")
        search = first_page(type, rest, posted=posted)
        return replace(search, offset=max(_whole(page, "page") - 1, 0) * search.count)


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise RequestError(400, "invalid", f"{name} must be a whole number")
    return int(text)
