"""What is asked of each server, directly and through the gateway."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from shared.fhir.versions import FhirFormat, FhirVersion
from tests.conformance.servers import OBSERVATIONS
from tests.conformance.side import Answer, Side

PATIENT = "Patient/1001"
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Interaction:
    """`ask` gives all answers of one side, in order; by the last one the server does it, or does not."""

    title: str
    ask: Callable[[Side], Awaitable[list[Answer]]]
    done: Callable[[Answer], bool]


INTERACTIONS: dict[str, Interaction] = {}

_Ask = Callable[[Side], Awaitable[list[Answer]]]


def _interaction(title: str, *done: int) -> Callable[[_Ask], _Ask]:
    def register(ask: _Ask) -> _Ask:
        INTERACTIONS[ask.__name__] = Interaction(title, ask, lambda answer: answer.status in (done or (200,)))
        return ask

    return register


def _xml(title: str) -> Callable[[_Ask], _Ask]:
    def register(ask: _Ask) -> _Ask:
        INTERACTIONS[ask.__name__] = Interaction(title, ask, lambda answer: answer.body.startswith(b"<"))
        return ask

    return register


def _search(name: str, title: str, *paths: str) -> None:
    async def ask(side: Side) -> list[Answer]:
        return [await side.get(path) for path in paths]

    INTERACTIONS[name] = Interaction(title, ask, lambda answer: answer.status == 200)


def new_patient(identifier: str, **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "https://conformance.example/id", "value": identifier}],
        "gender": "female",
    } | elements


async def _to_the_last_page(side: Side, first: Answer, entries: int, **headers: str) -> list[Answer]:
    answers = [first]
    while (following := answers[-1].link("next")) is not None:
        answers.append(await side.get(following, **headers))
    assert len(answers) > 1
    assert sum(answer.body.count(b"fullUrl") for answer in answers) in (entries, 2 * entries)  # XML also ends with it
    return answers


@_interaction("read")
async def read(side: Side) -> list[Answer]:
    return [await side.get(path) for path in ("Observation/vital-1001-1", "Location/ward-0", PATIENT)]


@_interaction("vread")
async def vread(side: Side) -> list[Answer]:
    current = await side.get(PATIENT)
    version = current.document["meta"]["versionId"]
    return [await side.get(f"{PATIENT}/_history/{version}")]


@_interaction("history of a resource")
async def history(side: Side) -> list[Answer]:
    return [await side.get(f"{PATIENT}/_history")]


@_interaction("read of what is not there", 404)
async def missing(side: Side) -> list[Answer]:
    return [await side.get("Patient/nobody")]


@_interaction("HEAD")
async def head(side: Side) -> list[Answer]:
    return [await side.send("HEAD", PATIENT)]


@_interaction("read if changed (`If-None-Match`)", 304)
async def conditional_read(side: Side) -> list[Answer]:
    current = await side.get(PATIENT)
    return [await side.get(PATIENT, If_None_Match=current.headers.get("ETag", 'W/"1"'))]


_search("search_by_name", "search: two parameters", "Patient?family=black&given=ruth")
_search(
    "search_with_modifier", "search: `:contains`, `:exact`", "Patient?family:contains=lac", "Patient?family:exact=Black"
)
_search(
    "search_by_dates",
    "search: a repeated parameter, prefixes",
    "Patient?birthdate=ge1900-01-01&birthdate=lt2100-01-01&gender=female&_count=5",
)
_search(
    "search_by_token",
    "search: a token with its system, encoded and not",
    "Observation?patient=Patient/1001&code=http%3A%2F%2Floinc.org%7C8867-4&_count=5",
    "Observation?patient=Patient/1001&code=http://loinc.org|8867-4&_count=5",
)
_search("search_by_alternatives", "search: alternatives (`,`)", "Patient?given=ruth,nobody&_count=3")


@_interaction("search: vital signs, the latest first")
async def search_sorted(side: Side) -> list[Answer]:
    sort = "_sort:desc=date" if side.version is FhirVersion.DSTU2 else "_sort=-date"
    return [await side.get(f"Observation?patient=Patient/1001&{sort}&category=vital-signs&_count=7")]


@_interaction("search by a reference to the base itself")
async def search_by_absolute_reference(side: Side) -> list[Answer]:
    return [await side.get(f"Encounter?patient={side.base}/{PATIENT}")]


@_interaction("search: a parameter that the server refuses", 400)
async def bad_search(side: Side) -> list[Answer]:
    return [await side.get("Patient?no-such-parameter=1")]


_search("search_without_match", "search without a match", "Patient?family=nobody")
_search("include", "search: `_include`", "Encounter?patient=Patient/1001&_include=Encounter:location")
_search("summary", "`_summary`: true, count", "Patient?_summary=count", "Patient?_summary=true&_count=3")
_search("summary_text", "`_summary=text` of one resource", "Patient/1001?_summary=text")
_search("elements", "`_elements`", "Patient?_elements=name,gender&_count=3")


@_interaction("search by POST, parameters in body and URL")
async def search_by_post(side: Side) -> list[Answer]:
    return [
        await side.send("POST", "Patient/_search", "given=ruth&family=black", Content_Type=_FORM),
        await side.send("POST", "Patient/_search?_count=2", "gender=female", Content_Type=_FORM),
    ]


@_interaction("pages, to the last one")
async def pages(side: Side) -> list[Answer]:
    return await _to_the_last_page(side, await side.get("Observation?_count=50"), OBSERVATIONS)


@_interaction("pages of a search by POST")
async def pages_of_post(side: Side) -> list[Answer]:
    form = "patient=Patient%2F1001&_count=30"
    first = await side.send("POST", "Observation/_search", form, Content_Type=_FORM)
    return await _to_the_last_page(side, first, first.document["total"])


@_xml("XML: an error, a search and a read, by `_format`")
async def xml_by_format(side: Side) -> list[Answer]:
    paths = ("Patient/nobody?_format=xml", "Patient?family=black&_format=xml", "Patient/1001?_format=xml")
    return [await side.get(path) for path in paths]


@_xml("XML: pages, by `Accept`")
async def xml_by_accept(side: Side) -> list[Answer]:
    accept = {"Accept": side.version.media_type(FhirFormat.XML)}
    return await _to_the_last_page(side, await side.get("Observation?_count=50", **accept), OBSERVATIONS, **accept)


@_interaction("create", 201)
async def create(side: Side) -> list[Answer]:
    return [await side.write("POST", "Patient", new_patient(side.own))]


@_interaction("create unless it is there (`If-None-Exist`)", 200)
async def conditional_create(side: Side) -> list[Answer]:
    body = new_patient(f"{side.own}-once")
    condition = f"identifier=https://conformance.example/id|{side.own}-once"
    return [await side.write("POST", "Patient", body, If_None_Exist=condition) for _ in range(2)]


@_interaction("update with `If-Match`")
async def update(side: Side) -> list[Answer]:
    path, body = f"Patient/{side.own}", new_patient(side.own, id=side.own)
    first = await side.write("PUT", path, body)
    etag = first.headers.get("ETag", 'W/"1"')
    return [first, await side.write("PUT", path, body | {"gender": "male"}, If_Match=etag), await side.get(path)]


@_interaction("update of another version (`If-Match`)", 409, 412)
async def stale_update(side: Side) -> list[Answer]:
    path, body = f"Patient/{side.own}", new_patient(side.own, id=side.own)
    return [await side.write("PUT", path, body), await side.write("PUT", path, body, If_Match='W/"77"')]


@_interaction("an update that refers to the base itself")
async def references(side: Side) -> list[Answer]:
    path = f"Encounter/{side.own}"
    patient = "patient" if side.version is FhirVersion.DSTU2 else "subject"
    body: dict[str, Any] = {"resourceType": "Encounter", "id": side.own, "status": "planned"}
    if side.version is FhirVersion.R4:
        body["class"] = {"code": "AMB"}
    body[patient] = {"reference": f"{side.base}/{PATIENT}"}
    return [await side.write("PUT", path, body), await side.get(path)]


@_interaction("delete, and read what is deleted", 404, 410)
async def delete(side: Side) -> list[Answer]:
    path = f"Patient/{side.own}"
    await side.write("PUT", path, new_patient(side.own, id=side.own))
    return [await side.write("DELETE", path), await side.get(path)]


@_interaction("a body that is no resource", 400, 422)
async def bad_body(side: Side) -> list[Answer]:
    return [await side.write("POST", "Patient", {"resourceType": "Patient", "gender": ["no", {"such": "code"}]})]


def batch(base: str | None = None) -> dict[str, Any]:
    """The chart of a patient as the app asks for it, one of its URLs absolute if there is a base, and what fails."""
    urls = (
        PATIENT,
        "Observation?patient=Patient/1001&category=vital-signs&_count=4",
        "Condition?patient=Patient/1001",
        "Encounter?patient=Patient/1001&_count=2",
        f"{base}/Location/ward-0" if base else "Location/ward-0",
        "Patient/nobody",
    )
    return {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
    }


@_interaction("batch, by the server")
async def native_batch(side: Side) -> list[Answer]:
    return [await side.send("POST", "", batch())]
