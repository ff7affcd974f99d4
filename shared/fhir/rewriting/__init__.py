"""Links in FHIR bodies and queries, mapped from one base URL to another; every other byte stays as it was."""

from shared.fhir.rewriting.form_links import rewrite_criteria, rewrite_form
from shared.fhir.rewriting.json_links import rewrite_json
from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.patch_links import rewrite_fhirpath_patch, rewrite_json_patch

__all__ = [
    "LinkMap", "rewrite_criteria", "rewrite_fhirpath_patch", "rewrite_form", "rewrite_json", "rewrite_json_patch",
]  # fmt: skip
