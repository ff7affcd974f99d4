"""The statement of what the gateway serves: DSTU2's Conformance, later versions' CapabilityStatement.

The app reads it without a token, takes `fhirVersion` to know which version to speak, and the token URL from the
`oauth-uris` extension (SMART App Launch 1.0, "Declaring support for OAuth2 endpoints").
"""

from collections.abc import Mapping
from typing import Any

from shared.fhir.interaction import READS
from shared.fhir.interface import INTERFACE, ResourceInterface
from shared.fhir.versions import FhirFormat, FhirVersion

SOFTWARE_NAME = "FHIR interop gateway"
SOFTWARE_VERSION = "1.0.0"
STATEMENT_DATE = "2026-11-26"
"""When what the statement says last changed. Not the time of the response: the same statement has the same ETag."""

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


def statement(
    version: FhirVersion,
    base_url: str,
    token_url: str,
    authorize_url: str,
    register_url: str | None = None,
    manage_url: str | None = None,
) -> dict[str, Any]:
    """The statement of the base at `base_url`, its elements in the order of the specification, as XML needs them.

    `token_url` is where the app gets its access tokens. From R4 on `oauth-uris` must have `authorize_url` too, though
    nobody signs in there. `register_url` and `manage_url` are pages where a person gets an account and keeps its
    secrets, left out where there are none.
    """
    dstu2 = version is FhirVersion.DSTU2
    head: dict[str, Any] = {
        "resourceType": "Conformance" if dstu2 else "CapabilityStatement",
        "version": SOFTWARE_VERSION,
        "name": "FhirInteropGateway",
        "status": "active",
        "date": STATEMENT_DATE,
        "description": "Routes each request to the FHIR server of the tenant that its access token names.",
        "kind": "instance",
        "software": {"name": SOFTWARE_NAME, "version": SOFTWARE_VERSION},
        "implementation": {"description": f"{SOFTWARE_NAME}, FHIR {version.release}", "url": base_url},
        "fhirVersion": version.number,
    }
    normative = version.since(FhirVersion.R4)
    if not normative:
        head["acceptUnknown"] = "no"  # it speaks for every provider at once, so it promises the least
    uris: dict[str, str | None] = {"authorize": authorize_url} if normative else {}
    uris |= {"token": token_url, "register": register_url, "manage": manage_url}
    head["format"] = [*(version.media_type(format) for format in FhirFormat), *(format.value for format in FhirFormat)]
    rest: dict[str, Any] = {
        "mode": "server",
        "documentation": "Every search takes _count, and _sort where a date is declared, as far as the provider does.",
        "security": _security(version, uris),
        "resource": [_resource(resource) for resource in INTERFACE[version]],
        **({"transactionMode": "batch"} if dstu2 else {"interaction": [{"code": "batch"}]}),
    }
    return {**head, "rest": [rest]}


def _security(version: FhirVersion, uris: Mapping[str, str | None]) -> dict[str, Any]:
    authority = "http://terminology.hl7.org/CodeSystem" if version.since(FhirVersion.R4) else "http://hl7.org/fhir"
    named = [{"url": name, "valueUri": uri} for name, uri in uris.items() if uri]
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": named}],
        "service": [{"coding": [{"system": f"{authority}/restful-security-service", "code": "SMART-on-FHIR"}]}],
        "description": "OAuth 2.0 client credentials, with the tenant ID as the scope.",
    }


def _resource(resource: ResourceInterface) -> dict[str, Any]:
    declared: dict[str, Any] = {"type": resource.type, "interaction": [{"code": kind.value} for kind in READS]}
    if resource.search_parameters:
        declared["searchParam"] = [
            {"name": parameter.name, "type": parameter.type, "documentation": parameter.documentation}
            for parameter in resource.search_parameters
        ]
    return declared
