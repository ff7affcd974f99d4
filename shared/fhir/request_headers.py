"""The headers of a client's request that go up to the provider. Whatever is not named here does not."""

import json
import re
from collections.abc import Mapping

from shared.fhir.body import read_body
from shared.fhir.document import run
from shared.fhir.errors import FhirError
from shared.fhir.interaction import PRECONDITIONS, WRITES, Interaction, InteractionKind
from shared.fhir.policy import Permissions, authorize, authorize_reference
from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.versions import FhirFormat

_PASSED = ("accept-language", "x-correlation-id", "traceparent", "tracestate")
_VALUE = re.compile(r"[\x20-\x7e\t]*")
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')  # a comma inside a quoted string separates nothing
_FORWARDED_DIRECTIVES = frozenset({"no-cache", "no-store"})


def forwarded_headers(
    headers: Mapping[str, str], interaction: Interaction, permissions: Permissions, links: LinkMap
) -> dict[str, str]:
    """Those of a request's `headers` (names in lower case) that go up, with `links` mapped to the provider's.

    Raises FhirError: 400 for a precondition that can't be sent, as dropping it would change what is written, and 403
    for X-Provenance where no Provenance may be created.
    """
    if _LOOKED_AT.isdisjoint(headers):
        return {}
    up = {name: headers[name] for name in _PASSED if headers.get(name) and _VALUE.fullmatch(headers[name])}
    for name in PRECONDITIONS:
        value = headers.get(name)
        if value is None:
            continue
        if not _VALUE.fullmatch(value):
            raise FhirError(400, "value", f"{name} has characters that no header can carry: percent-encode them.")
        up[name] = value
    for name, filtered in _FILTERED.items():
        if name in headers and (kept := filtered(headers[name])) and _VALUE.fullmatch(kept):
            up[name] = kept
    # Only writes make a Provenance of it (http://hl7.org/fhir/R4/provenance.html#header).
    if "x-provenance" in headers and interaction.kind in WRITES:
        up["x-provenance"] = _provenance(headers["x-provenance"], permissions, links)
    return up


def _prefers(value: str) -> str:
    """Prefer without respond-async (RFC 7240 section 4.1): nobody can poll for its response here."""
    preferences = [each.strip() for each in _ELEMENT.findall(value)]
    return ", ".join(each for each in preferences if not re.match(r"(?i)respond-async(?![\w-])", each))


def _cache_control(value: str) -> str:
    """Some servers answer a search from memory unless they are told not to."""
    directives = [each.strip().lower() for each in value.split(",")]
    return ", ".join(each for each in dict.fromkeys(directives) if each in _FORWARDED_DIRECTIVES)


_FILTERED = {"prefer": _prefers, "cache-control": _cache_control}
_LOOKED_AT = frozenset({*_PASSED, *PRECONDITIONS, *_FILTERED, "x-provenance"})


def _provenance(value: str, permissions: Permissions, links: LinkMap) -> str:
    """The Provenance of an X-Provenance header, authorized as the create that it is, and written anew in ASCII."""
    authorize(Interaction(InteractionKind.CREATE, "Provenance", "Provenance"), "", permissions)
    try:
        resource = json.loads(value)
    except (ValueError, RecursionError):
        resource = None
    if not isinstance(resource, dict) or resource.get("resourceType") != "Provenance":
        raise FhirError(400, "structure", "X-Provenance is not a Provenance in JSON.")
    body = run(read_body(json.dumps(resource, separators=(",", ":")).encode(), FhirFormat.JSON))
    for reference in run(body.criteria(body.resource)):
        authorize_reference(links.map(reference) or reference, permissions)
    return run(body.mapped(links)).decode()
