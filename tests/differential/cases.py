"""What a client sends, and what its provider answers: one of the two is a document with changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product, starmap
from random import Random
from typing import Any

from shared.fhir.versions import FhirFormat, FhirVersion
from tests.differential.documents import ELSEWHERE, Document, document, plain

TYPES = ("Patient", "Observation")
OPERATION = "$everything"
PAGE = "a further page"  # as a case's path: that of a page handle
_PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "1",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>x</p></div>'},
    "name": [{"family": ["x"]}],
}
_OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "id": "2", "status": "final", "code": {"text": "x"}}
_OUTCOME: dict[str, Any] = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "not-found", "diagnostics": "x"}],
}


@dataclass(frozen=True)
class Row:
    """A tenant's row."""

    version: FhirVersion
    access: str
    batch: str


ROWS = tuple(starmap(Row, product(FhirVersion, ("read", "write"), ("native", "split"))))
_NATIVE = tuple(row for row in ROWS if row.batch == "native")  # where a client's batch may go up whole
_SOME_ROWS = (*ROWS, *_NATIVE, *_NATIVE)


@dataclass(frozen=True)
class Case:
    """A request, and the answers to what the gateway asks for, by number; the last one is that to all further ones."""

    number: int
    row: Row
    method: str
    path: str
    sent: Document | None = None
    answers: tuple[Document, ...] = ()
    charset: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> str:
        changes = [change for document in (self.sent, *self.answers) if document for change in document.changes]
        return ", ".join(changes) or "nothing changed"


# What went through once, each with a fault that the readers' difference made.
_BATCHES = (
    '<Bundle xmlns="http://hl7.org/fhir" xmlns:x="u"><type value="batch"/><x:entry><x:request>'
    '<x:method value="DELETE"/><x:url value="Patient/1"/></x:request></x:entry></Bundle>',
    '<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry xmlns=""><request><method value="DELETE"/>'
    '<url value="Patient/1"/></request></entry></Bundle>',
)
_SEARCHING = '{"resourceType":"Patient","id":"1","managingOrganization":{"reference":["Practitioner?identifier=x"]}}'
_SEARCHSETS = (
    f'{{"resourceType":"Bundle","type":"searchset","link":{{"relation":"next","url":"{ELSEWHERE}"}}}}',
    f'{{"resourceType":"Bundle","type":"searchset","link":[{{"relation":"next","url":["{ELSEWHERE}"]}}]}}',
    f'{{"resourceType":"Bundle","type":"searchset","link":[{{"relation":"Next","url":"{ELSEWHERE}"}}]}}',
    '{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Patient"}}],'
    '"entry":[{"resource":{"resourceType":"Practitioner"}}]}',
    '{"resourceType":"Bundle","type":"searchset","_entry":{"id":"a"}}',
    '<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/><entry xmlns="u"><resource><Practitioner/></resource>'
    "</entry></Bundle>",
)


def known_upward() -> list[Case]:
    """Batches that once took a write through a read-only row, and a write that once took a search with it."""
    row, writing = (Row(FhirVersion.STU3, access, "native") for access in ("read", "write"))
    documents = [Document(FhirFormat.XML, batch.encode(), ("known",)) for batch in _BATCHES]
    search = Document(FhirFormat.JSON, _SEARCHING.encode(), ("known",))
    cases = [Case(-1 - number, row, "POST", "", sent) for number, sent in enumerate(documents)]
    return [*cases, Case(-1 - len(cases), writing, "PUT", "Patient/1", search)]


def known_downward() -> list[Case]:
    """Answers that once brought another type down, or a link to elsewhere."""
    row = Row(FhirVersion.STU3, "read", "native")
    formats = [FhirFormat.XML if text.startswith("<") else FhirFormat.JSON for text in _SEARCHSETS]
    answers = [Document(format, text.encode(), ("known",)) for format, text in zip(formats, _SEARCHSETS, strict=True)]
    return [Case(-1 - number, row, "GET", "Patient?name=x", None, (answer,)) for number, answer in enumerate(answers)]


def upward(number: int, base_url: str) -> Case:
    """A batch, or another body, as a client sends it; `base_url` is the gateway's for its row."""
    chance = Random(f"up {number}")
    row, format = chance.choice(_SOME_ROWS), chance.choice(tuple(FhirFormat))
    reference = chance.choice(("Organization/1", "Patient?identifier=x", "Practitioner?identifier=x"))
    patient = _as_of(row.version, _PATIENT) | {"managingOrganization": {"reference": reference}}
    if row.access == "write" and chance.random() < 0.25:
        patch = ("PATCH", "Patient/1", _patch(reference))
        single = (("PUT", "Patient/1", patient), ("POST", "Patient", patient), patch)
        method, path, resource = chance.choice(single)
        return Case(number, row, method, path, document(chance, resource, format), charset=_charset(chance))
    entries = [_asked(chance, patient, base_url) for _ in range(chance.choice((1, 2, 2, 3, 5)))]
    type = "transaction" if row.access == "write" and chance.random() < 0.3 else "batch"
    batch = {"resourceType": "Bundle", "type": type, "entry": entries}
    return Case(number, row, "POST", "", document(chance, batch, format), charset=_charset(chance))


def _patch(reference: str) -> dict[str, Any]:
    """A FHIRPath Patch (http://hl7.org/fhir/R4/fhirpatch.html)."""
    values = {"type": {"valueCode": "replace"}, "path": {"valueString": "Patient.managingOrganization"}}
    parts = [{"name": name, **value} for name, value in values.items()]
    parts.append({"name": "value", "valueReference": {"reference": reference}})
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


def _asked(chance: Random, patient: dict[str, Any], base_url: str) -> dict[str, Any]:
    reads = (
        "Patient/1", "Patient?name=x", f"{base_url}/Patient/1", "/Observation/2",
        "Observation?subject=Patient/1&_count=5",
    )  # fmt: skip
    writes = (
        {"request": {"method": "PUT", "url": "Patient/1", "ifMatch": 'W/"1"'}, "resource": patient},
        {"request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=x"}, "resource": patient},
        {"request": {"method": "DELETE", "url": "Patient/1"}},
    )
    if chance.random() < 0.3:
        entry = dict(chance.choice(writes))
        return {"fullUrl": "urn:uuid:4ea01d32-5fcc-4a0c-8e16-7e3b4ad3c1c5", **entry} if chance.random() < 0.5 else entry
    request = _get(chance.choice(reads))
    if chance.random() < 0.2:
        request |= chance.choice(({"ifNoneMatch": 'W/"1"'}, {"ifModifiedSince": "2026-01-01T00:00:00Z"}))
    return {"request": request}


def _get(url: str) -> dict[str, str]:
    return {"method": "GET", "url": url}


def downward(number: int, provider: str) -> Case:
    """An answer as a provider gives it; `provider` is its base URL."""
    chance = Random(f"down {number}")
    row, format = chance.choice(_SOME_ROWS), chance.choice(tuple(FhirFormat))
    patient = _as_of(row.version, _PATIENT)
    links = [{"relation": "self", "url": f"{provider}/Patient?name=x"}]
    if chance.random() < 0.6:
        links.append({"relation": "next", "url": f"{provider}/Patient?name=x&page=2"})
    entries = [{"fullUrl": f"{provider}/Patient/1", "resource": patient, "search": {"mode": "match"}}]
    entries += [{"resource": _OBSERVATION}] * chance.randrange(2)
    searchset = {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}
    outcome = {"status": "404"} if row.version is FhirVersion.DSTU2 else {"status": "404", "outcome": _OUTCOME}
    listed = [
        {"resource": searchset, "response": {"status": "200"}},
        {"resource": patient, "response": {"status": "200", "etag": 'W/"1"'}},
        {"response": outcome},
    ]
    headers = {"Accept": row.version.media_type(format)}
    method, sent = "GET", None
    by_path = {
        "Patient?name=x": searchset,
        "Patient/1": patient,
        "Patient/1/_history": searchset | {"type": "history"},
        f"Patient/1/{OPERATION}": searchset,
        PAGE: searchset,
    }
    path = chance.choice(("Patient?name=x", *by_path, "", ""))
    answers = [by_path.get(path, searchset)]
    if not path:
        urls = ("Patient?name=x", "Patient/1", "Patient/2")
        batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": _get(url)} for url in urls]}
        method, sent = "POST", plain(batch, format)
        whole = {"resourceType": "Bundle", "type": "batch-response", "entry": listed}
        answers = [whole] if row.batch == "native" else [searchset, patient, patient]
    changed = tuple(document(chance, answer, format) for answer in answers)
    return Case(number, row, method, path, sent, changed, _charset(chance), headers)


def _charset(chance: Random) -> str:
    return chance.choice((*("",) * 16, "utf-8", "UTF-8", "utf-16", "iso-8859-1"))


def _as_of(version: FhirVersion, patient: dict[str, Any]) -> dict[str, Any]:
    family = ["x"] if version is FhirVersion.DSTU2 else "x"
    return patient | {"name": [{"family": family}]}
