"""The FHIR answers that the provider of the benchmark has recorded."""

import json
from typing import Any

SEARCHSET_ENTRIES = 40
_LARGE_ENTRIES = 480


def patient(base: str) -> bytes:
    """A read of 2 KB."""
    return _json(_patient("p1", base))


def searchset(base: str, next_page: str | None = None) -> bytes:
    """A page of 40 Observations, 22 KB: 40 `fullUrl`s and relative references. `next_page` is its further page."""
    links = [{"relation": "self", "url": f"{base}/Observation?patient=p1&category=vital-signs"}]
    if next_page is not None:
        links.append({"relation": "next", "url": next_page})
    entries = [_entry(base, _observation(number)) for number in range(SEARCHSET_ENTRIES)]
    return _json({"resourceType": "Bundle", "type": "searchset", "total": 400, "link": links, "entry": entries})


def large(base: str) -> bytes:
    """A Bundle of 1 MB: 480 Patients with a narrative and absolute references."""
    links = [{"relation": "self", "url": f"{base}/Patient?_count=480"}]
    entries = [_entry(base, _patient(f"p{number}", base)) for number in range(_LARGE_ENTRIES)]
    return _json({"resourceType": "Bundle", "type": "searchset", "total": 480, "link": links, "entry": entries})


def batch(entries: int) -> bytes:
    """A batch of reads, as the app sends it."""
    requests = [{"request": {"method": "GET", "url": f"Patient/p{number}"}} for number in range(entries)]
    return _json({"resourceType": "Bundle", "type": "batch", "entry": requests})


def batch_response(base: str, entries: int) -> bytes:
    """The answer to a batch of reads by a provider that does batches itself."""
    resources = [{**_entry(base, _patient(f"p{number}", base)), "response": _OK} for number in range(entries)]
    return _json({"resourceType": "Bundle", "type": "batch-response", "entry": resources})


_OK = {"status": "200 OK", "etag": 'W/"1"', "lastModified": "2026-05-12T08:11:02+00:00"}


def _json(resource: dict[str, Any]) -> bytes:
    return json.dumps(resource, separators=(",", ":")).encode()


def _entry(base: str, resource: dict[str, Any]) -> dict[str, Any]:
    full_url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": full_url, "resource": resource, "search": {"mode": "match"}}


def _observation(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "meta": {"versionId": "1", "lastUpdated": "2026-05-12T08:11:02.418+00:00"},
        "status": "final",
        "category": [{"coding": [{"system": "http://hl7.org/fhir/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": f"2026-05-{number % 28 + 1:02}T08:00:00+00:00",
        "valueQuantity": {"value": 60.0 + number / 8, "unit": "/min", "system": "http://unitsofmeasure.org"},
    }


def _patient(id: str, base: str) -> dict[str, Any]:
    rows = "".join(
        f"<tr><td>Line {number}</td><td>Kept for the record, as it was told</td></tr>" for number in range(14)
    )
    coded = "http://hl7.org/fhir/v2/0203"
    return {
        "resourceType": "Patient",
        "id": id,
        "meta": {"versionId": "3", "lastUpdated": "2026-05-12T08:11:02.418+00:00"},
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><table>{rows}</table></div>',
        },
        "identifier": [
            {
                "use": "usual",
                "type": {"coding": [{"system": coded, "code": "MR", "display": "Medical record number"}]},
                "system": "urn:oid:1.2.36.146.595.217.0.1",
                "value": "MRN-0012345",
                "assigner": {"reference": f"{base}/Organization/1", "display": "Riverside General"},
            }
        ],
        "active": True,
        "name": [{"use": "official", "family": "Chalmers", "given": ["Peter", "James"], "prefix": ["Mr"]}],
        "telecom": [{"system": "phone", "value": "(03) 5555 6473", "use": "work", "rank": 1}],
        "gender": "male",
        "birthDate": "1974-12-25",
        "address": [{"use": "home", "line": ["534 Erewhon St"], "city": "PleasantVille", "postalCode": "3999"}],
        "generalPractitioner": [{"reference": f"{base}/Practitioner/example", "display": "Dr Adam Careful"}],
        "managingOrganization": {"reference": f"{base}/Organization/1"},
    }
