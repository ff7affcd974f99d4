"""Which of the interface's fields resources have."""

from collections.abc import Sequence
from typing import Any

from shared.fhir.interface import ResourceInterface
from shared.onboarding.question import Resource
from shared.onboarding.report import FieldReport

_EACH = "component"


def is_there(resource: Resource, path: str) -> bool:
    """Whether a field of the interface has a value: `a.b|c` is there when `a.b` or `c` is, through any element.

    `a.b=x` is there when `a.b` is `x` through any element. A path that begins with `component` is there when each of
    the resource's components has it.
    """
    first, _, rest = path.partition(".")
    if first == _EACH:
        return all(is_there(component, rest) for component in _components(resource))
    return any(_alternative(resource, alternative) for alternative in path.split("|"))


def field_reports(interface: ResourceInterface, resources: Sequence[Resource]) -> tuple[FieldReport, ...]:
    """How many of the `resources` that can have it have each required and each recommended field."""
    paths = [(path, True) for path in interface.required] + [(path, False) for path in interface.recommended]
    composed = [resource for resource in resources if _components(resource)]
    reports = []
    for path, required in paths:
        asked = composed if path.startswith(f"{_EACH}.") else resources
        reports.append(FieldReport(path, required, sum(is_there(resource, path) for resource in asked), len(asked)))
    return tuple(reports)


def _components(resource: Resource) -> list[Resource]:
    components = resource.get(_EACH)
    return [found for found in components if isinstance(found, dict)] if isinstance(components, list) else []


def _alternative(resource: Resource, path: str) -> bool:
    steps, wanted, value = path.partition("=")
    return _reached(resource, steps.split("."), value if wanted else None)


def _reached(element: Any, steps: list[str], value: str | None) -> bool:
    """Whether the steps lead to a value, or to this `value`."""
    if isinstance(element, list):
        # FHIR has no lists of lists, and following them would let an answer exhaust the stack.
        return any(_reached(item, steps, value) for item in element if not isinstance(item, list))
    if not steps:
        return element is not None and element != "" and element != {} if value is None else element == value
    return isinstance(element, dict) and _reached(element.get(steps[0]), steps[1:], value)
