"""Which of the interface's fields resources have."""

from collections.abc import Sequence
from typing import Any

from shared.fhir.interface import ResourceInterface
from shared.onboarding.question import Resource
from shared.onboarding.report import FieldReport


def is_there(resource: Resource, path: str) -> bool:
    """Whether a field of the interface has a value: `a.b|c` is there when `a.b` or `c` is, through any element."""
    return any(_reached(resource, alternative.split(".")) for alternative in path.split("|"))


def field_reports(interface: ResourceInterface, resources: Sequence[Resource]) -> tuple[FieldReport, ...]:
    """How many of `resources` have each required and each recommended field."""
    paths = [(path, True) for path in interface.required] + [(path, False) for path in interface.recommended]
    return tuple(
        FieldReport(path, required, sum(is_there(resource, path) for resource in resources), len(resources))
        for path, required in paths
    )


def _reached(element: Any, steps: list[str]) -> bool:
    if isinstance(element, list):
        # FHIR has no lists of lists, and following them would let an answer exhaust the stack.
        return any(_reached(item, steps) for item in element if not isinstance(item, list))
    if not steps:
        return element is not None and element != "" and element != {}
    return isinstance(element, dict) and _reached(element.get(steps[0]), steps[1:])
