"""R4 resources in R5's spelling (http://hl7.org/fhir/R5, "R4 Diff" of each type)."""

from local.hospitals.request import Resource

_CONCEPT, _REFERENCE = "medicationCodeableConcept", "medicationReference"


def in_r5(resource: Resource) -> Resource:
    """The resource with the elements that R5 has in the place of R4's, as far as the demo charts use them."""
    old = dict(resource)
    match old["resourceType"]:
        case "Encounter":
            status = {"finished": "completed"}.get(old["status"], old["status"])
            new = {"status": status, "class": [{"coding": [old["class"]]}], "actualPeriod": old.pop("period")}
            return old | new | {"participant": [{"actor": each["individual"]} for each in old["participant"]]}
        case "Condition":
            return old | {"participant": [{"actor": old.pop("asserter")}]}
        case "AllergyIntolerance":
            coded = {"coding": [{"system": "http://hl7.org/fhir/allergy-intolerance-type", "code": old["type"]}]}
            return old | {
                "type": coded,
                "participant": [{"actor": old.pop("recorder")}],
                "reaction": [
                    each | {"manifestation": [{"concept": concept} for concept in each["manifestation"]]}
                    for each in old["reaction"]
                ],
            }
        case "MedicationRequest" if _CONCEPT in old:
            return old | {"medication": {"concept": old.pop(_CONCEPT)}}
        case "MedicationRequest":
            return old | {"medication": {"reference": old.pop(_REFERENCE)}}
        case "Coverage":
            classes = [each | {"value": {"value": each["value"]}} for each in old["class"]]
            subscriber, (insurer,) = [{"value": old["subscriberId"]}], old.pop("payor")
            return old | {"kind": "insurance", "class": classes, "subscriberId": subscriber, "insurer": insurer}
    return old
