"""A hospital's charts as FHIR resources: each function makes one type, in the spelling of the hospital's version."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from html import escape
from typing import Any

from local.hospitals.hospital import Hospital
from local.hospitals.people import DOCTORS, PAYERS, Allergy, Code, Person, Prescription, Problem, Quantity, Visit, Vital
from local.hospitals.people import people as people_of
from local.hospitals.records import Resource
from shared.fhir.versions import FhirVersion

DSTU2, STU3, R4 = FhirVersion.DSTU2, FhirVersion.STU3, FhirVersion.R4

PATIENT_REFERENCE = {DSTU2: "patient", STU3: "subject", R4: "subject"}
VISIT_REFERENCE = {DSTU2: "encounter", STU3: "context", R4: "encounter"}
PRESCRIPTION_TYPE = {DSTU2: "MedicationOrder", STU3: "MedicationRequest", R4: "MedicationRequest"}


def resources(hospital: Hospital, today: date) -> Iterator[Resource]:
    """Every resource of the hospital, with charts that end the day before `today`."""
    people = tuple(people_of(hospital, today))
    meta = {"versionId": "1", "lastUpdated": datetime.combine(today, time(), UTC).isoformat()}
    for resource in (*_house(hospital), *_medications(hospital, people), *_charts(hospital, people)):
        yield {"resourceType": resource["resourceType"], "id": resource["id"], "meta": meta} | resource


def _house(hospital: Hospital) -> Iterator[Resource]:
    yield {"resourceType": "Organization", "id": "hospital", "name": hospital.name}
    for index, payer in enumerate(PAYERS):
        yield {"resourceType": "Organization", "id": f"payer-{index}", "name": payer}
    for index, ward in enumerate(hospital.wards):
        yield {
            "resourceType": "Location",
            "id": f"ward-{index}",
            "status": "active",
            "name": ward,
            "mode": "instance",
            "managingOrganization": {"reference": "Organization/hospital", "display": hospital.name},
        }
    for index, (family, given) in enumerate(DOCTORS):
        name = _name(hospital.version, "official", family, (given,), "Dr.")
        yield {
            "resourceType": "Practitioner",
            "id": f"doctor-{index}",
            "name": name if hospital.version is DSTU2 else [name],
        }


def _medications(hospital: Hospital, people: tuple[Person, ...]) -> Iterator[Resource]:
    known = {prescription.medication: None for person in people for prescription in person.prescriptions}
    for code in known:
        yield {"resourceType": "Medication", "id": f"rxnorm-{code.code}", "code": _concept(code)}


def _charts(hospital: Hospital, people: tuple[Person, ...]) -> Iterator[Resource]:
    version = hospital.version
    for person in people:
        yield _patient(hospital, person)
        yield _coverage(version, person)
        for index, visit in enumerate(person.visits):
            yield _encounter(hospital, person, visit, index)
        for index, vital in enumerate(person.vitals):
            yield _observation(version, person, vital, index)
        for index, problem in enumerate(person.problems):
            yield _condition(version, person, problem, index)
        for index, allergy in enumerate(person.allergies):
            yield _allergy(version, person, allergy, index)
        for index, prescription in enumerate(person.prescriptions):
            yield _prescription(version, person, prescription, index)


def _patient(hospital: Hospital, person: Person) -> Resource:
    version = hospital.version
    doctor = _doctor(person)
    return {
        "resourceType": "Patient",
        "id": str(person.number),
        "identifier": [
            {
                "use": "usual",
                "type": _concept(Code(_terminology(version, "v2-0203"), "MR", "Medical record number")),
                "system": hospital.mrn_system,
                "value": person.mrn,
            }
        ],
        "active": True,
        "name": [_name(version, "official", person.family, person.given, person.prefix)],
        "telecom": [{"system": "phone", "value": person.phone, "use": "home"}],
        "gender": person.gender,
        "birthDate": person.born.isoformat(),
        "address": [{"use": "home", "line": [person.street], "city": hospital.city, "country": "US"}],
        ("careProvider" if version is DSTU2 else "generalPractitioner"): [doctor],
        "managingOrganization": {"reference": "Organization/hospital", "display": hospital.name},
    }


def _observation(version: FhirVersion, person: Person, vital: Vital, index: int) -> Resource:
    category = _concept(Code(_terminology(version, "observation-category"), "vital-signs", "Vital Signs"))
    resource: Resource = {
        "resourceType": "Observation",
        "id": f"vital-{person.number}-{index + 1}",
        "status": "final",
        "category": category if version is DSTU2 else [category],
        "code": _concept(vital.code),
        "subject": _subject(person),
        VISIT_REFERENCE[version]: _last_visit(person),
        "issued": _instant(vital.until or vital.measured),
    }
    if vital.until is None:
        resource["effectiveDateTime"] = _instant(vital.measured)
    else:
        resource["effectivePeriod"] = {"start": _instant(vital.measured), "end": _instant(vital.until)}
    match vital.quantities:
        case (quantity,):
            resource["valueQuantity"] = _quantity(quantity)
        case quantities:
            resource["component"] = [
                {"code": _concept(quantity.code), "valueQuantity": _quantity(quantity)} for quantity in quantities
            ]
    return resource


def _condition(version: FhirVersion, person: Person, problem: Problem, index: int) -> Resource:
    category = {
        DSTU2: Code("http://hl7.org/fhir/condition-category", "diagnosis", "Diagnosis"),
        STU3: Code(_terminology(STU3, "condition-category"), "problem-list-item", "Problem List Item"),
        R4: Code(_terminology(R4, "condition-category"), "problem-list-item", "Problem List Item"),
    }[version]
    return {
        "resourceType": "Condition",
        "id": f"problem-{person.number}-{index + 1}",
        "clinicalStatus": _status(version, "condition-clinical", "active"),
        "verificationStatus": _status(version, "condition-ver-status", "confirmed"),
        "category": _concept(category) if version is DSTU2 else [_concept(category)],
        "severity": _concept(problem.severity),
        "code": _concept(*problem.codes),
        PATIENT_REFERENCE[version]: _subject(person),
        "asserter": _doctor(person),
        "onsetDateTime": problem.onset.isoformat(),
        {DSTU2: "dateRecorded", STU3: "assertedDate", R4: "recordedDate"}[version]: problem.recorded.isoformat(),
    }


def _encounter(hospital: Hospital, person: Person, visit: Visit, index: int) -> Resource:
    version = hospital.version
    period = {"start": _instant(visit.start)} | ({"end": _instant(visit.end)} if visit.end else {})
    location = {
        "location": {"reference": f"Location/ward-{visit.ward}", "display": hospital.wards[visit.ward]},
        "status": "completed" if visit.end else "active",
        "period": period,
    }
    return {
        "resourceType": "Encounter",
        "id": f"visit-{person.number}-{index + 1}",
        "status": "finished" if visit.end else "in-progress",
        "class": visit.setting if version is DSTU2 else _act(version, visit.setting),
        "type": [_concept(visit.type)],
        PATIENT_REFERENCE[version]: _subject(person),
        "participant": [{"individual": _doctor(person)}],
        "period": period,
        "location": [location],
    }


def _allergy(version: FhirVersion, person: Person, allergy: Allergy, index: int) -> Resource:
    resource: Resource = {
        "resourceType": "AllergyIntolerance",
        "id": f"allergy-{person.number}-{index + 1}",
        "text": _narrative(f"Allergy to {allergy.substance.display}: {allergy.manifestation.display}"),
        "type": "allergy",
        "patient": _subject(person),
        "recorder": _doctor(person),
        "reaction": [
            {
                "substance": _concept(allergy.substance),
                "manifestation": [_concept(allergy.manifestation)],
                "severity": "severe" if allergy.severe else "mild",
            }
        ],
    }
    if version is DSTU2:
        return resource | {
            "recordedDate": allergy.recorded.isoformat(),
            "substance": _concept(allergy.substance),
            "status": "confirmed",
            "criticality": "CRITH" if allergy.severe else "CRITL",
            # DSTU2 has no code for surroundings.
            "category": "other" if allergy.category == "environment" else allergy.category,
            "note": {"text": allergy.note},
        }
    return resource | {
        "clinicalStatus": _status(version, "allergyintolerance-clinical", "active"),
        "verificationStatus": _status(version, "allergyintolerance-verification", "confirmed"),
        "category": [allergy.category],
        "criticality": "high" if allergy.severe else "low",
        "code": _concept(allergy.substance),
        "assertedDate" if version is STU3 else "recordedDate": allergy.recorded.isoformat(),
        "note": [{"text": allergy.note}],
    }


def _prescription(version: FhirVersion, person: Person, prescription: Prescription, index: int) -> Resource:
    drug = prescription.medication
    reference = {"reference": f"Medication/rxnorm-{drug.code}", "display": drug.display}
    by_reference = index % 2 == 1
    resource: Resource = {
        "resourceType": PRESCRIPTION_TYPE[version],
        "id": f"prescription-{person.number}-{index + 1}",
        "text": _narrative(f"{drug.display}: {prescription.dosage}"),
        "status": "completed" if prescription.ended else "active",
        "medicationReference" if by_reference else "medicationCodeableConcept": (
            reference if by_reference else _concept(drug)
        ),
        PATIENT_REFERENCE[version]: _subject(person),
        "dosageInstruction": [{"text": prescription.dosage}],
        "dateWritten" if version is DSTU2 else "authoredOn": prescription.written.isoformat(),
    }
    match version:
        case FhirVersion.DSTU2:
            ended = {"dateEnded": prescription.ended.isoformat()} if prescription.ended else {}
            return resource | ended | {"prescriber": _doctor(person)}
        case FhirVersion.STU3:
            return resource | {"intent": "order", "requester": {"agent": _doctor(person)}}
        case FhirVersion.R4:
            return resource | {"intent": "order", "requester": _doctor(person)}


def _coverage(version: FhirVersion, person: Person) -> Resource:
    insurance = person.insurance
    payer = {"reference": f"Organization/payer-{insurance.payer}", "display": PAYERS[insurance.payer]}
    plan_code = insurance.plan.split()[0].lower()
    group_code = insurance.group.split()[0].lower()
    type = _act(version, "health insurance")
    resource: Resource = {
        "resourceType": "Coverage",
        "id": f"coverage-{person.number}",
        "type": type if version is DSTU2 else {"coding": [type]},
        "period": {"start": insurance.start.isoformat(), "end": insurance.end.isoformat()},
    }
    if version is DSTU2:
        return resource | {
            "issuer": payer,
            "subscriberId": {"value": insurance.subscriber},
            "group": insurance.group,
            "plan": insurance.plan,
            "subscriber": _subject(person),
        }
    resource |= {
        "status": "active",
        "subscriberId": insurance.subscriber,
        "beneficiary": _subject(person),
        "payor": [payer],
    }
    if version is STU3:
        grouping = {"group": group_code, "groupDisplay": insurance.group}
        return resource | {"grouping": {**grouping, "plan": plan_code, "planDisplay": insurance.plan}}
    system = _terminology(R4, "coverage-class")
    return resource | {
        "class": [
            {"type": _concept(Code(system, "group", "Group")), "value": group_code, "name": insurance.group},
            {"type": _concept(Code(system, "plan", "Plan")), "value": plan_code, "name": insurance.plan},
        ]
    }


def _terminology(version: FhirVersion, name: str) -> str:
    """The code system that R4 calls `name`, where this version has it."""
    if version is R4:
        return f"http://terminology.hl7.org/CodeSystem/{name}"
    for prefix in ("v2-", "v3-"):
        if name.startswith(prefix):
            return f"http://hl7.org/fhir/{prefix[:-1]}/{name.removeprefix(prefix)}"
    return f"http://hl7.org/fhir/{name}"


def _status(version: FhirVersion, system: str, code: str) -> Any:
    """A status that became a CodeableConcept in R4."""
    if version is R4:
        return _concept(Code(_terminology(R4, system), code, code.capitalize()))
    return code


def _act(version: FhirVersion, what: str) -> Resource:
    code = {
        "inpatient": ("IMP", "inpatient encounter"),
        "emergency": ("EMER", "emergency"),
        "ambulatory": ("AMB", "ambulatory"),
        "health insurance": ("EHCPOL", "extended healthcare"),
    }[what]
    return _coding(Code(_terminology(version, "v3-ActCode"), *code))


def _name(version: FhirVersion, use: str, family: str, given: tuple[str, ...], prefix: str) -> Resource:
    name: Resource = {
        "use": use,
        "text": f"{given[0]} {family}",
        "family": [family] if version is DSTU2 else family,
        "given": list(given),
    }
    return name | {"prefix": [prefix]} if prefix else name


def _coding(code: Code) -> Resource:
    return {"system": code.system, "code": code.code, "display": code.display}


def _concept(*codes: Code) -> Resource:
    return {"coding": [_coding(code) for code in codes], "text": codes[0].display}


def _quantity(quantity: Quantity) -> Resource:
    return {
        "value": quantity.value,
        "unit": quantity.unit,
        "system": "http://unitsofmeasure.org",
        "code": quantity.ucum,
    }


def _subject(person: Person) -> Resource:
    return {"reference": f"Patient/{person.number}", "display": f"{person.given[0]} {person.family}"}


def _doctor(person: Person) -> Resource:
    family, given = DOCTORS[person.doctor]
    return {"reference": f"Practitioner/doctor-{person.doctor}", "display": f"Dr. {given} {family}"}


def _last_visit(person: Person) -> Resource:
    return {"reference": f"Encounter/visit-{person.number}-{len(person.visits)}"}


def _narrative(text: str) -> Resource:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{escape(text)}</div>'}


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
