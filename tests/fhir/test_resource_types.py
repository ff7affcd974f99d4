import importlib
import pkgutil

import fhir.resources.R4B
import fhir.resources.STU3
import pytest

from shared.fhir.interface import types
from shared.fhir.resource_types import RESOURCE_TYPES
from shared.fhir.versions import FhirVersion

ABSTRACT = {"DomainResource", "MetadataResource", "Resource"}


def of_library(package: object) -> set[str]:
    """The types that another implementation has a class for."""
    name, path = package.__name__, package.__path__  # type: ignore[attr-defined]
    modules = [importlib.import_module(f"{name}.{module.name}") for module in pkgutil.iter_modules(path)]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    resource = importlib.import_module(f"{name}.resource").Resource
    return {each.__name__ for each in found if issubclass(each, resource)} - ABSTRACT


@pytest.mark.parametrize(
    ("version", "package"), [(FhirVersion.STU3, fhir.resources.STU3), (FhirVersion.R4, fhir.resources.R4B)]
)
def test_they_are_another_implementations(version: FhirVersion, package: object) -> None:
    theirs = of_library(package)
    assert len(theirs) > 100
    assert theirs <= RESOURCE_TYPES[version]
    if version is FhirVersion.STU3:
        assert theirs == RESOURCE_TYPES[version]


@pytest.mark.parametrize(
    ("version", "count"), [(FhirVersion.DSTU2, 94), (FhirVersion.STU3, 117), (FhirVersion.R4, 159)]
)
def test_each_version_has_its_number_of_them_the_interfaces_among_them(version: FhirVersion, count: int) -> None:
    assert len(RESOURCE_TYPES[version]) == count
    assert types(version) <= RESOURCE_TYPES[version]
