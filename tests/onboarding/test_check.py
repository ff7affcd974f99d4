"""The onboarding check, against whole hospitals and against each way in which a server can fall short."""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from local.hospitals.hospital import HOSPITALS, LAKESIDE, NORTHGATE, RIVERSIDE, Hospital
from shared.directory.provider import BatchMode
from shared.fhir.interface import INTERFACE
from shared.onboarding import section as sections
from shared.onboarding.problem import ProblemKind
from shared.onboarding.report import Report, ResourceReport, Status, Verdict, summary, to_json
from tests.onboarding.conftest import Onboarding, Twist, type_of

LOADS, GAPS, FAILS = Verdict.LOADS, Verdict.LOADS_WITH_GAPS, Verdict.DOES_NOT_LOAD
Problems = list[tuple[str, ProblemKind]]
OUTCOME = '{"resourceType": "OperationOutcome"}'
XML = '<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/></Bundle>'


def resource(report: Report, type: str) -> ResourceReport:
    (found,) = (resource for resource in report.resources if resource.type == type)
    return found


def problems(report: Report) -> Problems:
    return [(section, problem.kind) for section, problem in report.problems()]


def resources(body: Any, type: str) -> list[dict[str, Any]]:
    """The resources of a type in a response: a resource, a search set, or a batch-response of search sets."""
    if body.get("resourceType") == type:
        return [body]
    inside = [entry.get("resource") or {} for entry in body.get("entry", ())]
    return [found for item in inside for found in resources(item, type)]


async def matches(request: web.Request, pattern: str) -> bool:
    """Whether method, target and body read so, as `GET /r4/Patient?_count=1 `, `POST /r4/Patient/_search given=Ann`."""
    return bool(re.search(pattern, f"{request.method} {request.raw_path} {(await request.read()).decode()}"))


def edit(pattern: str, change: Callable[[Any], object]) -> Twist:
    """Changes the JSON of the responses to some requests."""

    async def twist(request: web.Request, body: Any) -> None:
        if await matches(request, pattern):
            change(body)

    return twist


def respond(pattern: str, status: int, body: str = OUTCOME, type: str = "application/fhir+json") -> Twist:
    """Responds to some requests with this."""

    async def twist(request: web.Request, _: Any) -> web.Response | None:
        response = web.Response(text=body, status=status, content_type=type)
        return response if await matches(request, pattern) else None

    return twist


def wait(pattern: str, seconds: float) -> Twist:
    """Lets some requests wait."""

    async def twist(request: web.Request, _: Any) -> None:
        if await matches(request, pattern):
            await asyncio.sleep(seconds)

    return twist


def without(type: str, name: str, among: slice = slice(None)) -> Twist:
    """Takes a field out of the resources of a type."""
    return edit("", lambda body: [found.pop(name, None) for found in resources(body, type)[among]])


def link_elsewhere(body: Any) -> None:
    for link in body.get("link", ()):
        link["url"] = "https://inside.example/fhir/Patient?page=2"


def without_coverage(request: web.Request, body: Any) -> web.Response | None:
    if request.path.endswith("/metadata"):
        declared = body["rest"][0]["resource"]
        declared[:] = [found for found in declared if found["type"] != "Coverage"]
    return web.Response(status=400) if type_of(request) == "Coverage" else None


def one_short_page(body: Any) -> None:
    if body.get("type") == "searchset":
        body.update(entry=body.get("entry", [])[:1], link=[])


@dataclass(frozen=True)
class Case:
    """A server that falls short, and what is told of it."""

    problems: Problems
    twist: Twist | None = None
    says: str = ""
    verdict: Verdict = GAPS
    statuses: dict[str, Status] = field(default_factory=dict)
    hospital: Hospital = LAKESIDE
    patient_id: str | None = None
    columns: dict[str, str] = field(default_factory=dict)


K = ProblemKind
NO_PATIENT = respond(r"Patient\?_count=10 ", 400)
CASES = {
    "batch": Case(
        [("batch", K.BATCH_UNSUPPORTED)],
        says="Batch: the app asks by batch, and that fails: the server failed (501).",
        hospital=NORTHGATE,
        columns={"Batch": "native"},
    ),
    "batch entry": Case(
        [("batch", K.BATCH_UNSUPPORTED)],
        edit("POST /stu3/fhir/? ", lambda body: body["entry"].append(body["entry"].pop() | {"resource": None})),
    ),
    "web page": Case(
        [("statement", K.NOT_FHIR), ("Patient", K.NOT_FHIR)],
        respond("", 200, "<html>sign in</html>", "text/html"),
        "Statement, Patients: the answer is text/html, not FHIR.",
        FAILS,
        {"Patient": Status.FAILED, "Coverage": Status.UNCHECKED},
    ),
    "version": Case(
        [("statement", K.WRONG_VERSION)],
        says="Statement: the server speaks FHIR 4.0.1.\nMedications lack requester.agent.display in 2 of 2 entries.",
        hospital=NORTHGATE,
        columns={"RowKey": "stu3"},
    ),
    "formats": Case(
        [("statement", K.JSON_NOT_DECLARED)],
        edit("/metadata", lambda body: body.update(format=["xml", "application/fhir+xml", "<script>"])),
    ),
    "a required field": Case(
        [], without("MedicationRequest", "authoredOn", slice(1)), "Medications lack authoredOn in 1 of 2 entries."
    ),
    "a recommended field": Case(
        [],
        without("Condition", "severity"),
        "Recommended, but not always there: severity of Conditions (0 of 2 entries).",
        LOADS,
    ),
    "birth dates": Case([], without("Patient", "birthDate"), "Patients lack birthDate in 10 of 10 entries.", FAILS),
    "some birth dates": Case([], without("Patient", "birthDate", slice(1, None)), "Patients lack birthDate in 9 of 10"),
    "credential": Case(
        [("Patient", K.CREDENTIAL_REFUSED)],
        verdict=FAILS,
        statuses={"Patient": Status.REFUSED, "Observation": Status.UNCHECKED},
        hospital=RIVERSIDE,
        columns={"secret": "gateway:wrong"},
    ),
    **{
        f"status {status}": Case([("Coverage", kind)], respond("/Coverage", status), statuses={"Coverage": found})
        for status, kind, found in (
            (307, K.REDIRECT, Status.FAILED),
            (400, K.REFUSED, Status.REFUSED),
            (403, K.FORBIDDEN, Status.REFUSED),
            (404, K.NOT_FOUND, Status.MISSING),
            (429, K.THROTTLED, Status.FAILED),
            (500, K.SERVER_ERROR, Status.FAILED),
        )
    },
    "a type that the statement does not declare": Case(
        [("Coverage", K.REFUSED)], without_coverage, statuses={"Coverage": Status.MISSING}
    ),
    "no response in time": Case(
        [("Condition", K.TIMEOUT)],
        wait("/Condition", 3600),
        statuses={"Condition": Status.FAILED},
        columns={"TimeoutSeconds": "1"},
    ),
    "sort": Case(
        [("Encounter", K.SORT_REFUSED)],
        respond("_sort:desc", 400),
        statuses={"Encounter": Status.REFUSED, "Location": Status.WORKS},
    ),
    "cut off": Case([("Condition", K.MALFORMED)], respond("/Condition", 200, '{"resourceType": "Bun')),
    "xml": Case([("Coverage", K.NOT_JSON)], respond("/Coverage", 200, XML, "application/fhir+xml")),
    "another resource": Case([("AllergyIntolerance", K.UNEXPECTED_RESOURCE)], respond("/AllergyIntolerance", 200)),
    "another type": Case(
        [("Condition", K.OTHER_TYPES)],
        edit(
            r"/Condition\?",
            lambda body: body["entry"].append({"resource": {"resourceType": "Practitioner", "id": "1"}}),
        ),
        "Practitioner",
    ),
    "next link": Case([("paging", K.PAGE_ELSEWHERE)] * 2, edit("", link_elsewhere)),
    "pages": Case([("paging", K.PAGES_END_EARLY)], edit("_count=1 ", lambda body: body.update(link=[]))),
    "count": Case(
        [("paging", K.COUNT_IGNORED)],
        edit("category=vital-signs&_count=1", lambda body: body.update(entry=body["entry"] * 2)),
    ),
    "one short chart": Case([("paging", K.NO_PAGES)], edit("", one_short_page), patient_id="1001"),
    "full URLs": Case(
        [("Condition", K.BASE_ELSEWHERE)],
        edit(
            r"/Condition\?",
            lambda body: [entry.update(fullUrl="https://inside.example/fhir/Condition/1") for entry in body["entry"]],
        ),
    ),
    "total": Case([("Condition", K.NO_TOTAL)], edit(r"/Condition\?", lambda body: body.pop("total"))),
    "entries": Case(
        [("AllergyIntolerance", K.NO_ENTRIES)],
        edit(r"/AllergyIntolerance\?", lambda body: body.update(entry=[], total=0)),
    ),
    "one search": Case([("Patient", K.REFUSED)], respond("_search birthdate=", 400)),
    "main search of patients": Case(
        [("Patient", K.NOT_AMONG_RESULTS)],
        edit("_search given=.*&family=", lambda body: body.update(entry=[], link=[])),
        verdict=FAILS,
    ),
    "list of patients": Case(
        [("Patient", K.REFUSED), ("Patient", K.NO_PATIENT)],
        NO_PATIENT,
        verdict=FAILS,
    ),
    "list of patients, with one given": Case([], NO_PATIENT, verdict=LOADS, patient_id="1001"),
    "patient": Case(
        [
            *(("Patient", kind) for kind in (K.NOT_FOUND, K.NOT_AMONG_RESULTS)),
            *((type, K.NO_ENTRIES) for type in ("Observation", "Condition", "Encounter", "AllergyIntolerance")),
            *((type, K.NO_ENTRIES) for type in ("MedicationRequest", "Coverage")),
            ("paging", K.NO_PAGES),
        ],
        verdict=FAILS,
        statuses={"Patient": Status.MISSING},
        patient_id="nobody",
    ),
    "GET searches": Case(
        [],
        respond(r"GET /stu3/fhir/(?!metadata)\w+\?", 405),
        verdict=LOADS,
        columns={"Search": "post", "Batch": "split"},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_server_that_falls_short_is_told(
    onboarding: Onboarding, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "_ENOUGH_MILLISECONDS", 0)  # each call once
    report = await onboarding(case.hospital, case.twist, case.patient_id, **case.columns)
    assert (problems(report), report.verdict) == (case.problems, case.verdict), summary(report)
    assert case.says in summary(report)
    assert {type: resource(report, type).status for type in case.statuses} == case.statuses


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.key)
async def test_a_whole_hospital_lets_the_app_load(onboarding: Onboarding, hospital: Hospital) -> None:
    """Each call is made thrice, and told as it ends."""
    steps: list[sections.Step] = []
    report = await onboarding.check(await onboarding.provider(hospital), on_step=steps.append)
    assert (report.verdict, report.gaps) == (LOADS, 0), summary(report)
    assert (report.version, report.name) == (hospital.version, hospital.name)
    assert report.statement.fhir_version == hospital.version.number
    assert [found.type for found in report.resources] == [found.type for found in INTERFACE[hospital.version]]
    for found in report.resources:
        if found.spare:
            assert (found.type, found.status) == ("MedicationStatement", Status.MISSING)
            continue
        assert found.status is Status.WORKS
        assert all(call.works and call.status == 200 and call.milliseconds > 0 for call in found.calls)
        if found.type != "Location":
            assert found.entries > 0
            assert found.total is True
    assert {call.media_type for call in resource(report, "Patient").calls} == {report.statement.formats[0]}
    assert report.batch.mode is (BatchMode.NATIVE if hospital.batch else BatchMode.SPLIT)
    assert [call.works for call in report.batch.calls] == ([True] if hospital.batch else [])
    assert report.paging.pages == 10
    read = next(call for call in resource(report, "Coverage").calls if call.call == "GET Coverage/[id]")
    assert read.repeats == 3
    assert onboarding.targets.count(f"GET {hospital.base_path}/Coverage/coverage-1001") == 3
    assert steps[0] == sections.Step("statement", report.statement.calls[0])
    parts = [(found.type, found.calls) for found in report.resources]
    for name, calls in (*parts, ("batch", report.batch.calls), ("paging", report.paging.calls)):
        assert [step.call for step in steps if step.section == name] == list(calls)


async def test_the_calls_are_the_apps_own(onboarding: Onboarding) -> None:
    await onboarding(RIVERSIDE)
    base = RIVERSIDE.base_path
    assert {
        f"GET {base}/metadata",
        f"GET {base}/Patient/1001",
        f"POST {base}/Patient/_search",
        f"GET {base}/Observation?patient=1001&_sort:desc=date&category=vital-signs",
        f"GET {base}/Encounter?patient=1001&_sort:desc=date&_count=50",
        *(f"GET {base}/{type}?patient=1001&_count=50" for type in ("Condition", "MedicationOrder")),
        *(f"GET {base}/{type}?patient=1001" for type in ("AllergyIntolerance", "Coverage")),
        f"GET {base}/Coverage/coverage-1001",
        f"POST {base}",
    } <= set(onboarding.targets)
    assert any(target.startswith(f"GET {base}/Location/ward-") for target in onboarding.targets)
    sent = zip(onboarding.targets, onboarding.bodies, strict=True)
    forms = dict.fromkeys(body for target, body in sent if "_search" in target)
    single = ["_id", "family:contains", "given", "name", "birthdate", "identifier"]
    assert [re.findall("([^=&]+)=", form) for form in forms] == [
        ["given", "family"],
        *([x] for x in single),
        ["_count"],
    ]
    # Sort is spelled as the interface's pages of each version spell it.
    await onboarding(LAKESIDE)
    await onboarding(NORTHGATE)
    assert {
        "GET /stu3/fhir/Observation?patient=1001&_sort=-date&category=vital-signs",
        "GET /stu3/fhir/Encounter?patient=1001&_sort:desc=date&_count=50",
        "GET /r4/Encounter?patient=1001&_sort=-date&_count=50",
    } <= set(onboarding.targets)


async def test_slow_calls_are_told_and_not_repeated(onboarding: Onboarding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "SLOW_MILLISECONDS", 100)
    monkeypatch.setattr(sections, "_ENOUGH_MILLISECONDS", 0)
    report = await onboarding(twist=wait("/Coverage", 0.15))
    assert resource(report, "Coverage").status is Status.SLOW
    assert report.verdict is GAPS
    assert "Coverages (0." in next(line for line in summary(report).splitlines() if line.startswith("Slow: "))
    assert {call.repeats for found in report.resources for call in found.calls} == {1}


async def test_the_patient_can_be_given_by_an_id(onboarding: Onboarding) -> None:
    report = await onboarding(patient_id="1005")
    assert resource(report, "Patient").entries == 1
    assert not any("Patient?" in target for target in onboarding.targets)
    assert "GET /stu3/fhir/Coverage?patient=1005" in onboarding.targets
    assert report.verdict is not FAILS
    onboarding.targets.clear()
    for id in ("", "a/b", "..", "a?b", "a" * 256):
        with pytest.raises(ValueError, match="no FHIR id"):
            await onboarding(patient_id=id)
    assert onboarding.targets == []


async def test_a_server_that_is_not_there_is_told(onboarding: Onboarding) -> None:
    provider = await onboarding.provider(RIVERSIDE)
    await onboarding.running.aclose()
    report = await onboarding.check(provider)
    assert (report.verdict, {kind for _, kind in problems(report)}) == (FAILS, {K.UNREACHABLE})


async def test_a_credential_that_can_not_be_made_is_told_with_its_reason(onboarding: Onboarding) -> None:
    missing = await onboarding(RIVERSIDE, secret="")
    assert {kind for _, kind in problems(missing)} == {K.NO_CREDENTIAL}
    assert "is missing, disabled, expired or empty" in missing.statement.problems[0].hint
    assert onboarding.targets == []
    refused = await onboarding(LAKESIDE, secret="wrong")
    assert "token endpoint answered 401 invalid_client" in refused.statement.problems[0].hint
    assert "token endpoint" not in summary(refused)


async def test_a_type_that_the_row_leaves_out_is_not_asked_for(onboarding: Onboarding) -> None:
    report = await onboarding(Types="Patient,Observation,Encounter")
    assert {type for type, kind in problems(report) if kind is K.NOT_LET_THROUGH} >= {"Coverage", "Location"}
    assert resource(report, "Coverage").status is Status.UNCHECKED
    assert not any(type in target for target in onboarding.targets for type in ("Coverage", "Location"))
    assert (await onboarding(Types="Observation")).verdict is FAILS


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("https://other.example/fhir/Location/ward-1", K.REFERENCE_ELSEWHERE),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", K.REFERENCE_ELSEWHERE),
        ("../../Location/ward-1", K.REFERENCE_ELSEWHERE),
        ("#ward", K.NO_LOCATION),
        ("{base}/Location/ward-1", None),
        ("Location/ward-1/_history/1", None),
    ],
)
async def test_locations_are_read_by_references_to_the_server_itself(
    onboarding: Onboarding, reference: str, kind: ProblemKind | None
) -> None:
    def twist(request: web.Request, body: Any) -> None:
        base = f"http://{request.host}{LAKESIDE.base_path}"
        for encounter in resources(body, "Encounter"):
            for place in encounter["location"]:
                place["location"]["reference"] = reference.format(base=base)

    report = await onboarding(twist=twist)
    assert problems(report) == ([] if kind is None else [("Location", kind)])
    assert resource(report, "Location").status is (Status.WORKS if kind is None else Status.UNCHECKED)


async def test_a_row_that_bears_one_request_at_a_time_gets_one(onboarding: Onboarding) -> None:
    under_way, most = 0, 0

    async def twist(request: web.Request, body: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    assert (await onboarding(twist=twist, MaxConcurrent="1")).verdict is LOADS
    assert most == 1


@pytest.mark.parametrize("ids", ["1001", "MARKED-1001"])
@pytest.mark.parametrize("failing", [False, True])
async def test_nothing_of_a_patient_is_in_anything_that_comes_out(
    onboarding: Onboarding, ids: str, failing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With every text of every response marked but those that FHIR fixes, and with errors that repeat the request."""
    fixed = {"resourceType", "relation", "type", "fhirVersion", "format", "mode", "code", "status"}

    def marked(value: Any, name: str = "") -> Any:
        match value:
            case dict():
                return {key: marked(item, key) for key, item in value.items()}
            case list():
                return [marked(item, name) for item in value]
            case str() if name == "id":
                return value.replace("1001", ids)
            case str() if name == "url":
                return f"{value}&x=MARKED"
            case str() if name not in fixed:
                return f"MARKED{value}"
        return value

    def twist(request: web.Request, body: Any) -> Any:
        if failing and type_of(request) not in ("Patient", "metadata"):
            headers = {"Content-Type": "text/html; patient=MARKED", "X-Patient": "MARKED"}
            return web.Response(text=f"MARKED {request.raw_path}", status=500, headers=headers)
        return marked(body)

    steps: list[sections.Step] = []
    provider = await onboarding.provider(twist=twist)
    caplog.set_level(logging.DEBUG)
    report = await onboarding.check(provider, on_step=steps.append)
    assert report.gaps > 0
    assert any(f"patient={ids}" in target for target in onboarding.targets)
    assert (resource(report, "Observation").entries > 0) == (not failing and ids == "1001")
    out = [str(report), str(list(report.problems())), str(to_json(report)), summary(report), str(steps)]
    out += [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    for text in out:
        assert not any(mark in text for mark in ("MARKED", "marked", "/1001", "=1001", "-1001", "'1001'"))
