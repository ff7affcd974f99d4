"""Links in a query string or a form body."""

import re

from shared.fhir.errors import FhirError
from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import Position
from shared.fhir.rewriting.spelling import PERCENT_ENCODING, Edit, escaped_edits, splice

MAX_LINKS = 400  # a query of the longest URL that a server takes holds a hundred

# `&patient=Patient/1`, with the value as the group.
_VALUE = re.compile(r"(?:\A|&)[^&=]*+=([^&]*+)")
# A comma parts alternatives, a "$" the components of a composite parameter.
_PARTING = r"(?:[,$]|%2[cC4])"
# FHIR escapes them within a value by a backslash (R4, search.html#escaping).
_ALTERNATIVE = re.compile(rf"{_PARTING}|(?:[^,$%\\]++|(?:\\|%5[cC]){_PARTING}|(?!{_PARTING})[%\\])++", re.DOTALL)
_BAR = re.compile(r"\||%7[cC]")


def rewrite_form(text: str, link_map: LinkMap) -> str:
    """`text` (application/x-www-form-urlencoded, encoded as it came) with the links in its parameters mapped.

    A value is a link when it, or one of its alternatives or components, is an absolute URL below a source; its base is
    written as the old one was: raw, or percent-encoded. A value with "|" is a token's system and code, or a
    canonical and its version, and stays, as does everything else. The same object when nothing matched. Raises
    FhirError (400) for more than MAX_LINKS links.
    """
    if "//" not in text and "%" not in text:
        return text  # most have neither, and no base can be spelled without
    edits: list[Edit] = []
    for value in _VALUE.finditer(text):
        for alternative in _ALTERNATIVE.finditer(text, *value.span(1)):
            if not _BAR.search(alternative[0]):
                edits += escaped_edits(Position.URL, alternative[0], PERCENT_ENCODING, alternative.start(), link_map)
                if len(edits) > MAX_LINKS:
                    raise FhirError(400, "too-costly", f"A search may name {MAX_LINKS} absolute links.")
    return splice(text, edits) if edits else text


def rewrite_criteria(text: str, type: str, link_map: LinkMap) -> str:
    """Search criteria, as in If-None-Exist and `request.ifNoneExist`, with the links in its parameters mapped.

    They are a query. HAPI's client and older Firely ones write a whole URL, as in
    `https://gateway.example/stu3/Patient?identifier=1`: below a source of the map, or relative to it, and of the type
    that is created, it counts as its query. Any other text before the "?" stays, for policy to refuse.
    """
    target, mark, query = text.partition("?")
    named = target[link_map.base_length(target) or 0 :].strip("/")
    if mark and (named == type or not target):
        text = query
    return rewrite_form(text, link_map)
