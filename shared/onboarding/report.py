"""The report on a provider: counts, statuses, media types and names of fields, never a patient's data."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import chain

from shared.directory.provider import BatchMode
from shared.fhir.versions import FhirVersion
from shared.onboarding.problem import Mender, Problem, ProblemKind

SLOW_MILLISECONDS = 2000


class Status(Enum):
    """The result of the calls for a resource type that the app depends on."""

    WORKS = "works"
    SLOW = "slow"
    MISSING = "missing"
    REFUSED = "refused"
    FAILED = "failed"
    UNCHECKED = "unchecked"


class Verdict(Enum):
    """Whether the app will load with this provider."""

    LOADS = "loads"
    LOADS_WITH_GAPS = "loads-with-gaps"
    DOES_NOT_LOAD = "does-not-load"


VERDICTS = {
    Verdict.LOADS: "the app will load, and all that it reads is there",
    Verdict.LOADS_WITH_GAPS: "the app will load, with gaps",
    Verdict.DOES_NOT_LOAD: "the app will not load",
}
_OURS_FIRST = "we still have something of our own to mend, and check again then"
_NAMES = {
    "statement": "Statement",
    "batch": "Batch",
    "paging": "Further pages",
    **{type: f"{type}s" for type in ("Patient", "Observation", "Condition", "Encounter", "Coverage", "Location")},
    "AllergyIntolerance": "Allergies",
    **dict.fromkeys(("MedicationOrder", "MedicationRequest"), "Medications"),
    "MedicationStatement": "Medication statements",
}


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call, made `repeats` times. `status` is the HTTP status, or None without a response.

    `milliseconds` is the median (p50); `media_type` is the response's, without parameters, or "".
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
    """A resource type of the interface. `total` tells whether the search's answer has one; None when the search failed.

    `spare` says that the app does without the type, so that nothing about it is a gap.
    """

    type: str
    status: Status
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
    """Searches followed page by page; `pages` counts all of their pages, first ones included."""

    pages: int = 0
    calls: tuple[CallReport, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The results for one provider."""

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
    def slowest(self) -> float | None:
        """The time of the slowest call that works, of the types the app needs, in milliseconds."""
        times = (resource.slowest for resource in self.resources if not resource.spare)
        return max((time for time in times if time is not None), default=None)

    @property
    def gaps(self) -> int:
        """The number of gaps: problems, required fields that some entries lack, types that are slow or unknown."""
        needed = [resource for resource in self.resources if not resource.spare]
        slow = sum(resource.status is Status.SLOW for resource in needed)
        unknown = sum(resource.status is Status.UNCHECKED and not resource.problems for resource in needed)
        return sum(1 for _ in self.problems()) + sum(len(resource.lacking) for resource in needed) + slow + unknown

    @property
    def settled(self) -> bool:
        """Whether the row leads to the server: FHIR came from its BaseUrl, and in its version."""
        calls = (self.statement.calls, self.batch.calls, self.paging.calls, *(found.calls for found in self.resources))
        kinds = {problem.kind for _, problem in self.problems()}
        spoke = any(call.works for call in chain(*calls)) or ProblemKind.NOT_JSON in kinds
        return spoke and ProblemKind.WRONG_VERSION not in kinds

    def to_mend(self, mender: Mender) -> Sequence[tuple[str, Problem]]:
        """The problems that one of the two can mend, each with its section; all are the admin's until it is settled."""
        hospitals = Mender.HOSPITAL if self.settled else None
        return [
            (section, problem)
            for section, problem in self.problems()
            if (problem.kind.mender is hospitals) is (mender is Mender.HOSPITAL)
        ]

    def problems(self) -> Iterator[tuple[str, Problem]]:
        """Every problem and its section: "statement", a resource type, "batch" or "paging"."""
        needed = [(resource.type, resource.problems) for resource in self.resources if not resource.spare]
        rest = (("batch", self.batch.problems), ("paging", self.paging.problems))
        for section, problems in (("statement", self.statement.problems), *needed, *rest):
            yield from ((section, problem) for problem in problems)


def _is_usable_patient(resource: ResourceReport) -> bool:
    if resource.type != "Patient" or resource.status not in (Status.WORKS, Status.SLOW):
        return False
    return all(field.present for field in resource.fields if field.required)


def to_json(report: Report) -> dict[str, object]:
    """The report for programs: plain JSON values under stable keys; times in milliseconds, shares from 0 to 1."""
    statement = {"fhir_version": report.statement.fhir_version, "formats": list(report.statement.formats)}
    return {
        "tenant_id": report.tenant,
        "name": report.name,
        "version": report.version.value,
        "verdict": report.verdict.value,
        "statement": statement | _calls_and_problems(report.statement, report.settled),
        "resources": [
            {
                "type": resource.type,
                "standing": resource.status.value,
                "spare": resource.spare,
                "entries": resource.entries,
                "total": resource.total,
                "fields": [
                    {**asdict(field), "share": None if field.share is None else round(field.share, 3)}
                    for field in resource.fields
                ],
                **_calls_and_problems(resource, report.settled),
            }
            for resource in report.resources
        ],
        "batch": {"mode": report.batch.mode.value, **_calls_and_problems(report.batch, report.settled)},
        "paging": {"pages": report.paging.pages, **_calls_and_problems(report.paging, report.settled)},
    }


def _calls_and_problems(
    section: StatementReport | ResourceReport | BatchReport | PagingReport, settled: bool
) -> dict[str, object]:
    return {
        "calls": [_call_fields(call) for call in section.calls],
        "problems": [
            {
                "problem": problem.kind.code,
                "mender": (problem.kind.mender if settled else Mender.ADMIN).value,
                "call": problem.call,
                "text": problem.text,
                "hint": problem.hint,
            }
            for problem in section.problems
        ],
    }


def _call_fields(call: CallReport) -> dict[str, object]:
    fields = asdict(call)
    fields["p50_ms"] = round(fields.pop("milliseconds"), 1)
    return fields


def verdict(report: Report) -> str:
    """The verdict as a sentence that begins with the hospital's name."""
    return f"{report.name} (FHIR {report.version.name}): {VERDICTS[report.verdict]}."


def summary(report: Report) -> str:
    """The report in sentences for the hospital: the verdict and every gap that it can mend, a line each, without hints.

    While the admin has something to mend, the verdict is not told: it may be the gateway's own doing. Until the row is
    settled, nothing else is told either.
    """
    own = f"{report.name} (FHIR {report.version.name}): {_OURS_FIRST}."
    if not report.settled:
        return own
    ours = report.to_mend(Mender.ADMIN)
    needed = [resource for resource in report.resources if not resource.spare]
    sections: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for section, problem in report.to_mend(Mender.HOSPITAL):
        sections[problem.text][_NAMES[section]] = None
    slow = [
        f"{_NAMES[resource.type]} ({resource.slowest / 1000:.1f} s)"
        for resource in needed
        if resource.status is Status.SLOW and resource.slowest is not None
    ]
    recommended = [
        f"{_name(field)} of {_NAMES[resource.type]} ({field.present} of {_entries(field)})"
        for resource in needed
        for field in resource.fields
        if not field.required and field.present < field.entries
    ]
    unchecked = [
        _NAMES[resource.type] for resource in needed if resource.status is Status.UNCHECKED and not resource.problems
    ]
    return "\n".join(
        [
            own if ours else verdict(report),
            *(f"{', '.join(names)}: {text}." for text, names in sections.items()),
            *([f"Slow: {', '.join(slow)}."] if slow else []),
            *(
                f"{_NAMES[resource.type]} lack {_name(field)} in {field.entries - field.present} of {_entries(field)}."
                for resource in needed
                for field in resource.lacking
            ),
            *([f"Recommended, but not always there: {', '.join(recommended)}."] if recommended else []),
            *([f"Not checked: {', '.join(unchecked)}."] if unchecked and not ours else []),
        ]
    )


def _name(field: FieldReport) -> str:
    return field.path.replace("|", " or ")


def _entries(field: FieldReport) -> str:
    return f"{field.entries} {'entry' if field.entries == 1 else 'entries'}"
