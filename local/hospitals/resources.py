"""A hospital's synthetic charts as FHIR resources, in the spelling of the hospital's version."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from local.hospitals.elements import (
    DSTU2,
    R4,
    R5,
    STU3,
    TERMS,
    Code,
    act,
    code_system,
    concept,
    human_name,
    instant,
    narrative,
    quantity,
    reference,
    status,
)
from local.hospitals.hospital import Hospital
from local.hospitals.r5 import in_r5
from local.hospitals.request import Resource
from shared.fhir.versions import FhirVersion

_PATIENTS = 28
_FIRST_NUMBER = 1001


def medication_request(version: FhirVersion) -> str:
    """The resource type of a prescription."""
    return "MedicationOrder" if version is DSTU2 else "MedicationRequest"


def resources(hospital: Hospital, today: date) -> Iterator[Resource]:
    """Every resource of the hospital, the same ones on every call, with charts that end the day before `today`.

    The first patient is always Ruth Black, number 1001, with the longest chart: each hospital's is another person.
    """
    meta = {"versionId": "1", "lastUpdated": datetime.combine(today, time(), UTC).isoformat()}
    for resource in (*_organization(hospital), *_patients(hospital, today)):
        spelled = in_r5(resource) if hospital.version is R5 else resource
        yield {"resourceType": resource["resourceType"], "id": resource["id"], "meta": meta} | spelled


def _organization(hospital: Hospital) -> Iterator[Resource]:
    yield {"resourceType": "Organization", "id": "hospital", "name": hospital.name}
    for index, payer in enumerate(TERMS.payers):
        yield {"resourceType": "Organization", "id": f"payer-{index}", "name": payer}
    at = reference("Organization", "hospital", hospital.name)
    for index, ward in enumerate(hospital.wards):
        location = {"status": "active", "name": ward, "mode": "instance", "managingOrganization": at}
        yield {"resourceType": "Location", "id": f"ward-{index}", **location}
    for index, (family, given) in enumerate(TERMS.practitioners):
        name = human_name(hospital.version, family, (given,), "Dr.")
        id = f"doctor-{index}"
        yield {"resourceType": "Practitioner", "id": id, "name": name if hospital.version is DSTU2 else [name]}
    for code, _ in TERMS.medications:
        yield {"resourceType": "Medication", "id": f"rxnorm-{code.code}", "code": concept(code)}


def _patients(hospital: Hospital, today: date) -> Iterator[Resource]:
    random = Random(hospital.key)
    families = ["Black", *random.sample(TERMS.families, _PATIENTS - 1)]
    given = {gender: random.sample(names, _PATIENTS // 2) for gender, names in TERMS.given.items()}
    given["female"][0] = "Ruth"
    for index, family in enumerate(families):
        gender = "female" if index % 2 == 0 else "male"
        yield from _Chart(hospital, today, random, _FIRST_NUMBER + index, family, given[gender][index // 2], gender)


class _Chart:
    """A patient's resources, one iterator for each type."""

    def __init__(
        self, hospital: Hospital, today: date, random: Random, number: int, family: str, given: str, gender: str
    ) -> None:
        self._hospital = hospital
        self._version = hospital.version
        self._about = "patient" if hospital.version is DSTU2 else "subject"  # the element of most types
        self._today = today
        self._random = random
        self._number = number
        self._family, self._given, self._gender = family, given, gender
        self._age = random.choice(hospital.ages)
        # The year alone follows the calendar, so that a birth date stays what it is until New Year.
        self._born = date(today.year - self._age - 1, random.randint(1, 12), random.randint(1, 28))
        self._days = 14 if number == _FIRST_NUMBER else random.randint(2, 12)
        self._subject = reference("Patient", str(number), f"{given} {family}")
        self._weight = 8.0 + 3 * self._age if self._age < 18 else random.uniform(55, 105)
        doctor = random.randrange(len(TERMS.practitioners))
        self._doctor = reference("Practitioner", f"doctor-{doctor}", "Dr. {1} {0}".format(*TERMS.practitioners[doctor]))

    def __iter__(self) -> Iterator[Resource]:
        encounters = list(self._encounters())
        yield self._patient()
        yield self._coverage()
        yield from encounters
        yield from self._observations({"reference": f"Encounter/{encounters[-1]['id']}"})
        yield from self._conditions()
        yield from self._allergies()
        yield from self._medication_requests()

    def _patient(self) -> Resource:
        version, random = self._version, self._random
        middle = random.choice(TERMS.given[self._gender])
        given = (self._given, middle) if middle != self._given and random.random() < 0.6 else (self._given,)
        prefix = "" if self._age < 18 else {"female": "Ms.", "male": "Mr."}[self._gender]
        street = f"{random.randint(1, 990)} {random.choice(TERMS.streets)}"
        identifier = {
            "use": "usual",
            "type": concept(Code(code_system(version, "v2-0203"), "MR", "Medical record number")),
            "system": self._hospital.mrn_system,
            "value": f"{self._hospital.mrn_prefix}-{random.randint(100_000, 999_999)}",
        }
        return {
            "resourceType": "Patient",
            "id": str(self._number),
            "identifier": [identifier],
            "active": True,
            "name": [human_name(version, self._family, given, prefix)],
            "telecom": [{"system": "phone", "value": f"555-01{random.randint(0, 99):02}", "use": "home"}],
            "gender": self._gender,
            "birthDate": self._born.isoformat(),
            "address": [{"use": "home", "line": [street], "city": self._hospital.city, "country": "US"}],
            ("careProvider" if version is DSTU2 else "generalPractitioner"): [self._doctor],
            "managingOrganization": reference("Organization", "hospital", self._hospital.name),
        }

    def _coverage(self) -> Resource:
        version, random = self._version, self._random
        payer = random.randrange(len(TERMS.payers))
        issuer = reference("Organization", f"payer-{payer}", TERMS.payers[payer])
        subscriber = f"SUB{random.randint(10_000_000, 99_999_999)}"
        names = {"group": random.choice(TERMS.groups), "plan": random.choice(TERMS.plans)}
        codes = {kind: name.split()[0].lower() for kind, name in names.items()}
        type = act(version, "health insurance")
        coverage: Resource = {
            "resourceType": "Coverage",
            "id": f"coverage-{self._number}",
            "type": type if version is DSTU2 else {"coding": [type]},
            "period": {"start": f"{self._today.year}-01-01", "end": f"{self._today.year}-12-31"},
        }
        if version is DSTU2:
            coverage |= names | {"issuer": issuer, "subscriber": self._subject}
            return coverage | {"subscriberId": {"value": subscriber}}
        coverage |= {"status": "active", "subscriberId": subscriber, "beneficiary": self._subject, "payor": [issuer]}
        if version is STU3:
            return coverage | {"grouping": codes | {f"{kind}Display": name for kind, name in names.items()}}
        system = code_system(R4, "coverage-class")
        kinds = {kind: concept(Code(system, kind, kind.capitalize())) for kind in names}
        return coverage | {
            "class": [{"type": kinds[kind], "value": codes[kind], "name": names[kind]} for kind in kinds]
        }

    def _encounters(self) -> Iterator[Resource]:
        """The patient's past encounters, and last the stay that began some days ago and lasts."""
        random = self._random
        for index, months in enumerate(sorted(random.sample(range(2, 30), random.randint(1, 4)), reverse=True)):
            setting, type = random.choice(TERMS.encounters)
            start = self._at(30 * months, random.randint(7, 18), 20)
            stay = timedelta(days=random.randint(1, 6)) if setting == "inpatient" else timedelta(hours=2)
            yield self._encounter(index, setting, type, start, start + stay)
        yield self._encounter(index + 1, "inpatient", TERMS.admission, self._at(self._days, 5, 20), None)

    def _encounter(self, index: int, setting: str, type: Code, start: datetime, end: datetime | None) -> Resource:
        ward = self._random.randrange(len(self._hospital.wards))
        period = {"start": instant(start)} | ({"end": instant(end)} if end else {})
        location = reference("Location", f"ward-{ward}", self._hospital.wards[ward])
        return {
            "resourceType": "Encounter",
            "id": f"encounter-{self._number}-{index + 1}",
            "status": "finished" if end else "in-progress",
            "class": setting if self._version is DSTU2 else act(self._version, setting),
            "type": [concept(type)],
            self._about: self._subject,
            "participant": [{"individual": self._doctor}],
            "period": period,
            "location": [{"location": location, "status": "completed" if end else "active", "period": period}],
        }

    def _observations(self, encounter: Resource) -> Iterator[Resource]:
        category = concept(Code(code_system(self._version, "observation-category"), "vital-signs", "Vital Signs"))
        readings = (reading for day in range(self._days, 0, -1) for reading in self._readings(day))
        for index, (name, measured, values) in enumerate(readings):
            observation: Resource = {
                "resourceType": "Observation",
                "id": f"vital-{self._number}-{index + 1}",
                "status": "final",
                "category": category if self._version is DSTU2 else [category],
                "code": concept(TERMS.vitals[name].code),
                "subject": self._subject,
                ("context" if self._version is STU3 else "encounter"): encounter,
            }
            if name == "oxygen":
                until = instant(measured + timedelta(minutes=5))
                observation |= {"issued": until, "effectivePeriod": {"start": instant(measured), "end": until}}
            else:
                observation |= {"issued": instant(measured), "effectiveDateTime": instant(measured)}
            quantities = {each: quantity(TERMS.vitals[each], value) for each, value in values.items()}
            coded = [{"code": concept(TERMS.vitals[each].code), "valueQuantity": quantities[each]} for each in values]
            yield observation | ({"valueQuantity": quantities[name]} if name in values else {"component": coded})

    def _readings(self, day: int) -> Iterator[tuple[str, datetime, dict[str, float]]]:
        """The vital signs of a day, so many days ago: the sign, when, and its own value or those of its components."""
        random = self._random
        pulse, systolic, diastolic, breaths = (95, 102, 64, 22) if self._age < 18 else (72, 126, 80, 16)
        measured = self._at(day, random.randint(6, 20), random.choice((0, 15, 30, 45)))
        fever = 0.0 if day == 1 else random.uniform(-0.6, 1.4)
        high, low = float(systolic + random.randint(-12, 18)), float(diastolic + random.randint(-8, 10))
        yield "heart_rate", measured, {"heart_rate": float(pulse + random.randint(-9, 15))}
        yield "blood_pressure", measured, {"systolic": high, "diastolic": low}
        yield "temperature", measured, {"temperature": round(37.0 + fever, 1)}
        yield "breaths", measured, {"breaths": float(breaths + random.randint(-3, 4))}
        yield "oxygen", measured, {"oxygen": float(random.randint(94, 100))}
        yield "weight", measured, {"weight": round(self._weight + random.uniform(-0.4, 0.4), 1)}

    def _conditions(self) -> Iterator[Resource]:
        version, random = self._version, self._random
        kind = ("diagnosis", "Diagnosis") if version is DSTU2 else ("problem-list-item", "Problem List Item")
        category = Code(code_system(version, "condition-category"), *kind)
        known = TERMS.child_problems if self._age < 18 else TERMS.adult_problems
        for index, codes in enumerate(random.sample(known, random.randint(1, 3))):
            onset = self._since(self._born)
            recorded = {DSTU2: "dateRecorded", STU3: "assertedDate"}.get(version, "recordedDate")
            yield {
                "resourceType": "Condition",
                "id": f"problem-{self._number}-{index + 1}",
                "clinicalStatus": status(version, "condition-clinical", "active"),
                "verificationStatus": status(version, "condition-ver-status", "confirmed"),
                "category": concept(category) if version is DSTU2 else [concept(category)],
                "severity": concept(random.choice(TERMS.severities)),
                "code": concept(*codes),
                self._about: self._subject,
                "asserter": self._doctor,
                "onsetDateTime": onset.isoformat(),
                recorded: self._since(onset).isoformat(),
            }

    def _allergies(self) -> Iterator[Resource]:
        version, random = self._version, self._random
        if self._number > _FIRST_NUMBER and random.random() < 0.4:
            return
        for index, (substance, category) in enumerate(random.sample(TERMS.substances, random.randint(1, 2))):
            manifestation, severe = random.choice(TERMS.manifestations), random.random() < 0.4
            note = {"text": f"{manifestation.display} after exposure to {substance.display.lower()}, says the family."}
            recorded = self._since(self._born).isoformat()
            reaction = {"substance": concept(substance), "manifestation": [concept(manifestation)]}
            allergy: Resource = {
                "resourceType": "AllergyIntolerance",
                "id": f"allergy-{self._number}-{index + 1}",
                "text": narrative(f"Allergy to {substance.display}: {manifestation.display}"),
                "type": "allergy",
                "patient": self._subject,
                "recorder": self._doctor,
                "reaction": [reaction | {"severity": "severe" if severe else "mild"}],
            }
            if version is DSTU2:
                yield allergy | {
                    "recordedDate": recorded,
                    "substance": concept(substance),
                    "status": "confirmed",
                    "criticality": "CRITH" if severe else "CRITL",
                    "category": "other" if category == "environment" else category,  # DSTU2 has no code for it
                    "note": note,
                }
            else:
                yield allergy | {
                    "clinicalStatus": status(version, "allergyintolerance-clinical", "active"),
                    "verificationStatus": status(version, "allergyintolerance-verification", "confirmed"),
                    "category": [category],
                    "criticality": "high" if severe else "low",
                    "code": concept(substance),
                    ("assertedDate" if version is STU3 else "recordedDate"): recorded,
                    "note": [note],
                }

    def _medication_requests(self) -> Iterator[Resource]:
        version, random = self._version, self._random
        # Ruth Black's are named in both ways.
        count = 2 if self._number == _FIRST_NUMBER else random.randint(1, 3)
        for index, (drug, dosage) in enumerate(random.sample(TERMS.medications, count)):
            written = self._today - timedelta(days=random.randint(5, 300))
            ended = self._since(written) if random.random() < 0.4 else None
            request: Resource = {
                "resourceType": medication_request(version),
                "id": f"prescription-{self._number}-{index + 1}",
                "text": narrative(f"{drug.display}: {dosage}"),
                "status": "completed" if ended else "active",
                self._about: self._subject,
                "dosageInstruction": [{"text": dosage}],
                ("dateWritten" if version is DSTU2 else "authoredOn"): written.isoformat(),
            }
            if index % 2:
                request["medicationReference"] = reference("Medication", f"rxnorm-{drug.code}", drug.display)
            else:
                request["medicationCodeableConcept"] = concept(drug)
            if version is DSTU2:
                yield request | ({"dateEnded": ended.isoformat()} if ended else {}) | {"prescriber": self._doctor}
            else:
                requester = {"agent": self._doctor} if version is STU3 else self._doctor
                yield request | {"intent": "order", "requester": requester}

    def _at(self, days: int, hour: int, minute: int) -> datetime:
        """A time so many days ago."""
        return datetime.combine(self._today - timedelta(days=days), time(hour, minute), UTC)

    def _since(self, earliest: date) -> date:
        return earliest + timedelta(days=self._random.randrange(max((self._today - earliest).days, 1)))
