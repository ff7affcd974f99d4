"""The demo hospitals over HTTP, each asked with its own credential."""

import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from fhir.resources import get_fhir_model_class as r5_model
from fhir.resources.R4B import get_fhir_model_class as r4_model
from fhir.resources.STU3 import get_fhir_model_class as stu3_model
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from local.hospitals.credentials import BasicPassword, ClientSecret, Credential, SubscriptionKey
from local.hospitals.hospital import HILLCREST, HOSPITALS, LAKESIDE, NORTHGATE, RIVERSIDE, SEASIDE, Hospital
from local.hospitals.paging import StoredPages
from local.hospitals.search import search
from local.hospitals.server import create_app
from shared.fhir.versions import FhirFormat

TODAY = date(2026, 3, 14)
R4_BASE = "http://127.0.0.1:8101/r4"
CLIENT = "client_id=gate:way&client_secret=s3cret%2F%2B"
GRANT = "grant_type=client_credentials"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def basic(username: str, password: str) -> str:
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


@dataclass
class Caller:
    """A client with the hospital's credential."""

    hospital: Hospital
    session: aiohttp.ClientSession
    origin: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    now: float = 0.0

    @property
    def base(self) -> str:
        return self.origin + self.hospital.base_path

    async def send(self, method: str, url: str, **options: Any) -> tuple[int, Any, Mapping[str, str]]:
        headers = {**self.headers, **options.pop("headers", {})}
        if not url.startswith("http"):
            url = self.origin + url if url[:1] == "/" else self.base + (url if url[:1] in ("", "?") else f"/{url}")
        async with self.session.request(method, URL(url, encoded=True), headers=headers, **options) as response:
            body = await response.json(content_type=None) if await response.read() else None
            return response.status, body, response.headers

    async def get(self, url: str) -> Any:
        status, body, _ = await self.send("GET", url)
        assert status == 200, body
        return body

    async def total(self, url: str) -> int:
        return int((await self.get(url))["total"])

    async def pages(self, first: Any) -> list[Any]:
        bundles = [first]
        while links := [link["url"] for link in bundles[-1]["link"] if link["relation"] == "next"]:
            bundles.append(await self.get(links[0]))
        return bundles

    async def resources(self, type: str) -> list[Any]:
        bundles = await self.pages(await self.get(f"{type}?_count=100"))
        return [entry["resource"] for bundle in bundles for entry in bundle["entry"]]


Callers = dict[Hospital, Caller]


@asynccontextmanager
async def serving(hospital: Hospital) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        caller = Caller(hospital, session)
        credentials: dict[Hospital, tuple[Credential, dict[str, str]]] = {
            RIVERSIDE: (BasicPassword("gateway", "p:ss wörd"), {"Authorization": basic("gateway", "p:ss wörd")}),
            LAKESIDE: (ClientSecret("gate:way", "s3cret/+", lambda: caller.now), {}),
            NORTHGATE: (SubscriptionKey("k-1"), {"Ocp-Apim-Subscription-Key": "k-1"}),
            HILLCREST: (BasicPassword("gateway", "p"), {"Authorization": basic("gateway", "p")}),
            SEASIDE: (SubscriptionKey("k-2"), {"Ocp-Apim-Subscription-Key": "k-2"}),
        }
        credential, caller.headers = credentials[hospital]
        async with TestServer(create_app(hospital, credential, TODAY), host="127.0.0.1", access_log=None) as server:
            caller.origin = str(server.make_url("/")).rstrip("/")
            if hospital is LAKESIDE:
                _, body, _ = await caller.send("POST", "/oauth2/token", data=f"{GRANT}&{CLIENT}", headers=FORM)
                caller.headers = {"Authorization": f"Bearer {body['access_token']}"}
            yield caller


@pytest.fixture(scope="module")
async def callers() -> AsyncIterator[Callers]:
    async with AsyncExitStack() as servers:
        yield {hospital: await servers.enter_async_context(serving(hospital)) for hospital in HOSPITALS}


@pytest.fixture(params=HOSPITALS, ids=lambda hospital: hospital.key)
def caller(request: pytest.FixtureRequest, callers: Callers) -> Caller:
    return callers[request.param]


def ids(bundle: Any) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def next_link(bundle: Any) -> str:
    return next(str(link["url"]) for link in bundle["link"] if link["relation"] == "next")


# Credentials


async def test_only_the_statement_needs_no_credential(caller: Caller) -> None:
    url, key = caller.base, "AzureApiManagementKey"
    scheme = {RIVERSIDE: "Basic", LAKESIDE: "Bearer", NORTHGATE: key, HILLCREST: "Basic", SEASIDE: key}
    async with caller.session.get(f"{url}/metadata") as response:
        statement = await response.json(content_type=None)
        assert response.content_type == caller.hospital.version.media_type(FhirFormat.JSON)
    assert (statement["fhirVersion"], statement["implementation"]["url"]) == (caller.hospital.version.number, url)
    listed = {resource["type"] for resource in statement["rest"][0]["resource"]}
    medication = "MedicationOrder" if caller.hospital is RIVERSIDE else "MedicationRequest"
    assert listed & {"MedicationOrder", "MedicationRequest"} == {medication}
    for path in ("/Patient/1001", "/Patient?x=/metadata", "/Patient/metadata", "/metadata/x", ""):
        async with caller.session.get(f"{url}{path}") as response:
            outcome = await response.json(content_type=None)
            assert (response.status, outcome["issue"][0]["code"]) == (401, "login")
            assert response.headers["WWW-Authenticate"].startswith(scheme[caller.hospital])
    ((name, value),) = caller.headers.items()
    for wrong in (value + "x", value[:-3], "", "Basic é", "Basic !!!!", "Bearer"):
        assert (await caller.send("GET", "Patient/1001", headers={name: wrong}))[0] == 401


async def test_a_token_is_had_by_basic_and_ends_after_300_seconds(callers: Callers) -> None:
    lakeside = callers[LAKESIDE]
    client = {**FORM, "Authorization": basic("gate%3Away", "s3cret%2F%2B")}
    status, body, headers = await lakeside.send("POST", "/oauth2/token", data=f"{GRANT}&scope=x", headers=client)
    assert (status, body["token_type"], body["expires_in"]) == (200, "Bearer", 300)
    assert headers["Cache-Control"] == "no-store"
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    for lakeside.now, status in ((299, 200), (301, 401), (0, 200)):
        assert (await lakeside.send("GET", "Patient/1001", headers=bearer))[0] == status


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (CLIENT, "invalid_request"),
        (f"{GRANT}&client_id=gate:way&client_id=b&client_secret=c", "invalid_request"),
        (f"grant_type=password&{CLIENT}", "unsupported_grant_type"),
        (f"{GRANT}&client_id=gate:way&client_secret=wrong", "invalid_client"),
        (f"{GRANT}&client_id=nobody&client_secret=s3cret%2F%2B", "invalid_client"),
        (GRANT, "invalid_client"),
    ],
)
async def test_a_bad_token_request_gets_its_oauth_error(callers: Callers, form: str, error: str) -> None:
    lakeside = callers[LAKESIDE]
    async with lakeside.session.post(f"{lakeside.origin}/oauth2/token", data=form, headers=FORM) as response:
        assert (response.status, await response.json()) == (401 if error == "invalid_client" else 400, {"error": error})


# Formats


async def test_json_is_served_in_the_versions_spelling_and_xml_refused(caller: Caller) -> None:
    json, xml = (caller.hospital.version.media_type(format) for format in (FhirFormat.JSON, FhirFormat.XML))
    for path, accept, expected in (
        ("Patient/1001", xml, 406),
        ("Patient/1001?_format=xml", "*/*", 406),
        ("metadata", "text/xml", 406),
        ("Patient/1001", f"{xml}, application/json;q=0.8", 200),
        ("Patient/1001", json, 200),
        ("Patient/1001", "application/fhir+json", 406 if caller.hospital is RIVERSIDE else 200),
    ):
        status, body, headers = await caller.send("GET", path, headers={"Accept": accept})
        assert (status, body["resourceType"] == "OperationOutcome") == (expected, expected == 406)
        assert headers["Content-Type"] == f"{json}; charset=utf-8"


# Data


async def test_every_resource_since_stu3_is_valid_and_every_reference_can_be_read(caller: Caller) -> None:
    statement = await caller.get("metadata")
    found = {listed["type"]: await caller.resources(listed["type"]) for listed in statement["rest"][0]["resource"]}
    models = {LAKESIDE: stu3_model, NORTHGATE: r4_model, HILLCREST: r4_model, SEASIDE: r5_model}
    model = models.get(caller.hospital)
    if model:
        model("CapabilityStatement").model_validate(statement)
        model("Bundle").model_validate(await caller.get("Patient"))
    for type, resources in found.items():
        assert resources
        for resource in resources if model else ():
            model(type).model_validate(resource)
    named = set(re.findall(r'"reference": "([^"]+)"', json.dumps(found)))
    assert len(named) > 50
    assert {(await caller.send("GET", reference))[0] for reference in named} == {200}


# Search


async def test_every_hospital_has_its_own_ruth_black_whom_each_search_parameter_finds(caller: Caller) -> None:
    status, bundle, _ = await caller.send("POST", "Patient/_search", data={"given": "ruth", "family": "black"})
    assert (status, bundle["total"], ids(bundle)) == (200, 1, ["1001"])
    patient = bundle["entry"][0]["resource"]
    (identifier,), year = patient["identifier"], patient["birthDate"][:4]
    assert identifier["value"].startswith(caller.hospital.mrn_prefix)
    system, mrn = identifier["system"], identifier["value"]
    for query, total in {
        "family:exact=Black&given=ruth": 1,
        "name:contains=LAC&given:exact=Ruth": 1,
        f"identifier={mrn}": 1,
        f"identifier={system}%7C{mrn}": 1,
        f"family=black&given=RU&birthdate={year}&gender=female": 1,
        f"_id=1001&birthdate=ge{year}&birthdate=le{year}-12-31": 1,
        "family=lack&given=ruth": 0,
        "family:exact=black": 0,
        f"identifier=https://elsewhere.example.org%7C{mrn}": 0,
        f"given=ruth&birthdate=lt{year}": 0,
        "given=ruth&gender=male": 0,
    }.items():
        assert await caller.total(f"Patient?{query}") == total, query


async def test_a_chart_is_found_by_its_patients_id_reference_or_url(caller: Caller) -> None:
    medication = "MedicationOrder" if caller.hospital is RIVERSIDE else "MedicationRequest"
    for type in ("Condition", "Encounter", "AllergyIntolerance", medication, "Coverage"):
        bundle = await caller.get(f"{type}?patient=1001&_count=100")
        assert bundle["total"] == len(bundle["entry"]) > 0, type
        assert ("Patient/1001'" in str(bundle), "Patient/1002'" in str(bundle)) == (True, False)
    search = "Observation?_count=0&"
    for query, total in {
        "patient=1001": 84,
        f"patient={caller.base}/Patient/1001": 84,
        "subject:Patient=1001": 84,
        "patient=https://elsewhere.example.org/Patient/1001": 0,
        "patient=001": 0,
        "patient=Patient/1001&code=8867-4,http://loinc.org%7C29463-7": 28,  # a comma is OR
        "patient=1001&code=8867-4&code=29463-7": 0,  # a repeat is AND
        "patient=1001&date=ge2026-03-10&date=lt2026-03-12": 12,
    }.items():
        assert await caller.total(search + query) == total, query


@pytest.mark.parametrize("sort", ["_sort=-date", "_sort:desc=date", "_sort=date", "_sort:asc=date"])
async def test_observations_are_sorted_by_date(caller: Caller, sort: str) -> None:
    bundle = await caller.get(f"Observation?patient=1001&category=vital-signs&{sort}&_count=100")
    found = [entry["resource"] for entry in bundle["entry"]]
    dates = [each.get("effectiveDateTime") or each["effectivePeriod"]["start"] for each in found]
    assert len(set(dates)) == 14
    assert dates == sorted(dates, reverse=sort in ("_sort=-date", "_sort:desc=date"))


async def test_a_page_is_as_large_as_asked_for_and_echoes_the_search(caller: Caller) -> None:
    for query, entries in {"": 10, "_count=5000": 100, "_count=0": 0, "_summary=count": 0}.items():
        bundle = await caller.get(f"Observation?{query}")
        assert (len(bundle.get("entry", [])), bundle["total"] > 100) == (entries, True)
    bundle = await caller.get("Encounter?patient=1001&_include=Encounter:location")
    modes = [(entry["resource"]["resourceType"], entry["search"]["mode"]) for entry in bundle["entry"]]
    assert set(modes) == {("Encounter", "match"), ("Location", "include")}
    assert modes.count(("Encounter", "match")) == bundle["total"]
    bundle = await caller.get("Patient?given=ruth&favourite=tea%26cake")  # an unknown parameter is ignored
    assert bundle["link"] == [{"relation": "self", "url": f"{caller.base}/Patient?given=ruth&favourite=tea%26cake"}]
    _, bundle, _ = await caller.send("POST", "Patient/_search?gender=female", data={"_count": "3"})
    assert (len(bundle["entry"]), bundle["total"]) == (3, 14)
    assert bundle["link"][0]["url"] == f"{caller.base}/Patient?gender=female&_count=3"


@given(st.text(min_size=1))
def test_an_escaped_value_finds_itself(text: str) -> None:
    patient = {"resourceType": "Patient", "id": "1", "identifier": [{"system": "urn:x", "value": text}]}
    escaped = "".join(f"\\{letter}" if letter in "\\,|$" else letter for letter in text)
    assert search([patient], "Patient", (("identifier", f"urn:x|{escaped}"),), R4_BASE) == [patient]
    assert search([patient], "Patient", (("identifier", f"no,{escaped}"),), R4_BASE) == [patient]


_KEYS = st.sampled_from(["coding", "code", "system", "value", "reference", "start", "end"])
_SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=8,
)


@given(_SHAPES, st.sampled_from(["subject=1001", "code=8867-4", "date=ge2020", "_sort=-date", "_sort=code"]))
def test_a_resource_of_any_shape_can_be_searched(shape: object, query: str) -> None:
    odd = {"resourceType": "Observation", "id": "1", "subject": shape, "code": shape, "effectiveDateTime": shape}
    odd["effectivePeriod"] = shape
    assert len(search([odd, odd], "Observation", tuple(parse_qsl(query)), R4_BASE)) in (0, 2)


@pytest.mark.parametrize(
    ("date", "found"),
    [
        *(("eq2024-05-10", "b"), ("2024-05", "abc"), ("2024", "abc"), ("ne2024-05-10", "acd")),
        *(("gt2024-05-10", "cd"), ("ge2024-05-10", "bcd"), ("lt2024-05-10", "a"), ("le2024-05-10", "ab")),
        *(("sa2024-05-09", "bcd"), ("eb2024-05-10", "a"), ("2024-05-11T10:00", "c"), ("gt2090", "d")),
        *(("2024-05-11T05:00:00-05:00", "c"), ("gt2024-05-11T10:00:00.5Z", "cd"), ("eb2024-05-11T10:00:00.9Z", "ab")),
    ],
)
def test_a_date_is_compared_by_its_whole_span(date: str, found: str) -> None:
    days = {"a": "2024-05-09", "b": "2024-05-10", "c": "2024-05-11T10:00:00Z"}
    periods = {id: {"start": day, "end": day} for id, day in days.items()}
    periods["d"] = {"start": "2024-05-12T08:00:00Z"}  # it lasts
    resources = [{"resourceType": "Encounter", "id": id, "period": period} for id, period in periods.items()]
    assert "".join(match["id"] for match in search(resources, "Encounter", (("date", date),), R4_BASE)) == found


def test_strings_have_no_case_and_no_accents_and_what_has_no_value_is_sorted_last() -> None:
    dated = {"resourceType": "Patient", "id": "dated", "birthDate": "1980", "name": [{"family": "García"}]}
    resources = [{"resourceType": "Patient", "id": "undated"}, dated]
    assert search(resources, "Patient", (("family", "GARCIA"),), R4_BASE) == [dated]
    for order in ("birthdate", "-birthdate"):
        assert search(resources, "Patient", (("_sort", order),), R4_BASE)[0] is dated


# Paging


@pytest.mark.parametrize("count", [7, 10, 84])
async def test_next_links_lead_through_every_match_once(caller: Caller, count: int) -> None:
    whole = await caller.get("Observation?patient=1001&_sort=-date&_count=100")
    bundles = await caller.pages(await caller.get(f"Observation?patient=1001&_sort=-date&_count={count}"))
    assert [id for bundle in bundles for id in ids(bundle)] == ids(whole)
    assert [bundle["total"] for bundle in bundles] == [84] * -(-84 // count)
    _, first, _ = await caller.send("POST", "Patient/_search", data={"gender": "male", "_count": "5"})
    found = [id for bundle in await caller.pages(first) for id in ids(bundle)]
    assert len(found) == len(set(found)) == 14


async def test_a_next_link_has_the_style_of_its_server_and_is_good_there_alone(callers: Callers) -> None:
    riverside, lakeside, northgate, *_ = callers.values()
    hapi = next_link(await riverside.get("Observation?patient=1001"))
    pattern = r"\?_getpages=[0-9a-f-]{36}&_getpagesoffset=10&_count=10&_bundletype=searchset"
    assert re.fullmatch(re.escape(riverside.base) + pattern, hapi)
    assert next_link(await northgate.get("Observation?patient=1001")) == "/r4/Observation?patient=1001&page=2"
    microsoft = next_link(await lakeside.get("Patient"))
    assert microsoft.startswith(f"{lakeside.base}/Patient?ct=")
    assert 5000 < len(microsoft) < 8000  # too long for a Functions URL
    _, bundle, _ = await lakeside.send("POST", "Patient/_search", data={"gender": "female"})
    by_post = next_link(bundle)
    assert by_post.startswith(f"{lakeside.base}/Patient/_search?ct=")
    assert (await lakeside.send("POST", by_post, data={"gender": "female"}))[0] == 405
    changed = microsoft[:200] + ("A" if microsoft[200] != "A" else "B") + microsoft[201:]
    foreign = microsoft.replace("/Patient?", "/Observation?")
    for url in (changed, microsoft[:-30], foreign, f"{lakeside.base}/Patient?ct=abc"):
        assert (await lakeside.send("GET", url))[0] == 400
    for caller, link, status in ((riverside, hapi, 410), (lakeside, microsoft, 400)):
        async with serving(caller.hospital) as other:
            assert (await other.send("GET", link.replace(caller.origin, other.origin)))[0] == status


# Reading, batch, writing


async def test_a_read_has_a_version_and_304_when_it_is_known(caller: Caller) -> None:
    status, patient, headers = await caller.send("GET", "Patient/1001", headers={"Accept-Encoding": "identity"})
    assert (status, patient["id"], headers["ETag"]) == (200, "1001", 'W/"1"')
    assert headers["Last-Modified"] == "Sat, 14 Mar 2026 00:00:00 GMT"
    status, body, head = await caller.send("HEAD", "Patient/1001", headers={"Accept-Encoding": "identity"})
    assert (status, body, head["Content-Length"]) == (200, None, headers["Content-Length"])
    status, body, headers = await caller.send("GET", "Patient/1001", headers={"If-None-Match": 'W/"0", W/"1"'})
    assert (status, body, headers["ETag"]) == (304, None, 'W/"1"')
    assert (await caller.send("GET", "Patient/1001", headers={"If-None-Match": 'W/"2"'}))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", f"Patient{rest}", 404) for rest in ("/9", "/1001/_history/1", "/_search")),
        *(("GET", "Spaceship", 404), ("GET", "", 404)),
        ("GET", "?_getpages=9f4e4a0b-0000-4000-8000-000000000000&_getpagesoffset=10", (410, 404)),
        *(("POST", "Patient", 405), ("DELETE", "Patient/1001", 405), ("PATCH", "Observation/vital-1001-1", 405)),
        *(("GET", f"Patient?birthdate={value}", 400) for value in ("yesterday", "2020-13")),
        *(("GET", "Patient?_count=-1", 400), ("GET", "Patient?given:phonetic=root", 400)),
    ],
)
async def test_what_is_not_there_or_makes_no_sense_is_an_outcome(
    caller: Caller, method: str, path: str, status: int | tuple[int, int]
) -> None:
    found, outcome, headers = await caller.send(method, path)
    expected = status if isinstance(status, int) else status[caller.hospital.paging is not StoredPages]
    assert (found, outcome["resourceType"], found == 405) == (expected, "OperationOutcome", "Allow" in headers)


def batch(*urls: str, method: str = "GET") -> dict[str, Any]:
    entries: list[Any] = [{"request": {"method": method, "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_batch_is_answered_entry_by_entry(caller: Caller, slash: str) -> None:
    body = batch("Patient/1001", "Observation?patient=1001&_count=2", f"{caller.base}/Patient/9", "Patient/1001/x/y")
    body["entry"] += [{}, {"request": {}}, 7, *batch("Patient/1001", method="DELETE")["entry"]]
    status, bundle, _ = await caller.send("POST", f"{caller.hospital.base_path}{slash}", json=body)
    if not caller.hospital.batch:
        assert (status, bundle["issue"][0]["code"]) == (501, "not-supported")
        return
    assert (status, bundle["type"]) == (200, "batch-response")
    responses = [entry["response"] for entry in bundle["entry"]]
    assert " ".join(response["status"][:3] for response in responses) == "200 200 404 404 400 400 400 405"
    assert responses[0]["etag"] == 'W/"1"'
    assert bundle["entry"][1]["resource"]["total"] == 84
    missing = bundle["entry"][2]
    outcome = missing["resource"] if caller.hospital is RIVERSIDE else missing["response"]["outcome"]
    assert outcome["issue"][0]["code"] == "not-found"
    if caller.hospital is LAKESIDE:
        stu3_model("Bundle").model_validate(bundle)


async def test_an_observation_is_created_updated_and_deleted(caller: Caller) -> None:
    new = {"resourceType": "Observation", "status": "final", "code": {"text": "Mood"}, "valueString": "good"}
    new["subject"] = {"reference": "Patient/1002"}
    status, made, headers = await caller.send("POST", "Observation", json=new)
    assert (status, headers["ETag"]) == (201, 'W/"1"')
    assert headers["Location"] == f"{caller.base}/Observation/{made['id']}"
    assert made["id"] in ids(await caller.get("Observation?patient=1002&_count=100"))

    changed, url = made | {"valueString": "better"}, f"Observation/{made['id']}"
    assert (await caller.send("PUT", url, json=changed, headers={"If-Match": 'W/"7"'}))[0] == 412
    status, _, headers = await caller.send("PUT", url, json=changed, headers={"If-Match": 'W/"1"'})
    assert (status, headers["ETag"], (await caller.get(url))["valueString"]) == (200, 'W/"2"', "better")

    assert [(await caller.send(method, url))[0] for method in ("DELETE", "GET")] == [204, 404]
    assert (await caller.send("PUT", url, json=changed))[0] == 201
    assert (await caller.send("DELETE", url))[0] == 204


async def test_a_body_of_another_type_or_format_is_refused(caller: Caller) -> None:
    xml = caller.hospital.version.media_type(FhirFormat.XML)
    for path, body, type, status in (
        ("Observation", '{"resourceType": "Patient"}', "application/json", 400),
        ("Observation", "<Observation/>", xml, 415),
        ("Patient/_search", '{"given": "ruth"}', "application/json", 415),
        *(("", body, "application/json", 400) for body in ("", "{", "[]", '{"resourceType":"Bundle","type":"x"}')),
    ):
        if path or caller.hospital.batch:
            assert (await caller.send("POST", path, data=body, headers={"Content-Type": type}))[0] == status


@pytest.mark.parametrize("content", ["", "{}", '{"riverside": {"token": "c"}}'])
def test_a_bad_credentials_file_is_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)
    command = [
        sys.executable,
        "-m",
        "local.hospitals",
        "--ports",
        ",".join("0" * len(HOSPITALS)),
        "--credentials",
        str(file),
    ]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
