"""The resource types that each FHIR version has (http://hl7.org/fhir/R4/resourcelist.html, and its predecessors).

R4 and R4B have the same ones here: `/r4` serves R4B's clients too.
"""

from collections.abc import Mapping

from shared.fhir.versions import FhirVersion

_DSTU2, _STU3, _R4, _R4B, _R5 = FhirVersion
_NAMES = {
    (_DSTU2, _STU3, _R4, _R4B, _R5): """
        Account AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic Binary Bundle CarePlan Claim
        ClaimResponse ClinicalImpression Communication CommunicationRequest Composition ConceptMap Condition
        Contract Coverage DetectedIssue Device DeviceMetric DiagnosticReport DocumentReference Encounter
        EnrollmentRequest EnrollmentResponse EpisodeOfCare ExplanationOfBenefit FamilyMemberHistory Flag Goal
        Group HealthcareService ImagingStudy Immunization ImmunizationRecommendation ImplementationGuide List
        Location Medication MedicationAdministration MedicationDispense MedicationStatement MessageHeader
        NamingSystem NutritionOrder Observation OperationDefinition OperationOutcome Organization Parameters
        Patient PaymentNotice PaymentReconciliation Person Practitioner Procedure Provenance Questionnaire
        QuestionnaireResponse RelatedPerson RiskAssessment Schedule SearchParameter Slot Specimen
        StructureDefinition Subscription Substance SupplyDelivery SupplyRequest TestScript ValueSet
        VisionPrescription""",
    (_DSTU2, _STU3, _R4, _R4B): "DeviceUseStatement DocumentManifest Media",
    (_DSTU2, _STU3): """
        BodySite DataElement DeviceComponent EligibilityRequest EligibilityResponse ProcedureRequest
        ProcessRequest ProcessResponse ReferralRequest""",
    (_DSTU2,): """
        Conformance DeviceUseRequest DiagnosticOrder ImagingObjectSelection MedicationOrder Order OrderResponse""",
    (_STU3,): "ExpansionProfile ImagingManifest Sequence ServiceDefinition",
    (_STU3, _R4, _R4B, _R5): """
        ActivityDefinition AdverseEvent CapabilityStatement CareTeam ChargeItem CodeSystem CompartmentDefinition
        Consent DeviceRequest Endpoint GraphDefinition GuidanceResponse Library Linkage Measure MeasureReport
        MedicationRequest MessageDefinition PlanDefinition PractitionerRole ResearchStudy ResearchSubject
        StructureMap Task TestReport""",
    (_STU3, _R4, _R4B): "RequestGroup",
    (_R4, _R4B, _R5): """
        AdministrableProductDefinition BiologicallyDerivedProduct BodyStructure ChargeItemDefinition Citation
        ClinicalUseDefinition CoverageEligibilityRequest CoverageEligibilityResponse DeviceDefinition
        EventDefinition Evidence EvidenceReport EvidenceVariable ExampleScenario ImmunizationEvaluation
        Ingredient InsurancePlan Invoice ManufacturedItemDefinition MedicationKnowledge
        MedicinalProductDefinition MolecularSequence NutritionProduct ObservationDefinition
        OrganizationAffiliation PackagedProductDefinition RegulatedAuthorization ServiceRequest
        SpecimenDefinition SubscriptionStatus SubscriptionTopic SubstanceDefinition SubstanceNucleicAcid
        SubstancePolymer SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial
        TerminologyCapabilities VerificationResult""",
    (_R4, _R4B): """
        CatalogEntry EffectEvidenceSynthesis MedicinalProduct MedicinalProductAuthorization
        MedicinalProductContraindication MedicinalProductIndication MedicinalProductIngredient
        MedicinalProductInteraction MedicinalProductManufactured MedicinalProductPackaged
        MedicinalProductPharmaceutical MedicinalProductUndesirableEffect ResearchDefinition
        ResearchElementDefinition RiskEvidenceSynthesis SubstanceSpecification""",
    (_R5,): """
        ActorDefinition ArtifactAssessment BiologicallyDerivedProductDispense ConditionDefinition
        DeviceAssociation DeviceDispense DeviceUsage EncounterHistory FormularyItem GenomicStudy
        ImagingSelection InventoryItem InventoryReport NutritionIntake Permission RequestOrchestration
        Requirements TestPlan Transport""",
}

RESOURCE_TYPES: Mapping[FhirVersion, frozenset[str]] = {
    version: frozenset(name for versions, names in _NAMES.items() if version in versions for name in names.split())
    for version in FhirVersion
}
