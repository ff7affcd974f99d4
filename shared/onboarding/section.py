"""One section of the check: the calls that were made for it, what is wrong, and which fields resources have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from shared.fhir.interface import ResourceInterface
from shared.onboarding.app_call import AppCall, Resource
from shared.onboarding.probe import CallResult, Probe
from shared.onboarding.problem import Problem, ProblemKind
from shared.onboarding.report import SLOW_MILLISECONDS, CallReport, FieldReport, Status

_REPEATS = 3
_ENOUGH_MILLISECONDS = 6000  # a call that has taken this long in all is not repeated

_REFUSALS = (
    *(ProblemKind.CREDENTIAL_REFUSED, ProblemKind.FORBIDDEN, ProblemKind.OUT_OF_SCOPE),
    *(ProblemKind.REFUSED, ProblemKind.GET_REFUSED, ProblemKind.SORT_REFUSED),
)
_STATUSES = {**dict.fromkeys(_REFUSALS, Status.REFUSED), ProblemKind.NOT_FOUND: Status.MISSING}
_COMPONENT = "component"


@dataclass(frozen=True, slots=True)
class Step:
    """A call that has ended: `section` is "statement", a resource type, "batch" or "paging"."""

    section: str
    call: CallReport


OnStep = Callable[[Step], None]


class Section:
    """The calls and problems of one section of a report."""

    def __init__(self, probe: Probe, on_step: OnStep, name: str) -> None:
        self.name = name
        self.calls: list[CallReport] = []
        self.problems: list[Problem] = []
        self._probe = probe
        self._on_step = on_step
        self._essential: list[CallResult] = []

    async def send(self, call: AppCall, times: int = _REPEATS) -> CallResult:
        """The last result of a call made so many times, with the median of the times it took.

        A call that fails, or has taken six seconds in all, is not repeated.
        """
        results = [await self._probe.send(call)]
        while len(results) < times and results[-1].problem is None:
            if sum(result.milliseconds for result in results) > _ENOUGH_MILLISECONDS:
                break
            results.append(await self._probe.send(call))
        last, milliseconds = results[-1], median(result.milliseconds for result in results)
        report = CallReport(call.label, last.problem is None, last.status, last.media_type, milliseconds, len(results))
        self.calls.append(report)
        self._on_step(Step(self.name, report))
        return replace(last, milliseconds=milliseconds)

    async def require(self, call: AppCall, times: int = _REPEATS) -> CallResult:
        """As `send`; the result's problem is the section's."""
        result = await self.send(call, times)
        if result.problem is not None:
            self.problems.append(result.problem)
        return result

    def add(self, kind: ProblemKind, call: str = "", detail: str = "") -> None:
        """Notes a problem."""
        self.problems.append(Problem(kind, call, detail))

    def mark_essential(self, result: CallResult) -> None:
        """Makes the section's status depend on this result."""
        self._essential.append(result)

    def status(self, declared: frozenset[str] | None) -> Status:
        """The section's status by its essential results; `declared` are the statement's types, if there are any.

        A call that is refused for a type the statement does not declare counts as missing: servers differ in the
        status they have for that.
        """
        if not self._essential:
            return Status.UNCHECKED
        problem = next((result.problem for result in self._essential if result.problem is not None), None)
        if problem is None:
            slow = any(result.milliseconds > SLOW_MILLISECONDS for result in self._essential)
            return Status.SLOW if slow else Status.WORKS
        if problem.kind is ProblemKind.REFUSED and declared is not None and self.name not in declared:
            return Status.MISSING
        return _STATUSES.get(problem.kind, Status.FAILED)


def is_there(resource: Resource, path: str) -> bool:
    """Whether a field of the interface has a value: `a.b|c` is there when `a.b` or `c` is, through any element.

    `a.b=x` is there when `a.b` is `x` through any element. A path that begins with `component` is there when each of
    the resource's components has it.
    """
    first, _, rest = path.partition(".")
    if first == _COMPONENT:
        return all(is_there(component, rest) for component in _components(resource))
    alternatives = (alternative.partition("=") for alternative in path.split("|"))
    return any(_reached(resource, steps.split("."), value or None) for steps, _, value in alternatives)


def field_reports(interface: ResourceInterface, resources: Sequence[Resource]) -> tuple[FieldReport, ...]:
    """The number of `resources` that have each required and each recommended field, of those that can have it."""
    composed = [resource for resource in resources if _components(resource)]

    def counted(path: str, required: bool) -> FieldReport:
        among = composed if path.startswith(f"{_COMPONENT}.") else resources
        return FieldReport(path, required, sum(is_there(resource, path) for resource in among), len(among))

    fields = ((interface.required, True), (interface.recommended, False))
    return tuple(counted(path, required) for paths, required in fields for path in paths)


def _components(resource: Resource) -> list[Resource]:
    components = resource.get(_COMPONENT)
    return [found for found in components if isinstance(found, dict)] if isinstance(components, list) else []


def _reached(element: Any, steps: list[str], value: str | None) -> bool:
    """Whether the steps lead to a value, or to this `value`."""
    if isinstance(element, list):
        # FHIR has no lists of lists, and following them would let a response exhaust the stack.
        return any(_reached(item, steps, value) for item in element if not isinstance(item, list))
    if not steps:
        return element is not None and element != "" and element != {} if value is None else element == value
    return isinstance(element, dict) and _reached(element.get(steps[0]), steps[1:], value)
