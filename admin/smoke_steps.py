"""The steps of `smoke`: the app's requests to a gateway, and what must not succeed."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from secrets import token_urlsafe
from statistics import median
from typing import Any
from urllib.parse import urlencode, urlsplit

from requests import RequestException, Response, Session

from admin.output import Finding, State
from app import client as apps
from app.client import AppClient, AppError, Resource, Statement
from shared.settings import is_loopback

_TIMEOUT_SECONDS = 60.0
_OK = 200
_UNAUTHORIZED = 401
_SERVER_ERROR = 500


def smoke_steps(
    origin: str, base: str, client: tuple[str, str], tenant: str, criteria: Mapping[str, str]
) -> Iterator[Finding]:
    """Plays the app at a FHIR `base` of the gateway at `origin`, and yields how each step went.

    `client` is the client_id and secret, `criteria` those of the search for a patient.
    """
    with Session() as session:
        session.trust_env = not is_loopback(urlsplit(origin).hostname)
        yield from _Steps(session, origin, base, client, tenant).run(criteria)


class _Steps:
    """The steps; each keeps what the next need, and all responses to FHIR requests are kept."""

    def __init__(self, session: Session, origin: str, base: str, client: tuple[str, str], tenant: str) -> None:
        self._session = session
        self._origin = origin
        self._base = base
        self._client = client
        self._tenant = tenant
        self._responses: list[Response] = []
        self._statement: Statement
        self._app: AppClient
        self._patient = ""
        self._bundles: list[Resource] = []

    def run(self, criteria: Mapping[str, str]) -> Iterator[Finding]:
        """Every step; after one that fails and that the others need, only the responses so far are examined."""
        for needed, name, step in (
            (True, "statement", self._read_statement),
            (False, "no token", self._ask_without_token),
            (True, "token", self._get_token),
            (False, "wrong secret", self._try_wrong_secret),
            (True, "search", lambda: self._search(criteria)),
            (False, "read", self._read),
            (False, "search by code", self._search_by_code),
            (False, "batch", self._batch),
            (False, "next page", self._next_page),
        ):
            finding = self._attempt(name, step, detailed=needed)
            yield finding
            if needed and finding.state is not State.OK:
                break
        if self._responses:
            yield self._addresses()
            yield self._server_timing()

    def _attempt(self, name: str, step: Callable[[], Finding], *, detailed: bool) -> Finding:
        """Runs a step. Unless `detailed`, an error is reported by its status: its text may be about the patient."""
        try:
            return step()
        except AppError as error:
            text = str(error) if detailed or error.status == _OK else f"response {error.status}"
            return Finding(State.FAIL, name, text)
        except RequestException as error:
            return Finding(State.FAIL, name, f"no response ({type(error).__name__})")

    def _read_statement(self) -> Finding:
        self._statement = apps.read_statement(self._session, self._base)
        text = f"FHIR {self._statement.fhir_version}, tokens at {self._statement.token_url}"
        if not self._statement.token_url.startswith(f"{self._origin}/"):
            # The secret goes nowhere but where the person said.
            return Finding(State.FAIL, "statement", text, "give the gateway's PUBLIC_BASE_URL as --base-url")
        return Finding(State.OK, "statement", text)

    def _ask_without_token(self) -> Finding:
        response = self._session.get(f"{self._base}/Patient?_count=1", timeout=_TIMEOUT_SECONDS, allow_redirects=False)
        state = State.OK if response.status_code == _UNAUTHORIZED else State.FAIL
        return Finding(state, "no token", f"response {response.status_code}")

    def _get_token(self) -> Finding:
        token = apps.request_token(self._session, self._statement.token_url, self._client, self._tenant)
        self._app = AppClient(self._session, self._base, self._statement.dialect, token.value, self._responses.append)
        return Finding(State.OK, "token", f"good for {token.expires_in} s")

    def _try_wrong_secret(self) -> Finding:
        client_id, secret = self._client
        wrong = (client_id, f"{secret.partition('.')[0]}.{token_urlsafe(32)}")
        try:
            apps.request_token(self._session, self._statement.token_url, wrong, self._tenant)
        except AppError as error:
            state = State.OK if (error.status, error.error) == (_UNAUTHORIZED, "invalid_client") else State.FAIL
            return Finding(state, "wrong secret", f"response {error.status} {error.error}")
        return Finding(State.FAIL, "wrong secret", "gets a token")

    def _search(self, criteria: Mapping[str, str]) -> Finding:
        bundle = self._app.search_patients(criteria)
        self._bundles.append(bundle)
        patients = apps.resources(bundle, "Patient")
        if not patients:
            return Finding(State.WARN, "search", "no patient was found", "name one that there is with --family")
        self._patient = str(patients[0].get("id"))
        return Finding(State.OK, "search", f"{len(patients)} on the first page, of {bundle.get('total', 'unknown')}")

    def _read(self) -> Finding:
        found = self._app.call("GET", f"Patient/{self._patient}")
        same = (found.get("resourceType"), found.get("id")) == ("Patient", self._patient)
        return Finding(State.OK if same else State.FAIL, "read", "the patient" if same else "something else came")

    def _search_by_code(self) -> Finding:
        """A search by GET with `code`, for which the Functions host first asks the app's storage account."""
        query = urlencode({"patient": self._patient, "code": "http://loinc.org|8867-4"})
        try:
            self._bundles.append(self._app.call("GET", f"Observation?{query}"))
        except AppError as error:
            if error.status != _SERVER_ERROR:
                raise
            fix = "the app's own storage account does not answer: docs/runbook.md, Searches by code end in 500"
            return Finding(State.FAIL, "search by code", "is answered 500", fix)
        return Finding(State.OK, "search by code", "by GET, as the chart's searches are")

    def _batch(self) -> Finding:
        searches = self._app.dialect.chart_searches(self._patient)
        failures: list[str] = []
        for type, entry in zip(searches, self._app.batch(searches), strict=True):
            try:
                self._bundles.append(apps.batch_result(type, entry))
            except AppError as error:
                failures.append(str(error))
        state = State.OK if not failures else State.WARN if len(failures) < len(searches) else State.FAIL
        text = f"{len(searches) - len(failures)} of {len(searches)} searches succeeded"
        return Finding(state, "batch", "; ".join([text, *failures]))

    def _next_page(self) -> Finding:
        following = next((link for bundle in self._bundles if (link := apps.next_link(bundle)) is not None), None)
        if following is None:
            return Finding(State.SKIPPED, "next page", "no response has a further page")
        page = self._app.call("GET", following)
        state = State.OK if page.get("resourceType") == "Bundle" else State.FAIL
        return Finding(state, "next page", f"{len(page.get('entry', ()))} further entries")

    def _addresses(self) -> Finding:
        """Whether every link leads to the gateway. References may lead to third servers, which are named."""
        links: Counter[str] = Counter()
        references: Counter[str] = Counter()
        for response in self._responses:
            for kind, url in _urls(response):
                if "://" in url and not url.startswith(f"{self._origin}/"):
                    (references if kind == "reference" else links)[urlsplit(url).hostname or ""] += 1
        if links:
            return Finding(State.FAIL, "addresses", f"links lead elsewhere: {_counts(links)}")
        if references:
            text = f"references lead elsewhere: {_counts(references)}"
            return Finding(State.WARN, "addresses", text, "check that none of these is the provider")
        return Finding(State.OK, "addresses", f"every link of {len(self._responses)} responses leads to the gateway")

    def _server_timing(self) -> Finding:
        without = sum("gateway;dur=" not in response.headers.get("Server-Timing", "") for response in self._responses)
        if without:
            return Finding(State.FAIL, "Server-Timing", f"{without} of {len(self._responses)} responses have none")
        own = median(self._app.timing.own)
        return Finding(State.OK, "Server-Timing", f"{len(self._responses)} responses, the gateway's share {own:.1f} ms")


def _urls(response: Response) -> Iterator[tuple[str, str]]:
    """The URLs in a response, each with the name of its header or element."""
    for name in ("Location", "Content-Location"):
        if name in response.headers:
            yield name, response.headers[name]
    try:
        yield from _body_urls(response.json())
    except ValueError:
        return


def _body_urls(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _body_urls(item)
    for name, item in value.items() if isinstance(value, dict) else ():
        if name in ("fullUrl", "reference", "location") and isinstance(item, str):
            yield name, item
        elif name == "link" and isinstance(item, list):
            yield from (("link", str(link["url"])) for link in item if isinstance(link, dict) and "url" in link)
            yield from _body_urls(item)
        else:
            yield from _body_urls(item)


def _counts(hosts: Mapping[str, int]) -> str:
    return ", ".join(f"{host} ({count})" for host, count in hosts.items())
