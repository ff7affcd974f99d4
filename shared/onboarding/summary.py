"""The report in sentences that a person can send to the hospital."""

from collections.abc import Iterable, Iterator

from shared.onboarding.report import FieldReport, Report, ResourceReport, Standing, Verdict

_VERDICTS = {
    Verdict.LOADS: "the app will load, and all that it reads is there",
    Verdict.LOADS_WITH_GAPS: "the app will load, with gaps",
    Verdict.DOES_NOT_LOAD: "the app will not load",
}
_NAMES = {
    "statement": "Statement",
    "batch": "Batch",
    "paging": "Further pages",
    "Patient": "Patients",
    "Observation": "Observations",
    "Condition": "Conditions",
    "Encounter": "Encounters",
    "AllergyIntolerance": "Allergies",
    "MedicationOrder": "Medications",
    "MedicationRequest": "Medications",
    "MedicationStatement": "Medication statements",
    "Coverage": "Coverages",
    "Location": "Locations",
}


def summary(report: Report) -> str:
    """The verdict and every gap, a line each; without call labels and the operator's hints."""
    needed = [resource for resource in report.resources if not resource.spare]
    return "\n".join(
        (
            f"{report.name} (FHIR {report.version.name}): {_VERDICTS[report.verdict]}.",
            *_problems(report),
            *_slow(needed),
            *_lacking(needed),
            *_recommended(needed),
            *_unchecked(needed),
        )
    )


def _problems(report: Report) -> Iterator[str]:
    """A sentence for each problem, with all the parts that have it."""
    parts: dict[str, dict[str, None]] = {}
    for part, problem in report.problems():
        parts.setdefault(problem.text, {})[_NAMES[part]] = None
    for text, names in parts.items():
        yield f"{', '.join(names)}: {text}."


def _slow(resources: Iterable[ResourceReport]) -> Iterator[str]:
    slow = [
        f"{_NAMES[resource.type]} ({resource.slowest / 1000:.1f} s)"
        for resource in resources
        if resource.standing is Standing.SLOW and resource.slowest is not None
    ]
    if slow:
        yield f"Slow: {', '.join(slow)}."


def _lacking(resources: Iterable[ResourceReport]) -> Iterator[str]:
    for resource in resources:
        for field in resource.lacking:
            missing = field.entries - field.present
            yield f"{_NAMES[resource.type]} lack {_name(field)} in {missing} of {_entries(field)}."


def _recommended(resources: Iterable[ResourceReport]) -> Iterator[str]:
    partly = [
        f"{_name(field)} of {_NAMES[resource.type]} ({field.present} of {_entries(field)})"
        for resource in resources
        for field in resource.fields
        if not field.required and field.present < field.entries
    ]
    if partly:
        yield f"Recommended, but not always there: {', '.join(partly)}."


def _unchecked(resources: Iterable[ResourceReport]) -> Iterator[str]:
    names = [
        _NAMES[resource.type]
        for resource in resources
        if resource.standing is Standing.UNCHECKED and not resource.problems
    ]
    if names:
        yield f"Not checked: {', '.join(names)}."


def _name(field: FieldReport) -> str:
    return field.path.replace("|", " or ")


def _entries(field: FieldReport) -> str:
    return f"{field.entries} {'entry' if field.entries == 1 else 'entries'}"
