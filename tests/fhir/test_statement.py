import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fhir.resources.capabilitystatement import CapabilityStatement as R5CapabilityStatement
from fhir.resources.R4B.capabilitystatement import CapabilityStatement as R4CapabilityStatement
from fhir.resources.STU3.capabilitystatement import CapabilityStatement as Stu3CapabilityStatement
from fhirclient.models import capabilitystatement as fhirclient  # type: ignore[import-untyped]

from shared.fhir.interface import INTERFACE
from shared.fhir.statement import SOFTWARE_VERSION, statement
from shared.fhir.versions import FhirVersion
from shared.fhir.xml_writer import to_xml

BASE, PORTAL = "https://gateway.test/stu3", "https://portal.test/portal"
TOKEN, AUTHORIZE = "https://gateway.test/oauth2/token", "https://gateway.test/oauth2/authorize"
MODELS: dict[FhirVersion, Any] = {FhirVersion.STU3: Stu3CapabilityStatement, FhirVersion.R4: R4CapabilityStatement}
MODELS |= {FhirVersion.R4B: R4CapabilityStatement, FhirVersion.R5: R5CapabilityStatement}

# Conformance 1.0.2 in the order of its StructureDefinition, as far as the gateway uses it.
DSTU2_ORDER = [
    "resourceType", "version", "name", "status", "date", "description", "kind", "software", "implementation",
    "fhirVersion", "acceptUnknown", "format", "rest",
]  # fmt: skip


@pytest.mark.parametrize("version", MODELS)
def test_it_is_a_valid_capability_statement_in_the_order_of_the_specification(version: FhirVersion) -> None:
    document = statement(version, BASE, TOKEN, AUTHORIZE, PORTAL, PORTAL)
    parsed = MODELS[version].model_validate(document)
    assert parsed.model_dump(mode="json", by_alias=True, exclude_none=True) == document
    assert ElementTree.canonicalize(to_xml(document)) == ElementTree.canonicalize(parsed.model_dump_xml())


def test_the_capability_statement_satisfies_the_python_client() -> None:
    fhirclient.CapabilityStatement(statement(FhirVersion.R4, BASE, TOKEN, AUTHORIZE), strict=True)


def test_dstu2_has_a_conformance_with_everything_that_1_0_2_requires() -> None:
    document = statement(FhirVersion.DSTU2, BASE, TOKEN, AUTHORIZE)
    (rest,) = document["rest"]
    assert list(document) == DSTU2_ORDER
    assert list(rest) == ["mode", "documentation", "security", "resource", "transactionMode"]
    assert (document["resourceType"], document["acceptUnknown"]) == ("Conformance", "no")
    for resource in rest["resource"]:
        assert resource["type"]
        assert resource["interaction"]
        assert all({"name", "type"} <= set(search) for search in resource.get("searchParam", []))


@pytest.mark.parametrize(
    ("version", "number", "json", "system"),
    [
        (FhirVersion.DSTU2, "1.0.2", "application/json+fhir", "http://hl7.org/fhir"),
        (FhirVersion.STU3, "3.0.2", "application/fhir+json", "http://hl7.org/fhir"),
        *(
            (version, number, "application/fhir+json", "http://terminology.hl7.org/CodeSystem")
            for version, number in (
                (FhirVersion.R4, "4.0.1"),
                (FhirVersion.R4B, "4.3.0"),
                (FhirVersion.R5, "5.0.0"),
            )
        ),
    ],
)
def test_each_version_is_told_in_its_own_way(version: FhirVersion, number: str, json: str, system: str) -> None:
    document = statement(version, BASE, TOKEN, AUTHORIZE)
    (rest,) = document["rest"]
    assert document["fhirVersion"] == number
    assert document["format"] == [json, json.replace("json", "xml"), "json", "xml"]
    (service,) = rest["security"]["service"]
    assert service["coding"] == [{"system": f"{system}/restful-security-service", "code": "SMART-on-FHIR"}]
    assert ("transactionMode" in rest, "interaction" in rest) == (number == "1.0.2", number != "1.0.2")
    assert rest.get("interaction", [{"code": "batch"}]) == [{"code": "batch"}]


@pytest.mark.parametrize(
    ("version", "pages", "uris"),
    [
        (FhirVersion.STU3, (), {"token": TOKEN}),
        (FhirVersion.STU3, (PORTAL, f"{PORTAL}/x"), {"token": TOKEN, "register": PORTAL, "manage": f"{PORTAL}/x"}),
        (FhirVersion.R4, (), {"authorize": AUTHORIZE, "token": TOKEN}),
    ],
)
def test_oauth_uris_are_the_pages_that_exist(version: FhirVersion, pages: tuple[str], uris: dict[str, str]) -> None:
    (extension,) = statement(version, BASE, TOKEN, AUTHORIZE, *pages)["rest"][0]["security"]["extension"]
    assert extension["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    assert {uri["url"]: uri["valueUri"] for uri in extension["extension"]} == uris


@pytest.mark.parametrize("version", FhirVersion)
def test_it_declares_what_the_interface_has_read_only(version: FhirVersion) -> None:
    resources = statement(version, BASE, TOKEN, AUTHORIZE)["rest"][0]["resource"]
    assert [resource["type"] for resource in resources] == [resource.type for resource in INTERFACE[version]]
    codes = {interaction["code"] for resource in resources for interaction in resource["interaction"]}
    assert codes == {"read", "vread", "history-instance", "search-type"}


def test_the_software_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["version"] == SOFTWARE_VERSION
