import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fhir.resources import get_fhir_model_class as r5_model
from fhir.resources.R4B import get_fhir_model_class as r4b_model
from fhir.resources.STU3 import get_fhir_model_class as stu3_model

from shared.fhir.interface import INTERFACE, types
from shared.fhir.resource_types import RESOURCE_TYPES
from shared.fhir.versions import FhirVersion
from tests.conformance.servers import Unavailable, fhirstarter

# DSTU2 has no library that knows its search parameters or models.
PUBLISHED = {FhirVersion.STU3: ("STU3", stu3_model), FhirVersion.R4: ("R4B", r4b_model)}
PUBLISHED |= {FhirVersion.R4B: ("R4B", r4b_model), FhirVersion.R5: ("R5", r5_model)}


def published_search_parameters(name: str) -> dict[tuple[str, str], str]:
    """The specification's search parameters by base type and code, from the copy that fhirstarter carries."""
    archive = f"fhirstarter/fhir_specification/sequences/{name}/search-parameters.zip"
    try:
        found = fhirstarter().locate_file(archive)
    except Unavailable as reason:
        pytest.skip(str(reason))
    with zipfile.ZipFile(Path(str(found))) as opened:
        bundle = json.loads(opened.read("search-parameters.json"))
    resources = [entry["resource"] for entry in bundle["entry"]]
    return {(base, found["code"]): found["type"] for found in resources for base in found.get("base", [])}


def reaches(model: Any, model_class: Callable[[str], Any], path: list[str]) -> bool:
    """Whether `path` leads through the elements of `model`, whose annotations name their types as `abc.PeriodType`."""
    fields = {field.alias: str(field.annotation) for field in model.model_fields.values()}
    if path[0] not in fields:
        return False
    if len(path) == 1:
        return True
    type = re.search(r"abc\.(\w+)Type", fields[path[0]])
    return type is not None and reaches(model_class(type[1]), model_class, path[1:])


@pytest.mark.parametrize(
    ("version", "all_types", "own"),
    [
        (FhirVersion.DSTU2, 94, {"MedicationOrder"}),
        (FhirVersion.STU3, 117, {"MedicationRequest", "MedicationStatement"}),
        (FhirVersion.R4, 159, {"MedicationRequest", "MedicationStatement"}),
        (FhirVersion.R4B, 159, {"MedicationRequest", "MedicationStatement"}),
        (FhirVersion.R5, 158, {"MedicationRequest", "MedicationStatement"}),
    ],
)
def test_the_types_are_those_of_the_published_interface(version: FhirVersion, all_types: int, own: set[str]) -> None:
    common = {"Patient", "Observation", "Condition", "Encounter", "AllergyIntolerance", "Coverage", "Location"}
    assert types(version) == common | own
    assert len(INTERFACE[version]) == len(types(version))
    assert types(version) <= RESOURCE_TYPES[version]
    assert len(RESOURCE_TYPES[version]) == all_types
    names = {search.name for resource in INTERFACE[version] for search in resource.search_parameters}
    assert {name for name in names if name.startswith("_") or ":" in name} == {"_id"}  # others shape a result


@pytest.mark.parametrize("version", PUBLISHED)
def test_every_search_parameter_is_published_with_that_type(version: FhirVersion) -> None:
    published = published_search_parameters(PUBLISHED[version][0])
    searches = [(resource.type, search) for resource in INTERFACE[version] for search in resource.search_parameters]
    declared = {(type, search.name): search.type for type, search in searches}
    unknown = {key for key, type in declared.items() if published.get(key, published.get(("Resource", key[1]))) != type}
    assert {base for base, _ in published} - {"DomainResource", "Resource"} <= RESOURCE_TYPES[version]
    # STU3 names it `beneficiary`; `patient` is what the app sends all the same.
    assert unknown == ({("Coverage", "patient")} if version is FhirVersion.STU3 else set())


@pytest.mark.parametrize("version", PUBLISHED)
def test_every_field_is_an_element_of_its_resource(version: FhirVersion) -> None:
    model_class = PUBLISHED[version][1]
    paths = [
        (resource.type, path)
        for resource in INTERFACE[version]
        for alternatives in (*resource.required, *resource.recommended)
        for path in alternatives.partition("=")[0].split("|")
    ]
    assert [found for found in paths if not reaches(model_class(found[0]), model_class, found[1].split("."))] == []
