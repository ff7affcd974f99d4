"""A FHIR body in either format: what it holds, and its links mapped.

Of XML, which few ask for, is imported where a body is: a start has no time for it.
"""

from collections.abc import Sequence

from msgspec import Struct

from shared.fhir import json_document, json_escapes
from shared.fhir.document import Resource, Steps
from shared.fhir.rewriting import LinkMap, rewrite_json
from shared.fhir.versions import FhirFormat


class Body(Struct, frozen=True):
    """A body in UTF-8, and what has been read in it; `resource` tells by byte offsets what stands where."""

    content: bytes
    format: FhirFormat
    resource: Resource

    def mapped(self, links: LinkMap, replaced: Sequence[tuple[int, int, str]] = ()) -> Steps[bytes]:
        """The body with its links mapped and every other byte as it was.

        `replaced` are URLs that are written anew instead: start, end and what to write.
        """
        if self.format is FhirFormat.XML:
            from shared.fhir.rewriting.xml_links import rewrite_xml

            return (yield from rewrite_xml(self.content, self.resource, links, replaced))
        return (yield from rewrite_json(self.content, links, replaced))

    def mapped_part(self, resource: Resource, links: LinkMap) -> Steps[bytes]:
        """A resource in the body as a document of its own, with its links mapped."""
        if self.format is FhirFormat.XML:
            from shared.fhir.rewriting.xml_links import rewrite_xml

            return (yield from rewrite_xml(self.content, resource, links))
        return (yield from rewrite_json(self.content[resource.start : resource.end], links))

    def criteria(self, resource: Resource) -> Steps[list[str]]:
        """The references of a resource in the body that hold a "?": each is a search that a server may carry out."""
        if self.format is FhirFormat.XML:
            from shared.fhir.rewriting.xml_links import xml_references

            return (yield from xml_references(self.content, resource))
        return (yield from json_document.references(self.content, resource))


def read_body(content: bytes, format: FhirFormat) -> Steps[Body]:
    """The body, which is UTF-8, read. Raises Unreadable where it is no resource, or two readers could differ on it."""
    if format is FhirFormat.XML:
        from shared.fhir import xml_document

        return Body(content, format, (yield from xml_document.read(content)))
    content = yield from json_escapes.plain(content)
    return Body(content, format, (yield from json_document.read(content)))
