"""The conformance statement of a hospital's server."""

from datetime import date

from local.hospitals.credentials import ClientSecret
from local.hospitals.hospital import Hospital
from local.hospitals.request import Resource
from local.hospitals.resources import MEDICATION_REQUEST
from local.hospitals.search import PARAMETERS, parameters_of
from shared.fhir.versions import FhirFormat, FhirVersion

TOKEN_PATH = "/oauth2/token"
WRITABLE = "Observation"

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


def types(hospital: Hospital) -> tuple[str, ...]:
    """The resource types the hospital has."""
    spelled = MEDICATION_REQUEST[hospital.version]
    return tuple(type for type in PARAMETERS if type == spelled or type not in MEDICATION_REQUEST.values())


def statement(hospital: Hospital, base: str, today: date) -> Resource:
    """The Conformance (DSTU2) or CapabilityStatement (STU3, R4) of the server reached at `base`."""
    version = hospital.version
    resources = [_resource(type) for type in types(hospital)]
    return {
        "resourceType": "Conformance" if version is FhirVersion.DSTU2 else "CapabilityStatement",
        "status": "active",
        "date": today.isoformat(),
        "publisher": hospital.name,
        "kind": "instance",
        "software": {"name": f"{hospital.name} demo server"},
        "implementation": {"description": hospital.name, "url": base},
        "fhirVersion": version.number,
        **({} if version is FhirVersion.R4 else {"acceptUnknown": "extensions"}),
        "format": [version.media_type(FhirFormat.JSON), "json"],
        "rest": [{"mode": "server", "security": _security(hospital, base), "resource": resources, **_batch(hospital)}],
    }


def _resource(type: str) -> Resource:
    writes = ("create", "update", "delete") if type == WRITABLE else ()
    parameters = parameters_of(type).items()
    return {
        "type": type,
        "interaction": [{"code": code} for code in ("read", "search-type", *writes)],
        "searchParam": [{"name": name, "type": parameter.kind.value} for name, parameter in parameters],
    }


def _security(hospital: Hospital, base: str) -> Resource:
    if hospital.credential is not ClientSecret:
        return {"description": "A credential of this server is needed for everything but this statement."}
    token = base.removesuffix(hospital.base_path) + TOKEN_PATH
    return {"extension": [{"url": _OAUTH_URIS, "extension": [{"url": "token", "valueUri": token}]}]}


def _batch(hospital: Hospital) -> Resource:
    if not hospital.batch:
        return {}
    if hospital.version is FhirVersion.DSTU2:
        return {"transactionMode": "batch"}
    return {"interaction": [{"code": "batch"}]}
