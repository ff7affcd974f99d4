"""Requests of the published HTTP surface (`docs/openapi.yaml`), valid and not, generated in processes of their own."""

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

    def curl(self, url: str) -> str:
        """The command that sends it."""
        parts = ["curl", "--path-as-is", "-i", "-X", self.method]
        for name, value in self.headers:
            parts += ["-H", _quoted(f"{name}: {value}" if value else f"{name};")]
        if self.body:
            parts += ["--data-binary", _quoted(self.body)]
        return " ".join([*parts, _quoted(url + self.target)])


def _quoted(text: str | bytes) -> str:
    """In the shell's `$'...'`, which takes every byte but zero."""
    raw = text if isinstance(text, bytes) else text.encode("latin-1", "replace")
    return "$'" + "".join(chr(c) if 32 <= c < 127 and chr(c) not in "\\'" else f"\\x{c:02x}" for c in raw) + "'"


# Hypothesis likes the least and repeats itself: what is rare must not be zero.
_SOMETIMES, _SELDOM = (
    st.integers(0, 3).map(lambda number: number == 2),
    st.integers(0, 9).map(lambda number: number == 6),
)
_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
_MEDIA = ("*/*", "application/fhir+json", "application/fhir+xml;q=0.5, text/html", "application/json+fhir", "image/png")
_HEADERS: dict[str, st.SearchStrategy[str]] = {
    "Accept": st.sampled_from(_MEDIA) | _TEXT,
    "Content-Type": st.sampled_from((*_MEDIA, "application/x-www-form-urlencoded", "application/json-patch+json")),
    "Content-Encoding": st.sampled_from(("identity", "gzip")),
    "If-None-Match": st.sampled_from(("*", 'W/"1"')) | _TEXT,
    "If-None-Exist": st.sampled_from(("identifier=x", "_has:Group:member:name=x")) | _TEXT,
    "If-Match": _TEXT,
    "If-Modified-Since": st.sampled_from(("Thu, 01 Jan 1970 00:00:00 GMT", "never")),
    "Prefer": st.sampled_from(("return=minimal", "respond-async")) | _TEXT,
    "X-Request-Id": _TEXT,
    "X-Forwarded-Host": st.just("evil.example"),
    "X-HTTP-Method-Override": st.sampled_from(("DELETE", "GET")),
    "Cookie": _TEXT,
    "Range": st.sampled_from(("bytes=0-", "bytes=5-1")),
    "Origin": st.just("https://app.example"),
    "traceparent": _TEXT,
}
_MORE_HEADERS = st.lists(st.sampled_from(sorted(_HEADERS)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _HEADERS[name] for name in names})
)
_METHODS = st.sampled_from(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"))
_QUERIES = st.lists(
    st.sampled_from(("_format=xml", "_format=json", "_count=5", "_include=*", "page=x", "_summary=true", "&&=", "%00"))
    | st.text("abc_:.%=&;+|~[]", max_size=20),
    max_size=2,
).map("&".join)
_TYPES = st.sampled_from(("Patient", "Patient", "Patient", "Observation", "Condition", "Bundle", "Group"))
_AIMS = {
    "base": st.sampled_from(("stu3", "fhir", "r4")),
    "type": _TYPES,
    "id": st.sampled_from(("1", "1", "a.b-c", "../1")),
    "handle": st.just("known-handle"),
}
_URLS = st.sampled_from(
    ("Patient/1", "Patient/1", "Patient?name=x", "Observation?_include=*", "", "../x", "https://evil.example/")
)
_ENTRIES = st.fixed_dictionaries(
    {"request": st.fixed_dictionaries({"method": st.just("GET") | _METHODS, "url": _URLS | _TEXT})},
    optional={"resource": st.fixed_dictionaries({"resourceType": _TYPES}), "fullUrl": _TEXT},
)
_BUNDLES = st.fixed_dictionaries(
    {
        "resourceType": st.just("Bundle"),
        "type": st.sampled_from(("batch", "batch", "batch", "transaction", "searchset")),
        "entry": st.lists(_ENTRIES, max_size=4),
    }
)
_GRANTS = st.fixed_dictionaries(
    {
        "grant_type": st.sampled_from(("client_credentials", "client_credentials", "password")),
        "client_id": st.sampled_from(("known-client", "known-client", "another")),
        "client_secret": st.sampled_from(("known-secret", "known-secret", "another")),
        "scope": st.sampled_from(("known-tenant", "known-tenant system/Patient.read", "known-tenant openid")) | _TEXT,
    }
)


@cache
def _cases(label: str) -> st.SearchStrategy[Generated]:
    operation = OPERATIONS[label]
    # Nothing can be wrong with a request that takes no parameters: those have valid cases alone.
    modes = [GenerationMode.POSITIVE]
    if "{" in label or operation.body:
        modes.append(GenerationMode.NEGATIVE)
    strategies = [operation.as_strategy(generation_mode=mode) for mode in modes]

    @st.composite
    def cases(draw: st.DrawFn) -> Generated:
        case = draw(st.one_of(strategies))
        if not draw(_SOMETIMES):
            _aim(draw, case, label)
        kwargs = case.as_transport_kwargs(base_url="http://gateway")
        asked = requests.Request(**{**kwargs, "cookies": None}).prepare()
        headers = {name: value for name, value in asked.headers.items() if name not in _OWN}
        method, url = str(asked.method), urlsplit(str(asked.url))
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        if "{" not in label or draw(_SOMETIMES):
            headers |= draw(_MORE_HEADERS)
            if draw(_SOMETIMES):
                method = draw(_METHODS)
            if more := draw(_QUERIES):
                target += ("&" if url.query else "?") + more
        if draw(_SELDOM):
            headers["Authorization"] = asked.headers.get("Authorization", "Bearer ")
        body = asked.body or b""
        return Generated(method, target, tuple(headers.items()), body.encode() if isinstance(body, str) else body)

    return cases()


# What the sender has of its own, and what names the tool.
_OWN = ("Authorization", "Connection", "Content-Length", "Accept-Encoding", "User-Agent", "X-Schemathesis-TestCaseId")


def _aim(draw: st.DrawFn, case: Any, label: str) -> None:
    """Puts a case where it can reach the tenant's provider: most generated types, ids and bodies are no FHIR."""
    wanted = {
        "base": st.sampled_from(("stu3", "stu3", "fhir", "r4")),
        "type": _TYPES,
        "handle": st.just("known-handle"),
    }
    wanted["id"] = st.sampled_from(("1", "a.b-c", "../1", "1%2f2"))
    for name, strategy in wanted.items():
        if f"{{{name}}}" in label:
            case.path_parameters = {**(case.path_parameters or {}), name: draw(strategy)}
    if label == "POST /oauth2/token":
        case.body = draw(_GRANTS)
        case.media_type = draw(st.sampled_from(("application/json", "application/x-www-form-urlencoded")))
    elif label == "POST /{base}":
        case.body, case.media_type = draw(_BUNDLES), "application/fhir+json"
    elif label in ("POST /{base}/{type}", "PUT /{base}/{type}/{id}") and isinstance(case.body, dict):
        case.body = {**case.body, "resourceType": case.path_parameters["type"]}


def generate(label: str, count: int, number: int) -> list[Generated]:
    """`count` requests of one operation, the same ones for the same `number`."""
    found: list[Generated] = []

    @seed(number)
    @given(_cases(label))
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    def keep(case: Generated) -> None:
        found.append(case)

    keep()
    return found
