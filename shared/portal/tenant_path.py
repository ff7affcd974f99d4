"""Where a tenant's row has its page, and which row a page's path names."""

from shared.directory.tenant_id import parse_tenant_id
from shared.directory.tenant_row import parse_version
from shared.fhir.versions import FhirVersion
from shared.portal.errors import NotFound
from shared.portal.visit import Visit


def tenant_path(tenant: str, version: FhirVersion) -> str:
    """The row's page below the portal's root."""
    return f"/tenants/{tenant}/{version.value}"


def tenant_of(visit: Visit) -> tuple[str, FhirVersion]:
    """The tenant and the version that the path names in any spelling. Raises NotFound when it names none."""
    tenant, version = parse_tenant_id(visit.parameters["tenant"]), parse_version(visit.parameters["version"])
    if tenant is None or version is None:
        raise NotFound
    return tenant, version
