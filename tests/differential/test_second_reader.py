"""What is judged is what is sent: HAPI reads in it what the gateway judged, and nothing besides."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.fhir.batch import BatchEntry, batch_entries
from shared.fhir.body import read_body
from shared.fhir.document import CONDITIONS, Resource, Unreadable, run
from shared.fhir.errors import FhirError
from shared.fhir.interaction import parse
from shared.fhir.policy import Permissions, authorize, authorize_reference
from shared.fhir.rewriting import LinkMap
from shared.fhir.versions import FhirFormat, FhirVersion
from tests.differential.cases import OPERATION, TYPES, Case, downward, known_downward, known_upward, upward
from tests.differential.conftest import Reader, Sent, Way
from tests.faults import page
from tests.faults.conftest import FULL
from tests.host import HttpResponse

_CASES = int(os.environ.get("DIFFERENTIAL_CASES", "10000" if FULL else "100"))  # each way
_CHUNK = 500
_GATEWAY = "https://gateway.example"
_PAGES = ("next", "previous", "prev", "first", "last", "self")

Found = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request of a batch: where it goes, under which conditions, and the type of its resource."""

    method: str
    target: str
    conditions: Mapping[str, str]
    full_url: str | None
    type: str | None


@dataclass
class Outcome:
    """How many were passed on, of these how many are beyond HAPI, how many refused, and what is wrong."""

    passed: int = 0
    beyond: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self) -> None:
        shortest = "\n".join(sorted(self.wrong, key=len)[:10])
        assert not self.wrong, f"{len(self.wrong)} are wrong; the shortest:\n{shortest}"

    def noted(self, way: str) -> None:
        """A row of the page; neither may everything be refused, nor be beyond HAPI."""
        cases = self.passed + self.refused
        page.note("differential", way, cases, self.passed, self.refused, self.beyond, len(self.wrong) or "nothing")
        self.check()
        assert self.passed > cases // 5
        assert self.beyond < cases // 20


@pytest.mark.parametrize("case", [*known_upward(), *known_downward()], ids=lambda case: str(case.number))
async def test_what_once_went_past_policy(case: Case, way: Way, second_reader: Reader) -> None:
    outcome = Outcome()
    await (_down if case.answers else _up)([case], way, second_reader, outcome)
    outcome.check()


async def test_hapi_reads_in_what_goes_up_what_was_judged(way: Way, second_reader: Reader) -> None:
    outcome = Outcome()
    for numbers in _chunks():
        await _up([upward(number, f"{_GATEWAY}/stu3") for number in numbers], way, second_reader, outcome)
    outcome.noted("up")


async def test_hapi_reads_in_what_comes_down_what_was_judged(way: Way, second_reader: Reader) -> None:
    outcome = Outcome()
    for numbers in _chunks():
        await _down([downward(number, way.base_url) for number in numbers], way, second_reader, outcome)
    outcome.noted("down")


def _chunks() -> Iterator[range]:
    return (range(start, min(start + _CHUNK, _CASES)) for start in range(0, _CASES, _CHUNK))


async def _up(cases: list[Case], way: Way, second_reader: Reader, outcome: Outcome) -> None:
    gone = await way.go(cases)
    bodies = [(case, sent) for case, requests, _ in gone for sent in requests if sent.content]
    read = await second_reader.read([(case.row.version, sent.format, sent.content) for case, sent in bodies])
    found = {id(sent): reading for (_, sent), reading in zip(bodies, read, strict=True)}
    for case, requests, answer in gone:
        outcome.passed += bool(requests)
        outcome.refused += not requests
        outcome.beyond += any("unreadable" in found.get(id(sent), {}) for sent in requests)
        problems = [*_in_what_went_up(case, requests, found, way.base_url)]
        if not 200 <= answer.status < 500:
            problems.append(f"it was answered {answer.status}")
        outcome.wrong += [f"{case.number} ({case.changes}): {problem}: {case.sent}" for problem in problems]


async def _down(cases: list[Case], way: Way, second_reader: Reader, outcome: Outcome) -> None:
    gone = await way.go(cases)
    passed = [(case, answer) for case, _, answer in gone if answer.status == 200]
    read = await second_reader.read([_document(case, answer) for case, answer in passed])
    outcome.passed += len(passed)
    outcome.refused += len(gone) - len(passed)
    for (case, answer), reading in zip(passed, read, strict=True):
        outcome.beyond += "unreadable" in reading
        problems = [] if "unreadable" in reading else _in_what_came_down(case, answer, reading)
        outcome.wrong += [f"{case.number} ({case.changes}): {problem}: {answer.body!r}" for problem in problems]
    for case, _, answer in gone:
        if answer.status not in (200, 403, 502):
            outcome.wrong.append(f"{case.number} ({case.changes}): it was answered {answer.status}")


def _in_what_went_up(case: Case, requests: list[Sent], found: dict[int, Found], base_url: str) -> Iterator[str]:
    operations = frozenset({f"Patient/{OPERATION}"})
    write = case.row.access == "write"
    permissions = Permissions(frozenset(TYPES), case.row.version, write, operations=operations)
    for sent in requests:
        reading = found.get(id(sent))
        for reference in _criteria(reading or {}):
            try:
                authorize_reference(reference, permissions)
            except FhirError as error:
                yield f"HAPI reads a search, {reference}: {error.diagnostics}"
        if sent.path:
            yield from _refused(sent.method, sent.path, sent.headers, permissions)
            type = "Parameters" if sent.method == "PATCH" else re.split(r"\W", sent.path)[0]
            if reading and "unreadable" not in reading and reading["resourceType"] != type:
                yield f"HAPI reads in {sent.method} {sent.path} a {reading['resourceType']}"
        elif reading and "unreadable" not in reading:
            yield from _in_batch(case, reading, permissions, base_url)


def _criteria(reading: Found) -> Iterator[str]:
    yield from reading.get("criteria", ())
    for entry in reading.get("entry", ()):
        yield from _criteria(entry.get("resource", {}))


def _in_batch(case: Case, reading: Found, permissions: Permissions, base_url: str) -> Iterator[str]:
    assert case.sent is not None
    if reading.get("type") not in ("batch", "transaction"):
        yield f"HAPI reads a {reading.get('type')} of the type {reading['resourceType']}"
    entries = [_asked(entry) for entry in reading.get("entry", ())]
    for entry in entries:
        headers = {CONDITIONS[name]: value for name, value in entry.conditions.items()}
        for refusal in _refused(entry.method, entry.target, headers, permissions):
            yield f"HAPI reads {entry.method} {entry.target}: {refusal}"
    links = LinkMap((f"{_GATEWAY}/{case.row.version.value}",), base_url)
    bundle = run(read_body(case.sent.content, case.sent.format)).resource.bundle
    assert bundle is not None
    expected = [_judged(entry) for entry in run(batch_entries(bundle, links)) if isinstance(entry, BatchEntry)]
    if entries != expected:
        yield f"HAPI reads {entries}, judged was {expected}"


def _judged(entry: BatchEntry) -> Asked:
    target = entry.interaction.path + (f"?{entry.query}" if entry.query else "")
    return Asked(entry.method, target, entry.conditions, entry.full_url, entry.resource and entry.resource.type)


def _asked(entry: Found) -> Asked:
    request = dict(entry.get("request", {}))
    method, target = request.pop("method", ""), request.pop("url", "")
    type = entry["resource"]["resourceType"] if "resource" in entry else None
    return Asked(method, target.removeprefix("/"), request, entry.get("fullUrl"), type)


def _refused(method: str, target: str, headers: dict[str, str], permissions: Permissions) -> Iterator[str]:
    path, _, query = target.partition("?")
    try:
        authorize(parse(method, path.removeprefix("/"), query, headers), query, permissions)
    except FhirError as error:
        yield f"{method} {target} may not go up: {error.diagnostics}"


def _document(case: Case, answer: HttpResponse) -> tuple[FhirVersion, FhirFormat, bytes]:
    format = FhirFormat.XML if "xml" in answer.headers["Content-Type"] else FhirFormat.JSON
    return case.row.version, format, answer.body


def _in_what_came_down(case: Case, answer: HttpResponse, reading: Found) -> Iterator[str]:
    if others := set(_types(reading)) - {*TYPES, "Bundle", "OperationOutcome"}:
        yield f"HAPI reads {others}"
    base = f"{_GATEWAY}/{case.row.version.value}"
    for link in _page_links(case, reading):
        if link.get("relation", "").strip().lower() in _PAGES and not re.match(rf"{base}(?:[/?]|\Z)", link["url"]):
            yield f"HAPI reads a link {link}"
    _, format, content = _document(case, answer)
    theirs = _judged_parts(reading)
    try:
        ours = _found(run(read_body(content, format)).resource)
    except Unreadable as error:
        yield f"HAPI reads {theirs}, and policy nothing, for {error.problem}"
        return
    if ours != theirs:
        yield f"HAPI reads {theirs}, judged was {ours}"


def _found(resource: Resource) -> Found:
    """The types and links that policy judges, in the words of HAPI's reader."""
    bundle = resource.bundle
    if bundle is None:
        return {"resourceType": resource.type}
    entries = [{"resource": entry.resource, "outcome": entry.outcome} for entry in bundle.entries]
    return {
        "resourceType": "Bundle",
        "type": bundle.type,
        "link": [{"relation": link.relation, "url": link.url} for link in bundle.links],
        "entry": [{name: _found(part) for name, part in entry.items() if part is not None} for entry in entries],
    }


def _page_links(case: Case, reading: Found) -> list[Found]:
    """The links of the Bundle that answers a search or a history; in a batch the first request is a search.

    The answer to an operation has pages where it says that it is a searchset.
    """
    if case.method == "POST":
        entries = reading.get("entry", [])[:1]
        reading = entries[0].get("resource", {}) if entries else {}
    if case.path == "Patient/1" or (case.path.endswith(OPERATION) and reading.get("type") != "searchset"):
        return []
    return [link for link in reading.get("link", ()) if "url" in link]


def _types(reading: Found) -> Iterator[str]:
    yield reading["resourceType"]
    for entry in reading.get("entry", ()):
        for part in ("resource", "outcome"):
            if part in entry:
                yield from _types(entry[part])


def _judged_parts(reading: Found) -> Found:
    """What HAPI reads, without what is not judged in an answer: links that lead nowhere, and an entry's request."""
    if reading["resourceType"] != "Bundle":
        return {"resourceType": reading["resourceType"]}
    links = [{"relation": link.get("relation", ""), "url": link["url"]} for link in reading["link"] if "url" in link]
    entries = [
        {part: _judged_parts(entry[part]) for part in ("resource", "outcome") if part in entry}
        for entry in reading["entry"]
    ]
    return {"resourceType": "Bundle", "type": reading.get("type", ""), "link": links, "entry": entries}
