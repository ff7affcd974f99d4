"""The FHIR versions the gateway speaks, and how each spells its media types."""

from collections.abc import Mapping
from enum import Enum
from functools import cache


class FhirFormat(Enum):
    """The two wire formats of FHIR."""

    JSON = "json"
    XML = "xml"


class FhirVersion(Enum):
    """A FHIR version; the value is the segment that selects it in a URL and the RowKey in the table of tenants."""

    __hash__ = object.__hash__  # members are looked up in every request, and Enum's own hash is written in Python

    DSTU2 = "dstu2"
    STU3 = "stu3"
    R4 = "r4"
    R4B = "r4b"
    R5 = "r5"

    @property
    def number(self) -> str:
        """The full version, as a statement's `fhirVersion` has it."""
        return _NUMBERS[self]

    @property
    def release(self) -> str:
        """Major and minor, as the MIME type parameter `fhirVersion` has it (R4, http.html#version-parameter)."""
        return self.number.rpartition(".")[0]

    @property
    def releases(self) -> tuple[str, ...]:
        """The values of that parameter which this version serves: R4B is R4 in every type of the interface."""
        return (self.release, FhirVersion.R4B.release) if self is FhirVersion.R4 else (self.release,)

    def since(self, first: "FhirVersion") -> bool:
        """Whether this version is `first` or a later one."""
        return self.number >= first.number

    def media_type(self, format: FhirFormat) -> str:
        """The media type this version registers, without parameters: DSTU2 has `application/json+fhir`."""
        if self is FhirVersion.DSTU2:
            return f"application/{format.value}+fhir"
        return f"application/fhir+{format.value}"


@cache
def fhir_bases(default: FhirVersion) -> Mapping[str, FhirVersion]:
    """The version that each base speaks, by the base's segment in a URL; `/fhir` speaks the deployment's default."""
    return {"fhir": default, **{version.value: version for version in FhirVersion}}


_NUMBERS = {
    FhirVersion.DSTU2: "1.0.2",
    FhirVersion.STU3: "3.0.2",
    FhirVersion.R4: "4.0.1",
    FhirVersion.R4B: "4.3.0",
    FhirVersion.R5: "5.0.0",
}
