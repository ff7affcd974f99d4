"""The app's calls to a provider; their labels hold names of types and parameters, never values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind, parse
from shared.fhir.interface import ResourceInterface
from shared.fhir.versions import FhirFormat, FhirVersion

Pairs = tuple[tuple[str, str], ...]
Resource = Mapping[str, Any]

_FORM = "application/x-www-form-urlencoded"
# The published interface limits these searches; how far, it leaves to the app.
_COUNTED = frozenset({"Condition", "Encounter", "MedicationOrder", "MedicationRequest", "MedicationStatement"})
_COUNT = ("_count", "50")
_BUNDLE = frozenset({"Bundle"})


@dataclass(frozen=True, slots=True)
class AppCall:
    """One call. `expected` are the resource types of a right response; `page_url` is the URL of a further page."""

    label: str
    method: str
    interaction: Interaction
    expected: frozenset[str]
    query: str = ""
    body: bytes | None = None
    body_type: str | None = None
    page_url: str | None = None


def statement() -> AppCall:
    """The read of the provider's statement, whatever its version."""
    types = frozenset({"Conformance", "CapabilityStatement"})
    return AppCall("GET metadata", "GET", parse("GET", "metadata", "", {}), types)


def is_id(text: object) -> bool:
    """Whether this is a resource's logical id, which can stand in a path."""
    try:
        return isinstance(text, str) and parse("GET", f"Patient/{text}", "", {}).id == text
    except FhirError:
        return False


def read(type: str, id: str) -> AppCall:
    """A read; the id must be one."""
    return AppCall(f"GET {type}/[id]", "GET", parse("GET", f"{type}/{id}", "", {}), frozenset({type}))


def search(type: str, pairs: Pairs) -> AppCall:
    """A search by GET."""
    interaction = parse("GET", type, "", {})
    return AppCall(f"GET {type}?{_names(pairs)}", "GET", interaction, _BUNDLE, encoded(pairs))


def search_by_form(type: str, pairs: Pairs) -> AppCall:
    """A search by POST [type]/_search."""
    label, interaction = f"POST {type}/_search?{_names(pairs)}", parse("POST", f"{type}/_search", "", {})
    return AppCall(label, "POST", interaction, _BUNDLE, body=encoded(pairs).encode(), body_type=_FORM)


def batch(version: FhirVersion, searches: Iterable[AppCall]) -> AppCall:
    """Searches by GET in one batch, posted to the base."""
    urls = [f"{call.interaction.path}?{call.query}" for call in searches]
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    body = orjson.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
    interaction, media_type = Interaction(InteractionKind.BATCH, ""), version.media_type(FhirFormat.JSON)
    return AppCall("POST [base] batch", "POST", interaction, _BUNDLE, body=body, body_type=media_type)


def further_page(search: AppCall, url: str) -> AppCall:
    """The page of a search that a next link leads to, always by GET."""
    return AppCall(f"next page of {search.label}", "GET", search.interaction, search.expected, page_url=url)


def chart_search(version: FhirVersion, interface: ResourceInterface, patient_id: str) -> Pairs:
    """The app's search for a patient's resources of a type that has the parameter `patient`."""
    names = {parameter.name for parameter in interface.search_parameters}
    pairs = [("patient", patient_id)]
    if "date" in names:
        # The page of STU3's Encounter keeps DSTU2's spelling.
        old = version is FhirVersion.DSTU2 or (version is FhirVersion.STU3 and interface.type == "Encounter")
        pairs.append(("_sort:desc", "date") if old else ("_sort", "-date"))
    if "category" in names:
        pairs.append(("category", "vital-signs"))
    if interface.type in _COUNTED:
        pairs.append(_COUNT)
    return tuple(pairs)


def patient_searches(version: FhirVersion, interface: ResourceInterface, patient: Resource) -> tuple[Pairs, ...]:
    """The searches that find a patient by its own values, first the one without which the app is of no use.

    That one is by given and family name, or by id for a patient without them. A search by each single parameter of the
    interface for which the patient has a value follows.
    """
    values = _search_values(patient)
    single = [
        (f"{name}:contains" if name == "family" and version is FhirVersion.DSTU2 else name, values[name])
        for name in (parameter.name for parameter in interface.search_parameters)
        if name in values
    ]
    named = tuple((name, values[name]) for name in ("given", "family") if name in values)
    first = named if len(named) == 2 else (("_id", values["_id"]),)
    return first, *((pair,) for pair in single if (pair,) != first)


def without_sort(pairs: Pairs) -> Pairs:
    """The search in any order."""
    return tuple(pair for pair in pairs if not pair[0].startswith("_sort"))


def encoded(pairs: Pairs) -> str:
    """A query or form; the app leaves names as they are: `_sort:desc=date`."""
    return "&".join(f"{name}={quote(value, safe='-')}" for name, value in pairs)


def _names(pairs: Pairs) -> str:
    return "&".join(name for name, _ in pairs)


def _search_values(patient: Resource) -> dict[str, str]:
    name, identifier = _first_object(patient.get("name")), _first_object(patient.get("identifier"))
    given = _first(name.get("given"))
    number, system = _first(identifier.get("value")), _first(identifier.get("system"))
    values = {
        "_id": _first(patient.get("id")),
        "family": _escaped(_first(name.get("family"))),  # a list in DSTU2
        "given": _escaped(given),
        "name": _escaped(given),
        "birthdate": _first(patient.get("birthDate")),
        "gender": _first(patient.get("gender")),
        "identifier": f"{_escaped(system)}|{_escaped(number)}" if number and system else _escaped(number),
    }
    return {name: value for name, value in values.items() if value}


def _escaped(text: str) -> str:
    r"""A value with "\", "$", "," and "|" as characters (R4 search.html#escaping)."""
    for character in "\\$,|":
        text = text.replace(character, f"\\{character}")
    return text


def _first(value: object) -> str:
    """A text, or the first of a list of texts; "" when there is none."""
    if isinstance(value, list):
        value = next(iter(value), None)
    return value if isinstance(value, str) else ""


def _first_object(value: object) -> Resource:
    found = next(iter(value), None) if isinstance(value, list) else value
    return found if isinstance(found, dict) else {}
