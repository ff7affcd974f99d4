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
from shared.onboarding.report import Report, ResourceReport, Status, Verdict, summary, to_json
from tests.onboarding.conftest import Onboarding, Twist, type_of

LOADS, GAPS, FAILS = Verdict.LOADS, Verdict.LOADS_WITH_GAPS, Verdict.DOES_NOT_LOAD
OUTCOME = '{"resourceType": "OperationOutcome"}'
XML = '<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/></Bundle>'


def resource(report: Report, type: str) -> ResourceReport:
    (found,) = (resource for resource in report.resources if resource.type == type)
    return found


def problems(report: Report) -> list[str]:
    """Each problem as `Coverage not-found`."""
    return [f"{section} {problem.kind.code}" for section, problem in report.problems()]


def resources(body: Any, type: str) -> list[dict[str, Any]]:
    """The resources of a type in a response: a resource, a search set, or a batch-response of search sets."""
    if body.get("resourceType") == type:
        return [body]
    inside = [entry.get("resource") or {} for entry in body.get("entry", ())]
    return [found for item in inside for found in resources(item, type)]


def twist(pattern: str, change: Callable[[Any], Any]) -> Twist:
    """Changes the responses to requests that read so: `GET /r4/Patient?_count=1 `, `POST /r4/Patient/_search given=A`.

    `change` is given their JSON, to change it in place or to return another response.
    """

    async def changed(request: web.Request, body: Any) -> Any:
        text = f"{request.method} {request.raw_path} {(await request.read()).decode()}"
        return change(body) if re.search(pattern, text) else None

    return changed


def edit(pattern: str, change: Callable[[Any], object]) -> Twist:
    def changed(body: Any) -> None:
        change(body)

    return twist(pattern, changed)


def respond(pattern: str, status: int, body: str = OUTCOME, type: str = "application/fhir+json") -> Twist:
    return twist(pattern, lambda _: web.Response(text=body, status=status, content_type=type))


def wait(pattern: str, seconds: float) -> Twist:
    return twist(pattern, lambda _: asyncio.sleep(seconds))


def without(type: str, name: str, among: slice = slice(None)) -> Twist:
    """Takes a field out of the resources of a type."""
    return edit("", lambda body: [found.pop(name, None) for found in resources(body, type)[among]])


def undeclare_coverage(request: web.Request, body: Any) -> web.Response | None:
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

    problems: list[str]
    twist: Twist | None = None
    says: str = ""
    verdict: Verdict = GAPS
    statuses: dict[str, str] = field(default_factory=dict)
    hospital: Hospital = LAKESIDE
    patient_id: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)


PRACTITIONER = {"resourceType": "Practitioner", "id": "1"}
INSIDE = "https://inside.example/fhir"
NO_PATIENT = respond(r"Patient\?_count=10 ", 400)
OURS_ALONE = "(FHIR STU3): we still have something of our own to mend, and check again then."
SEVERITY = "Recommended, but not always there: severity of Conditions (0 of 2 entries)."
CASES = {
    "batch": Case(
        ["batch batch-unsupported"],
        says="Hospital (FHIR R4): we still have",
        hospital=NORTHGATE,
        columns={"Batch": "native"},
    ),
    "batch entry": Case(
        ["batch batch-unsupported"],
        edit("POST /stu3/fhir/? ", lambda body: body["entry"].append(body["entry"].pop() | {"resource": None})),
    ),
    "web page": Case(
        ["statement not-fhir", "Patient not-fhir"],
        respond("", 200, "<html>sign in</html>", "text/html"),
        *(OURS_ALONE, FAILS, {"Patient": "failed", "Coverage": "unchecked"}),
    ),
    "version": Case(["statement wrong-version"], says=OURS_ALONE, hospital=NORTHGATE, columns={"RowKey": "stu3"}),
    "formats": Case(
        ["statement json-not-declared"],
        edit("/metadata", lambda body: body.update(format=["xml", "application/fhir+xml", "<script>"])),
    ),
    "a required field": Case(
        [], without("MedicationRequest", "authoredOn", slice(1)), "Medications lack authoredOn in 1 of 2 entries."
    ),
    "a recommended field": Case([], without("Condition", "severity"), SEVERITY, LOADS),
    "birth dates": Case([], without("Patient", "birthDate"), "Patients lack birthDate in 10 of 10 entries.", FAILS),
    "some birth dates": Case([], without("Patient", "birthDate", slice(1, None)), "Patients lack birthDate in 9 of 10"),
    "credential": Case(
        ["Patient credential-refused"],
        *(None, "", FAILS, {"Patient": "refused", "Observation": "unchecked"}, RIVERSIDE),
        columns={"secret": "gateway:wrong"},
    ),
    **{
        f"status {status}": Case([f"Coverage {kind}"], respond("/Coverage", status), statuses={"Coverage": found})
        for status, kind, found in (
            *((307, "redirect", "failed"), (400, "refused", "refused"), (403, "forbidden", "refused")),
            *((404, "not-found", "missing"), (429, "throttled", "failed"), (500, "server-error", "failed")),
        )
    },
    "undeclared type": Case(["Coverage refused"], undeclare_coverage, statuses={"Coverage": "missing"}),
    "time": Case(
        ["Condition timeout"],
        wait("/Condition", 3600),
        "",
        GAPS,
        {"Condition": "failed"},
        columns={"TimeoutSeconds": "1"},
    ),
    "sort": Case(
        ["Encounter sort-refused"], respond("_sort:desc", 400), statuses={"Encounter": "refused", "Location": "works"}
    ),
    "cut off": Case(["Condition malformed"], respond("/Condition", 200, '{"resourceType": "Bun')),
    "xml": Case(["Coverage not-json"], respond("/Coverage", 200, XML, "application/fhir+xml")),
    "another resource": Case(["AllergyIntolerance unexpected-resource"], respond("/AllergyIntolerance", 200)),
    "another type": Case(
        ["Condition other-types"],
        edit(
            r"/Condition\?",
            lambda body: body["entry"].append({"resource": {"resourceType": "Practitioner", "id": "1"}}),
        ),
        "we still have",
    ),
    "next link": Case(
        ["paging page-elsewhere"] * 2,
        edit("", lambda body: [link.update(url=f"{INSIDE}/Patient?page=2") for link in body.get("link", ())]),
    ),
    "pages": Case(["paging pages-end-early"], edit("_count=1 ", lambda body: body.update(link=[]))),
    "count": Case(
        ["paging count-ignored"],
        edit("category=vital-signs&_count=1", lambda body: body.update(entry=body["entry"] * 2)),
    ),
    "one short chart": Case(["paging no-pages"], edit("", one_short_page), patient_id="1001"),
    "full URLs": Case(
        ["Condition base-elsewhere"],
        edit(r"/Condition\?", lambda body: [entry.update(fullUrl=f"{INSIDE}/Condition/1") for entry in body["entry"]]),
    ),
    "total": Case(["Condition no-total"], edit(r"/Condition\?", lambda body: body.pop("total"))),
    "entries": Case(
        ["AllergyIntolerance no-entries"], edit(r"/AllergyIntolerance\?", lambda body: body.update(entry=[], total=0))
    ),
    "one search": Case(["Patient refused"], respond("_search birthdate=", 400)),
    "main search of patients": Case(
        ["Patient not-among-results"],
        edit("_search given=.*&family=", lambda body: body.update(entry=[], link=[])),
        verdict=FAILS,
    ),
    "list of patients": Case(["Patient refused", "Patient no-patient"], NO_PATIENT, verdict=FAILS),
    "list of patients, with one given": Case([], NO_PATIENT, verdict=LOADS, patient_id="1001"),
    "patient": Case(["Patient no-patient"], None, "", FAILS, {"Patient": "missing"}, patient_id="nobody"),
    "GET searches refused": Case(
        ["Coverage get-refused"], respond(r"GET /stu3/fhir/Coverage\?", 405), statuses={"Coverage": "refused"}
    ),
    "scope": Case(
        ["Condition forbidden", "Coverage out-of-scope"],
        lambda request, body: web.Response(status=403) if type_of(request) in ("Condition", "Coverage") else None,
        "we still have something of our own to mend, and check again then.\nConditions: the server forbids",
        columns={"AuthScope": "system/Patient.read system/Condition.rs"},
    ),
    "total, asked for": Case(
        ["Condition total-not-given"],
        edit(r"/Condition\?", lambda body: body.pop("total")),
        "Conditions: the search's answer has no total, although it was asked for.",
        columns={"Total": "accurate"},
    ),
    "GET searches": Case(
        [],
        respond(r"GET /stu3/fhir/(?!metadata)\w+\?", 405),
        verdict=LOADS,
        columns={"Search": "post", "Batch": "split"},
    ),
    "nobody listens": Case(
        ["statement unreachable", "Patient unreachable"], verdict=FAILS, columns={"BaseUrl": "http://127.0.0.1:9"}
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
    assert {type: resource(report, type).status.value for type in case.statuses} == case.statuses


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.key)
async def test_a_whole_hospital_lets_the_app_load(onboarding: Onboarding, hospital: Hospital) -> None:
    """Each call is made thrice, and told as it ends."""
    steps: list[sections.Step] = []
    report = await onboarding(hospital, on_step=steps.append)
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
        assert found.type == "Location" or (found.entries > 0 and found.total is True)
    assert {call.media_type for call in resource(report, "Patient").calls} == {report.statement.formats[0]}
    assert report.batch.mode is (BatchMode.NATIVE if hospital.batch else BatchMode.SPLIT)
    assert [call.works for call in report.batch.calls] == ([True] if hospital.batch else [])
    assert report.paging.pages == 10
    read = next(call for call in resource(report, "Coverage").calls if call.call == "GET Coverage/[id]")
    assert read.repeats == onboarding.targets.count(f"GET {hospital.base_path}/Coverage/coverage-1001") == 3
    assert steps[0] == sections.Step("statement", report.statement.calls[0])
    parts = [(found.type, found.calls) for found in report.resources]
    for name, calls in (*parts, ("batch", report.batch.calls), ("paging", report.paging.calls)):
        assert [step.call for step in steps if step.section == name] == list(calls)


async def test_the_calls_are_the_apps_own(onboarding: Onboarding) -> None:
    await onboarding(RIVERSIDE)
    base = RIVERSIDE.base_path
    assert {
        *(f"GET {base}/{path}" for path in ("metadata", "Patient/1001", "Coverage/coverage-1001")),
        *(f"POST {base}{path}" for path in ("", "/Patient/_search")),
        f"GET {base}/Observation?patient=1001&_sort:desc=date&category=vital-signs",
        f"GET {base}/Encounter?patient=1001&_sort:desc=date&_count=50",
        *(f"GET {base}/{type}?patient=1001&_count=50" for type in ("Condition", "MedicationOrder")),
        *(f"GET {base}/{type}?patient=1001" for type in ("AllergyIntolerance", "Coverage")),
    } <= set(onboarding.targets)
    assert any(target.startswith(f"GET {base}/Location/ward-") for target in onboarding.targets)
    sent = zip(onboarding.targets, onboarding.bodies, strict=True)
    forms = dict.fromkeys(body for target, body in sent if "_search" in target)
    names = ["given family", "_id", "family:contains", "given", "name", "birthdate", "identifier", "_count"]
    assert [" ".join(re.findall("([^=&]+)=", form)) for form in forms] == names
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
    assert (resource(report, "Coverage").status, report.verdict) == (Status.SLOW, GAPS)
    assert re.search(r"^Slow: .*Coverages \(0\.", summary(report), re.MULTILINE)
    assert {call.repeats for found in report.resources for call in found.calls} == {1}


async def test_the_patient_can_be_given_by_an_id(onboarding: Onboarding) -> None:
    report = await onboarding(patient_id="1005")
    assert (resource(report, "Patient").entries, report.verdict is FAILS) == (1, False)
    assert not any("Patient?" in target for target in onboarding.targets)
    assert "GET /stu3/fhir/Coverage?patient=1005" in onboarding.targets
    onboarding.targets.clear()
    for id in ("", "a/b", "..", "a?b", "a" * 256):
        with pytest.raises(ValueError, match="no FHIR id"):
            await onboarding(patient_id=id)
    assert onboarding.targets == []


async def test_a_credential_that_can_not_be_made_is_told_with_its_reason(onboarding: Onboarding) -> None:
    missing = await onboarding(RIVERSIDE, secret="")
    assert problems(missing) == ["statement no-credential", "Patient no-credential"]
    assert "is missing, disabled, expired or empty" in missing.statement.problems[0].hint
    assert onboarding.targets == []
    refused = await onboarding(LAKESIDE, secret="wrong")
    assert "token endpoint answered 401 invalid_client" in refused.statement.problems[0].hint
    assert "token endpoint" not in summary(refused)


async def test_a_type_that_the_row_leaves_out_is_not_asked_for(onboarding: Onboarding) -> None:
    report = await onboarding(Types="Patient,Observation,Encounter")
    assert {"Coverage not-let-through", "Location not-let-through"} <= set(problems(report))
    assert not any(type in target for target in onboarding.targets for type in ("Coverage", "Location"))
    assert (await onboarding(Types="Observation")).verdict is FAILS


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("https://other.example/fhir/Location/ward-1", ["Location reference-elsewhere"]),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", ["Location reference-elsewhere"]),
        ("../../Location/ward-1", ["Location reference-elsewhere"]),
        ("#ward", ["Location no-location"]),
        ("{base}/Location/ward-1", []),
        ("Location/ward-1/_history/1", []),
    ],
)
async def test_locations_are_read_by_references_to_the_server_itself(
    onboarding: Onboarding, reference: str, told: list[str]
) -> None:
    def referred(request: web.Request, body: Any) -> None:
        base = f"http://{request.host}{LAKESIDE.base_path}"
        for encounter in resources(body, "Encounter"):
            for place in encounter["location"]:
                place["location"]["reference"] = reference.format(base=base)

    report = await onboarding(twist=referred)
    assert problems(report) == told
    assert resource(report, "Location").status is (Status.UNCHECKED if told else Status.WORKS)


async def test_a_row_that_bears_one_request_at_a_time_gets_one(onboarding: Onboarding) -> None:
    under_way, most = 0, 0

    async def count(request: web.Request, body: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    assert (await onboarding(twist=count, MaxConcurrent="1")).verdict is LOADS
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

    def mark(request: web.Request, body: Any) -> Any:
        if failing and type_of(request) not in ("Patient", "metadata"):
            headers = {"Content-Type": "text/html; patient=MARKED", "X-Patient": "MARKED"}
            return web.Response(text=f"MARKED {request.raw_path}", status=500, headers=headers)
        return marked(body)

    steps: list[sections.Step] = []
    caplog.set_level(logging.DEBUG)
    report = await onboarding(twist=mark, on_step=steps.append)
    assert report.gaps > 0
    assert any(f"patient={ids}" in target for target in onboarding.targets)
    assert (resource(report, "Observation").entries > 0) == (not failing and ids == "1001")
    out = [str(report), str(list(report.problems())), str(to_json(report)), summary(report), str(steps)]
    out += [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    for text in out:
        assert not any(word in text for word in ("MARKED", "marked", "/1001", "=1001", "-1001", "'1001'"))
