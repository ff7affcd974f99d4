import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
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

# Conformance 1.0.2 in the order of its StructureDefinition, as far as the gateway uses it.
DSTU2_ORDER = [
    "resourceType",
    "version",
    "name",
    "status",
    "date",
    "description",
    "kind",
    "software",
    "implementation",
    "fhirVersion",
    "acceptUnknown",
    "format",
    "rest",
]
DSTU2_REST_ORDER = ["mode", "documentation", "security", "resource", "transactionMode"]


def oauth_uris(document: dict[str, Any]) -> dict[str, str]:
    (extension,) = document["rest"][0]["security"]["extension"]
    assert extension["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    return {uri["url"]: uri["valueUri"] for uri in extension["extension"]}


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
    assert list(rest) == DSTU2_REST_ORDER
    assert document["resourceType"] == "Conformance"
    assert document["acceptUnknown"] in ("no", "extensions", "elements", "both")
    assert rest["transactionMode"] == "batch"
    assert all(resource["type"] and resource["interaction"] for resource in rest["resource"])
    assert all(
        {"name", "type"} <= set(search) for resource in rest["resource"] for search in resource.get("searchParam", [])
    )


@pytest.mark.parametrize("version", [FhirVersion.STU3, FhirVersion.R4])
def test_batch_is_declared_as_an_interaction_since_stu3(version: FhirVersion) -> None:
    (rest,) = statement(version, BASE, TOKEN, AUTHORIZE)["rest"]

    assert rest["interaction"] == [{"code": "batch"}]
    assert "transactionMode" not in rest


@pytest.mark.parametrize(
    ("version", "number", "json"),
    [
        (FhirVersion.DSTU2, "1.0.2", "application/json+fhir"),
        (FhirVersion.STU3, "3.0.2", "application/fhir+json"),
        (FhirVersion.R4, "4.0.1", "application/fhir+json"),
    ],
)
def test_version_and_formats_are_spelled_as_the_version_does(version: FhirVersion, number: str, json: str) -> None:
    document = statement(version, BASE, TOKEN, AUTHORIZE)

    assert document["fhirVersion"] == number
    assert document["format"] == [json, json.replace("json", "xml"), "json", "xml"]


@pytest.mark.parametrize(
    ("version", "system"),
    [
        (FhirVersion.DSTU2, "http://hl7.org/fhir/restful-security-service"),
        (FhirVersion.STU3, "http://hl7.org/fhir/restful-security-service"),
        (FhirVersion.R4, "http://terminology.hl7.org/CodeSystem/restful-security-service"),
    ],
)
def test_security_is_smart_on_fhir_in_the_versions_code_system(version: FhirVersion, system: str) -> None:
    (service,) = statement(version, BASE, TOKEN, AUTHORIZE)["rest"][0]["security"]["service"]

    assert service["coding"] == [{"system": system, "code": "SMART-on-FHIR"}]


def test_oauth_uris_hold_the_token_url_and_the_pages_that_exist() -> None:
    assert oauth_uris(statement(FhirVersion.STU3, BASE, TOKEN, AUTHORIZE)) == {"token": TOKEN}
    assert oauth_uris(statement(FhirVersion.STU3, BASE, TOKEN, AUTHORIZE, PORTAL, PORTAL + "/secrets")) == {
        "token": TOKEN,
        "register": PORTAL,
        "manage": PORTAL + "/secrets",
    }
    assert oauth_uris(statement(FhirVersion.R4, BASE, TOKEN, AUTHORIZE)) == {"authorize": AUTHORIZE, "token": TOKEN}


@pytest.mark.parametrize("version", FhirVersion)
def test_it_declares_what_the_interface_has_read_only(version: FhirVersion) -> None:
    resources = statement(version, BASE, TOKEN, AUTHORIZE)["rest"][0]["resource"]

    assert [resource["type"] for resource in resources] == [resource.type for resource in INTERFACE[version]]
    assert {interaction["code"] for resource in resources for interaction in resource["interaction"]} == {
        "read",
        "vread",
        "history-instance",
        "search-type",
    }


def test_the_software_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    assert project["version"] == SOFTWARE_VERSION
