"""What is requested of each server, directly and through the gateway."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from shared.fhir.versions import FhirFormat, FhirVersion
from tests.conformance.servers import OBSERVATIONS
from tests.conformance.side import Response, Side

PATIENT = "Patient/1001"
_FORM = "application/x-www-form-urlencoded"
_SYSTEM = "https://conformance.example/id"

Send = Callable[[Side], Awaitable[list[Response]]]


@dataclass(frozen=True)
class Interaction:
    """`send` gives all responses of one side; a server does it if the last one has one of the statuses, or is XML."""

    send: Send
    statuses: tuple[int, ...] = (200,)
    xml: bool = False

    def is_done(self, last: Response) -> bool:
        return last.body.startswith(b"<") if self.xml else last.status in self.statuses


async def _each(*responses: Awaitable[Response]) -> list[Response]:
    return [await response for response in responses]


def gets(*paths: str) -> Send:
    return lambda side: _each(*(side.get(path) for path in paths))


async def vread(side: Side) -> list[Response]:
    current = await side.get(PATIENT)
    return [await side.get(f"{PATIENT}/_history/{current.document['meta']['versionId']}")]


async def conditional_read(side: Side) -> list[Response]:
    current = await side.get(PATIENT)
    return [await side.get(PATIENT, If_None_Match=current.headers.get("ETag", 'W/"1"'))]


async def sorted_search(side: Side) -> list[Response]:
    sort = "_sort:desc=date" if side.version is FhirVersion.DSTU2 else "_sort=-date"
    return [await side.get(f"Observation?patient=Patient/1001&{sort}&category=vital-signs&_count=7")]


async def search_by_post(side: Side) -> list[Response]:
    searches = (("Patient/_search", "given=ruth&family=black"), ("Patient/_search?_count=2", "gender=female"))
    return [await side.send("POST", path, form, Content_Type=_FORM) for path, form in searches]


async def _to_the_last_page(side: Side, first: Response, entries: int, **headers: str) -> list[Response]:
    responses = [first]
    while (following := responses[-1].link("next")) is not None:
        responses.append(await side.get(following, **headers))
    assert len(responses) > 1
    found = sum(response.body.count(b"fullUrl") for response in responses)
    assert found in (entries, 2 * entries)  # XML also ends with it
    return responses


async def pages(side: Side) -> list[Response]:
    return await _to_the_last_page(side, await side.get("Observation?_count=50"), OBSERVATIONS)


async def pages_of_post(side: Side) -> list[Response]:
    form = "patient=Patient%2F1001&_count=30"
    first = await side.send("POST", "Observation/_search", form, Content_Type=_FORM)
    return await _to_the_last_page(side, first, first.document["total"])


async def xml_pages(side: Side) -> list[Response]:
    accept = {"Accept": side.version.media_type(FhirFormat.XML)}
    return await _to_the_last_page(side, await side.get("Observation?_count=50", **accept), OBSERVATIONS, **accept)


def new_patient(identifier: str, **elements: Any) -> dict[str, Any]:
    identifiers = [{"system": _SYSTEM, "value": identifier}]
    return {"resourceType": "Patient", "identifier": identifiers, "gender": "female"} | elements


async def conditional_create(side: Side) -> list[Response]:
    body, condition = new_patient(f"{side.own}-once"), f"identifier={_SYSTEM}|{side.own}-once"
    return [await side.write("POST", "Patient", body, If_None_Exist=condition) for _ in range(2)]


async def update(side: Side) -> list[Response]:
    path, body = f"Patient/{side.own}", new_patient(side.own, id=side.own)
    first = await side.write("PUT", path, body)
    etag = first.headers.get("ETag", 'W/"1"')
    return [first, await side.write("PUT", path, body | {"gender": "male"}, If_Match=etag), await side.get(path)]


async def stale_update(side: Side) -> list[Response]:
    path, body = f"Patient/{side.own}", new_patient(side.own, id=side.own)
    return [await side.write("PUT", path, body), await side.write("PUT", path, body, If_Match='W/"77"')]


async def references(side: Side) -> list[Response]:
    patient = "patient" if side.version is FhirVersion.DSTU2 else "subject"
    body: dict[str, Any] = {"resourceType": "Encounter", "id": side.own, "status": "planned"}
    body[patient] = {"reference": f"{side.base}/{PATIENT}"}
    if side.version in (FhirVersion.R4, FhirVersion.R4B):
        body["class"] = {"code": "AMB"}
    return [await side.write("PUT", f"Encounter/{side.own}", body), await side.get(f"Encounter/{side.own}")]


async def delete(side: Side) -> list[Response]:
    path = f"Patient/{side.own}"
    await side.write("PUT", path, new_patient(side.own, id=side.own))
    return [await side.write("DELETE", path), await side.get(path)]


def batch(*urls: str, method: str = "GET") -> dict[str, Any]:
    entries = [{"request": {"method": method, "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": "batch"} | ({"entry": entries} if entries else {})


def chart(base: str = "") -> dict[str, Any]:
    """The batch for the chart of a patient as the app sends it, one of its URLs below `base`, and what fails."""
    return batch(
        PATIENT,
        "Observation?patient=Patient/1001&category=vital-signs&_count=4",
        "Condition?patient=Patient/1001",
        "Encounter?patient=Patient/1001&_count=2",
        f"{base}/Location/ward-0".removeprefix("/"),
        "Patient/nobody",
    )


# By their titles in docs/conformance.md.
INTERACTIONS = {
    "read": Interaction(gets("Observation/vital-1001-1", "Location/ward-0", PATIENT)),
    "vread": Interaction(vread),
    "history of a resource": Interaction(gets(f"{PATIENT}/_history")),
    "read of what is not there": Interaction(gets("Patient/nobody"), (404,)),
    "HEAD": Interaction(lambda side: _each(side.send("HEAD", PATIENT))),
    "read if changed (`If-None-Match`)": Interaction(conditional_read, (304,)),
    "search: two parameters": Interaction(gets("Patient?family=black&given=ruth")),
    "search: `:contains`, `:exact`": Interaction(gets("Patient?family:contains=lac", "Patient?family:exact=Black")),
    "search: a repeated parameter, prefixes": Interaction(
        gets("Patient?birthdate=ge1900-01-01&birthdate=lt2100-01-01&gender=female&_count=5")
    ),
    "search: a token with its system, encoded and not": Interaction(
        gets(
            "Observation?patient=Patient/1001&code=http%3A%2F%2Floinc.org%7C8867-4&_count=5",
            "Observation?patient=Patient/1001&code=http://loinc.org|8867-4&_count=5",
        )
    ),
    "search: alternatives (`,`)": Interaction(gets("Patient?given=ruth,nobody&_count=3")),
    "search: vital signs, the latest first": Interaction(sorted_search),
    "search by a reference to the base itself": Interaction(
        lambda side: _each(side.get(f"Encounter?patient={side.base}/{PATIENT}"))
    ),
    "search: a parameter that the server refuses": Interaction(gets("Patient?no-such-parameter=1"), (400,)),
    "search without a match": Interaction(gets("Patient?family=nobody")),
    "search: `_include`": Interaction(gets("Encounter?patient=Patient/1001&_include=Encounter:location")),
    "`_summary`: true, count": Interaction(gets("Patient?_summary=count", "Patient?_summary=true&_count=3")),
    "`_summary=text` of one resource": Interaction(gets("Patient/1001?_summary=text")),
    "`_elements`": Interaction(gets("Patient?_elements=name,gender&_count=3")),
    "search by POST, parameters in body and URL": Interaction(search_by_post),
    "pages, to the last one": Interaction(pages),
    "pages of a search by POST": Interaction(pages_of_post),
    "XML: an error, a search and a read, by `_format`": Interaction(
        gets("Patient/nobody?_format=xml", "Patient?family=black&_format=xml", "Patient/1001?_format=xml"), xml=True
    ),
    "XML: pages, by `Accept`": Interaction(xml_pages, xml=True),
    "create": Interaction(lambda side: _each(side.write("POST", "Patient", new_patient(side.own))), (201,)),
    "create unless it is there (`If-None-Exist`)": Interaction(conditional_create),
    "update with `If-Match`": Interaction(update),
    "update of another version (`If-Match`)": Interaction(stale_update, (409, 412)),
    "an update that refers to the base itself": Interaction(references),
    "delete, and read what is deleted": Interaction(delete, (404, 410)),
    "a body that is no resource": Interaction(
        lambda side: _each(
            side.write("POST", "Patient", {"resourceType": "Patient", "gender": ["no", {"such": "code"}]})
        ),
        (400, 422),
    ),
    "batch, by the server": Interaction(lambda side: _each(side.send("POST", "", chart()))),
}
