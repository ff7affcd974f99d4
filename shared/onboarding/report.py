"""What the check found out: counts, statuses, media types and names of fields, never a patient's data."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from shared.directory.provider import BatchMode
from shared.fhir.versions import FhirVersion
from shared.onboarding.problem import Problem

SLOW_MILLISECONDS = 2000


class Standing(Enum):
    """How a resource type does with the calls that the app depends on."""

    WORKS = "works"
    SLOW = "slow"
    MISSING = "missing"
    REFUSED = "refused"
    FAILED = "failed"
    UNCHECKED = "unchecked"


class Verdict(Enum):
    """What the app will make of the provider."""

    LOADS = "loads"
    LOADS_WITH_GAPS = "loads-with-gaps"
    DOES_NOT_LOAD = "does-not-load"


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call, made `repeats` times. `status` is None when no answer came.

    `milliseconds` is the median (p50); `media_type` is the answer's, without parameters, or "".
    """

    call: str
    works: bool
    status: int | None
    media_type: str
    milliseconds: float
    repeats: int


@dataclass(frozen=True, slots=True)
class FieldReport:
    """A field by its path in the interface, and in how many of the entries seen it is there."""

    path: str
    required: bool
    present: int
    entries: int

    @property
    def share(self) -> float | None:
        """The share of the entries that have it, from 0 to 1; None when there were none."""
        return self.present / self.entries if self.entries else None


@dataclass(frozen=True, slots=True)
class StatementReport:
    """The provider's statement; `fhir_version` is "" when it could not be read."""

    calls: tuple[CallReport, ...]
    fhir_version: str
    formats: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class ResourceReport:
    """A resource type of the interface. `total` tells whether the search's answer has one; None without an answer.

    `spare` says that the app does without the type, so that nothing about it is a gap.
    """

    type: str
    standing: Standing
    spare: bool = False
    calls: tuple[CallReport, ...] = ()
    entries: int = 0
    total: bool | None = None
    fields: tuple[FieldReport, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def slowest(self) -> float | None:
        """The time of the slowest call that works, in milliseconds; None when none does."""
        return max((call.milliseconds for call in self.calls if call.works), default=None)

    @property
    def lacking(self) -> tuple[FieldReport, ...]:
        """The required fields that some of the entries lack."""
        return tuple(field for field in self.fields if field.required and field.present < field.entries)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The batch; with `BatchMode.SPLIT` the provider is not asked to do any."""

    mode: BatchMode
    calls: tuple[CallReport, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class PagingReport:
    """Searches followed page by page; `pages` counts all that came, first ones included."""

    pages: int = 0
    calls: tuple[CallReport, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was found out about one provider."""

    tenant: str
    name: str
    version: FhirVersion
    statement: StatementReport
    resources: tuple[ResourceReport, ...]
    batch: BatchReport
    paging: PagingReport

    @property
    def verdict(self) -> Verdict:
        """Patient is the one type without which the app does not load; everything else that is amiss is a gap."""
        if not any(_is_usable_patient(resource) for resource in self.resources):
            return Verdict.DOES_NOT_LOAD
        return Verdict.LOADS_WITH_GAPS if self.gaps else Verdict.LOADS

    @property
    def gaps(self) -> int:
        """How much is amiss: problems, required fields that some entries lack, types that are slow or unknown."""
        needed = [resource for resource in self.resources if not resource.spare]
        slow = sum(resource.standing is Standing.SLOW for resource in needed)
        unknown = sum(resource.standing is Standing.UNCHECKED and not resource.problems for resource in needed)
        return sum(1 for _ in self.problems()) + sum(len(resource.lacking) for resource in needed) + slow + unknown

    def problems(self) -> Iterator[tuple[str, Problem]]:
        """Every problem and the part it is of: "statement", a resource type, "batch" or "paging"."""
        needed = ((resource.type, resource.problems) for resource in self.resources if not resource.spare)
        for part, problems in (
            ("statement", self.statement.problems),
            *needed,
            ("batch", self.batch.problems),
            ("paging", self.paging.problems),
        ):
            for problem in problems:
                yield part, problem


def _is_usable_patient(resource: ResourceReport) -> bool:
    if resource.type != "Patient" or resource.standing not in (Standing.WORKS, Standing.SLOW):
        return False
    return all(field.present for field in resource.fields if field.required)


def to_json(report: Report) -> dict[str, object]:
    """The report for programs: plain JSON values under stable keys; times in milliseconds, shares from 0 to 1."""
    statement, batch, paging = report.statement, report.batch, report.paging
    return {
        "tenant_id": report.tenant,
        "name": report.name,
        "version": report.version.value,
        "verdict": report.verdict.value,
        "statement": {
            "fhir_version": statement.fhir_version,
            "formats": list(statement.formats),
            "calls": _calls(statement.calls),
            "problems": _problems(statement.problems),
        },
        "resources": [
            {
                "type": resource.type,
                "standing": resource.standing.value,
                "spare": resource.spare,
                "entries": resource.entries,
                "total": resource.total,
                "calls": _calls(resource.calls),
                "fields": [
                    {
                        "path": field.path,
                        "required": field.required,
                        "present": field.present,
                        "entries": field.entries,
                        "share": None if field.share is None else round(field.share, 3),
                    }
                    for field in resource.fields
                ],
                "problems": _problems(resource.problems),
            }
            for resource in report.resources
        ],
        "batch": {"mode": batch.mode.value, "calls": _calls(batch.calls), "problems": _problems(batch.problems)},
        "paging": {"pages": paging.pages, "calls": _calls(paging.calls), "problems": _problems(paging.problems)},
    }


def _calls(calls: Iterable[CallReport]) -> list[dict[str, object]]:
    return [
        {
            "call": call.call,
            "works": call.works,
            "status": call.status,
            "media_type": call.media_type,
            "p50_ms": round(call.milliseconds, 1),
            "repeats": call.repeats,
        }
        for call in calls
    ]


def _problems(problems: Iterable[Problem]) -> list[dict[str, object]]:
    return [
        {"problem": problem.kind.value, "call": problem.call, "text": problem.text, "hint": problem.hint}
        for problem in problems
    ]
