"""Links in FHIR bodies and queries, mapped from one base URL to another; every other byte stays as it was."""

from shared.fhir.rewriting.form_links import rewrite_form
from shared.fhir.rewriting.json_links import rewrite_json
from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.xml_link_steps import read_references, rewrite_xml_steps
from shared.fhir.rewriting.xml_links import UnsafeXml, rewrite_xml

__all__ = [
    "LinkMap",
    "UnsafeXml",
    "read_references",
    "rewrite_form",
    "rewrite_json",
    "rewrite_xml",
    "rewrite_xml_steps",
]
