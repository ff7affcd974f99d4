"""A patient's chart as a person reads it, from the resources of any FHIR version.

An element is looked for under each name it has had, from DSTU2 to R5.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from app.client import PatientRecord, Resource

Row = dict[str, str]
"""The texts of a resource by name; empty where the hospital said nothing, dates as FHIR writes them."""

# What people call them; LOINC's names are longer.
_VITAL_NAMES = {"85354-9": "Blood pressure", "2708-6": "Oxygen saturation"}
_CRITICALITY = {"CRITH": "high", "CRITL": "low"}  # DSTU2's

# The paths to each text, as FHIRPath unites them; a section's first text is what its rows are about.
_PATIENT = {
    "hospital": "managingOrganization.display",
    "gender": "gender",
    "born": "birthDate",
    "doctor": "careProvider.display | generalPractitioner.display",
}
_SECTIONS = {
    "allergy": {
        "allergy": "substance.text | substance.coding.display | code.text | code.coding.display",
        "criticality": "criticality",
        "reaction": "reaction.manifestation.text | reaction.manifestation.coding.display | "
        "reaction.manifestation.concept.text | reaction.manifestation.concept.coding.display",
        "recorded": "recordedDate | assertedDate",
    },
    "problem": {
        "problem": "code.coding.display | code.text",
        "severity": "severity.text | severity.coding.display",
        "recorded": "dateRecorded | assertedDate | recordedDate",
    },
    "medication": {
        "medication": "medicationReference.display | medicationCodeableConcept.text | "
        "medication.reference.display | medication.concept.text",
        "dosage": "dosageInstruction.text",
        "status": "status",
        "written": "dateWritten | authoredOn",
        "by": "prescriber.display | requester.agent.display | requester.display",
    },
    "encounter": {
        "encounter": "type.coding.display | type.text",
        "status": "status",
        "from": "period.start | actualPeriod.start",
        "until": "period.end | actualPeriod.end",
        "where": "location.location.display",
    },
    "coverage": {
        "coverage": "issuer.display | payor.display | insurer.display",
        "plan": "plan | grouping.planDisplay",
        "subscriber": "subscriberId.value | subscriberId",
        "until": "period.end",
    },
}
_TYPES = {
    "allergy": ("AllergyIntolerance",),
    "problem": ("Condition",),
    "medication": ("MedicationOrder", "MedicationRequest"),
    "encounter": ("Encounter",),
    "coverage": ("Coverage",),
}
_NEEDED = {"encounter": ("encounter", "status"), "coverage": ("coverage", "plan")}


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
class Chart:
    """A patient's texts, and the rows of each section in the order they came: encounters newest first."""

    patient: Row
    last_location: str
    vitals: tuple[Vital, ...]
    sections: Mapping[str, Sequence[Row]]

    def age(self, today: date) -> int:
        """In whole years."""
        born = date.fromisoformat(self.patient["born"])
        return today.year - born.year - ((today.month, today.day) < (born.month, born.day))

    def missing(self) -> list[str]:
        """The names of what the app needs and did not get. A patient may well have no allergies."""
        found: dict[str, object] = {name: self.patient.get(name) for name in ("name", "gender", "born", "mrn")}
        found |= {"last location": self.last_location, "vital signs": self.vitals}
        for section in _SECTIONS:
            rows = self.sections.get(section, ())
            complete = all(row[name] for row in rows for name in _NEEDED.get(section, (section,)))
            found[section] = complete and (bool(rows) or section == "allergy")
        return [name for name, value in found.items() if not value]


def chart(record: PatientRecord) -> Chart:
    """The chart of what the app read."""
    patient, resources = record.patient, record.resources
    texts = {name: _text(patient, paths) for name, paths in _PATIENT.items()}
    texts["name"] = " ".join(_all(patient, "name.prefix | name.given | name.family"))
    texts["mrn"] = _text(_of_type("MR", patient.get("identifier", ())), "value")
    sections = {
        section: [_row(resource, paths) for type in _TYPES[section] for resource in resources.get(type, ())]
        for section, paths in _SECTIONS.items()
    }
    return Chart(texts, _text(record.location, "name"), _vitals(resources["Observation"]), sections)


def _row(resource: Resource, paths: Mapping[str, str]) -> Row:
    row = {name: _text(resource, alternatives) for name, alternatives in paths.items()}
    if "criticality" in row:
        row["criticality"] = _CRITICALITY.get(row["criticality"], row["criticality"])
    if "plan" in row:  # from R4 on the plan is among the classes of a coverage
        row["plan"] = row["plan"] or _text(_of_type("plan", resource.get("class", ())), "name")
    return row


def _vitals(observations: Sequence[Resource]) -> tuple[Vital, ...]:
    by_code: dict[str, list[Resource]] = {}
    for observation in observations:
        by_code.setdefault(_text(observation, "code.coding.code"), []).append(observation)
    return tuple(
        Vital(
            _VITAL_NAMES.get(code) or _text(same[0], "code.coding.display | code.text"),
            _text(same[0], "valueQuantity.unit | component.valueQuantity.unit"),
            tuple(sorted(map(_measurement, same), key=lambda reading: reading.taken)),
        )
        for code, same in by_code.items()
    )


def _measurement(observation: Resource) -> Measurement:
    values = [float(value) for value in _all(observation, "valueQuantity.value | component.valueQuantity.value")]
    taken = datetime.fromisoformat(_text(observation, "effectiveDateTime | effectivePeriod.start"))
    return Measurement(taken, values[0], "/".join(f"{value:g}" for value in values))


def _of_type(code: str, elements: Sequence[Resource]) -> list[Resource]:
    return [element for element in elements if code in _all(element, "type.coding.code")]


def _text(element: Any, paths: str) -> str:
    """The first value that one of the paths leads to, or ""."""
    return next(iter(_all(element, paths)), "")


def _all(element: Any, paths: str) -> list[str]:
    """Every text or number that a path leads to, through lists too."""
    return [str(value) for path in paths.split(" | ") for value in _walk(element, path.split("."))]


def _walk(element: Any, steps: Sequence[str]) -> Iterator[Any]:
    if isinstance(element, list):
        for item in element:
            yield from _walk(item, steps)
    elif steps and isinstance(element, dict):
        yield from _walk(element.get(steps[0]), steps[1:])
    elif not steps and isinstance(element, str | int | float):
        yield element
