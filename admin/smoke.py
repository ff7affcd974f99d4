"""`smoke`: plays the app against a gateway that is deployed, over HTTP, and tells how each step went."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from secrets import token_urlsafe
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from admin.command import GlobalOptions, examples, global_options
from admin.finding import Finding, Findings, State
from shared.directory.typed_text import decoded
from shared.settings import is_loopback

if TYPE_CHECKING:
    from requests import Response, Session

    from app.client import AppClient, Resource, Statement

_SECRET_VARIABLE = "GATEWAY_CLIENT_SECRET"  # noqa: S105 (the variable, not the secret)
_BASES = ("fhir", "dstu2", "stu3", "r4")
_TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
_CLIENT = "4f1c2a0e-93ad-4a53-9b6c-6f0e8a6d2b11"
_EXAMPLE = f"smoke --base-url https://gateway.example.com --client-id {_CLIENT} --tenant {_TENANT}"
_TIMEOUT_SECONDS = 60.0
_OK = 200
_UNAUTHORIZED = 401


def _origin(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value.rstrip("/"))
        host = parts.hostname
    except ValueError:
        raise click.BadParameter("is no URL") from None
    if not host or parts.path or parts.query or parts.scheme not in ("https", "http"):
        raise click.BadParameter("give the gateway's own URL, such as https://gateway.example.com")
    if parts.scheme == "http" and not is_loopback(host):
        raise click.BadParameter("a secret is sent there: it must begin with https://")
    return parts.geturl()


@click.command(
    epilog=examples(_EXAMPLE, f"{_EXAMPLE} --base stu3 --family Black", f"{_EXAMPLE} < secret.txt"),
)
@click.option("--base-url", required=True, metavar="URL", callback=_origin, help="The gateway's PUBLIC_BASE_URL.")
@click.option("--client-id", required=True, metavar="ID", help="The client to play the app with.")
@click.option("--tenant", required=True, metavar="GUID", help="The tenant to ask for.")
@click.option("--base", default="fhir", show_default=True, type=click.Choice(_BASES), help="The FHIR base.")
@click.option("--family", metavar="NAME", help="The family name of a patient to search for; any patient without it.")
@global_options
def smoke(base_url: str, client_id: str, tenant: str, base: str, family: str | None) -> None:
    """Plays the app against a gateway, and says how each step went.

    The client's secret comes from the environment (GATEWAY_CLIENT_SECRET), or is asked for, or read from standard
    input. Nothing of a patient is printed. Needs no settings and no rights but the client's. Ends with 1 if a step
    fails.
    """
    import requests

    findings = Findings(as_json=click.get_current_context().ensure_object(GlobalOptions).json)
    with requests.Session() as session:
        session.trust_env = not is_loopback(urlsplit(base_url).hostname)
        visit = _Visit(session, base_url, f"{base_url}/{base}", (client_id, _secret()), tenant)
        for finding in visit.steps({"_count": "1", **({"family": family} if family else {})}):
            findings.add(finding)
    findings.end()


def _secret() -> str:
    secret = os.environ.get(_SECRET_VARIABLE, "").strip()
    if not secret:
        asks = sys.stdin.isatty()
        secret = str(click.prompt("Client secret", hide_input=True, err=True)) if asks else _piped()
    if not secret.strip():
        raise click.UsageError(f"give the client's secret in {_SECRET_VARIABLE} or on standard input")
    return secret.strip()


def _piped() -> str:
    with suppress(UnicodeDecodeError):
        return decoded(sys.stdin.buffer.read())
    return ""


class _Visit:
    """One visit to a gateway: what is known after each step, and everything that came for FHIR requests."""

    def __init__(self, session: "Session", origin: str, base: str, client: tuple[str, str], tenant: str) -> None:
        self._session = session
        self._origin = origin
        self._base = base
        self._client = client
        self._tenant = tenant
        self._answers: list[Response] = []
        self._statement: Statement
        self._app: AppClient
        self._patient = ""
        self._bundles: list[Resource] = []

    def steps(self, criteria: Mapping[str, str]) -> Iterator[Finding]:
        """Every step; after one that fails and that the next need, only what came is looked at."""
        for needed, name, step in (
            (True, "statement", self._read_statement),
            (False, "no token", self._ask_without_token),
            (True, "token", self._get_token),
            (False, "wrong secret", self._try_wrong_secret),
            (True, "search", lambda: self._search(criteria)),
            (False, "read", self._read),
            (False, "batch", self._batch),
            (False, "next page", self._next_page),
        ):
            finding = self._attempt(name, step, says_why=needed)
            yield finding
            if needed and finding.state is not State.OK:
                break
        if self._answers:
            yield self._addresses()
            yield self._server_timing()

    def _attempt(self, name: str, step: Callable[[], Finding], *, says_why: bool) -> Finding:
        """Takes a step. Without `says_why` an error is told by its status: its text may speak of the patient."""
        from requests import RequestException

        from app.client import AppError

        try:
            return step()
        except AppError as error:
            text = str(error) if says_why or error.status == _OK else f"is answered {error.status}"
            return Finding(State.FAIL, name, text)
        except RequestException as error:
            return Finding(State.FAIL, name, f"no answer ({type(error).__name__})")

    def _read_statement(self) -> Finding:
        from app.client import read_statement

        self._statement = read_statement(self._session, self._base)
        text = f"FHIR {self._statement.fhir_version}, tokens at {self._statement.token_url}"
        if not self._statement.token_url.startswith(f"{self._origin}/"):
            # The secret goes nowhere but where the person said.
            return Finding(State.FAIL, "statement", text, "give the gateway's PUBLIC_BASE_URL as --base-url")
        return Finding(State.OK, "statement", text)

    def _ask_without_token(self) -> Finding:
        answer = self._session.get(f"{self._base}/Patient?_count=1", timeout=_TIMEOUT_SECONDS, allow_redirects=False)
        state = State.OK if answer.status_code == _UNAUTHORIZED else State.FAIL
        return Finding(state, "no token", f"is answered {answer.status_code}")

    def _get_token(self) -> Finding:
        from app.client import AppClient, request_token

        token = request_token(self._session, self._statement.token_url, self._client, self._tenant)
        self._app = AppClient(self._session, self._base, self._statement.dialect, token.value, self._answers.append)
        return Finding(State.OK, "token", f"good for {token.expires_in} s")

    def _try_wrong_secret(self) -> Finding:
        from app.client import AppError, request_token

        client_id, secret = self._client
        wrong = (client_id, f"{secret.partition('.')[0]}.{token_urlsafe(32)}")
        try:
            request_token(self._session, self._statement.token_url, wrong, self._tenant)
        except AppError as error:
            state = State.OK if (error.status, error.error) == (_UNAUTHORIZED, "invalid_client") else State.FAIL
            return Finding(state, "wrong secret", f"is answered {error.status} {error.error}")
        return Finding(State.FAIL, "wrong secret", "gets a token")

    def _search(self, criteria: Mapping[str, str]) -> Finding:
        from app.client import resources

        bundle = self._app.search_patients(criteria)
        self._bundles.append(bundle)
        patients = resources(bundle, "Patient")
        if not patients:
            return Finding(State.WARN, "search", "no patient was found", "name one that there is with --family")
        self._patient = str(patients[0].get("id"))
        return Finding(State.OK, "search", f"{len(patients)} on the first page, of {bundle.get('total', 'unknown')}")

    def _read(self) -> Finding:
        found = self._app.call("GET", f"Patient/{self._patient}")
        same = (found.get("resourceType"), found.get("id")) == ("Patient", self._patient)
        return Finding(State.OK if same else State.FAIL, "read", "the patient" if same else "something else came")

    def _batch(self) -> Finding:
        from app.client import AppError, answered

        searches = self._app.dialect.chart_searches(self._patient)
        failures: list[str] = []
        for type, entry in zip(searches, self._app.batch(searches), strict=True):
            try:
                self._bundles.append(answered(type, entry))
            except AppError as error:
                failures.append(str(error))
        state = State.OK if not failures else State.WARN if len(failures) < len(searches) else State.FAIL
        text = f"{len(searches) - len(failures)} of {len(searches)} searches were answered"
        return Finding(state, "batch", "; ".join([text, *failures]))

    def _next_page(self) -> Finding:
        from app.client import next_link

        following = next((link for bundle in self._bundles if (link := next_link(bundle)) is not None), None)
        if following is None:
            return Finding(State.SKIPPED, "next page", "no answer has a further page")
        page = self._app.call("GET", following)
        state = State.OK if page.get("resourceType") == "Bundle" else State.FAIL
        return Finding(state, "next page", f"{len(page.get('entry', ()))} further entries")

    def _addresses(self) -> Finding:
        """Whether every link that came leads to the gateway. References may lead to third servers: they are told."""
        links: Counter[str] = Counter()
        references: Counter[str] = Counter()
        for answer in self._answers:
            for kind, url in _urls(answer):
                if "://" in url and not url.startswith(f"{self._origin}/"):
                    (references if kind == "reference" else links)[urlsplit(url).hostname or ""] += 1
        if links:
            return Finding(State.FAIL, "addresses", f"links lead elsewhere: {_counts(links)}")
        if references:
            text = f"references lead elsewhere: {_counts(references)}"
            return Finding(State.WARN, "addresses", text, "check that none of these is the provider")
        return Finding(State.OK, "addresses", f"every link of {len(self._answers)} answers leads to the gateway")

    def _server_timing(self) -> Finding:
        without = sum("gateway;dur=" not in answer.headers.get("Server-Timing", "") for answer in self._answers)
        if without:
            return Finding(State.FAIL, "Server-Timing", f"{without} of {len(self._answers)} answers have none")
        own = median(self._app.timing.own)
        return Finding(State.OK, "Server-Timing", f"{len(self._answers)} answers, the gateway's own share {own:.1f} ms")


def _urls(answer: "Response") -> Iterator[tuple[str, str]]:
    """Where an answer leads, with the name of the header or element that says so."""
    for name in ("Location", "Content-Location"):
        if name in answer.headers:
            yield name, answer.headers[name]
    try:
        yield from _body_urls(answer.json())
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
