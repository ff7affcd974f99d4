"""Synthetic patients and what is known about them, in no FHIR version's terms."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from local.hospitals.hospital import Hospital

PATIENTS = 28
FIRST_NUMBER = 1001


@dataclass(frozen=True, slots=True)
class Code:
    """A concept of a code system."""

    system: str
    code: str
    display: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value; `unit` is for people, `ucum` is the UCUM code."""

    code: Code
    value: float
    unit: str
    ucum: str


@dataclass(frozen=True, slots=True)
class Vital:
    """A vital sign: one quantity of the sign's own code, or several components. `until` ends a measured period."""

    code: Code
    measured: datetime
    quantities: tuple[Quantity, ...]
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    codes: tuple[Code, ...]
    severity: Code
    onset: date
    recorded: date


@dataclass(frozen=True, slots=True)
class Visit:
    """An encounter; `end` is None while it lasts, `ward` is the index of its place in the hospital's wards."""

    setting: str
    type: Code
    start: datetime
    end: datetime | None
    ward: int


@dataclass(frozen=True, slots=True)
class Allergy:
    substance: Code
    category: str
    manifestation: Code
    severe: bool
    recorded: date
    note: str


@dataclass(frozen=True, slots=True)
class Prescription:
    """`ended` is None while the medication is taken."""

    medication: Code
    dosage: str
    written: date
    ended: date | None


@dataclass(frozen=True, slots=True)
class Insurance:
    payer: int
    subscriber: str
    group: str
    plan: str
    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Person:
    """A patient with everything in the chart; `doctor` is an index of DOCTORS."""

    number: int
    mrn: str
    family: str
    given: tuple[str, ...]
    prefix: str
    gender: str
    born: date
    phone: str
    street: str
    doctor: int
    vitals: tuple[Vital, ...]
    problems: tuple[Problem, ...]
    visits: tuple[Visit, ...]
    allergies: tuple[Allergy, ...]
    prescriptions: tuple[Prescription, ...]
    insurance: Insurance


def people(hospital: Hospital, today: date) -> Iterator[Person]:
    """The hospital's patients, the same ones on every call, with charts that end the day before `today`.

    The first is always Ruth Black, number 1001, with the longest chart: each hospital's is another person.
    """
    random = Random(hospital.key)
    families = random.sample(_FAMILIES.split(), PATIENTS - 1)
    given = {gender: random.sample(names.split(), PATIENTS // 2) for gender, names in _GIVEN.items()}
    for index in range(PATIENTS):
        gender = "female" if index % 2 == 0 else "male"
        name = ("Black", "Ruth") if index == 0 else (families[index - 1], given[gender][index // 2])
        yield _person(hospital, random, today, index, gender, *name)


def _person(
    hospital: Hospital, random: Random, today: date, index: int, gender: str, family: str, first: str
) -> Person:
    age = random.choice(hospital.ages)
    child = age < 18
    # The year alone follows the calendar, so that a birth date stays what it is until New Year.
    born = date(today.year - age - 1, random.randint(1, 12), random.randint(1, 28))
    prefix = "" if child else {"female": "Ms.", "male": "Mr."}[gender]
    days = 14 if index == 0 else random.randint(2, 12)
    middle = random.choice(_GIVEN[gender].split())
    return Person(
        number=FIRST_NUMBER + index,
        mrn=f"{hospital.mrn_prefix}-{random.randint(100_000, 999_999)}",
        family=family,
        given=(first, middle) if middle != first and random.random() < 0.6 else (first,),
        prefix=prefix,
        gender=gender,
        born=born,
        phone=f"555-01{random.randint(0, 99):02}",
        street=f"{random.randint(1, 990)} {random.choice(_STREETS)}",
        doctor=random.randrange(len(DOCTORS)),
        vitals=tuple(_vitals(random, today, age, days)),
        problems=tuple(_problems(random, today, born, child=child)),
        visits=tuple(_visits(random, today, len(hospital.wards), days)),
        allergies=tuple(_allergies(random, today, born)) if index == 0 or random.random() < 0.6 else (),
        prescriptions=tuple(_prescriptions(random, today)),
        insurance=_insurance(random, today),
    )


def _vitals(random: Random, today: date, age: int, days: int) -> Iterator[Vital]:
    child = age < 18
    pulse, systolic, diastolic, breaths = (95, 102, 64, 22) if child else (72, 126, 80, 16)
    weight = 8.0 + 3 * age if child else random.uniform(55, 105)
    for day in range(days, 0, -1):
        measured = _at(today - timedelta(days=day), random.randint(6, 20), random.choice((0, 15, 30, 45)))
        rise = 0.0 if day == 1 else round(random.uniform(-0.6, 1.4), 1)
        oxygen_until = measured + timedelta(minutes=5)
        yield Vital(_HEART_RATE, measured, (_per_minute(_HEART_RATE, "beats", pulse + random.randint(-9, 15)),))
        yield Vital(
            _BLOOD_PRESSURE,
            measured,
            (
                Quantity(_SYSTOLIC, float(systolic + random.randint(-12, 18)), "mmHg", "mm[Hg]"),
                Quantity(_DIASTOLIC, float(diastolic + random.randint(-8, 10)), "mmHg", "mm[Hg]"),
            ),
        )
        yield Vital(_TEMPERATURE, measured, (Quantity(_TEMPERATURE, round(37.0 + rise, 1), "C", "Cel"),))
        yield Vital(_BREATHS, measured, (_per_minute(_BREATHS, "breaths", breaths + random.randint(-3, 4)),))
        yield Vital(_OXYGEN, measured, (Quantity(_OXYGEN, float(random.randint(94, 100)), "%", "%"),), oxygen_until)
        yield Vital(_WEIGHT, measured, (Quantity(_WEIGHT, round(weight + random.uniform(-0.4, 0.4), 1), "kg", "kg"),))


def _per_minute(code: Code, what: str, value: int) -> Quantity:
    return Quantity(code, float(value), f"{what}/minute", "/min")


def _problems(random: Random, today: date, born: date, *, child: bool) -> Iterator[Problem]:
    for codes in random.sample(_CHILD_PROBLEMS if child else _ADULT_PROBLEMS, random.randint(1, 3)):
        onset = _since(random, born, today)
        yield Problem(codes, random.choice(_SEVERITIES), onset, _since(random, onset, today))


def _visits(random: Random, today: date, wards: int, days: int) -> Iterator[Visit]:
    """The patient's past visits, and last the stay that began `days` ago and lasts."""
    for months in sorted(random.sample(range(2, 30), random.randint(1, 4)), reverse=True):
        setting, type = random.choice(_VISITS)
        start = _at(today - timedelta(days=30 * months), random.randint(7, 18), 20)
        stay = timedelta(days=random.randint(1, 6)) if setting == "inpatient" else timedelta(hours=2)
        yield Visit(setting, type, start, start + stay, random.randrange(wards))
    yield Visit("inpatient", _ADMISSION, _at(today - timedelta(days=days), 5, 20), None, random.randrange(wards))


def _allergies(random: Random, today: date, born: date) -> Iterator[Allergy]:
    for substance, category in random.sample(_SUBSTANCES, random.randint(1, 2)):
        manifestation = random.choice(_MANIFESTATIONS)
        note = f"{manifestation.display} after exposure to {substance.display.lower()}, reported by the family."
        recorded = _since(random, born, today)
        yield Allergy(substance, category, manifestation, random.random() < 0.4, recorded, note)


def _prescriptions(random: Random, today: date) -> Iterator[Prescription]:
    for medication, dosage in random.sample(_MEDICATIONS, random.randint(1, 3)):
        written = today - timedelta(days=random.randint(5, 300))
        ended = _since(random, written, today) if random.random() < 0.4 else None
        yield Prescription(medication, dosage, written, ended)


def _insurance(random: Random, today: date) -> Insurance:
    return Insurance(
        payer=random.randrange(len(PAYERS)),
        subscriber=f"SUB{random.randint(10_000_000, 99_999_999)}",
        group=random.choice(("Woodgrove Bank employees", "City of Aurora", "Individual market")),
        plan=random.choice(("Gold PPO 500", "Silver HMO 1500", "Bronze HSA 6000")),
        start=date(today.year, 1, 1),
        end=date(today.year, 12, 31),
    )


def _at(day: date, hour: int, minute: int) -> datetime:
    return datetime.combine(day, time(hour, minute), UTC)


def _since(random: Random, earliest: date, today: date) -> date:
    return earliest + timedelta(days=random.randrange(max((today - earliest).days, 1)))


def _loinc(code: str, display: str) -> Code:
    return Code("http://loinc.org", code, display)


def _snomed(code: str, display: str) -> Code:
    return Code("http://snomed.info/sct", code, display)


def _problem(snomed: str, display: str, icd: str, icd_display: str) -> tuple[Code, ...]:
    return _snomed(snomed, display), Code("http://hl7.org/fhir/sid/icd-10-cm", icd, icd_display)


def _rxnorm(code: str, display: str, dosage: str) -> tuple[Code, str]:
    return Code("http://www.nlm.nih.gov/research/umls/rxnorm", code, display), dosage


DOCTORS = (
    ("Adams", "Nora"),
    ("Brandt", "Felix"),
    ("Chowdhury", "Anika"),
    ("Delgado", "Marco"),
    ("Eriksen", "Liv"),
)
PAYERS = ("Contoso Health Plan", "Fabrikam Insurance", "Northwind Mutual")

_HEART_RATE = _loinc("8867-4", "Heart rate")
_BLOOD_PRESSURE = _loinc("85354-9", "Blood pressure panel with all children optional")
_SYSTOLIC = _loinc("8480-6", "Systolic blood pressure")
_DIASTOLIC = _loinc("8462-4", "Diastolic blood pressure")
_TEMPERATURE = _loinc("8310-5", "Body temperature")
_BREATHS = _loinc("9279-1", "Respiratory rate")
_OXYGEN = _loinc("2708-6", "Oxygen saturation in Arterial blood")
_WEIGHT = _loinc("29463-7", "Body weight")

_SEVERITIES = (_snomed("255604002", "Mild"), _snomed("6736007", "Moderate"), _snomed("24484000", "Severe"))
_ADULT_PROBLEMS = (
    _problem("38341003", "Hypertensive disorder", "I10", "Essential (primary) hypertension"),
    _problem("44054006", "Diabetes mellitus type 2", "E11.9", "Type 2 diabetes mellitus without complications"),
    _problem("195967001", "Asthma", "J45.909", "Unspecified asthma, uncomplicated"),
    _problem("13645005", "Chronic obstructive lung disease", "J44.9", "Chronic obstructive pulmonary disease"),
    _problem("84114007", "Heart failure", "I50.9", "Heart failure, unspecified"),
    _problem("49436004", "Atrial fibrillation", "I48.91", "Unspecified atrial fibrillation"),
    _problem("233604007", "Pneumonia", "J18.9", "Pneumonia, unspecified organism"),
)
_CHILD_PROBLEMS = (
    _problem("195967001", "Asthma", "J45.909", "Unspecified asthma, uncomplicated"),
    _problem("65363002", "Otitis media", "H66.90", "Otitis media, unspecified, unspecified ear"),
    _problem("24079001", "Atopic dermatitis", "L20.9", "Atopic dermatitis, unspecified"),
    _problem("84757009", "Epilepsy", "G40.909", "Epilepsy, unspecified, not intractable"),
    _problem("4120002", "Bronchiolitis", "J21.9", "Acute bronchiolitis, unspecified"),
    _problem("46635009", "Diabetes mellitus type 1", "E10.9", "Type 1 diabetes mellitus without complications"),
)
_ADMISSION = _snomed("32485007", "Hospital admission")
_VISITS = (
    ("inpatient", _ADMISSION),
    ("emergency", _snomed("50849002", "Emergency room admission")),
    ("ambulatory", _snomed("185349003", "Encounter for check up")),
    ("ambulatory", _snomed("185345009", "Encounter for symptom")),
)
_SUBSTANCES = (
    (_snomed("373270004", "Penicillin"), "medication"),
    (_snomed("387458008", "Aspirin"), "medication"),
    (_snomed("762952008", "Peanut"), "food"),
    (_snomed("102263004", "Eggs"), "food"),
    (_snomed("111088007", "Latex"), "environment"),
    (_snomed("256277009", "Grass pollen"), "environment"),
)
_MANIFESTATIONS = (
    _snomed("247472004", "Hives"),
    _snomed("39579001", "Anaphylaxis"),
    _snomed("271807003", "Eruption of skin"),
    _snomed("267036007", "Dyspnea"),
)
_MEDICATIONS = (
    _rxnorm("314076", "Lisinopril 10 MG Oral Tablet", "Take one tablet by mouth every morning"),
    _rxnorm("860975", "Metformin hydrochloride 500 MG Extended Release Oral Tablet", "Take one tablet with dinner"),
    _rxnorm("617310", "Atorvastatin 20 MG Oral Tablet", "Take one tablet by mouth at bedtime"),
    _rxnorm("197361", "Amlodipine 5 MG Oral Tablet", "Take one tablet by mouth daily"),
    _rxnorm("745679", "Albuterol 0.09 MG/ACTUAT Metered Dose Inhaler", "Inhale two puffs every 6 hours as needed"),
    _rxnorm("308182", "Amoxicillin 250 MG Oral Capsule", "Take one capsule three times a day for 10 days"),
    _rxnorm("198440", "Acetaminophen 500 MG Oral Tablet", "Take one tablet every 6 hours as needed for pain"),
)
_STREETS = ("Oak Street", "Harbor Road", "Mill Lane", "Juniper Avenue", "Station Square", "Lake Drive")
_GIVEN = {
    "female": """
        Aisha Alice Amara Beatriz Chloé Clara Dalia Elena Esther Freya Grace Hannah Ines Irene Jade Joanna Kavya Laila
        Lucía Maeve Marta Mei Naomi Nadia Olivia Paula Rosa Sofia Tessa Yuki Zoe
    """,
    "male": """
        Adam Ahmed Aleksander Andre Anton Bilal Caleb Daniel David Diego Elias Emil Ethan Farid Gabriel Hugo Isaac Jamal
        Jonas José Kenji Leon Lucas Mateo Milan Noah Oscar Pavel Rafael Samuel Tomás Viktor
    """,
}
_FAMILIES = """
Abebe Almeida Andersson Baptiste Becker Blackwell Blackwood Bianchi Calder Castillo Cohen Dubois Dvořák Ekström Evans
Farouk Ferrari Fischer Flores Fontaine García Gupta Haddad Hansen Hughes Ibrahim Ito Ivanova Jansen Jimenez Johnson
Kaminski Khan Kim Kowalski Larsen Le Lopez MacLeod Mbeki Mendes Moreau Müller Nakamura Nguyen Novak O'Brien Okafor Olsen
Park Patel Petrov Quinn Reyes Rossi Sato Schmidt Silva Singh Smirnova Tanaka Torres Underwood Vargas Virtanen Wagner
Walsh Weber Whitlock Xu Yamamoto Yilmaz Zhang Zimmermann
"""
