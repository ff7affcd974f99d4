"""A provider as a row of the table gives it, to be changed by `structs.replace`."""

from shared.directory.provider import Access, BatchMode, Provider, ProviderAuth
from shared.fhir.versions import FhirVersion

PROVIDER = Provider(
    tenant="11111111-1111-1111-1111-111111111111",
    version=FhirVersion.STU3,
    base_url="https://fhir.example.com",
    name="Hospital",
    enabled=True,
    auth=ProviderAuth(),
    extra_headers=(),
    batch=BatchMode.NATIVE,
    access=Access.READ,
    types=frozenset({"Patient"}),
    timeout_seconds=None,
    max_concurrent=8,
)


async def is_current(*_: object) -> bool:
    """What the directory says of a row that does not change."""
    return True
