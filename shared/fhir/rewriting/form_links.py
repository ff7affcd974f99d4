"""Links in a query string or a form body."""

import re

from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import Position
from shared.fhir.rewriting.spelling import PERCENT_ENCODING, Edit, splice
from shared.fhir.rewriting.values import escaped_edits

_VALUE = re.compile(r"(?:\A|&)[^&=]*+=([^&]*+)")
_COMMA = r"(?:,|%2[cC])"
# FHIR escapes a comma within a value by a backslash (R4, search.html#escaping).
_ALTERNATIVE = re.compile(rf"{_COMMA}|(?:(?:\\|%5[cC]){_COMMA}|(?!{_COMMA}).)++", re.DOTALL)
_BAR = re.compile(r"\||%7[cC]")


def rewrite_form(text: str, link_map: LinkMap) -> str:
    """`text` (application/x-www-form-urlencoded, encoded as it came) with the links in its parameters mapped.

    A value is a link when it, or one of its comma-separated alternatives, is an absolute URL below a source; its base
    is written as the old one was: raw, or percent-encoded. A value with "|" is a token's system and code, or a
    canonical and its version, and stays, as does everything else. The same object when nothing matched.
    """
    if "//" not in text and "%" not in text:
        return text  # most have neither, and no base can be spelled without
    edits: list[Edit] = []
    for value in _VALUE.finditer(text):
        for alternative in _ALTERNATIVE.finditer(text, *value.span(1)):
            if not _BAR.search(alternative[0]):
                edits += escaped_edits(Position.URL, alternative[0], PERCENT_ENCODING, alternative.start(), link_map)
    return splice(text, edits) if edits else text
