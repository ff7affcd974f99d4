"""Requests of the published HTTP surface (`docs/openapi.yaml`), valid and not, generated in processes of their own."""

import math
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

# Stand for what only the sender knows: a client and its secret, its tenant, and the handle of a page of its.
KNOWN = ("known-client", "known-secret", "known-tenant", "known-handle")

_SCHEMA = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.yaml")
OPERATIONS: dict[str, Any] = {
    found.ok().label: found.ok() for found in _SCHEMA.get_all_operations() if isinstance(found, Ok)
}


@dataclass(frozen=True, slots=True)
class Generated:
    """A request. `target` is sent as it is; `headers` lack Authorization unless a generated one is part of the case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


_MEDIA = ("*/*", "application/fhir+json", "application/fhir+xml;q=0.5, text/html", "application/json+fhir", "image/png")
_HEADERS: dict[str, tuple[str, ...]] = {
    "Accept": _MEDIA,
    "Content-Type": (*_MEDIA, "application/x-www-form-urlencoded", "application/json-patch+json"),
    "Content-Encoding": ("identity", "gzip"),
    "If-None-Match": ("*", 'W/"1"'),
    "If-None-Exist": ("identifier=x", "_has:Group:member:name=x"),
    "If-Match": ('W/"1"', "1"),
    "If-Modified-Since": ("Thu, 01 Jan 1970 00:00:00 GMT", "never"),
    "Prefer": ("return=minimal", "respond-async"),
    "X-Request-Id": ("1", '"><script>'),
    "X-Forwarded-Host": ("evil.example",),
    "X-HTTP-Method-Override": ("DELETE", "GET"),
    "Cookie": ("a=b",),
    "Range": ("bytes=0-", "bytes=5-1"),
    "Origin": ("https://app.example",),
    "traceparent": ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
}
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW")
_QUERIES = (
    "_format=xml", "_format=json", "_count=5", "_include=*", "page=x", "_page=known-handle", "_summary=true", "&&=",
    "%00", "_id:not=1",
)  # fmt: skip
_TYPES = ("Patient", "Patient", "Patient", "Observation", "Condition", "Bundle", "Group")
_AIMS = {"base": ("stu3", "fhir", "r4"), "type": _TYPES, "id": ("1", "1", "a.b-c", "../1")}
_URLS = ("Patient/1", "Patient/1", "Patient?name=x", "Observation?_include=*", "", "../x", "https://evil.example/")
_GRANT = {
    "grant_type": ("client_credentials", "client_credentials", "client_credentials", "password"),
    "client_id": ("known-client", "known-client", "known-client", "another"),
    "client_secret": ("known-secret", "known-secret", "known-secret", "another"),
    "scope": ("known-tenant", "known-tenant", "known-tenant system/Patient.read", "known-tenant openid", ""),
}


# What the sender has of its own, and what names the tool.
_OWN = ("Authorization", "Connection", "Content-Length", "Accept-Encoding", "User-Agent", "X-Schemathesis-TestCaseId")


def generate(label: str, count: int, number: int) -> list[Generated]:
    """`count` different requests of one operation, the same ones for the same `number`.

    A third is as the document has it, valid or not, where there are so many. The rest are these in variations, most of
    them aimed to reach the tenant's provider: few of the others get so far.
    """
    chance = random.Random(f"{label} {number}")
    cases = _documented(label, math.ceil(count / 3), number)
    found = dict.fromkeys(map(_prepared, cases))
    while len(found) < count:
        case = _copied(label, chance.choice(cases))
        if chance.random() < 0.8:
            _aim(chance, case, label)
        found[_varied(chance, _prepared(case))] = None
    return list(found)[:count]


def _documented(label: str, count: int, number: int) -> list[Any]:
    found: list[Any] = []

    unchecked = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))

    @seed(number)
    @given(_strategy(label))
    @settings(unchecked, max_examples=count, phases=(Phase.generate,))
    def keep(case: Any) -> None:
        found.append(case)

    keep()
    return found


@cache
def _strategy(label: str) -> st.SearchStrategy[Any]:
    operation = OPERATIONS[label]
    modes = [GenerationMode.POSITIVE]
    if "{" in label or operation.body:  # nothing can be wrong with a request that takes no parameters
        modes.append(GenerationMode.NEGATIVE)
    return st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])


def _copied(label: str, case: Any) -> Any:
    parts = ("method", "path_parameters", "headers", "query", "body", "media_type")
    return OPERATIONS[label].Case(**{part: getattr(case, part) for part in parts})


def _aim(chance: random.Random, case: Any, label: str) -> None:
    for name, values in _AIMS.items():
        if f"{{{name}}}" in label:
            case.path_parameters = {**(case.path_parameters or {}), name: chance.choice(values)}
    case.query = {name: value for name, value in (case.query or {}).items() if name != "_format"}
    if label == "POST /oauth2/token":
        case.body = {name: chance.choice(values) for name, values in _GRANT.items()} | {"x": _text(chance)}
        case.media_type = chance.choice(("application/json", "application/x-www-form-urlencoded"))
    elif label == "POST /{base}":
        case.body, case.media_type = _bundle(chance), "application/fhir+json"
    elif label in ("POST /{base}/{type}", "PUT /{base}/{type}/{id}"):
        own = case.body if isinstance(case.body, dict) else {}
        case.body = {**own, "resourceType": case.path_parameters["type"]}
        case.media_type = "application/fhir+json"


def _bundle(chance: random.Random) -> dict[str, Any]:
    def entry() -> dict[str, Any]:
        method = chance.choice(_METHODS) if chance.random() < 0.3 else "GET"
        entry = {"request": {"method": method, "url": chance.choice((*_URLS, _text(chance)))}, "fullUrl": _text(chance)}
        return entry | ({} if method == "GET" else {"resource": {"resourceType": chance.choice(_TYPES)}})

    type = chance.choice(("batch", "batch", "batch", "transaction", "searchset"))
    return {"resourceType": "Bundle", "type": type, "entry": [entry() for _ in range(chance.randrange(5))]}


def _prepared(case: Any) -> Generated:
    kwargs = case.as_transport_kwargs(base_url="http://gateway")
    asked = requests.Request(**{**kwargs, "cookies": None}).prepare()
    headers = tuple((name, value) for name, value in asked.headers.items() if name not in _OWN)
    url, body = urlsplit(str(asked.url)), asked.body or b""
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Generated(str(asked.method), target, headers, body.encode() if isinstance(body, str) else body)


def _varied(chance: random.Random, case: Generated) -> Generated:
    """The case with what the document says nothing of: headers, now and then another method, more in its query."""
    headers = dict(case.headers)
    for name in chance.sample(sorted(_HEADERS), chance.choice((0, 1, 1, 2, 3))):
        headers[name] = chance.choice(_HEADERS[name]) if chance.random() < 0.8 else _text(chance)
    if chance.random() < 0.05:
        headers["Authorization"] = f"Bearer {_text(chance)}"
    more = "&".join(chance.choice((*_QUERIES, _encoded(chance))) for _ in range(chance.choice((0, 0, 1, 1, 2))))
    mark = ("&" if "?" in case.target else "?") if more else ""
    method = chance.choice(_METHODS) if chance.random() < 0.1 else case.method
    return Generated(method, case.target + mark + more, tuple(headers.items()), case.body)


def _text(chance: random.Random) -> str:
    return "".join(chr(chance.randrange(32, 127)) for _ in range(chance.randrange(30)))


def _encoded(chance: random.Random) -> str:
    return "".join(chance.choice("abcN_:.%=&;+|~[]0") for _ in range(chance.randrange(20)))
