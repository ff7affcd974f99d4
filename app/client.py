"""The app's side of the gateway: a client that knows a base URL, its own credentials and a tenant ID."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import requests

Resource = dict[str, Any]
Observe = Callable[[requests.Response], None]
"""Is called with each response to a FHIR request."""

Note = Callable[[str], None]
"""Is told of each step, in a few words."""

_TIMEOUT_SECONDS = 60.0
_MAX_PAGES = 100
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_OWN_HOPS = ("auth", "directory", "gateway")


class AppError(Exception):
    """A response that can't be used: the message names the call, `status` and `error` are an error response's."""

    def __init__(self, message: str, status: int = 200, error: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error = error


@dataclass(frozen=True, slots=True)
class Dialect:
    """The app's requests in the spelling of a version of FHIR."""

    version: str
    media_type: str
    newest_first: str
    medication_type: str

    def chart_searches(self, patient: str) -> Mapping[str, str]:
        """The searches for one patient's chart: a query for each type."""
        about = urlencode({"patient": patient})
        return {
            "Observation": f"{about}&{self.newest_first}&category=vital-signs",
            "Condition": f"{about}&_count=50",
            "Encounter": f"{about}&{self.newest_first}&_count=50",
            "AllergyIntolerance": about,
            self.medication_type: f"{about}&_count=50",
            "Coverage": about,
        }


_DIALECTS = {
    "1.0": Dialect("DSTU2", "application/json+fhir", "_sort:desc=date", "MedicationOrder"),
    "3.0": Dialect("STU3", "application/fhir+json", "_sort=-date", "MedicationRequest"),
    **{
        number: Dialect(name, "application/fhir+json", "_sort=-date", "MedicationRequest")
        for number, name in {"4.0": "R4", "4.3": "R4B", "5.0": "R5"}.items()
    },
}


@dataclass(frozen=True, slots=True)
class Statement:
    """The part of a Conformance or CapabilityStatement that the app uses."""

    fhir_version: str
    dialect: Dialect
    token_url: str


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, good for `expires_in` seconds."""

    value: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """Everything the app read about one patient; `resources` are by type, in the order they came."""

    patient: Resource
    resources: Mapping[str, Sequence[Resource]]
    location: Resource | None


@dataclass(slots=True)
class Timing:
    """Milliseconds of the FHIR requests: the app's whole wait, and the gateway's own share of each."""

    waited: float = 0.0
    own: list[float] = field(default_factory=list)


def read_statement(session: requests.Session, base: str) -> Statement:
    """The statement of a FHIR base, which needs no token. Raises AppError."""
    response = session.get(f"{base}/metadata", timeout=_TIMEOUT_SECONDS, allow_redirects=False)
    statement = _body("statement", response)
    version = str(statement.get("fhirVersion"))
    if version[:3] not in _DIALECTS:
        raise AppError(f"statement: the fhirVersion {version} is unknown")
    return Statement(version, _DIALECTS[version[:3]], _token_url(statement))


def request_token(session: requests.Session, url: str, client: tuple[str, str], tenant_id: str) -> Token:
    """An access token for a tenant, by the id and secret of the `client`. Raises AppError."""
    form = {"grant_type": "client_credentials", "client_id": client[0], "client_secret": client[1], "scope": tenant_id}
    token = _body("token", session.post(url, form, timeout=_TIMEOUT_SECONDS, allow_redirects=False))
    if not isinstance(token.get("access_token"), str) or str(token.get("token_type")).lower() != "bearer":
        raise AppError("token: the response has no bearer token")
    if not isinstance(token.get("expires_in"), int):
        raise AppError("token: the response does not say how long it is good")
    return Token(token["access_token"], token["expires_in"])


class AppClient:
    """The app with a token, at one FHIR base. Its methods raise AppError."""

    def __init__(
        self, session: requests.Session, base: str, dialect: Dialect, token: str, observe: Observe = lambda _: None
    ) -> None:
        self.dialect = dialect
        self.timing = Timing()
        self._session = session
        self._base = base
        self._headers = {"Accept": dialect.media_type, "Authorization": f"Bearer {token}"}
        self._observe = observe

    def search_patients(self, criteria: Mapping[str, str]) -> Resource:
        """The bundle of patients, found by a form."""
        return self.call("POST", "Patient/_search", form=criteria)

    def batch(self, searches: Mapping[str, str]) -> list[Resource]:
        """The entries that one batch of searches leads to, in their order: a query for each type."""
        entries = [{"request": {"method": "GET", "url": f"{type}?{query}"}} for type, query in searches.items()]
        batch = self.call("POST", "", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
        found = batch.get("entry", [])
        if len(found) != len(searches):
            raise AppError(f"batch: {len(found)} of {len(searches)} searches have a result")
        return list(found)

    def further_pages(self, bundle: Resource) -> Iterator[Resource]:
        """The pages after a bundle, to the last."""
        for _ in range(_MAX_PAGES):
            following = next_link(bundle)
            if following is None:
                return
            bundle = self.call("GET", following)
            yield bundle
        raise AppError(f"next: there is no end after {_MAX_PAGES} pages")

    def call(self, method: str, url: str, form: Mapping[str, str] | None = None, json: Any = None) -> Resource:
        """A FHIR request; `url` is below the base, or absolute as links are."""
        if "://" in url and not url.startswith((f"{self._base}/", f"{self._base}?")):
            raise AppError(f"{method}: a link leads away from the gateway")
        target = url if "://" in url else f"{self._base}/{url}".rstrip("/")
        headers = self._headers | ({"Content-Type": self.dialect.media_type} if json else {})
        began = time.perf_counter()
        response = self._session.request(
            method, target, data=form, json=json, headers=headers, timeout=_TIMEOUT_SECONDS, allow_redirects=False
        )
        self.timing.waited += (time.perf_counter() - began) * 1000
        self.timing.own.append(_own_share(response.headers.get("Server-Timing", "")))
        self._observe(response)
        what = target.removeprefix(self._base).strip("/").partition("?")[0].partition("/")[0]
        return _body(what or f"{method} to the base", response)


def read_record(client: AppClient, given: str, family: str, note: Note) -> PatientRecord:
    """Finds a patient by name, and reads the whole chart. Raises AppError."""
    patients = resources(client.search_patients({"given": given, "family": family}), "Patient")
    if not patients:
        raise AppError(f"search: there is no patient {given} {family}")
    note(f"search       {len(patients)} found")
    id = str(patients[0]["id"])
    patient = client.call("GET", f"Patient/{id}")
    searches = client.dialect.chart_searches(id)
    entries = client.batch(searches)
    note(f"batch        {len(searches)} searches in one request")
    bundles = {type: batch_result(type, entry) for type, entry in zip(searches, entries, strict=True)}
    chart = {type: _all_pages(client, type, bundle, note) for type, bundle in bundles.items()}
    places = (place["location"] for encounter in chart["Encounter"][:1] for place in encounter.get("location", ()))
    reference = next((place["reference"] for place in places if "reference" in place), None)
    location = client.call("GET", reference) if reference else None
    note("read         the patient" + (", the last known location" if location else ""))
    return PatientRecord(patient, chart, location)


def _all_pages(client: AppClient, type: str, first: Resource, note: Note) -> list[Resource]:
    pages = [first, *client.further_pages(first)]
    found = [resource for page in pages for resource in resources(page, type)]
    if len(found) != first.get("total", len(found)):
        raise AppError(f"{type}: {first['total']} were found, {len(found)} came")
    if len(pages) > 1:
        note(f"next         {len(pages) - 1} further pages of {type}")
    return found


def resources(bundle: Resource, type: str) -> list[Resource]:
    """A bundle's resources of a type."""
    found = (entry.get("resource", {}) for entry in bundle.get("entry", ()))
    return [resource for resource in found if resource.get("resourceType") == type]


def batch_result(type: str, entry: Resource) -> Resource:
    """The bundle in a batch's entry, found by a search for a type. Raises AppError when the entry is an error."""
    status = str(entry.get("response", {}).get("status"))
    if not status.startswith("200"):
        raise AppError(f"batch: the search for {type} ended with {status}")
    bundle: Resource = entry["resource"]
    return bundle


def next_link(bundle: Resource) -> str | None:
    """The URL of a bundle's next page, if there is one."""
    return next((str(link["url"]) for link in bundle.get("link", ()) if link.get("relation") == "next"), None)


def _body(call: str, response: requests.Response) -> Resource:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        text = f"{call}: the response, of status {response.status_code}, is not a JSON object"
        raise AppError(text, response.status_code)
    if response.status_code != 200:
        text = f"{call}: {response.status_code} {_reason(body)}".rstrip()
        raise AppError(text, response.status_code, str(body.get("error", "")))
    return body


def _reason(body: Resource) -> str:
    """The text of an OAuth error (RFC 6749 section 5.2) or an OperationOutcome."""
    diagnostics = (issue.get("diagnostics", "") for issue in body.get("issue", ()))
    return str(body.get("error_description") or body.get("error") or next(diagnostics, ""))


def _token_url(statement: Resource) -> str:
    for rest in statement.get("rest", ()):
        for extension in rest.get("security", {}).get("extension", ()):
            for uri in extension.get("extension", ()) if extension.get("url") == _OAUTH_URIS else ():
                if uri.get("url") == "token":
                    return str(uri.get("valueUri"))
    raise AppError("statement: it has no token URL")


def _own_share(server_timing: str) -> float:
    """Milliseconds that were the gateway's own, not the hospital's (W3C Server Timing, section 2)."""
    hops = re.findall(r"([a-z]+);dur=([0-9.]+)", server_timing)
    return sum(float(spent) for name, spent in hops if name in _OWN_HOPS)
