"""The app: a client of the gateway that knows one base URL, its own credentials and a tenant ID."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import requests

Resource = dict[str, Any]
Note = Callable[[str], None]
"""Is told of each step, in a few words."""

_TIMEOUT_SECONDS = 60.0
_MOST_PAGES = 100
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_OWN_HOPS = ("auth", "directory", "gateway")


class AppError(Exception):
    """What came can't be used; the message says of which call."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the app says differently to the versions of FHIR."""

    version: str
    media_type: str
    newest_first: str
    medication_type: str


_DIALECTS = {
    "1.0": Dialect("DSTU2", "application/json+fhir", "_sort:desc=date", "MedicationOrder"),
    "3.0": Dialect("STU3", "application/fhir+json", "_sort=-date", "MedicationRequest"),
    "4.0": Dialect("R4", "application/fhir+json", "_sort=-date", "MedicationRequest"),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """What the app takes from a Conformance or CapabilityStatement."""

    dialect: Dialect
    token_url: str


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """Everything the app read about one patient; `resources` are by type, in the order they came."""

    patient: Resource
    resources: Mapping[str, Sequence[Resource]]
    location: Resource | None


@dataclass(slots=True)
class Timing:
    """Milliseconds of the FHIR requests: the app's whole wait, and of each what the gateway calls its own share."""

    waited: float = 0.0
    own: list[float] = field(default_factory=list)


def read_statement(session: requests.Session, base: str, note: Note) -> Statement:
    """Which FHIR the base speaks, and where tokens are had: asked without a token. Raises AppError."""
    statement = _body("statement", session.get(f"{base}/metadata", timeout=_TIMEOUT_SECONDS))
    version = str(statement.get("fhirVersion"))
    if version[:3] not in _DIALECTS:
        raise AppError(f"statement: the fhirVersion {version} is unknown")
    found = Statement(_DIALECTS[version[:3]], _token_url(statement))
    note(f"statement    FHIR {version}, token URL {found.token_url}")
    return found


def get_token(session: requests.Session, url: str, client: tuple[str, str], tenant_id: str, note: Note) -> str:
    """An access token for a tenant, by the id and secret of the `client`. Raises AppError."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client[0],
        "client_secret": client[1],
        "scope": tenant_id,
    }
    token = _body("token", session.post(url, form, timeout=_TIMEOUT_SECONDS, allow_redirects=False))
    if not isinstance(token.get("access_token"), str) or str(token.get("token_type")).lower() != "bearer":
        raise AppError("token: the answer has no bearer token")
    note(f"token        for {tenant_id}, good for {token.get('expires_in')} s")
    return str(token["access_token"])


class App:
    """The app with a token, at one FHIR base. Its methods raise AppError."""

    def __init__(self, session: requests.Session, base: str, dialect: Dialect, token: str, note: Note) -> None:
        self.timing = Timing()
        self._session = session
        self._base = base
        self._dialect = dialect
        self._headers = {"Accept": dialect.media_type, "Authorization": f"Bearer {token}"}
        self._note = note

    def read(self, given: str, family: str) -> PatientRecord:
        """Finds a patient by name, and reads the whole chart."""
        found = self._call("POST", "Patient/_search", form={"given": given, "family": family})
        patients = _resources(found, "Patient")
        if not patients:
            raise AppError(f"search: there is no patient {given} {family}")
        self._note(f"search       {len(patients)} found")
        id = str(patients[0]["id"])
        patient = self._call("GET", f"Patient/{id}")
        resources = self._chart(id)
        location = self._last_location(resources["Encounter"])
        self._note("read         the patient" + (", the last known location" if location else ""))
        return PatientRecord(patient, resources, location)

    def _chart(self, patient: str) -> dict[str, list[Resource]]:
        about, newest_first = urlencode({"patient": patient}), self._dialect.newest_first
        searches = {
            "Observation": f"{about}&{newest_first}&category=vital-signs",
            "Condition": f"{about}&_count=50",
            "Encounter": f"{about}&{newest_first}&_count=50",
            "AllergyIntolerance": about,
            self._dialect.medication_type: f"{about}&_count=50",
            "Coverage": about,
        }
        entries = [{"request": {"method": "GET", "url": f"{type}?{query}"}} for type, query in searches.items()]
        batch = self._call("POST", "", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
        self._note(f"batch        {len(searches)} searches in one request")
        bundles = zip(searches, _batch_answers(batch, list(searches)), strict=True)
        return {type: self._all_pages(type, bundle) for type, bundle in bundles}

    def _all_pages(self, type: str, first: Resource) -> list[Resource]:
        pages = [first, *self._further_pages(first)]
        found = [resource for page in pages for resource in _resources(page, type)]
        if len(found) != first.get("total", len(found)):
            raise AppError(f"{type}: {first['total']} were found, {len(found)} came")
        if len(pages) > 1:
            self._note(f"next         {len(pages) - 1} further pages of {type}")
        return found

    def _further_pages(self, bundle: Resource) -> Iterator[Resource]:
        for _ in range(_MOST_PAGES):
            following = [link["url"] for link in bundle.get("link", ()) if link["relation"] == "next"]
            if not following:
                return
            bundle = self._call("GET", following[0])
            yield bundle
        raise AppError(f"next: there is no end after {_MOST_PAGES} pages")

    def _last_location(self, encounters: Sequence[Resource]) -> Resource | None:
        for encounter in encounters[:1]:
            for place in encounter.get("location", ()):
                if "reference" in place["location"]:
                    return self._call("GET", place["location"]["reference"])
        return None

    def _call(
        self, method: str, url: str, form: dict[str, str] | None = None, json: Resource | None = None
    ) -> Resource:
        """A FHIR request; `url` is below the base, or absolute as links are."""
        if "://" in url and not url.startswith((f"{self._base}/", f"{self._base}?")):
            raise AppError(f"{method}: a link leads away from the gateway")
        target = url if "://" in url else f"{self._base}/{url}".rstrip("/")
        headers = self._headers | ({"Content-Type": self._dialect.media_type} if json else {})
        began = time.perf_counter()
        answer = self._session.request(
            method, target, data=form, json=json, headers=headers, timeout=_TIMEOUT_SECONDS, allow_redirects=False
        )
        self.timing.waited += (time.perf_counter() - began) * 1000
        self.timing.own.append(_own_share(answer.headers.get("Server-Timing", "")))
        what = target.removeprefix(self._base).strip("/").partition("?")[0].partition("/")[0]
        return _body(what or f"{method} to the base", answer)


def _body(call: str, answer: requests.Response) -> Resource:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise AppError(f"{call}: the answer, of status {answer.status_code}, is not a JSON object")
    if answer.status_code != 200:
        raise AppError(f"{call}: {answer.status_code} {_reason(body)}".rstrip())
    return body


def _reason(body: Resource) -> str:
    """What an OAuth error (RFC 6749 section 5.2) or an OperationOutcome says."""
    diagnostics = (issue.get("diagnostics", "") for issue in body.get("issue", ()))
    return str(body.get("error_description") or body.get("error") or next(diagnostics, ""))


def _token_url(statement: Resource) -> str:
    for rest in statement.get("rest", ()):
        for extension in rest.get("security", {}).get("extension", ()):
            for uri in extension.get("extension", ()) if extension.get("url") == _OAUTH_URIS else ():
                if uri.get("url") == "token":
                    return str(uri.get("valueUri"))
    raise AppError("statement: it has no token URL")


def _resources(bundle: Resource, type: str) -> list[Resource]:
    resources = (entry.get("resource", {}) for entry in bundle.get("entry", ()))
    return [resource for resource in resources if resource.get("resourceType") == type]


def _batch_answers(batch: Resource, types: Sequence[str]) -> Iterator[Resource]:
    entries = batch.get("entry", [])
    if len(entries) != len(types):
        raise AppError(f"batch: {len(entries)} of {len(types)} searches were answered")
    for type, entry in zip(types, entries, strict=True):
        status = str(entry.get("response", {}).get("status"))
        if not status.startswith("200"):
            raise AppError(f"batch: the search for {type} ended with {status}")
        yield entry["resource"]


def _own_share(server_timing: str) -> float:
    """Milliseconds that were the gateway's own, not the hospital's (W3C Server Timing, section 2)."""
    hops = re.findall(r"([a-z]+);dur=([0-9.]+)", server_timing)
    return sum(float(spent) for name, spent in hops if name in _OWN_HOPS)
