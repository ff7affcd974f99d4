"""The resource types that each FHIR version has (http://hl7.org/fhir/R4/resourcelist.html, and its predecessors).

R4's are R4B's as well, whose clients `/r4` serves.
"""

from collections.abc import Mapping

from shared.fhir.versions import FhirVersion

_DSTU2, _STU3, _R4 = FhirVersion.DSTU2, FhirVersion.STU3, FhirVersion.R4
_NAMES = {
    (_DSTU2, _STU3, _R4): """
        Account AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic Binary Bundle CarePlan Claim
        ClaimResponse ClinicalImpression Communication CommunicationRequest Composition ConceptMap Condition
        Contract Coverage DetectedIssue Device DeviceMetric DeviceUseStatement DiagnosticReport DocumentManifest
        DocumentReference Encounter EnrollmentRequest EnrollmentResponse EpisodeOfCare ExplanationOfBenefit
        FamilyMemberHistory Flag Goal Group HealthcareService ImagingStudy Immunization ImmunizationRecommendation
        ImplementationGuide List Location Media Medication MedicationAdministration MedicationDispense
        MedicationStatement MessageHeader NamingSystem NutritionOrder Observation OperationDefinition
        OperationOutcome Organization Parameters Patient PaymentNotice PaymentReconciliation Person Practitioner
        Procedure Provenance Questionnaire QuestionnaireResponse RelatedPerson RiskAssessment Schedule
        SearchParameter Slot Specimen StructureDefinition Subscription Substance SupplyDelivery SupplyRequest
        TestScript ValueSet VisionPrescription""",
    (_DSTU2, _STU3): """
        BodySite DataElement DeviceComponent EligibilityRequest EligibilityResponse ProcedureRequest ProcessRequest
        ProcessResponse ReferralRequest""",
    (_DSTU2,): """
        Conformance DeviceUseRequest DiagnosticOrder ImagingObjectSelection MedicationOrder Order OrderResponse""",
    (_STU3,): "ExpansionProfile ImagingManifest Sequence ServiceDefinition",
    (_STU3, _R4): """
        ActivityDefinition AdverseEvent CapabilityStatement CareTeam ChargeItem CodeSystem CompartmentDefinition
        Consent DeviceRequest Endpoint GraphDefinition GuidanceResponse Library Linkage Measure MeasureReport
        MedicationRequest MessageDefinition PlanDefinition PractitionerRole RequestGroup ResearchStudy
        ResearchSubject StructureMap Task TestReport""",
    (_R4,): """
        AdministrableProductDefinition BiologicallyDerivedProduct BodyStructure CatalogEntry ChargeItemDefinition
        Citation ClinicalUseDefinition CoverageEligibilityRequest CoverageEligibilityResponse DeviceDefinition
        EffectEvidenceSynthesis EventDefinition Evidence EvidenceReport EvidenceVariable ExampleScenario
        ImmunizationEvaluation Ingredient InsurancePlan Invoice ManufacturedItemDefinition MedicationKnowledge
        MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication MedicinalProductDefinition
        MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction
        MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical
        MedicinalProductUndesirableEffect MolecularSequence NutritionProduct ObservationDefinition
        OrganizationAffiliation PackagedProductDefinition RegulatedAuthorization ResearchDefinition
        ResearchElementDefinition RiskEvidenceSynthesis ServiceRequest SpecimenDefinition SubscriptionStatus
        SubscriptionTopic SubstanceDefinition SubstanceNucleicAcid SubstancePolymer SubstanceProtein
        SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification TerminologyCapabilities
        VerificationResult""",
}

RESOURCE_TYPES: Mapping[FhirVersion, frozenset[str]] = {
    version: frozenset(name for versions, names in _NAMES.items() if version in versions for name in names.split())
    for version in FhirVersion
}
