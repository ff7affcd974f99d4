"""The onboarding check, against whole hospitals and against each way in which a server can fall short."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from local.hospitals.hospital import HOSPITALS, LAKESIDE, NORTHGATE, RIVERSIDE, Hospital
from shared.directory.provider import BatchMode
from shared.fhir.interface import INTERFACE
from shared.onboarding import section as sections
from shared.onboarding.problem import ProblemKind
from shared.onboarding.report import Report, ResourceReport, Status, Verdict, summary, to_json
from tests.onboarding.conftest import Onboarding, type_of


def resource(report: Report, type: str) -> ResourceReport:
    (found,) = (resource for resource in report.resources if resource.type == type)
    return found


def problems(report: Report) -> list[tuple[str, ProblemKind]]:
    return [(part, problem.kind) for part, problem in report.problems()]


def resources(body: Any, type: str) -> list[dict[str, Any]]:
    """The resources of a type in an answer: a resource, a search set, or a batch-response of search sets."""
    if body.get("resourceType") == type:
        return [body]
    inside = [entry.get("resource") or {} for entry in body.get("entry", ())]
    return [found for item in inside for found in resources(item, type)]


def refusal(status: int) -> web.Response:
    return web.json_response({"resourceType": "OperationOutcome"}, status=status, content_type="application/fhir+json")


def for_type(type: str, answer: Callable[[], web.Response]) -> Callable[[web.Request, Any], web.Response | None]:
    """Answers all that names a type with this."""
    return lambda request, body: answer() if type_of(request) == type else None


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.key)
async def test_a_whole_hospital_lets_the_app_load(onboarding: Onboarding, hospital: Hospital) -> None:
    report = await onboarding(hospital)
    assert (report.verdict, report.gaps) == (Verdict.LOADS, 0), summary(report)
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


async def test_the_calls_are_the_apps_own(onboarding: Onboarding) -> None:
    await onboarding(RIVERSIDE)
    asked = set(onboarding.targets)
    base = RIVERSIDE.base_path
    assert {
        f"GET {base}/metadata",
        f"GET {base}/Patient/1001",
        f"POST {base}/Patient/_search",
        f"GET {base}/Observation?patient=1001&_sort:desc=date&category=vital-signs",
        f"GET {base}/Encounter?patient=1001&_sort:desc=date&_count=50",
        f"GET {base}/Condition?patient=1001&_count=50",
        f"GET {base}/MedicationOrder?patient=1001&_count=50",
        f"GET {base}/AllergyIntolerance?patient=1001",
        f"GET {base}/Coverage?patient=1001",
        f"GET {base}/Coverage/coverage-1001",
        f"POST {base}",
    } <= asked
    forms = [body for target, body in zip(onboarding.targets, onboarding.bodies, strict=True) if "_search" in target]
    names = [[pair.partition("=")[0] for pair in form.split("&")] for form in dict.fromkeys(forms)]
    single = ["_id", "family:contains", "given", "name", "birthdate", "identifier"]
    assert names == [["given", "family"], *([name] for name in single), ["_count"]]
    assert any(target.startswith(f"GET {base}/Location/ward-") for target in asked)


async def test_sort_is_spelled_as_the_pages_of_each_version_spell_it(onboarding: Onboarding) -> None:
    await onboarding(LAKESIDE)
    await onboarding(NORTHGATE)
    asked = set(onboarding.targets)
    assert "GET /stu3/fhir/Observation?patient=1001&_sort=-date&category=vital-signs" in asked
    assert "GET /stu3/fhir/Encounter?patient=1001&_sort:desc=date&_count=50" in asked
    assert "GET /r4/Encounter?patient=1001&_sort=-date&_count=50" in asked


async def test_each_call_is_made_thrice_and_told_as_it_ends(onboarding: Onboarding) -> None:
    steps: list[sections.Step] = []
    report = await onboarding.check(await onboarding.provider(), on_step=steps.append)
    told = [(step.section, step.call) for step in steps]
    assert told[0] == ("statement", report.statement.calls[0])
    parts = [(found.type, found.calls) for found in report.resources]
    for name, calls in (*parts, ("batch", report.batch.calls), ("paging", report.paging.calls)):
        assert [call for part, call in told if part == name] == list(calls)
    read = next(call for call in resource(report, "Coverage").calls if call.call == "GET Coverage/[id]")
    assert read.repeats == 3
    assert onboarding.targets.count("GET /stu3/fhir/Coverage/coverage-1001") == 3


async def test_a_call_that_has_taken_long_enough_is_not_made_again(
    onboarding: Onboarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "_ENOUGH_MILLISECONDS", 0)
    report = await onboarding()
    assert {call.repeats for found in report.resources for call in found.calls} == {1}
    assert report.verdict is Verdict.LOADS


async def test_the_patient_can_be_given(onboarding: Onboarding) -> None:
    report = await onboarding(patient_id="1005")
    assert resource(report, "Patient").entries == 1
    assert not any("Patient?" in target for target in onboarding.targets)
    assert "GET /stu3/fhir/Coverage?patient=1005" in onboarding.targets
    assert report.verdict is not Verdict.DOES_NOT_LOAD


async def test_a_patient_that_is_not_there_is_a_provider_that_does_not_load(onboarding: Onboarding) -> None:
    report = await onboarding(patient_id="nobody")
    assert report.verdict is Verdict.DOES_NOT_LOAD
    assert resource(report, "Patient").status is Status.MISSING


@pytest.mark.parametrize("id", ["", "a/b", "..", "a?b", "a" * 256])
async def test_what_is_no_id_is_not_asked_for(onboarding: Onboarding, id: str) -> None:
    with pytest.raises(ValueError, match="no FHIR id"):
        await onboarding(patient_id=id)
    assert onboarding.targets == []


async def test_a_batch_that_fails_suggests_to_split_it(onboarding: Onboarding) -> None:
    report = await onboarding(NORTHGATE, Batch="native")
    assert (report.verdict, problems(report)) == (
        Verdict.LOADS_WITH_GAPS,
        [("batch", ProblemKind.BATCH_UNSUPPORTED)],
    )
    assert report.batch.calls[0].status == 501
    assert "Batch=split" in report.batch.problems[0].hint
    assert "Batch: the app asks by batch, and that fails: the server failed (501)." in summary(report)


async def test_a_batch_with_an_entry_that_failed_is_one_that_fails(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        if request.method == "POST" and type_of(request) == "":
            body["entry"][2] = {"response": {"status": "404 Not Found"}}

    assert problems(await onboarding(twist=twist)) == [("batch", ProblemKind.BATCH_UNSUPPORTED)]


async def test_a_web_page_is_not_fhir(onboarding: Onboarding) -> None:
    report = await onboarding(twist=lambda *_: web.Response(text="<html>sign in</html>", content_type="text/html"))
    assert report.verdict is Verdict.DOES_NOT_LOAD
    assert problems(report) == [("statement", ProblemKind.NOT_FHIR), ("Patient", ProblemKind.NOT_FHIR)]
    patient = resource(report, "Patient")
    assert (patient.status, patient.calls[0].status, patient.calls[0].media_type) == (
        Status.FAILED,
        200,
        "text/html",
    )
    assert "Statement, Patients: the answer is text/html, not FHIR." in summary(report)
    assert len(onboarding.targets) == 2 + 1  # and a token: nothing else is asked for without a patient


async def test_a_server_of_another_version_is_told(onboarding: Onboarding) -> None:
    report = await onboarding(NORTHGATE, RowKey="stu3")
    assert ("statement", ProblemKind.WRONG_VERSION) in problems(report)
    assert "Statement: the server speaks FHIR 4.0.1." in summary(report)
    assert [field.path for field in resource(report, "MedicationRequest").lacking] == ["requester.agent.display"]


async def test_a_statement_without_json_is_told(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        if request.path.endswith("/metadata"):
            body["format"] = ["xml", "application/fhir+xml", "<script>"]

    report = await onboarding(twist=twist)
    assert problems(report) == [("statement", ProblemKind.JSON_NOT_DECLARED)]
    assert report.statement.formats == ("xml", "application/fhir+xml")


async def test_required_fields_are_counted_entry_by_entry(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        for found in resources(body, "MedicationRequest")[:1]:
            found.pop("authoredOn", None)

    report = await onboarding(twist=twist)
    (field,) = resource(report, "MedicationRequest").lacking
    assert (field.path, field.present, field.entries, field.share) == ("authoredOn", 1, 2, 0.5)
    assert report.verdict is Verdict.LOADS_WITH_GAPS
    assert "Medications lack authoredOn in 1 of 2 entries." in summary(report)


async def test_recommended_fields_are_no_gap(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        for found in resources(body, "Condition"):
            found.pop("severity")

    report = await onboarding(twist=twist)
    assert report.verdict is Verdict.LOADS
    assert "Recommended, but not always there: severity of Conditions (0 of 2 entries)." in summary(report)


@pytest.mark.parametrize(("kept", "verdict"), [(0, Verdict.DOES_NOT_LOAD), (1, Verdict.LOADS_WITH_GAPS)])
async def test_patients_without_a_required_field_keep_the_app_from_loading_when_no_patient_has_it(
    onboarding: Onboarding, kept: int, verdict: Verdict
) -> None:
    def twist(request: web.Request, body: Any) -> None:
        for found in resources(body, "Patient")[kept:]:
            del found["birthDate"]

    report = await onboarding(twist=twist)
    assert report.verdict is verdict
    assert f"Patients lack birthDate in {10 - kept} of 10 entries." in summary(report)


async def test_a_missing_total_is_told(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        body.pop("total", None)

    report = await onboarding(twist=twist)
    assert {kind for _, kind in problems(report)} == {ProblemKind.NO_TOTAL}
    assert [found.total for found in report.resources if found.total is not None] == [False] * 7
    assert report.verdict is Verdict.LOADS_WITH_GAPS


async def test_slow_is_what_takes_longer_than_the_threshold(
    onboarding: Onboarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def twist(request: web.Request, body: Any) -> None:
        if type_of(request) == "Coverage":
            await asyncio.sleep(0.15)

    monkeypatch.setattr(sections, "SLOW_MILLISECONDS", 100)
    report = await onboarding(twist=twist)
    assert resource(report, "Coverage").status is Status.SLOW
    assert report.verdict is Verdict.LOADS_WITH_GAPS
    assert "Coverages (0." in next(line for line in summary(report).splitlines() if line.startswith("Slow: "))


async def test_a_server_that_does_not_answer_in_time_is_told(onboarding: Onboarding) -> None:
    stopped = asyncio.Event()

    async def twist(request: web.Request, body: Any) -> None:
        if type_of(request) == "Condition":
            await stopped.wait()

    report = await onboarding(twist=twist, TimeoutSeconds="1")
    stopped.set()
    assert resource(report, "Condition").status is Status.FAILED
    assert ("Condition", ProblemKind.TIMEOUT) in problems(report)


async def test_a_server_that_is_not_there_is_told(onboarding: Onboarding) -> None:
    provider = await onboarding.provider(RIVERSIDE)
    await onboarding.running.aclose()
    report = await onboarding.check(provider)
    assert (report.verdict, {kind for _, kind in problems(report)}) == (
        Verdict.DOES_NOT_LOAD,
        {ProblemKind.UNREACHABLE},
    )


async def test_a_wrong_credential_is_told(onboarding: Onboarding) -> None:
    report = await onboarding(RIVERSIDE, secret="gateway:wrong")
    assert report.verdict is Verdict.DOES_NOT_LOAD
    assert problems(report) == [("Patient", ProblemKind.CREDENTIAL_REFUSED)]
    assert resource(report, "Patient").status is Status.REFUSED
    assert resource(report, "Observation").status is Status.UNCHECKED


async def test_a_credential_that_can_not_be_made_is_told_with_its_reason(onboarding: Onboarding) -> None:
    missing = await onboarding(RIVERSIDE, secret="")
    assert {kind for _, kind in problems(missing)} == {ProblemKind.NO_CREDENTIAL}
    assert "is missing, disabled, expired or empty" in missing.statement.problems[0].hint
    assert onboarding.targets == []

    refused = await onboarding(LAKESIDE, secret="wrong")
    assert "token endpoint answered 401 invalid_client" in refused.statement.problems[0].hint
    assert "token endpoint" not in summary(refused)


@pytest.mark.parametrize(
    ("status", "standing", "kind"),
    [
        (403, Status.REFUSED, ProblemKind.FORBIDDEN),
        (404, Status.MISSING, ProblemKind.NOT_FOUND),
        (400, Status.REFUSED, ProblemKind.REFUSED),
        (500, Status.FAILED, ProblemKind.SERVER_ERROR),
        (307, Status.FAILED, ProblemKind.REDIRECT),
    ],
)
async def test_a_type_that_fails_is_told_and_hurts_no_other(
    onboarding: Onboarding, status: int, standing: Status, kind: ProblemKind
) -> None:
    report = await onboarding(twist=for_type("Coverage", lambda: refusal(status)))
    assert resource(report, "Coverage").status is standing
    assert problems(report) == [("Coverage", kind)]
    assert report.verdict is Verdict.LOADS_WITH_GAPS
    assert [call.works for call in report.batch.calls] == [True]


async def test_a_refused_type_that_the_statement_does_not_declare_is_missing(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> web.Response | None:
        if request.path.endswith("/metadata"):
            declared = body["rest"][0]["resource"]
            declared[:] = [found for found in declared if found["type"] != "Coverage"]
        return refusal(400) if type_of(request) == "Coverage" else None

    assert resource(await onboarding(twist=twist), "Coverage").status is Status.MISSING


async def test_a_refused_sort_is_told_apart(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> web.Response | None:
        return refusal(400) if "_sort:desc" in request.raw_path else None

    report = await onboarding(twist=twist)
    encounters = resource(report, "Encounter")
    assert problems(report) == [("Encounter", ProblemKind.SORT_REFUSED)]
    assert (encounters.status, encounters.entries) == (Status.REFUSED, 2)
    assert resource(report, "Location").status is Status.WORKS


async def test_an_answer_that_is_cut_off_or_xml_or_another_resource_is_told(onboarding: Onboarding) -> None:
    answers = {
        "Condition": web.Response(body=b'{"resourceType": "Bun', content_type="application/fhir+json"),
        "Coverage": web.Response(
            body=b'<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/></Bundle>',
            content_type="application/fhir+xml",
        ),
        "Encounter": refusal(200),
    }
    found = problems(await onboarding(twist=lambda request, body: answers.get(type_of(request))))
    assert ("Condition", ProblemKind.MALFORMED) in found
    assert ("Coverage", ProblemKind.NOT_JSON) in found
    assert ("Encounter", ProblemKind.UNEXPECTED) in found


async def test_resources_that_the_gateway_would_hold_back_are_told(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        if type_of(request) == "Condition" and "entry" in body:
            body["entry"].append({"resource": {"resourceType": "Practitioner", "id": "1"}})

    report = await onboarding(twist=twist)
    assert problems(report) == [("Condition", ProblemKind.OTHER_TYPES)]
    assert "Practitioner" in summary(report)


async def test_a_type_that_the_row_leaves_out_is_not_asked_for(onboarding: Onboarding) -> None:
    report = await onboarding(Types="Patient,Observation,Encounter,Location")
    assert ("Coverage", ProblemKind.NOT_LET_THROUGH) in problems(report)
    assert resource(report, "Coverage").status is Status.UNCHECKED
    assert not any("Coverage" in target for target in onboarding.targets)
    assert (await onboarding(Types="Observation")).verdict is Verdict.DOES_NOT_LOAD


async def test_a_next_link_to_another_server_is_told_and_not_followed(onboarding: Onboarding) -> None:
    elsewhere = Onboarding(onboarding.vault, onboarding.settings, onboarding.running)
    origin = (await elsewhere.start(RIVERSIDE)).replace("127.0.0.1", "localhost")

    def twist(request: web.Request, body: Any) -> None:
        for link in body.get("link", ()):
            if link["relation"] == "next":
                link["url"] = f"{origin}{RIVERSIDE.base_path}/Patient?page=2"

    report = await onboarding(twist=twist)
    assert problems(report) == [("paging", ProblemKind.PAGE_ELSEWHERE)] * 2
    assert elsewhere.targets == []


async def test_pages_that_end_early_are_told(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        if "_count=1" in request.raw_path:
            body["link"] = []

    report = await onboarding(twist=twist)
    assert problems(report) == [("paging", ProblemKind.PAGES_END_EARLY)]


async def test_a_count_that_is_ignored_is_told(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        if "category=vital-signs&_count=1" in request.raw_path:
            body["entry"] *= 2

    assert problems(await onboarding(twist=twist)) == [("paging", ProblemKind.COUNT_IGNORED)]


async def test_a_server_with_one_short_chart_has_no_pages_to_show(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        if body.get("type") == "searchset":
            body["entry"] = body.get("entry", [])[:1]
            body["link"] = []

    assert ("paging", ProblemKind.NO_PAGES) in problems(await onboarding(patient_id="1001", twist=twist))


async def test_full_urls_of_another_base_are_told(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        if type_of(request) == "Condition":
            for entry in body.get("entry", ()):
                entry["fullUrl"] = "https://inside.example/fhir/Condition/1"

    assert problems(await onboarding(twist=twist)) == [("Condition", ProblemKind.BASE_ELSEWHERE)]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("https://other.example/fhir/Location/ward-1", [("Location", ProblemKind.REFERENCE_ELSEWHERE)]),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", [("Location", ProblemKind.REFERENCE_ELSEWHERE)]),
        ("../../Location/ward-1", [("Location", ProblemKind.REFERENCE_ELSEWHERE)]),
        ("#ward", [("Location", ProblemKind.NO_LOCATION)]),
        ("{base}/Location/ward-1", []),
        ("Location/ward-1/_history/1", []),
    ],
)
async def test_locations_are_read_by_references_to_the_server_itself(
    onboarding: Onboarding, reference: str, found: list[tuple[str, ProblemKind]]
) -> None:
    def twist(request: web.Request, body: Any) -> None:
        base = f"http://{request.host}{LAKESIDE.base_path}"
        for encounter in resources(body, "Encounter"):
            for place in encounter["location"]:
                place["location"]["reference"] = reference.format(base=base)

    report = await onboarding(twist=twist)
    assert problems(report) == found
    assert resource(report, "Location").status is (Status.UNCHECKED if found else Status.WORKS)


async def test_a_type_without_entries_is_not_shown_to_work(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> None:
        if type_of(request) == "AllergyIntolerance":
            body.update(entry=[], total=0)

    report = await onboarding(twist=twist)
    assert problems(report) == [("AllergyIntolerance", ProblemKind.NO_ENTRIES)]
    assert all(field.share is None for field in resource(report, "AllergyIntolerance").fields)


async def test_a_search_by_form_must_find_the_patient_it_describes(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> Any:
        if request.path.endswith("_search"):
            return {"resourceType": "Bundle", "type": "searchset", "total": 0}
        return None

    report = await onboarding(twist=twist)
    assert report.verdict is Verdict.DOES_NOT_LOAD
    assert {kind for part, kind in problems(report) if part == "Patient"} == {ProblemKind.NOT_AMONG_RESULTS}


async def test_one_search_of_patients_that_fails_is_a_gap_alone(onboarding: Onboarding) -> None:
    async def twist(request: web.Request, body: Any) -> web.Response | None:
        return refusal(400) if (await request.read()).startswith(b"birthdate=") else None

    report = await onboarding(twist=twist)
    assert (problems(report), report.verdict) == ([("Patient", ProblemKind.REFUSED)], Verdict.LOADS_WITH_GAPS)
    assert resource(report, "Patient").problems[0].call == "POST Patient/_search?birthdate"


async def test_a_server_that_lists_no_patients_needs_one_to_be_given(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> web.Response | None:
        return refusal(400) if request.raw_path.endswith("/Patient?_count=10") else None

    report = await onboarding(twist=twist)
    assert (report.verdict, problems(report)) == (
        Verdict.DOES_NOT_LOAD,
        [("Patient", ProblemKind.REFUSED), ("Patient", ProblemKind.NO_PATIENT)],
    )
    assert resource(report, "Patient").problems[1].hint == "name a test patient the account may read"
    assert (await onboarding(twist=twist, patient_id="1001")).verdict is Verdict.LOADS


async def test_a_server_without_searches_by_get_is_asked_by_post(onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: Any) -> web.Response | None:
        is_search = request.method == "GET" and request.path.count("/") == LAKESIDE.base_path.count("/") + 1
        return web.json_response({}, status=405) if is_search and not request.path.endswith("metadata") else None

    assert (await onboarding(twist=twist, Search="post", Batch="split")).verdict is Verdict.LOADS
    assert (await onboarding(twist=twist, Batch="split")).verdict is not Verdict.LOADS


async def test_a_row_that_bears_one_request_at_a_time_gets_one(onboarding: Onboarding) -> None:
    under_way, most = 0, 0

    async def twist(request: web.Request, body: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    assert (await onboarding(twist=twist, MaxConcurrent="1")).verdict is Verdict.LOADS
    assert most == 1


@pytest.mark.parametrize("ids", ["1001", "MARKED-1001"])
@pytest.mark.parametrize("failing", [False, True])
async def test_nothing_of_a_patient_is_in_anything_that_comes_out(
    onboarding: Onboarding, ids: str, failing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With every text of every answer marked but those that FHIR fixes, and with errors that repeat what was asked."""
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
