"""FHIR's data types in the spelling of each version, and the terms that the demo charts are made of."""

from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from local.hospitals.request import Resource
from shared.fhir.versions import FhirVersion

DSTU2, STU3, R4, R5 = FhirVersion.DSTU2, FhirVersion.STU3, FhirVersion.R4, FhirVersion.R5


class Code(msgspec.Struct, frozen=True, array_like=True):
    """A concept of a code system."""

    system: str
    code: str
    display: str


class Measure(msgspec.Struct, frozen=True, array_like=True):
    """The measure of a vital sign; `unit` is for people, `ucum` is the UCUM code."""

    code: Code
    unit: str
    ucum: str


class Terms(msgspec.Struct, frozen=True):
    """The content of `terms.json`; names are (family, given), a substance has its category, a medication its dosage."""

    given: dict[str, list[str]]
    families: list[str]
    streets: list[str]
    practitioners: list[tuple[str, str]]
    payers: list[str]
    groups: list[str]
    plans: list[str]
    vitals: dict[str, Measure]
    severities: list[Code]
    adult_problems: list[tuple[Code, ...]]
    child_problems: list[tuple[Code, ...]]
    admission: Code
    encounters: list[tuple[str, Code]]
    substances: list[tuple[Code, str]]
    manifestations: list[Code]
    medications: list[tuple[Code, str]]


TERMS = msgspec.json.decode(Path(__file__).with_name("terms.json").read_bytes(), type=Terms)

_ACTS = {
    "inpatient": ("IMP", "inpatient encounter"),
    "emergency": ("EMER", "emergency"),
    "ambulatory": ("AMB", "ambulatory"),
    "health insurance": ("EHCPOL", "extended healthcare"),
}


def code_system(version: FhirVersion, name: str) -> str:
    """The URL of the code system that R4 and later versions call `name`, in this version."""
    if version.since(R4):
        return f"http://terminology.hl7.org/CodeSystem/{name}"
    if name[:3] in ("v2-", "v3-"):
        return f"http://hl7.org/fhir/{name[:2]}/{name[3:]}"
    return f"http://hl7.org/fhir/{name}"


def coding(code: Code) -> Resource:
    return {"system": code.system, "code": code.code, "display": code.display}


def concept(*codes: Code) -> Resource:
    """A CodeableConcept, with the text of the first code."""
    return {"coding": [coding(code) for code in codes], "text": codes[0].display}


def status(version: FhirVersion, system: str, code: str) -> Any:
    """A status that became a CodeableConcept in R4."""
    return concept(Code(code_system(R4, system), code, code.capitalize())) if version.since(R4) else code


def act(version: FhirVersion, name: str) -> Resource:
    """A Coding of HL7's ActCode, which is an encounter's class and an insurance's type."""
    return coding(Code(code_system(version, "v3-ActCode"), *_ACTS[name]))


def human_name(version: FhirVersion, family: str, given: tuple[str, ...], prefix: str) -> Resource:
    name = {"use": "official", "text": f"{given[0]} {family}", "given": list(given)}
    return name | {"family": [family] if version is DSTU2 else family} | ({"prefix": [prefix]} if prefix else {})


def quantity(measure: Measure, value: float) -> Resource:
    system = "http://unitsofmeasure.org"
    return {"value": value, "unit": measure.unit, "system": system, "code": measure.ucum}


def reference(type: str, id: str, display: str) -> Resource:
    return {"reference": f"{type}/{id}", "display": display}


def narrative(text: str) -> Resource:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{escape(text)}</div>'}


def instant(moment: datetime) -> str:
    """Such as `2026-03-13T08:15:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
