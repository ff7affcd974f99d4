"""The one table of the interface: which resources the app reads, how it searches for them, and which fields it shows.

The statement, what is let through, and the onboarding check all read it, so they cannot disagree. DSTU2 and STU3 are
the published interfaces of the Patients app; R4 is STU3 with R4's names, and so on with R4B's and R5's.
"""

from collections.abc import Mapping

from msgspec import Struct

from shared.fhir.versions import FhirVersion


class SearchParameter(Struct, frozen=True):
    """A search parameter by its FHIR name; `type` is a SearchParamType, `documentation` is for people."""

    name: str
    type: str
    documentation: str


class ResourceInterface(Struct, frozen=True):
    """The searches and fields of one resource type that the app needs.

    `search_parameters` leaves out `_count` and `_sort`: they shape a result, select nothing, and so have no
    SearchParamType. `required` and `recommended` are dotted paths into the JSON form of the resource, without its
    type and without indexes: a path is there when a value is reached through any element of the lists on its way.
    `a|b` is there when `a` or `b` is, `a=x` when a value reached is `x`. A path that begins with `component` is asked
    of each component there is, and of nothing where there is none.
    """

    type: str
    search_parameters: tuple[SearchParameter, ...]
    required: tuple[str, ...]
    recommended: tuple[str, ...]


_PATIENT = SearchParameter("patient", "reference", "The patient it is about")
_CATEGORY = SearchParameter("category", "token", "The app asks for vital-signs")
_SORTED_BY_DATE = SearchParameter("date", "date", "The app sorts by it, the latest first")
_ID = SearchParameter("_id", "token", "The logical id")
_FAMILY = SearchParameter("family", "string", "A family name, or what it begins with")
_FAMILY_CONTAINS = SearchParameter("family", "string", "A family name; the app asks for a part of it (family:contains)")
_GIVEN = SearchParameter("given", "string", "A given name, or what it begins with")
_NAME = SearchParameter("name", "string", "Any part of the name")
_BIRTHDATE = SearchParameter("birthdate", "date", "The date of birth")
_GENDER = SearchParameter("gender", "token", "The administrative gender")
_IDENTIFIER = SearchParameter("identifier", "token", "An identifier, such as the medical record number (MRN)")

# The app shows the identifier of this type as the medical record number (http://hl7.org/fhir/v2/0203).
_MRN = "identifier.type.coding.code=MR"
_PATIENT_REQUIRED = ("name.given", "name.family", "gender", "birthDate", "identifier.value", _MRN)
_MEDICATION = "medicationReference.display|medicationCodeableConcept.text"
_MEDICATION_SINCE_R5 = "medication.reference.display|medication.concept.text"

_OBSERVATION = ResourceInterface(
    "Observation",
    (_PATIENT, _CATEGORY, _SORTED_BY_DATE),
    (
        "effectiveDateTime|effectivePeriod",
        "code.coding.code",
        "valueQuantity.value|component.valueQuantity.value",
        "component.code.coding.code",
    ),
    ("code.coding.display", "valueQuantity.unit|component.valueQuantity.unit", "component.code.coding.display"),
)
_LOCATION = ResourceInterface("Location", (), (), ())  # only read, by the reference of an Encounter


def _condition(recorded: str) -> ResourceInterface:
    return ResourceInterface("Condition", (_PATIENT,), ("code.coding.display",), (recorded, "severity"))


def _encounter(period: str) -> ResourceInterface:
    return ResourceInterface(
        "Encounter",
        (_PATIENT, _SORTED_BY_DATE),
        ("status", "type.coding.display"),
        (f"{period}.start", "location.location.display"),
    )


def _allergy_intolerance(recorded: str, manifestation: str) -> ResourceInterface:
    return ResourceInterface(
        "AllergyIntolerance",
        (_PATIENT,),
        ("code.text", "code.coding.display", "clinicalStatus", "verificationStatus"),
        (
            recorded,
            "note.text",
            "reaction.substance.text|reaction.substance.coding.display",
            f"{manifestation}.text|{manifestation}.coding.display",
        ),
    )


def _medication_request(medication: str, requester: str) -> ResourceInterface:
    return ResourceInterface(
        "MedicationRequest", (_PATIENT,), (medication, "authoredOn", requester), ("dosageInstruction.text", "text.div")
    )


def _coverage(*required: str) -> ResourceInterface:
    # No published parameter of DSTU2's and STU3's Coverage is named `patient`, yet it is what the app sends.
    return ResourceInterface("Coverage", (_PATIENT,), required, ())


def _medication_statement(medication: str) -> ResourceInterface:
    return ResourceInterface("MedicationStatement", (_PATIENT,), (medication,), ("dosage.text", "text.div"))


def _patient(practitioner: str, *searches: SearchParameter) -> ResourceInterface:
    return ResourceInterface("Patient", searches, _PATIENT_REQUIRED, ("name.use", "name.prefix", practitioner))


_PATIENT_SINCE_STU3 = _patient("generalPractitioner.display", _ID, _FAMILY, _GIVEN, _BIRTHDATE, _GENDER, _IDENTIFIER)

_R4 = (
    _PATIENT_SINCE_STU3,
    _OBSERVATION,
    _condition("recordedDate"),
    _encounter("period"),
    _allergy_intolerance("recordedDate", "reaction.manifestation"),
    _medication_request(_MEDICATION, "requester.display"),
    _medication_statement(_MEDICATION),
    _coverage("class.name", "period", "subscriberId"),
    _LOCATION,
)

INTERFACE: Mapping[FhirVersion, tuple[ResourceInterface, ...]] = {
    FhirVersion.DSTU2: (
        _patient("careProvider.display", _ID, _FAMILY_CONTAINS, _GIVEN, _NAME, _BIRTHDATE, _IDENTIFIER),
        _OBSERVATION,
        _condition("dateRecorded"),
        _encounter("period"),
        ResourceInterface(
            "AllergyIntolerance",
            (_PATIENT,),
            ("substance.text|substance.coding.display", "status"),
            ("recordedDate", "note.text", "reaction.substance.text", "reaction.manifestation.text", "text.div"),
        ),
        ResourceInterface(
            "MedicationOrder",
            (_PATIENT,),
            (_MEDICATION, "dateWritten", "prescriber.display"),
            ("dateEnded", "dosageInstruction.text", "text.div"),
        ),
        _coverage("issuer|plan"),
        _LOCATION,
    ),
    FhirVersion.STU3: (
        _PATIENT_SINCE_STU3,
        _OBSERVATION,
        _condition("assertedDate"),
        _encounter("period"),
        _allergy_intolerance("assertedDate", "reaction.manifestation"),
        _medication_request(_MEDICATION, "requester.agent.display"),
        _medication_statement(_MEDICATION),
        _coverage("grouping.groupDisplay", "grouping.planDisplay", "period", "subscriberId"),
        _LOCATION,
    ),
    FhirVersion.R4: _R4,
    FhirVersion.R4B: _R4,
    FhirVersion.R5: (
        _PATIENT_SINCE_STU3,
        _OBSERVATION,
        _condition("recordedDate"),
        _encounter("actualPeriod"),
        _allergy_intolerance("recordedDate", "reaction.manifestation.concept"),
        _medication_request(_MEDICATION_SINCE_R5, "requester.display"),
        _medication_statement(_MEDICATION_SINCE_R5),
        _coverage("class.name", "period", "subscriberId.value"),
        _LOCATION,
    ),
}

_TYPES = {version: frozenset(resource.type for resource in resources) for version, resources in INTERFACE.items()}


def types(version: FhirVersion) -> frozenset[str]:
    """The names of the interface's resource types in `version`."""
    return _TYPES[version]
