"""A FHIR body in either format: what it holds, and its links mapped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.fhir.errors import FhirError
from shared.fhir.json_body import entry_resources, parse_resource
from shared.fhir.rewriting import LinkMap, UnsafeXml, rewrite_json, rewrite_xml
from shared.fhir.versions import FhirFormat
from shared.fhir.xml_outline import outline


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A body as a client sent it. `document` is for judging it: of XML only the outline of resources and requests."""

    content: bytes
    format: FhirFormat
    document: Mapping[str, Any]

    def entry_resources(self) -> list[bytes | None]:
        """The resource of each entry of a Bundle, as a body of its own."""
        if self.format is FhirFormat.XML:
            return outline(self.content).resources
        return entry_resources(self.content)


def parse_request_body(content: bytes, format: FhirFormat) -> RequestBody:
    """A client's body. Raises FhirError (400) when it is no resource in this format."""
    document = outline(content).document if format is FhirFormat.XML else parse_resource(content)
    return RequestBody(content, format, document)


def rewrite_body(
    content: bytes, format: FhirFormat, links: LinkMap, link_url: Callable[[str], str | None] | None = None
) -> bytes:
    """The body with its links mapped, every other byte as it was; `link_url` decides on the links of Bundles instead.

    Raises FhirError (400) for XML that can't be read safely.
    """
    if format is FhirFormat.JSON:
        return rewrite_json(content, links, link_url=link_url)
    try:
        return rewrite_xml(content, links, link_url=link_url)
    except UnsafeXml:
        raise FhirError(400, "structure", "The body is not well-formed FHIR XML in UTF-8.") from None
