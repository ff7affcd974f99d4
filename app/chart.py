"""A patient's chart as a person reads it, from the resources of any FHIR version.

An element is looked for under each name it has had: DSTU2's, STU3's, R4's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from app.client import Resource
from app.record import PatientRecord

# What people call them; LOINC's names are longer.
_VITAL_NAMES = {"85354-9": "Blood pressure", "2708-6": "Oxygen saturation"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One reading of a vital sign; `text` has all components, `value` is the first of them."""

    taken: datetime
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Vital:
    """A vital sign with its readings, in the order of time."""

    name: str
    unit: str
    readings: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    name: str
    severity: str
    recorded: str


@dataclass(frozen=True, slots=True)
class Allergy:
    substance: str
    criticality: str
    reaction: str
    recorded: str


@dataclass(frozen=True, slots=True)
class Medication:
    name: str
    dosage: str
    status: str
    written: str
    prescriber: str


@dataclass(frozen=True, slots=True)
class Encounter:
    type: str
    status: str
    start: str
    end: str
    location: str


@dataclass(frozen=True, slots=True)
class Coverage:
    payer: str
    plan: str
    subscriber: str
    end: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Texts are empty where the hospital said nothing, dates are as FHIR writes them. Encounters come newest first."""

    hospital: str
    name: str
    gender: str
    born: str
    mrn: str
    doctor: str
    last_location: str
    vitals: tuple[Vital, ...]
    problems: tuple[Problem, ...]
    allergies: tuple[Allergy, ...]
    medications: tuple[Medication, ...]
    encounters: tuple[Encounter, ...]
    coverage: tuple[Coverage, ...]

    def age(self, today: date) -> int:
        """In whole years."""
        born = date.fromisoformat(self.born)
        return today.year - born.year - ((today.month, today.day) < (born.month, born.day))

    def missing(self) -> list[str]:
        """The names of what the app needs and did not get. A patient may well have no allergies."""
        needed: dict[str, object] = {
            "name": self.name,
            "gender": self.gender,
            "date of birth": self.born,
            "MRN": self.mrn,
            "last known location": self.last_location,
            "vital signs": self.vitals,
            "problems": self.problems and all(problem.name for problem in self.problems),
            "allergies": all(allergy.substance for allergy in self.allergies),
            "medications": self.medications and all(medication.name for medication in self.medications),
            "encounters": self.encounters and all(encounter.type and encounter.status for encounter in self.encounters),
            "coverage": self.coverage and all(coverage.payer and coverage.plan for coverage in self.coverage),
        }
        return [name for name, value in needed.items() if not value]


def chart(record: PatientRecord) -> Chart:
    """The chart of what the app read."""
    patient, resources = record.patient, record.resources
    return Chart(
        hospital=_text(patient, "managingOrganization.display"),
        name=" ".join(_all(patient, "name.prefix", "name.given", "name.family")),
        gender=_text(patient, "gender"),
        born=_text(patient, "birthDate"),
        mrn=_mrn(patient),
        doctor=_text(patient, "careProvider.display", "generalPractitioner.display"),
        last_location=_text(record.location, "name"),
        vitals=_vitals(resources["Observation"]),
        problems=tuple(map(_problem, resources["Condition"])),
        allergies=tuple(map(_allergy, resources["AllergyIntolerance"])),
        medications=tuple(
            _medication(resource)
            for type in ("MedicationOrder", "MedicationRequest")
            for resource in resources.get(type, ())
        ),
        encounters=tuple(map(_encounter, resources["Encounter"])),
        coverage=tuple(map(_coverage, resources["Coverage"])),
    )


def _mrn(patient: Resource) -> str:
    for identifier in patient.get("identifier", ()):
        if "MR" in _all(identifier, "type.coding.code"):
            return _text(identifier, "value")
    return ""


def _vitals(observations: Sequence[Resource]) -> tuple[Vital, ...]:
    by_code: dict[str, list[Resource]] = {}
    for observation in observations:
        by_code.setdefault(_text(observation, "code.coding.code"), []).append(observation)
    return tuple(
        Vital(
            _VITAL_NAMES.get(code) or _text(same[0], "code.coding.display", "code.text"),
            _text(same[0], "valueQuantity.unit", "component.valueQuantity.unit"),
            tuple(sorted(map(_measurement, same), key=lambda reading: reading.taken)),
        )
        for code, same in by_code.items()
    )


def _measurement(observation: Resource) -> Measurement:
    values = [float(value) for value in _all(observation, "valueQuantity.value", "component.valueQuantity.value")]
    taken = datetime.fromisoformat(_text(observation, "effectiveDateTime", "effectivePeriod.start"))
    return Measurement(taken, values[0], "/".join(f"{value:g}" for value in values))


def _problem(condition: Resource) -> Problem:
    return Problem(
        name=_text(condition, "code.coding.display", "code.text"),
        severity=_text(condition, "severity.text", "severity.coding.display"),
        recorded=_text(condition, "dateRecorded", "assertedDate", "recordedDate"),
    )


def _allergy(allergy: Resource) -> Allergy:
    criticality = _text(allergy, "criticality")
    return Allergy(
        substance=_text(allergy, "substance.text", "substance.coding.display", "code.text", "code.coding.display"),
        criticality={"CRITH": "high", "CRITL": "low"}.get(criticality, criticality),
        reaction=_text(allergy, "reaction.manifestation.text", "reaction.manifestation.coding.display"),
        recorded=_text(allergy, "recordedDate", "assertedDate"),
    )


def _medication(order: Resource) -> Medication:
    return Medication(
        name=_text(order, "medicationReference.display", "medicationCodeableConcept.text"),
        dosage=_text(order, "dosageInstruction.text"),
        status=_text(order, "status"),
        written=_text(order, "dateWritten", "authoredOn"),
        prescriber=_text(order, "prescriber.display", "requester.agent.display", "requester.display"),
    )


def _encounter(encounter: Resource) -> Encounter:
    return Encounter(
        type=_text(encounter, "type.coding.display", "type.text"),
        status=_text(encounter, "status"),
        start=_text(encounter, "period.start"),
        end=_text(encounter, "period.end"),
        location=_text(encounter, "location.location.display"),
    )


def _coverage(coverage: Resource) -> Coverage:
    plans = [element for element in coverage.get("class", ()) if "plan" in _all(element, "type.coding.code")]
    return Coverage(
        payer=_text(coverage, "issuer.display", "payor.display"),
        plan=_text(coverage, "plan", "grouping.planDisplay") or _text(plans, "name"),
        subscriber=_text(coverage, "subscriberId.value", "subscriberId"),
        end=_text(coverage, "period.end"),
    )


def _text(element: Any, *paths: str) -> str:
    """The first value that one of the paths leads to, or ""."""
    return next(iter(_all(element, *paths)), "")


def _all(element: Any, *paths: str) -> list[str]:
    """Every text or number that a path leads to, through lists too."""
    return [str(value) for path in paths for value in _walk(element, path.split("."))]


def _walk(element: Any, steps: Sequence[str]) -> Iterator[Any]:
    if isinstance(element, list):
        for item in element:
            yield from _walk(item, steps)
    elif steps and isinstance(element, dict):
        yield from _walk(element.get(steps[0]), steps[1:])
    elif not steps and isinstance(element, str | int | float):
        yield element
