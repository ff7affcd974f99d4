"""The headers of a provider's response that come down. No other header does."""

import re

from multidict import MultiMapping, istr

from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, parse
from shared.fhir.negotiation import media_type_format
from shared.fhir.paging import absolute_urls
from shared.fhir.policy import Permissions, authorize
from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import Position
from shared.fhir.rewriting.spelling import link_edits, splice

# In the type that the names of received headers are looked up by without being folded each time.
_SINGLE = tuple(map(istr, ("ETag", "Last-Modified", "Retry-After", "Date")))
_JOINED = tuple(map(istr, ("Content-Language", "Preference-Applied", "Warning", "X-Progress", "X-Correlation-Id")))
_LINKS = tuple(map(istr, ("Location", "Content-Location")))
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_URL = re.compile(r"[!-~]+")


def response_headers(
    headers: MultiMapping[str], url: str, interaction: Interaction, permissions: Permissions, links: LinkMap
) -> dict[str, str]:
    """The headers of a response that came from `url`, with `links` mapped to the gateway's, one value a name.

    A header that can't be passed on is left out: a write that succeeded must not fail for it.
    """
    down: dict[str, str] = {}
    for name in _SINGLE:
        if (value := headers.get(name)) and _can_be_sent(value):
            down[name] = value
    for name in _JOINED:
        if name in headers and (value := ", ".join(headers.getall(name))) and _can_be_sent(value):
            down[name] = splice(value, link_edits(Position.TEXT, value, links)) if "//" in value else value
    for name in _LINKS:
        if (value := headers.get(name)) and (mapped := _mapped(value, url, links)) is not None:
            down[name] = mapped
    content_type = headers.get("Content-Type", "")
    if media_type_format(content_type) is not None:
        down["Content-Type"] = f"{content_type.partition(';')[0].strip()}; charset=utf-8"
    elif _URL.match(content_type) and _can_be_sent(content_type):
        down["Content-Type"] = content_type
    return down | allowed(headers, interaction, permissions) if "Allow" in headers else down


def allowed(headers: MultiMapping[str], interaction: Interaction, permissions: Permissions) -> dict[str, str]:
    """The header Allow with those of its methods that policy lets through at the interaction's path."""
    named = {method.strip() for line in headers.getall("Allow", []) for method in line.split(",")}
    through = [method for method in _METHODS if method in named and _is_allowed(method, interaction.path, permissions)]
    return {"Allow": ", ".join(through)} if through else {}


def _can_be_sent(value: str) -> bool:
    """Whether a header's value is of visible ASCII, blanks and tabs: the host fails a response with any other."""
    return value.isascii() and value.replace("\t", " ").isprintable()


def _is_allowed(method: str, path: str, permissions: Permissions) -> bool:
    try:
        authorize(parse(method, path, "_id=1", {}), "", permissions)
    except FhirError:
        return False
    return True


def _mapped(value: str, url: str, links: LinkMap) -> str | None:
    found = [mapped for each in absolute_urls(value, links.sources[0], url) if (mapped := links.map(each)) is not None]
    fhir = (mapped for mapped in found if _is_fhir(mapped.removeprefix(links.target).partition("?")[0]))
    mapped = next(fhir, found[0] if found else "")
    return mapped if _URL.fullmatch(mapped) else None


def _is_fhir(path: str) -> bool:
    try:
        parse("GET", path.removeprefix("/"), "", {})
    except FhirError:
        return False
    return True
