"""What the gateway judges in a document, in the words in which HAPI's reader says what it finds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.fhir.batch import BatchEntry, batch_entries
from shared.fhir.body import read_body
from shared.fhir.document import Resource, run
from shared.fhir.rewriting import LinkMap
from shared.fhir.versions import FhirFormat


@dataclass(frozen=True)
class Asked:
    """A request of a batch: where it goes, under which conditions, and the type of its resource."""

    method: str
    target: str
    conditions: Mapping[str, str]
    full_url: str | None
    type: str | None


def asked(content: bytes, format: FhirFormat, links: LinkMap) -> list[Asked]:
    """The requests that policy judges in a client's batch, their URLs mapped to the provider's."""
    bundle = run(read_body(content, format)).resource.bundle
    assert bundle is not None
    entries = [entry for entry in run(batch_entries(bundle, links)) if isinstance(entry, BatchEntry)]
    return [
        Asked(
            entry.method,
            entry.interaction.path + (f"?{entry.query}" if entry.query else ""),
            entry.conditions,
            entry.full_url,
            None if entry.resource is None else entry.resource.type,
        )
        for entry in entries
    ]


def found(content: bytes, format: FhirFormat) -> dict[str, Any]:
    """The types and links that policy judges in an answer."""
    return _resource(run(read_body(content, format)).resource)


def _resource(resource: Resource) -> dict[str, Any]:
    bundle = resource.bundle
    if bundle is None:
        return {"resourceType": resource.type}
    entries = [
        {
            name: _resource(part)
            for name, part in (("resource", entry.resource), ("outcome", entry.outcome))
            if part is not None
        }
        for entry in bundle.entries
    ]
    links = [{"relation": link.relation, "url": link.url} for link in bundle.links]
    return {"resourceType": "Bundle", "type": bundle.type, "link": links, "entry": entries}
