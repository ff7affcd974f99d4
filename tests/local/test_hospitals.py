"""The demo hospitals over HTTP, each asked with its own credential."""

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from fhir.resources.R4B import get_fhir_model_class as r4_model
from fhir.resources.STU3 import get_fhir_model_class as stu3_model
from yarl import URL

from local.hospitals.credentials import BasicPassword, ClientSecret, Credential, SubscriptionKey
from local.hospitals.hospital import HOSPITALS, LAKESIDE, NORTHGATE, RIVERSIDE, Hospital
from local.hospitals.server import create_app
from shared.fhir.versions import FhirFormat, FhirVersion

TODAY = date(2026, 3, 14)


def credential(hospital: Hospital, clock: Callable[[], float]) -> Credential:
    match hospital.key:
        case "riverside":
            return BasicPassword("gateway", "p:ss wörd")
        case "lakeside":
            return ClientSecret("gate:way", "s3cret/+", clock)
        case _:
            return SubscriptionKey("k-1")


def basic(username: str, password: str) -> str:
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


@dataclass
class Caller:
    """A client that holds the hospital's credential."""

    hospital: Hospital
    origin: str
    session: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)
    now: float = 0.0

    @property
    def base(self) -> str:
        return self.origin + self.hospital.base_path

    async def ask(self, method: str, url: str, **options: Any) -> tuple[int, Any, Any]:
        headers = self.headers | options.pop("headers", {})
        absolute = f"{self.origin}{url}" if url.startswith("/") else url
        if not absolute.startswith("http"):
            absolute = f"{self.base}/{url}" if url and url[0] != "?" else f"{self.base}{url}"
        async with self.session.request(method, URL(absolute, encoded=True), headers=headers, **options) as answer:
            body = await answer.json(content_type=None) if await answer.read() else None
            return answer.status, body, answer.headers

    async def get(self, url: str) -> Any:
        status, body, _ = await self.ask("GET", url)
        assert status == 200, body
        return body

    async def pages(self, bundle: Any) -> AsyncIterator[Any]:
        yield bundle
        while links := [link["url"] for link in bundle["link"] if link["relation"] == "next"]:
            bundle = await self.get(links[0])
            yield bundle

    async def signed_in(self) -> "Caller":
        match self.hospital.key:
            case "riverside":
                self.headers["Authorization"] = basic("gateway", "p:ss wörd")
            case "northgate":
                self.headers["Ocp-Apim-Subscription-Key"] = "k-1"
            case _:
                form = {"grant_type": "client_credentials", "client_id": "gate:way", "client_secret": "s3cret/+"}
                _, body, _ = await self.ask("POST", "/oauth2/token", data=form)
                self.headers["Authorization"] = f"Bearer {body['access_token']}"
        return self


@asynccontextmanager
async def serving(hospital: Hospital) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        caller = Caller(hospital, "", session)
        app = create_app(hospital, credential(hospital, lambda: caller.now), TODAY)
        async with TestServer(app, host="127.0.0.1", access_log=None) as server:
            caller.origin = str(server.make_url("/")).rstrip("/")
            yield caller


@pytest.fixture(params=HOSPITALS, ids=lambda hospital: hospital.key)
async def caller(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    async with serving(request.param) as caller:
        yield await caller.signed_in()


@pytest.fixture
async def riverside() -> AsyncIterator[Caller]:
    async with serving(RIVERSIDE) as caller:
        yield await caller.signed_in()


@pytest.fixture
async def lakeside() -> AsyncIterator[Caller]:
    async with serving(LAKESIDE) as caller:
        yield await caller.signed_in()


@pytest.fixture
async def northgate() -> AsyncIterator[Caller]:
    async with serving(NORTHGATE) as caller:
        yield await caller.signed_in()


def ids(bundle: Any) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def next_link(bundle: Any) -> str:
    return next(str(link["url"]) for link in bundle["link"] if link["relation"] == "next")


# Statements and credentials


async def test_the_statement_needs_no_credential_and_names_the_version(caller: Caller) -> None:
    caller.headers.clear()
    status, statement, headers = await caller.ask("GET", "metadata")
    assert status == 200
    assert statement["fhirVersion"] == caller.hospital.version.number
    assert statement["implementation"]["url"] == caller.base
    assert headers["Content-Type"].startswith(caller.hospital.version.media_type(FhirFormat.JSON))


async def test_the_statement_lists_the_types_of_its_version(caller: Caller) -> None:
    statement = await caller.get("metadata")
    listed = {resource["type"] for resource in statement["rest"][0]["resource"]}
    spelled = "MedicationOrder" if caller.hospital is RIVERSIDE else "MedicationRequest"
    assert {"Patient", "Observation", "Coverage", "Location", spelled} <= listed
    assert len(listed & {"MedicationOrder", "MedicationRequest"}) == 1


@pytest.mark.parametrize(
    "path", ["Patient/1001", "Patient", "Patient?x=/metadata", "Patient/metadata", "metadata/x", ""]
)
async def test_everything_else_needs_the_credential(caller: Caller, path: str) -> None:
    caller.headers.clear()
    status, outcome, headers = await caller.ask("GET", path)
    assert (status, outcome["resourceType"], outcome["issue"][0]["code"]) == (401, "OperationOutcome", "login")
    scheme = {"riverside": "Basic", "lakeside": "Bearer", "northgate": "AzureApiManagementKey"}[caller.hospital.key]
    assert headers["WWW-Authenticate"].startswith(scheme)


async def test_a_wrong_credential_is_refused(caller: Caller) -> None:
    name = next(iter(caller.headers))
    for wrong in (caller.headers[name] + "x", caller.headers[name][:-3], "", "Basic é", "Basic !!!!", "Bearer"):
        status, _, _ = await caller.ask("GET", "Patient/1001", headers={name: wrong})
        assert status == 401


async def test_a_token_ends_after_300_seconds(lakeside: Caller) -> None:
    lakeside.now = 299
    assert (await lakeside.ask("GET", "Patient/1001"))[0] == 200
    lakeside.now = 301
    assert (await lakeside.ask("GET", "Patient/1001"))[0] == 401


async def test_the_token_endpoint_takes_basic_with_form_encoded_parts(lakeside: Caller) -> None:
    client = {"Authorization": basic("gate%3Away", "s3cret%2F%2B")}
    form = {"grant_type": "client_credentials", "scope": "system/*.read"}
    status, body, headers = await lakeside.ask("POST", "/oauth2/token", data=form, headers=client)
    assert (status, body["token_type"], body["expires_in"]) == (200, "Bearer", 300)
    assert headers["Cache-Control"] == "no-store"
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    assert (await lakeside.ask("GET", "Patient/1001", headers=bearer))[0] == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ("client_id=gate:way&client_secret=s3cret%2F%2B", 400, "invalid_request"),
        ("grant_type=client_credentials&client_id=gate:way&client_id=b&client_secret=c", 400, "invalid_request"),
        ("grant_type=password&client_id=gate:way&client_secret=s3cret%2F%2B", 400, "unsupported_grant_type"),
        ("grant_type=client_credentials&client_id=gate:way&client_secret=wrong", 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=nobody&client_secret=s3cret%2F%2B", 401, "invalid_client"),
        ("grant_type=client_credentials", 401, "invalid_client"),
    ],
)
async def test_a_bad_token_request_gets_its_oauth_error(lakeside: Caller, form: str, status: int, error: str) -> None:
    lakeside.headers.clear()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    found, body, _ = await lakeside.ask("POST", "/oauth2/token", data=form, headers=headers)
    assert (found, body) == (status, {"error": error})


# Formats


async def test_xml_alone_is_not_acceptable(caller: Caller) -> None:
    xml = caller.hospital.version.media_type(FhirFormat.XML)
    for path, accept in (("Patient/1001", xml), ("Patient/1001?_format=xml", "*/*"), ("metadata", "text/xml")):
        status, outcome, _ = await caller.ask("GET", path, headers={"Accept": accept})
        assert (status, outcome["resourceType"]) == (406, "OperationOutcome")
    status, _, _ = await caller.ask("GET", "Patient/1001", headers={"Accept": f"{xml}, application/json;q=0.8"})
    assert status == 200


async def test_dstu2_knows_only_its_own_spelling(riverside: Caller) -> None:
    status, _, _ = await riverside.ask("GET", "Patient/1001", headers={"Accept": "application/fhir+json"})
    assert status == 406
    status, _, headers = await riverside.ask("GET", "Patient/1001", headers={"Accept": "application/json+fhir"})
    assert (status, headers["Content-Type"]) == (200, "application/json+fhir; charset=utf-8")


async def test_an_answer_is_compressed_when_the_client_allows_it(caller: Caller) -> None:
    url = f"{caller.base}/Patient?_count=20"
    headers = caller.headers | {"Accept-Encoding": "gzip, deflate"}
    async with caller.session.get(url, headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert (await answer.json(content_type=None))["total"] >= 25
    async with caller.session.get(url, headers=caller.headers | {"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers


async def test_whole_measurements_keep_their_decimal_point(caller: Caller) -> None:
    url = f"{caller.base}/Observation?patient=1001&code=8310-5&date=eq2026-03-13"
    async with caller.session.get(url, headers=caller.headers) as answer:
        assert '"value":37.0,' in await answer.text()


# Data


async def test_every_hospital_has_its_own_ruth_black(caller: Caller) -> None:
    form = {"given": "ruth", "family": "black"}
    status, bundle, _ = await caller.ask("POST", "Patient/_search", data=form)
    assert (status, bundle["total"], ids(bundle)[0]) == (200, 1, "1001")
    (identifier,) = bundle["entry"][0]["resource"]["identifier"]
    assert identifier["type"]["coding"][0]["code"] == "MR"
    assert identifier["value"].startswith(caller.hospital.mrn_prefix)


@pytest.mark.parametrize("caller", [LAKESIDE, NORTHGATE], indirect=True)
async def test_every_stu3_and_r4_resource_is_valid(caller: Caller) -> None:
    model = stu3_model if caller.hospital.version is FhirVersion.STU3 else r4_model
    statement = await caller.get("metadata")
    model("CapabilityStatement").model_validate(statement)
    for listed in statement["rest"][0]["resource"]:
        first = await caller.get(f"{listed['type']}?_count=100")
        async for bundle in caller.pages(first):
            assert bundle["total"] > 0
            model("Bundle").model_validate(bundle)
            for entry in bundle["entry"]:
                model(listed["type"]).model_validate(entry["resource"])


FIELDS = {
    FhirVersion.DSTU2: {
        "Patient": "name.given name.family name.use name.prefix gender birthDate identifier.type careProvider.display",
        "Observation": "code.coding.display category.coding.code status subject.reference valueQuantity.unit",
        "Condition": "code.coding.display dateRecorded severity.coding.display clinicalStatus verificationStatus",
        "Encounter": "status class type.coding.display period.start location.location.display",
        "AllergyIntolerance": "substance.text substance.coding status recordedDate note.text reaction.substance.text "
        "reaction.manifestation.text text.div",
        "MedicationOrder": "dateWritten dateEnded prescriber.display dosageInstruction.text text.div "
        "medicationReference.display medicationCodeableConcept.text patient.reference",
        "Coverage": "issuer.display plan group period.start subscriberId.value",
    },
    FhirVersion.STU3: {
        "Patient": "name.given name.family name.use name.prefix gender birthDate generalPractitioner.display",
        "Observation": "code.coding.display category.coding.code status context.reference valueQuantity.unit",
        "Condition": "code.coding.display assertedDate severity.coding.display clinicalStatus verificationStatus",
        "Encounter": "status class.code type.coding.display period.start location.location.display",
        "AllergyIntolerance": "code.text code.coding.display clinicalStatus verificationStatus assertedDate note.text "
        "reaction.substance.text reaction.manifestation.text",
        "MedicationRequest": "authoredOn requester.agent.display dosageInstruction.text text.div "
        "medicationReference.display medicationCodeableConcept.text",
        "Coverage": "grouping.groupDisplay grouping.planDisplay period.start subscriberId payor.display",
    },
    FhirVersion.R4: {
        "Patient": "name.given name.family name.use gender birthDate generalPractitioner.display",
        "Observation": "code.coding.display category.coding.code status encounter.reference valueQuantity.unit",
        "Condition": "code.coding.display recordedDate severity.coding.display clinicalStatus.coding.code",
        "Encounter": "status class.code type.coding.display period.start location.location.display",
        "AllergyIntolerance": "code.text clinicalStatus.coding.code verificationStatus.coding.code recordedDate "
        "note.text reaction.manifestation.text",
        "MedicationRequest": "authoredOn requester.display dosageInstruction.text medicationReference.display",
        "Coverage": "class.name period.start subscriberId payor.display",
    },
}


def paths(element: Any, at: str = "") -> set[str]:
    if isinstance(element, list):
        return {path for item in element for path in paths(item, at)}
    if isinstance(element, dict):
        below = {path for key, value in element.items() for path in paths(value, f"{at}.{key}".lstrip("."))}
        return below | {at}
    return {at}


async def test_every_field_the_app_reads_is_there_in_its_versions_spelling(caller: Caller) -> None:
    for type, fields in FIELDS[caller.hospital.version].items():
        first = await caller.get(f"{type}?_count=100")
        found = {path async for bundle in caller.pages(first) for entry in bundle["entry"] for path in paths(entry)}
        assert {f"resource.{field}" for field in fields.split()} <= found, type


async def test_every_reference_can_be_read(caller: Caller) -> None:
    references: set[str] = set()
    for listed in (await caller.get("metadata"))["rest"][0]["resource"]:
        async for bundle in caller.pages(await caller.get(f"{listed['type']}?_count=100")):
            references |= set(re.findall(r"'reference': '([^']+)'", str(bundle)))
    assert len(references) > 50
    answers = await asyncio.gather(*(caller.ask("GET", reference) for reference in references))
    assert {status for status, _, _ in answers} == {200}


async def test_charts_are_the_same_after_a_restart(caller: Caller) -> None:
    patients = await caller.get("Patient?_count=100")
    async with serving(caller.hospital) as other:
        again = await (await other.signed_in()).get("Patient?_count=100")
    assert [entry["resource"] for entry in patients["entry"]] == [entry["resource"] for entry in again["entry"]]


# Searches


async def test_patients_are_found_by_each_search_of_the_app(caller: Caller) -> None:
    ruth = await caller.get("Patient/1001")
    mrn, system = ruth["identifier"][0]["value"], ruth["identifier"][0]["system"]
    year = ruth["birthDate"][:4]
    for query in (
        "_id=1001",
        "id=1001",
        "family=BLA&given=ru",
        "family:contains=LACK&given=Ruth",
        "family:exact=Black&given=Ruth",
        "name=ruth%20black",
        f"identifier={mrn}",
        f"identifier={system}%7C{mrn}",
        f"identifier={system}|{mrn},other|x",
        f"given=ruth&birthdate={ruth['birthDate']}",
        f"given=ruth&birthdate=ge{year}&birthdate=le{year}",
        f"given=ruth&birthdate=gt{int(year) - 1}-12&birthdate=lt{int(year) + 1}",
        "given=ruth&gender=female",
    ):
        assert ids(await caller.get(f"Patient?{query}")) == ["1001"], query
    for query in (
        "family=lack&given=ruth",
        "family:exact=black",
        f"identifier=https://elsewhere.example.org%7C{mrn}",
        f"given=ruth&birthdate=lt{year}",
        "given=ruth&gender=male",
        "given=ruth&birthdate=9999",
    ):
        assert (await caller.get(f"Patient?{query}"))["total"] == 0, query


async def test_a_patient_is_named_by_id_by_reference_or_by_absolute_url(caller: Caller) -> None:
    totals = []
    for named in (
        "patient=1001",
        "patient=Patient/1001",
        f"patient={caller.base}/Patient/1001",
        "subject:Patient=1001",
    ):
        totals.append((await caller.get(f"Observation?{named}&_count=0"))["total"])
    assert totals == [84] * 4
    assert (await caller.get("Observation?patient=https://elsewhere.example.org/Patient/1001"))["total"] == 0
    assert (await caller.get("Observation?patient=001"))["total"] == 0


async def test_every_chart_type_is_found_by_its_patient(caller: Caller) -> None:
    medication = "MedicationOrder" if caller.hospital is RIVERSIDE else "MedicationRequest"
    for type in ("Condition", "Encounter", "AllergyIntolerance", medication, "Coverage"):
        bundle = await caller.get(f"{type}?patient=1001&_count=100")
        assert bundle["total"] == len(bundle["entry"]) > 0, type
        assert "Patient/1001'" in str(bundle)
        assert "Patient/1002'" not in str(bundle)


@pytest.mark.parametrize("sort", ["_sort=-date", "_sort:desc=date", "_sort=date", "_sort:asc=date"])
async def test_observations_are_sorted_by_date(caller: Caller, sort: str) -> None:
    bundle = await caller.get(f"Observation?patient=1001&category=vital-signs&{sort}&_count=100")
    dates = [
        entry["resource"].get("effectiveDateTime") or entry["resource"]["effectivePeriod"]["start"]
        for entry in bundle["entry"]
    ]
    assert len(set(dates)) == 14
    assert dates == sorted(dates, reverse=sort in ("_sort=-date", "_sort:desc=date"))


async def test_commas_are_or_and_repeats_are_and(caller: Caller) -> None:
    search = "Observation?patient=1001&_count=0&"
    assert (await caller.get(f"{search}code=8867-4,http://loinc.org|29463-7"))["total"] == 28
    assert (await caller.get(f"{search}code=8867-4&code=29463-7"))["total"] == 0
    assert (await caller.get(f"{search}date=ge2026-03-10&date=lt2026-03-12"))["total"] == 12


async def test_count_zero_and_summary_count_give_the_total_alone(caller: Caller) -> None:
    for query in ("_count=0", "_summary=count"):
        bundle = await caller.get(f"Patient?{query}")
        assert bundle["total"] == 28
        assert "entry" not in bundle
        assert [link["relation"] for link in bundle["link"]] == ["self"]


async def test_a_page_has_10_entries_and_at_most_100(caller: Caller) -> None:
    assert len((await caller.get("Observation"))["entry"]) == 10
    assert len((await caller.get("Observation?_count=5000"))["entry"]) == 100


async def test_an_unknown_parameter_is_ignored_but_echoed(caller: Caller) -> None:
    bundle = await caller.get("Patient?given=ruth&favourite=tea%26cake")
    assert bundle["total"] == 1
    assert bundle["link"][0]["url"] == f"{caller.base}/Patient?given=ruth&favourite=tea%26cake"


async def test_the_last_location_comes_along_when_asked_for(caller: Caller) -> None:
    bundle = await caller.get("Encounter?patient=1001&_include=Encounter:location")
    modes = {(entry["resource"]["resourceType"], entry["search"]["mode"]) for entry in bundle["entry"]}
    assert modes == {("Encounter", "match"), ("Location", "include")}
    assert sum(entry["search"]["mode"] == "match" for entry in bundle["entry"]) == bundle["total"]


@pytest.mark.parametrize(
    "query",
    ["Patient?birthdate=yesterday", "Patient?birthdate=2020-13", "Patient?_count=-1", "Patient?given:phonetic=root"],
)
async def test_a_search_that_makes_no_sense_is_400(caller: Caller, query: str) -> None:
    status, outcome, _ = await caller.ask("GET", query)
    assert (status, outcome["resourceType"]) == (400, "OperationOutcome")


async def test_form_and_query_of_a_post_search_are_merged(caller: Caller) -> None:
    status, bundle, _ = await caller.ask("POST", "Patient/_search?gender=female", data={"_count": "3"})
    assert (status, len(bundle["entry"]), bundle["total"]) == (200, 3, 14)
    assert bundle["link"][0]["url"] == f"{caller.base}/Patient?gender=female&_count=3"


async def test_a_post_search_that_is_no_form_is_415(caller: Caller) -> None:
    status, _, _ = await caller.ask("POST", "Patient/_search", json={"given": "ruth"})
    assert status == 415


# Paging


@pytest.mark.parametrize("count", [7, 10, 84])
async def test_next_links_lead_through_every_match_once(caller: Caller, count: int) -> None:
    whole = await caller.get("Observation?patient=1001&_sort=-date&_count=100")
    first = await caller.get(f"Observation?patient=1001&_sort=-date&_count={count}")
    bundles = [bundle async for bundle in caller.pages(first)]
    assert [id for bundle in bundles for id in ids(bundle)] == ids(whole)
    assert len(bundles) == -(-84 // count)
    assert {bundle["total"] for bundle in bundles} == {84}


async def test_a_post_searchs_pages_are_fetched_with_get(caller: Caller) -> None:
    _, first, _ = await caller.ask("POST", "Patient/_search", data={"gender": "male", "_count": "5"})
    found = [id async for bundle in caller.pages(first) for id in ids(bundle)]
    assert len(found) == len(set(found)) == 14


async def test_hapi_pages_are_on_the_base_itself(riverside: Caller) -> None:
    link = next_link(await riverside.get("Observation?patient=1001"))
    pattern = r"\?_getpages=[0-9a-f-]{36}&_getpagesoffset=10&_count=10&_bundletype=searchset"
    assert re.fullmatch(re.escape(riverside.base) + pattern, link)


async def test_an_unknown_hapi_page_has_expired(riverside: Caller) -> None:
    status, _, _ = await riverside.ask("GET", "?_getpages=9f4e4a0b-0000-4000-8000-000000000000&_getpagesoffset=10")
    assert status == 410


@pytest.mark.parametrize("caller", [RIVERSIDE, LAKESIDE], indirect=True)
async def test_one_servers_pages_are_unknown_to_another(caller: Caller) -> None:
    link = next_link(await caller.get("Observation?patient=1001"))
    async with serving(caller.hospital) as other:
        status, _, _ = await (await other.signed_in()).ask("GET", link.replace(caller.origin, other.origin))
    assert status in (400, 410)


async def test_microsoft_pages_carry_a_token_too_long_for_a_functions_url(lakeside: Caller) -> None:
    by_get = next_link(await lakeside.get("Patient"))
    _, bundle, _ = await lakeside.ask("POST", "Patient/_search", data={"gender": "female"})
    by_post = next_link(bundle)
    assert by_get.startswith(f"{lakeside.base}/Patient?ct=")
    assert by_post.startswith(f"{lakeside.base}/Patient/_search?ct=")
    assert 5000 < len(by_get) < 8000
    assert (await lakeside.ask("POST", by_post, data={"gender": "female"}))[0] == 405


async def test_a_changed_continuation_token_is_refused(lakeside: Caller) -> None:
    link = next_link(await lakeside.get("Patient"))
    changed = link[:200] + ("A" if link[200] != "A" else "B") + link[201:]
    for url in (changed, link[:-30], link.replace("/Patient?", "/Observation?"), f"{lakeside.base}/Patient?ct=abc"):
        assert (await lakeside.ask("GET", url))[0] == 400


async def test_page_numbers_come_relative_to_the_host(northgate: Caller) -> None:
    assert next_link(await northgate.get("Observation?patient=1001")) == "/r4/Observation?patient=1001&page=2"


# Reading, batch, writing


async def test_a_read_has_a_version_and_304_when_it_is_known(caller: Caller) -> None:
    status, patient, headers = await caller.ask("GET", "Patient/1001")
    assert (status, patient["id"], headers["ETag"]) == (200, "1001", 'W/"1"')
    assert headers["Last-Modified"] == "Sat, 14 Mar 2026 00:00:00 GMT"
    status, body, headers = await caller.ask("GET", "Patient/1001", headers={"If-None-Match": 'W/"0", W/"1"'})
    assert (status, body, headers["ETag"]) == (304, None, 'W/"1"')
    assert (await caller.ask("GET", "Patient/1001", headers={"If-None-Match": 'W/"2"'}))[0] == 200


async def test_head_is_get_without_a_body(caller: Caller) -> None:
    _, _, got = await caller.ask("GET", "Patient/1001", headers={"Accept-Encoding": "identity"})
    status, body, headers = await caller.ask("HEAD", "Patient/1001", headers={"Accept-Encoding": "identity"})
    assert (status, body) == (200, None)
    assert headers["Content-Length"] == got["Content-Length"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "Patient/9", 404),
        ("GET", "Spaceship", 404),
        ("GET", "Patient/1001/_history/1", 404),
        ("GET", "Patient/_search", 404),
        ("GET", "", 404),
        ("POST", "Patient", 405),
        ("DELETE", "Patient/1001", 405),
        ("PATCH", "Observation/vital-1001-1", 405),
    ],
)
async def test_what_is_not_there_is_an_outcome(caller: Caller, method: str, path: str, status: int) -> None:
    found, outcome, headers = await caller.ask(method, path)
    assert (found, outcome["resourceType"]) == (status, "OperationOutcome")
    assert headers["Content-Type"].startswith(caller.hospital.version.media_type(FhirFormat.JSON))
    assert (status == 405) == ("Allow" in headers)


def batch(*urls: str, method: str = "GET") -> dict[str, Any]:
    entries = [{"request": {"method": method, "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_batch_is_answered_entry_by_entry(caller: Caller, slash: str) -> None:
    body = batch("Patient/1001", "Observation?patient=1001&_count=2", f"{caller.base}/Patient/9", "Patient/1001/x/y")
    status, bundle, _ = await caller.ask("POST", f"{caller.hospital.base_path}{slash}", json=body)
    if not caller.hospital.batch:
        assert (status, bundle["issue"][0]["code"]) == (501, "not-supported")
        return
    assert (status, bundle["type"]) == (200, "batch-response")
    responses = [entry["response"] for entry in bundle["entry"]]
    assert [response["status"] for response in responses] == ["200 OK", "200 OK", "404 Not Found", "404 Not Found"]
    assert responses[0]["etag"] == 'W/"1"'
    assert bundle["entry"][1]["resource"]["total"] == 84
    missing = bundle["entry"][2]
    outcome = missing["resource"] if caller.hospital is RIVERSIDE else missing["response"]["outcome"]
    assert outcome["issue"][0]["code"] == "not-found"


async def test_a_batch_of_odd_entries_harms_only_them(lakeside: Caller) -> None:
    body = batch("Patient/1001")
    body["entry"] += [{}, {"request": {}}, 7, *batch("Patient/1001", method="DELETE")["entry"]]
    _, bundle, _ = await lakeside.ask("POST", "", json=body)
    statuses = [entry["response"]["status"][:3] for entry in bundle["entry"]]
    assert statuses == ["200", "400", "400", "400", "405"]
    stu3_model("Bundle").model_validate(bundle)


@pytest.mark.parametrize("body", ["", "{", "[]", '{"resourceType":"Bundle","type":"transaction"}'])
async def test_what_is_no_batch_is_400(lakeside: Caller, body: str) -> None:
    status, _, _ = await lakeside.ask("POST", "", data=body, headers={"Content-Type": "application/fhir+json"})
    assert status == 400


async def test_an_observation_is_created_updated_and_deleted(caller: Caller) -> None:
    new = {"resourceType": "Observation", "status": "final", "code": {"text": "Mood"}, "valueString": "good"}
    new["subject"] = {"reference": "Patient/1002"}
    status, made, headers = await caller.ask("POST", "Observation", json=new)
    assert (status, headers["ETag"]) == (201, 'W/"1"')
    assert headers["Location"] == f"{caller.base}/Observation/{made['id']}"
    assert made["id"] in ids(await caller.get("Observation?patient=1002&_count=100"))

    changed = made | {"valueString": "better"}
    url = f"Observation/{made['id']}"
    stale = await caller.ask("PUT", url, json=changed, headers={"If-Match": 'W/"7"'})
    status, _, headers = await caller.ask("PUT", url, json=changed, headers={"If-Match": 'W/"1"'})
    assert (stale[0], status, headers["ETag"]) == (412, 200, 'W/"2"')
    assert (await caller.get(url))["valueString"] == "better"

    assert (await caller.ask("DELETE", url))[0] == 204
    assert (await caller.ask("GET", url))[0] == 410
    assert (await caller.ask("PUT", url, json=changed))[2]["ETag"] == 'W/"3"'


async def test_a_body_of_another_type_or_format_is_refused(caller: Caller) -> None:
    assert (await caller.ask("POST", "Observation", json={"resourceType": "Patient"}))[0] == 400
    xml = {"Content-Type": caller.hospital.version.media_type(FhirFormat.XML)}
    assert (await caller.ask("POST", "Observation", data="<Observation/>", headers=xml))[0] == 415
