"""FHIR search over resources in memory: what matches, in which order (R4 search.html; the same in DSTU2 and STU3)."""

import re
import unicodedata
from calendar import isleap, monthrange
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from operator import itemgetter
from typing import Any

from local.hospitals.request import Pairs, RequestError, Resource

Span = tuple[datetime, datetime]
"""The start of a stretch of time, and the end that it stops short of."""


class Kind(StrEnum):
    """The search parameter types in use."""

    STRING = auto()
    TOKEN = auto()
    REFERENCE = auto()
    DATE = auto()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter: it looks at `paths`, of which a FHIR version has some."""

    kind: Kind
    paths: tuple[str, ...]


def _parameters(**paths_by_name: str) -> dict[str, Parameter]:
    """Such as `date="date effectiveDateTime effectivePeriod"`: the kind, then the paths."""
    split = {name: spelled.split() for name, spelled in paths_by_name.items()}
    return {name: Parameter(Kind(kind), tuple(paths)) for name, (kind, *paths) in split.items()}


# DSTU2's Coverage knows its patient as the subscriber alone.
_PATIENT = "reference patient subject beneficiary subscriber"
_CHART = _parameters(patient=_PATIENT, subject=_PATIENT)
_CODED = _parameters(category="token category", code="token code", status="token status")
_ANY_TYPE = _parameters(_id="token id", id="token id", _lastUpdated="date meta.lastUpdated")
_MEDICATION_REQUEST = _CHART | _parameters(
    code="token medicationCodeableConcept medication.concept",
    medication="reference medicationReference medication.reference",
    status="token status",
    datewritten="date dateWritten",
    authoredon="date authoredOn",
)
PARAMETERS: dict[str, dict[str, Parameter]] = {
    "Patient": _parameters(
        family="string name.family",
        given="string name.given",
        name="string name.text name.family name.given name.prefix",
        birthdate="date birthDate",
        gender="token gender",
        identifier="token identifier",
    ),
    "Observation": _CHART | _CODED | _parameters(date="date effectiveDateTime effectivePeriod"),
    "Condition": _CHART | _parameters(category="token category", code="token code", severity="token severity"),
    "Encounter": _CHART
    | _parameters(
        status="token status",
        type="token type",
        date="date period actualPeriod",
        location="reference location.location",
    ),
    "AllergyIntolerance": _CHART | _parameters(category="token category"),
    "MedicationOrder": _MEDICATION_REQUEST,
    "MedicationRequest": _MEDICATION_REQUEST,
    "Coverage": _parameters(patient=_PATIENT, beneficiary=_PATIENT, subscriber=_PATIENT),
    "Location": _parameters(name="string name"),
    "Medication": _parameters(code="token code"),
    "Organization": _parameters(name="string name"),
    "Practitioner": _parameters(name="string name.text", family="string name.family"),
}


def parameters_of(type: str) -> dict[str, Parameter]:
    """The search parameters of a resource type, by name."""
    return _ANY_TYPE | PARAMETERS[type]


def search(resources: Iterable[Resource], type: str, pairs: Pairs, base: str) -> list[Resource]:
    """The resources of `type` that match all `pairs`, in the order `_sort` asks for.

    A parameter that is unknown or empty is ignored. References match by id, by `Type/id`, or by a URL under `base`.
    Raises RequestError (400) for a value or modifier that can't be understood.
    """
    known = parameters_of(type)
    named = ((*name.partition(":")[::2], value) for name, value in pairs)
    tests = [_test(known[name], modifier, value, base) for name, modifier, value in named if name in known and value]
    found = [resource for resource in resources if all(test(resource) for test in tests)]
    for parameter, descending in reversed(list(_orders(known, pairs))):
        _sort(found, parameter, descending)
    return found


def included(
    found: Iterable[Resource], pairs: Pairs, find: Callable[[str, str], Resource | None]
) -> Iterator[Resource]:
    """The resources that `_include=Type:parameter` adds to a page, each once; `find` takes a type and an id."""
    references: dict[str, None] = {}
    for type, _, name in (value.partition(":") for parameter, value in pairs if parameter == "_include"):
        include = PARAMETERS.get(type, {}).get(name)
        if include is not None and include.kind is Kind.REFERENCE:
            same = (resource for resource in found if resource["resourceType"] == type)
            references |= dict.fromkeys(value for resource in same for value in _values(resource, include))
    targets = (find(*reference.partition("/")[::2]) for reference in references)
    yield from (target for target in targets if target is not None)


def span(text: str) -> Span:
    """The stretch of time a FHIR date or dateTime stands for; without a time zone it is UTC. Raises ValueError."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, clock, second, fraction, zone = match.groups()
    try:
        start = datetime.fromisoformat(f"{year}-{month or '01'}-{day or '01'}{clock or 'T00:00'}{zone or 'Z'}")
        start = start.astimezone(UTC)
    except OverflowError:
        raise ValueError(text) from None
    if fraction:
        length = timedelta(microseconds=10 ** (7 - len(fraction)))
    elif clock:
        length = timedelta(seconds=1) if second else timedelta(minutes=1)
    else:
        days = monthrange(start.year, start.month)[1] if month else 365 + isleap(start.year)
        length = timedelta(days=1 if day else days)
    try:
        return start, start + length
    except OverflowError:
        return start, _END_OF_TIME


def _test(parameter: Parameter, modifier: str, value: str, base: str) -> Callable[[Resource], bool]:
    alternatives = [_matcher(parameter.kind, modifier, part, base) for part in _split(value, ",") if part]
    return lambda resource: any(matches(found) for found in _values(resource, parameter) for matches in alternatives)


def _matcher(kind: Kind, modifier: str, value: str, base: str) -> Callable[[Any], bool]:
    match kind:
        case Kind.STRING if modifier in _COMPARISONS:
            compare, wanted = _COMPARISONS[modifier], _unescape(value)
            return lambda found: compare(found, wanted)
        case Kind.TOKEN if not modifier:
            first, *rest = (_unescape(part) for part in _split(value, "|"))
            if not rest:
                return lambda found: bool(found[1] == first)
            code = "|".join(rest)
            return lambda found: bool(found[0] == first and code in ("", found[1]))
        case Kind.REFERENCE if not modifier or modifier[0].isupper():
            reference = (f"{modifier}/{value}" if modifier else value).removeprefix(f"{base}/")
            return lambda found: bool(reference == (found if "/" in reference else found.rpartition("/")[2]))
        case Kind.DATE if not modifier:
            return _date_matcher(value)
    raise RequestError(400, "not-supported", f"The modifier :{modifier} is not supported here")


def _date_matcher(value: str) -> Callable[[Any], bool]:
    prefix, text = (value[:2], value[2:]) if value[:2] in _PREFIXES else ("eq", value)
    compare = _PREFIXES[prefix]
    try:
        wanted = span(text)
    except ValueError:
        forms = "2024, 2024-05, 2024-05-31 or 2024-05-31T10:00:00Z"
        raise RequestError(400, "invalid", f"A date must be like {forms}") from None
    return lambda found: compare(found, wanted)


def _orders(known: dict[str, Parameter], pairs: Pairs) -> Iterator[tuple[Parameter, bool]]:
    """The parameters to sort by, each with whether descending: `_sort=-date,code`, and DSTU2's `_sort:desc=date`."""
    for name, value in pairs:
        for key in value.split(",") if name in ("_sort", "_sort:asc", "_sort:desc") else ():
            if key.lstrip("-") in known:
                yield known[key.lstrip("-")], name == "_sort:desc" or key.startswith("-")


def _sort(found: list[Resource], parameter: Parameter, descending: bool) -> None:
    """Sort in place and stably; what has no value comes last either way."""
    keyed = [(_sort_key(resource, parameter), resource) for resource in found]
    present = sorted((pair for pair in keyed if pair[0] is not None), key=itemgetter(0), reverse=descending)
    found[:] = [resource for _, resource in present] + [resource for key, resource in keyed if key is None]


def _sort_key(resource: Resource, parameter: Parameter) -> Any:
    first = next(_values(resource, parameter), None)
    if first is None or parameter.kind in (Kind.REFERENCE, Kind.DATE):
        return first
    return _plain(first) if parameter.kind is Kind.STRING else first[1]


def _values(resource: Resource, parameter: Parameter) -> Iterator[Any]:
    """A parameter's values in a resource: texts, (system, code) pairs, references or spans, by its kind.

    An element of another shape, which a client may have written, is passed over.
    """
    for path in parameter.paths:
        for element in _walk(resource, path.split(".")):
            yield from _read(parameter.kind, element)


def _read(kind: Kind, element: Any) -> Iterator[Any]:
    match kind, element:
        case Kind.STRING, str():
            yield element
        case Kind.TOKEN, str():
            yield "", element
        case Kind.TOKEN, {"coding": [*codings]}:
            for coding in codings:
                yield from _read(kind, coding)
        case Kind.TOKEN, {"code": str(code)} | {"value": str(code)}:
            yield element.get("system", ""), code
        case Kind.REFERENCE, {"reference": str(reference)}:
            yield reference
        case Kind.DATE, str() | {"start": str()} | {"end": str()}:
            period = {"start": element, "end": element} if isinstance(element, str) else element
            start, end = period.get("start"), period.get("end")
            with suppress(ValueError):
                first = span(start)[0] if isinstance(start, str) else _START_OF_TIME
                yield first, span(end)[1] if isinstance(end, str) else _END_OF_TIME


def _walk(element: Any, steps: list[str]) -> Iterator[Any]:
    if isinstance(element, list):
        for item in element:
            yield from _walk(item, steps)
    elif not steps:
        yield element
    elif isinstance(element, dict) and steps[0] in element:
        yield from _walk(element[steps[0]], steps[1:])


def _plain(text: str) -> str:
    """Without case and accents, as strings are compared (R4 search.html#string)."""
    letters = unicodedata.normalize("NFD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _split(text: str, at: str) -> list[str]:
    """Split where `at` stands without a backslash (R4 search.html#escaping); the parts keep their escapes."""
    parts = [""]
    for piece in re.findall(r"\\.|.", text, re.DOTALL):
        if piece == at:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _unescape(text: str) -> str:
    return re.sub(r"\\([\\,|$])", r"\1", text)


_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?)(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII)
_START_OF_TIME = datetime.min.replace(tzinfo=UTC)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)

_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "": lambda found, wanted: _plain(found).startswith(_plain(wanted)),
    "contains": lambda found, wanted: _plain(wanted) in _plain(found),
    "exact": lambda found, wanted: found == wanted,
}
# R4 search.html#prefix, each with the resource's span on the left.
_PREFIXES: dict[str, Callable[[Span, Span], bool]] = {
    "eq": lambda found, wanted: wanted[0] <= found[0] and found[1] <= wanted[1],
    "ne": lambda found, wanted: not (wanted[0] <= found[0] and found[1] <= wanted[1]),
    "gt": lambda found, wanted: found[1] > wanted[1],
    "lt": lambda found, wanted: found[0] < wanted[0],
    "ge": lambda found, wanted: found[1] > wanted[0],
    "le": lambda found, wanted: found[0] < wanted[1],
    "sa": lambda found, wanted: found[0] >= wanted[1],
    "eb": lambda found, wanted: found[1] <= wanted[0],
}
