"""Names of resource types and operations that FHIR does not know, with the nearest that it does."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from shared.fhir.resource_types import RESOURCE_TYPES
from shared.fhir.versions import FhirVersion

# Those of the specifications (http://hl7.org/fhir/R4/operationslist.html) and of guides that many servers follow. A
# server may have others, which is why only a name that nearly is one of these counts as misspelt.
_OPERATIONS = frozenset(
    "add apply closure collect compose conforms convert data-requirements docref document evaluate evaluate-measure "  # noqa: SIM905
    "everything expand export find find-matches graph implements lastn lookup match member-match meta meta-add "
    "meta-delete populate populatehtml populatelink preferred-id process-message questionnaire snapshot stats submit "
    "submit-data subset subsumes transform translate validate validate-code versions".split()
)
_EVERY_TYPE = frozenset[str]().union(*RESOURCE_TYPES.values())
_NEARLY_THE_SAME = 0.85
_MAX_TOLD = 3


def unknown_types(names: Sequence[str], version: FhirVersion | None) -> str:
    """What is wrong with names of resource types that the version does not have; "" when it has all of them.

    Without a version, those of any are known. A name is told by its place in the list, and not repeated.
    """
    known = _EVERY_TYPE if version is None else RESOURCE_TYPES[version]

    def problem(name: str) -> str:
        others = [of.name for of, types in RESOURCE_TYPES.items() if name in types]
        if version is not None and others:
            return f"is no resource type of {version.name}, but of {', '.join(others)}"
        return f"is no resource type of {version.name if version else 'FHIR'}{_hint(name, known, 0.6)}"

    return _told(names, lambda name: "" if name in known else problem(name))


def misspelt_operations(names: Sequence[str]) -> str:
    """What is wrong with names of operations, without their `$`, that nearly are those of another; "" for nothing."""

    def problem(name: str) -> str:
        hint = "" if name in _OPERATIONS else _hint(name, _OPERATIONS, _NEARLY_THE_SAME)
        return hint and f"is no operation of FHIR{hint}"

    return _told(names, problem)


@lru_cache(1024)  # it takes a millisecond, and a bulk of rows repeats a mistake
def _hint(name: str, known: frozenset[str], cutoff: float) -> str:
    from difflib import get_close_matches  # here: nothing that is spelt right needs it

    spelt = {found.lower(): found for found in sorted(known)}
    near = get_close_matches(name.lower(), spelt, 1, cutoff)
    return f": did you mean {spelt[near[0]]}?" if near else ""


def _told(names: Sequence[str], problem: Callable[[str], str]) -> str:
    """The first problems, each with its item's place where there are several items."""
    told: list[str] = []
    for place, name in enumerate(names, 1):
        if len(told) < _MAX_TOLD and (text := problem(name)):
            told.append(f"item {place} {text}" if len(names) > 1 else text)
    return "; ".join(told)
