"""The policy on a client's requests to a tenant's FHIR server, and on the responses."""

import re
from collections.abc import Container, Iterable, Mapping
from functools import cache
from urllib.parse import unquote_plus

from msgspec import Struct

from shared.fhir.document import Resource
from shared.fhir.errors import FhirError
from shared.fhir.interaction import BUNDLES, TYPE_PATTERN, WRITES, Interaction, InteractionKind, limit_parameters
from shared.fhir.resource_types import RESOURCE_TYPES
from shared.fhir.scopes import EVERY_ACTION, Action, Scope, granted, permits
from shared.fhir.versions import FhirVersion


class Permissions(Struct, frozen=True):
    """The types that are let through, whether for writing too, and the token's scopes, which only narrow that.

    `operations` are those that are let through, as `Patient/$everything`. `version` is the provider's; it tells a type
    that does not exist from one that is not let through.
    """

    types: frozenset[str]
    version: FhirVersion
    write: bool = False
    scopes: tuple[Scope, ...] = ()
    operations: frozenset[str] = frozenset()


_REFUSED_KINDS: Mapping[InteractionKind, str] = {
    InteractionKind.SEARCH_SYSTEM: "A search over all types is not let through: search one type.",
    InteractionKind.HISTORY_SYSTEM: "The history of all types is not let through: ask for one resource's.",
    InteractionKind.HISTORY_TYPE: "The history of a type is not let through: ask for one resource's.",
    InteractionKind.CAPABILITIES: "The statement is at [base]/metadata, not in a batch.",
}
_REFUSED_PARAMETERS: Mapping[str, str] = {
    "_filter": "its expression can reach any type",
    "_query": "what a named query reaches can't be told from the request",
    "_graph": "what the graph that it names reaches can't be told from the request",
    "_list": "it tells what lists hold",
    "_in": "it tells what lists and groups hold",
    "_contained": "it searches inside resources of other types",
    "_containedtype": "it searches inside resources of other types",
    "_type": "a search has the one type of its path",
    "_not-referenced": "it tells what resources of other types refer to",
    "_cascade": "it reaches resources of other types",
    "_remove-references": "it reaches resources of other types",
}

# `name:exact`, which reaches no other type whatever its value
_ORDINARY = re.compile(r"[A-Za-z][A-Za-z0-9\-]*(?::[A-Za-z\-]+)?")
_NAME = re.compile(r"[A-Za-z0-9_.:$\-]{1,512}")
# `_has:Observation:patient:code`, with the type and the parameter
_REVERSE_CHAIN = re.compile(rf"_has:({TYPE_PATTERN}):[A-Za-z0-9_\-]+:(.+)")
# `subject:Patient.name`, with the type and the parameter
_CHAIN = re.compile(rf"[A-Za-z0-9_\-]+:({TYPE_PATTERN})\.(.+)")
# `Encounter:subject:Patient`, with both types
_INCLUDE = re.compile(rf"({TYPE_PATTERN}):[A-Za-z0-9_\-]+(?::({TYPE_PATTERN}))?")
_SORT = re.compile(r"[A-Za-z0-9_, +\-]*")
_TYPE_NAME = re.compile(TYPE_PATTERN)
_LETTERS = re.compile("[A-Za-z]+")
_MAX_TYPE = 1_000  # characters looked at for a type before a "?"

_LISTED = Action.READ | Action.SEARCH  # either lets a resource be listed

# RFC 6750, section 3.1.
_INSUFFICIENT_SCOPE = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}


def authorize(interaction: Interaction, query: str, permissions: Permissions) -> None:
    """Raise FhirError(403) unless the interaction, and all that its parameters reach, is let through.

    `query` is raw; for a POST search it is the URL's query and the form, joined by "&". A batch passes: each of its
    entries must be authorized by itself. A parameter passes when it can only narrow the search of its own type, known
    or not, for each server pages in its own way; one that tells of another type (include, chain, `_has`) must name
    that type. Names are compared without regard to case, and ";" also as a separator, as some servers take it.
    Raises FhirError(404) for a type that the FHIR version does not have, which says what is let through, and 400 for
    a parameter name that can't be read.
    """
    _authorize_kind(interaction, permissions)
    # An operation's _type only narrows its response, which is checked.
    narrows = {"_type"} if interaction.kind is InteractionKind.OPERATION else ()
    _authorize_parameters(query, permissions, narrows)
    if interaction.criteria:
        # Servers drop what stands before a "?" there.
        _authorize_parameters(interaction.criteria.replace("?", "&"), permissions)


def authorize_reference(reference: str, permissions: Permissions) -> None:
    """Raise FhirError unless the search that a reference in a written body makes of the server is let through.

    A server replaces `Practitioner?identifier=1` by the one resource that it finds, whatever stands before the type. A
    reference without a "?", or that has no name before it, is no search.
    """
    type, query = _search_of(reference)
    if type:
        authorize(Interaction(InteractionKind.SEARCH_TYPE, type, type), query, permissions)


def authorize_text(text: str, permissions: Permissions) -> None:
    """As `authorize_reference`, of a string that may be something else: a "?" behind a type's name makes it one.

    There are servers that know a type in any case.
    """
    if _search_of(text)[0].lower() in _lower_types(permissions.version):
        authorize_reference(text, permissions)


@cache
def _lower_types(version: FhirVersion) -> frozenset[str]:
    return frozenset(map(str.lower, RESOURCE_TYPES[version]))


def _search_of(reference: str) -> tuple[str, str]:
    """The type and the query of a reference with criteria; no type where it is none."""
    target, mark, query = reference.partition("?")
    type = unquote_plus(target[-_MAX_TYPE:]).strip(" /").rpartition("/")[2] if mark else ""
    return (type, query) if _LETTERS.fullmatch(type) else ("", query)


def check_response(resource: Resource, kind: InteractionKind, permissions: Permissions) -> None:
    """Raise FhirError(403) if the response to an interaction holds a resource that the client may not read.

    A resource listed in a Bundle must be readable by the scopes. One that is a response by itself, to a request or to
    an entry of a batch, was asked for by an interaction that `authorize` has let through: a scope that only creates
    may see what it created. Contained resources are part of the one that contains them.
    """
    if resource.bundle is None:
        check_types((resource.type,), permissions, EVERY_ACTION)
        return
    responses = _held(resource) if kind in BUNDLES else [resource]
    bundles = [response for response in responses if response.bundle is not None]
    listed: set[str] = set()
    while bundles:
        inside = _held(bundles.pop())
        listed.update(each.type for each in inside)
        bundles.extend(each for each in inside if each.bundle is not None)
    check_types(listed, permissions, _LISTED)
    check_types({response.type for response in responses if response.bundle is None}, permissions, EVERY_ACTION)


def check_types(types: Iterable[str], permissions: Permissions, actions: Action) -> None:
    """Raise FhirError(403) if a response's `types` hold one that is not let through, or not for any of `actions`."""
    for type in types:
        if type == "OperationOutcome":
            continue
        if type not in permissions.types:
            raise _forbidden(f"The response holds {_resources(type)}, which this tenant's access does not include.")
        if permissions.scopes and not granted(permissions.scopes, type) & actions:
            raise _out_of_scope(f"The response holds {_resources(type)}, which the token's scopes do not include.")


def _resources(type: str) -> str:
    return f"{type if _TYPE_NAME.fullmatch(type) else 'unnamed'} resources"


def _authorize_kind(interaction: Interaction, permissions: Permissions) -> None:
    kind, type = interaction.kind, interaction.type
    outside = [each for each in (type, interaction.compartment) if each is not None and each not in permissions.types]
    for named in outside:
        if named not in RESOURCE_TYPES[permissions.version]:
            raise _no_such_type(named, permissions)
    if kind in _REFUSED_KINDS:
        raise _forbidden(_REFUSED_KINDS[kind])
    if kind in BUNDLES:
        return
    if kind is InteractionKind.OPERATION and f"{type}/${interaction.operation}" not in permissions.operations:
        raise _forbidden("This operation is not let through: what it reaches can't be told from the request.")
    if kind in WRITES and not permissions.write:
        raise _forbidden(f"This tenant's access is read-only: {kind.value} is not let through.")
    if type is None:
        raise _forbidden("A search over all types of a compartment is not let through: search one type.")
    if outside:
        raise _forbidden(f"This tenant's access does not include {outside[0]}.")
    if not permits(permissions.scopes, kind, type, conditional=interaction.conditional):
        manner = "conditional " if interaction.conditional else ""
        raise _out_of_scope(f"The token's scopes do not include {manner}{kind.value} of {type}.")


def _authorize_parameters(text: str, permissions: Permissions, narrows: Container[str] = ()) -> None:
    if not text:
        return
    limit_parameters(text)
    for part in text.split("&"):
        _authorize_parameter(part, permissions, narrows)
        if ";" in part:
            for hidden in part.split(";")[1:]:
                if "=" in hidden:
                    _authorize_parameter(hidden, permissions, narrows)


def _authorize_parameter(text: str, permissions: Permissions, narrows: Container[str]) -> None:
    name, _, value = text.partition("=")
    if _ORDINARY.fullmatch(name):
        return
    # Invalid UTF-8 and percent-encoding come out with characters that no grammar here has.
    name = unquote_plus(name).strip()
    if not name:
        return
    if not _NAME.fullmatch(name):
        raise FhirError(400, "invalid", "The name of a search parameter has characters that none has.")

    keyword = _last_of_chain(name, permissions).partition(":")[0].lower()
    if keyword in _REFUSED_PARAMETERS and keyword not in narrows:
        raise _forbidden(f"{keyword} is not let through: {_REFUSED_PARAMETERS[keyword]}.")
    if keyword in ("_include", "_revinclude"):
        _authorize_include(keyword, unquote_plus(value), permissions)
    elif keyword == "_sort" and not _SORT.fullmatch(unquote_plus(value)):
        raise _forbidden("_sort by a chained parameter is not let through: it tells of resources of other types.")


def _last_of_chain(name: str, permissions: Permissions) -> str:
    """The parameter at the end of chains and `_has`, whose types are each authorized on the way."""
    while True:
        reverse = name.partition(":")[0].lower() == "_has"
        link = (_REVERSE_CHAIN if reverse else _CHAIN).fullmatch(name)
        if link is not None:
            type, name = link.groups()
            _authorize_named_type(type, "_has" if reverse else "A chained parameter", permissions)
        elif reverse:
            raise _forbidden("_has is let through only as _has:[type]:[reference]:[parameter].")
        elif "." in name:
            raise _forbidden("A chained parameter must name the type it leads to, as in subject:Patient.name.")
        else:
            return name


def _authorize_include(keyword: str, value: str, permissions: Permissions) -> None:
    for item in value.split(","):
        included = _INCLUDE.fullmatch(item)
        if included is None:
            raise _forbidden(f"{keyword} must name its type and parameter, as in Encounter:location.")
        for type in filter(None, included.groups()):
            _authorize_named_type(type, keyword, permissions)


def _authorize_named_type(type: str, parameter: str, permissions: Permissions) -> None:
    if type not in permissions.types:
        raise _forbidden(f"{parameter} names {type}, which this tenant's access does not include.")
    if Action.SEARCH not in granted(permissions.scopes, type):
        raise _out_of_scope(f"{parameter} names {type}, which the token's scopes do not let search.")


def _held(resource: Resource) -> list[Resource]:
    """The resources that stand in a Bundle's entries; a resource that is no Bundle stands for itself."""
    if resource.bundle is None:
        return [resource]
    entries = resource.bundle.entries
    return [part for entry in entries for part in (entry.resource, entry.outcome) if part is not None]


def _no_such_type(type: str, permissions: Permissions) -> FhirError:
    release, there_are = permissions.version.release, ", ".join(sorted(permissions.types))
    return FhirError(404, "not-supported", f"FHIR {release} has no type {type}. This tenant's access has: {there_are}.")


def _forbidden(message: str) -> FhirError:
    return FhirError(403, "forbidden", message)


def _out_of_scope(message: str) -> FhirError:
    return FhirError(403, "forbidden", message, _INSUFFICIENT_SCOPE)
