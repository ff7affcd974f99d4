"""The gateway reads the benchmark's tables as it reads Table Storage; its resources have their names' size."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from azure.data.tables.aio import TableServiceClient

from bench import recorded
from bench.tables import connection_string, create_app, tenant_id
from local.serving import serving
from shared.directory.client import parse_client
from shared.directory.errors import UnknownTenant
from shared.directory.tenant_cache import TenantCache
from shared.fhir.versions import FhirVersion
from shared.settings import Settings
from shared.stores.tables import CLIENTS, TENANTS, Table, table_service


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    environment = {"PUBLIC_BASE_URL": "https://gateway.example", "KEY_VAULT_URL": "https://127.0.0.1:8443"}
    async with serving(web.AppRunner(create_app(8101, "app", "s1"), access_log=None)) as port:
        environment |= {"TABLES_CONNECTION_STRING": connection_string(port), "LOCAL_VAULT": str(tmp_path)}
        yield Settings.from_environment(environment)


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[TableServiceClient]:
    async with table_service(settings) as service:
        yield service


async def test_every_number_is_a_tenant_with_a_provider_of_its_own(
    settings: Settings, service: TableServiceClient
) -> None:
    tenants = TenantCache(Table(service, TENANTS), settings)
    for number in (0, 99_999):
        provider = await tenants.provider(tenant_id(number), FhirVersion.STU3)
        assert provider.base_url == f"http://127.0.0.1:8101/t/{number}/fhir"
    with pytest.raises(UnknownTenant):
        await tenants.provider("5e1c7f3a-9a44-4c0e-8a1e-0d5f6b7c8d9e", FhirVersion.STU3)


async def test_the_client_has_its_secret(service: TableServiceClient) -> None:
    client = parse_client(await Table(service, CLIENTS).partition("app"))
    assert client is not None
    assert client.live_secret("s1") is not None
    assert client.may_reach(tenant_id(1))


@pytest.mark.parametrize(
    ("answer", "size"), [(recorded.patient, 2_000), (recorded.searchset, 23_000), (recorded.large, 1_000_000)]
)
def test_an_answer_has_the_size_it_is_named_by(answer: Callable[[str], bytes], size: int) -> None:
    assert len(answer("http://127.0.0.1:8101/fhir")) == pytest.approx(size, rel=0.05)
