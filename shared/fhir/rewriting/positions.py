"""The places of links in FHIR: the elements of every FHIR version whose values a gateway has to rewrite."""

from enum import Enum


class Position(Enum):
    """The content of a string that may hold a link."""

    URL = "one URL"
    TEXT = "running text with URLs in it"
    NARRATIVE = "XHTML with links in href and src"


# Each of these names has one meaning as a string wherever it stands: `location` is `Bundle.entry.response.location`
# (all others are lists or objects), `diagnostics` is `OperationOutcome.issue.diagnostics`.
ANYWHERE = {
    "reference": Position.URL,
    "fullUrl": Position.URL,
    "location": Position.URL,
    "diagnostics": Position.TEXT,
    "div": Position.NARRATIVE,
}

# `url` is a link in these parents only; elsewhere it names an extension or is a resource's canonical URL. A
# parameter's `valueUri` or `valueUrl` stays too: nothing tells a link from the canonical that `$expand` takes.
_LINKING = frozenset({"link", "request", "implementation"})
_ATTACHMENTS = frozenset(
    {"attachment", "content", "document", "file", "form", "formatted", "image", "photo", "presentedForm"}
)

BY_PARENT = frozenset({"url", "text"})


def position_of(name: str, parent: str) -> Position | None:
    """The content of the string element `name` of an element `parent`, or None when it is not to be rewritten.

    `parent` is the name of the enclosing object's element, without regard to lists.
    """
    if name == "url":
        links = parent in _LINKING or parent in _ATTACHMENTS or parent.endswith("Attachment")
        return Position.URL if links else None
    if name == "text":
        # Only `OperationOutcome.issue.details` is a CodeableConcept of that name.
        return Position.TEXT if parent == "details" else None
    return ANYWHERE.get(name)


LINK_ATTRIBUTES = frozenset({"href", "src"})  # of XHTML

# The places in XML where a link may stand: `value` of a FHIR element that is one URL, or running text; `href` and `src`
# in XHTML; `value` of a `reference` with a query. Plain numbers, for they are packed with an offset.
URL_VALUE, TEXT_VALUE, XHTML_LINK, CRITERIA = range(4)
