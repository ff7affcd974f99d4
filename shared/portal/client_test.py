"""The test of a client: the app's first three requests, sent to the public gateway over HTTP as an app sends them.

The search asks for a patient who is not there, `Patient?_id=connection-test`: it goes the whole way to the hospital,
and nothing about a patient comes back. Of a response only what its kind is, and an error's own text, is looked at.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson
from yarl import URL

from shared.fhir.versions import FhirVersion

MAX_SECONDS = 60
_MAX_BYTES = 4 * 1_048_576
_MAX_CHARACTERS = 500
_SEARCH = "Patient?_id=connection-test"
_STATEMENTS = ("CapabilityStatement", "Conformance")
_HOP = re.compile(r"([a-z]{1,20});dur=([0-9.]{1,12})")

# Of docs/app-guide.md, When it does not work, but for whoever keeps the client.
_REMEDIES = {
    "invalid_client": "Look below whether the client is enabled and the secret is one of its own that works.",
    "invalid_scope": "The client may not reach this hospital, or it was allowed less than a minute ago.",
    "temporarily_unavailable": "Try again in a moment; if it stays, tell the gateway's operator.",
    401: "The secret or the client was ended a moment ago. Test again with one that works.",
    403: "The hospital's row does not let this through. Ask the gateway's admin for the type Patient.",
    404: "The hospital has no server for this FHIR version, or it is switched off. Ask the gateway's admin.",
    500: "A fault of the gateway. Give its operator the request's ID.",
    502: "The hospital can't be reached, refuses the gateway or sent no FHIR. Ask the gateway's admin to check it.",
    503: "The hospital has too much to do, or failed several times in a row. Test again in a minute.",
    504: "The hospital did not answer in time. Test again, then ask the gateway's admin to check it.",
}
_OWN_ERROR = "The hospital itself refused this search; the way to it works. Ask the hospital with the request's ID."
_NOT_THERE = (
    "The portal can't reach the gateway at its public address, which says nothing of the app. See docs/deployment.md, "
    "The portal reaches the gateway."
)


@dataclass(frozen=True, slots=True)
class TestStep:
    """One request and its outcome; `problem` is "" where it went well, `status` None without a response.

    `hops` are the milliseconds of `Server-Timing` by hop; `request_id` finds the request in the gateway's log.
    """

    name: str
    sent: str
    status: int | None
    milliseconds: float
    hops: Mapping[str, str]
    request_id: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a request gets back: the step so far, and the JSON of its response, {} where it has none."""

    step: TestStep
    document: Mapping[str, Any]


async def test_client(
    gateway: str, version: FhirVersion, tenant: str, client_id: str, client_secret: str
) -> AsyncIterator[TestStep]:
    """Plays statement, token and search against a gateway's public URL; ends after the first step that fails.

    Takes a minute at most, and never raises for what the other side does.
    """
    base = f"{gateway}/{version.value}"
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret, "scope": tenant}
    ends = asyncio.get_running_loop().time() + MAX_SECONDS
    async with aiohttp.ClientSession(raise_for_status=False) as session:
        statement = await _send(session, ends, "Statement", "GET", f"{base}/metadata")
        yield (step := _judged(statement, statement.document.get("resourceType") in _STATEMENTS, "no statement"))
        if step.problem:
            return
        token = await _send(session, ends, "Token", "POST", f"{gateway}/oauth2/token", data=form)
        access_token = token.document.get("access_token")
        yield (step := _judged(token, isinstance(access_token, str), "no token"))
        if step.problem:
            return
        headers = {"Authorization": f"Bearer {access_token}"}
        search = await _send(session, ends, "Search", "GET", f"{base}/{_SEARCH}", headers=headers)
        yield _judged(search, search.document.get("resourceType") == "Bundle", "no Bundle")


async def _send(
    session: aiohttp.ClientSession,
    ends: float,
    name: str,
    method: str,
    url: str,
    *,
    data: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> _Sent:
    began = time.perf_counter()
    sent, status, hops, request_id, problem, body = f"{method} {URL(url).raw_path_qs}", None, {}, "", "", b""
    try:
        async with (
            asyncio.timeout_at(ends),
            session.request(
                method,
                url,
                data=data,
                headers={"Accept": "application/fhir+json, application/json", **(headers or {})},
                allow_redirects=False,
            ) as response,
        ):
            status, request_id = response.status, response.headers.get("X-Request-Id", "")[:64]
            hops = dict(_HOP.findall(response.headers.get("Server-Timing", "")))
            while len(body) <= _MAX_BYTES and (chunk := await response.content.readany()):
                body += chunk
    except TimeoutError:
        problem = "It took too long."
    except aiohttp.ClientError as error:
        problem = f"There was no answer ({type(error).__name__})."
    step = TestStep(name, sent, status, (time.perf_counter() - began) * 1000, hops, request_id, problem, "")
    return _Sent(step, _json(body))


def _judged(sent: _Sent, good: bool, missing: str) -> TestStep:
    """The step with what is wrong and what to do, from a response that holds what it should or does not."""
    step, found = sent.step, sent.document
    if step.status == 200 and good and not step.problem:
        return step
    error, status = found.get("error"), step.status or 0
    if isinstance(error, str):
        problem, remedy = f"{error}: {_text(found.get('error_description'))}", _REMEDIES.get(error, _REMEDIES[500])
    else:
        problem = step.problem or _diagnostics(found) or f"The response has {missing}."
        remedy = _REMEDIES.get(status, _OWN_ERROR) if status >= 400 else _REMEDIES[504]
    remedy = _NOT_THERE if step.name == "Statement" else remedy
    return replace(step, problem=f"{problem[:_MAX_CHARACTERS].rstrip('. ')}.", remedy=remedy)


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _diagnostics(outcome: Mapping[str, Any]) -> str:
    """The text of an OperationOutcome's first issue; "" for what is none."""
    issues = outcome.get("issue")
    issue = issues[0] if isinstance(issues, list) and issues and isinstance(issues[0], dict) else {}
    details = issue.get("details")
    return _text(issue.get("diagnostics")) or _text(details.get("text") if isinstance(details, dict) else "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
