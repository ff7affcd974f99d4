"""The FHIR responses that the provider of the benchmark has recorded."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_OK = {"status": "200 OK", "etag": 'W/"1"', "lastModified": "2026-05-12T08:11:02+00:00"}


def patient(base: str) -> bytes:
    """A read of 2 KB."""
    return _json(_patient("p1", base))


def searchset(base: str, next_page: str | None = None) -> bytes:
    """A page of 40 Observations, 22 KB: 40 `fullUrl`s and relative references. `next_page` is its further page."""
    links = [{"relation": "self", "url": f"{base}/Observation?patient=p1&category=vital-signs"}]
    if next_page is not None:
        links.append({"relation": "next", "url": next_page})
    return _searchset(base, links, 400, map(_observation, range(40)))


def large(base: str) -> bytes:
    """A Bundle of 1 MB: 480 Patients with a narrative and absolute references."""
    links = [{"relation": "self", "url": f"{base}/Patient?_count=480"}]
    return _searchset(base, links, 480, (_patient(f"p{number}", base) for number in range(480)))


def batch(entries: int) -> bytes:
    """A batch of reads, as the app sends it."""
    requests = [{"request": {"method": "GET", "url": f"Patient/p{number}"}} for number in range(entries)]
    return _json({"resourceType": "Bundle", "type": "batch", "entry": requests})


def batch_response(base: str, entries: int) -> bytes:
    """The response to a batch of reads by a provider that does batches itself."""
    resources = [{**_entry(base, _patient(f"p{number}", base)), "response": _OK} for number in range(entries)]
    return _json({"resourceType": "Bundle", "type": "batch-response", "entry": resources})


def _searchset(base: str, links: list[dict[str, str]], total: int, resources: Iterable[Any]) -> bytes:
    entries = [_entry(base, resource) for resource in resources]
    return _json({"resourceType": "Bundle", "type": "searchset", "total": total, "link": links, "entry": entries})


def _entry(base: str, resource: dict[str, Any]) -> dict[str, Any]:
    full_url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": full_url, "resource": resource, "search": {"mode": "match"}}


def _patient(id: str, base: str) -> Any:
    return json.loads((_FOLDER / "patient.json").read_text().replace("{id}", id).replace("{base}", base))


def _observation(number: int) -> Any:
    text = (_FOLDER / "observation.json").read_text().replace("{id}", f"o{number}")
    observation = json.loads(text.replace("{day}", f"{number % 28 + 1:02}"))
    observation["valueQuantity"]["value"] += number / 8
    return observation


def _json(resource: dict[str, Any]) -> bytes:
    return json.dumps(resource, separators=(",", ":")).encode()
