"""The gateway reads the benchmark's tables as it reads Table Storage."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from azure.data.tables.aio import TableServiceClient

from bench.tables import connection_string, create_app, tenant_id
from shared.directory.client import parse_client
from shared.directory.errors import UnknownTenant
from shared.directory.tenant_cache import TenantCache
from shared.fhir.versions import FhirVersion
from shared.settings import Settings
from shared.stores.tables import CLIENTS, TENANTS, Table, table_service


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    runner = web.AppRunner(create_app(8101, "app", "s1"), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Settings.from_environment(
        {
            "PUBLIC_BASE_URL": "https://gateway.example",
            "KEY_VAULT_URL": "https://127.0.0.1:8443",
            "TABLES_CONNECTION_STRING": connection_string(runner.addresses[0][1]),
            "LOCAL_VAULT": str(tmp_path),
        }
    )
    await runner.cleanup()


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[TableServiceClient]:
    async with table_service(settings) as service:
        yield service


@pytest.mark.parametrize("number", [0, 99_999])
async def test_every_number_is_a_tenant_with_a_provider_of_its_own(
    settings: Settings, service: TableServiceClient, number: int
) -> None:
    provider = await TenantCache(Table(service, TENANTS), settings).provider(tenant_id(number), FhirVersion.STU3)
    assert provider.base_url == f"http://127.0.0.1:8101/t/{number}/fhir"


async def test_other_guids_are_nobody(settings: Settings, service: TableServiceClient) -> None:
    with pytest.raises(UnknownTenant):
        await TenantCache(Table(service, TENANTS), settings).provider(
            "5e1c7f3a-9a44-4c0e-8a1e-0d5f6b7c8d9e", FhirVersion.STU3
        )


async def test_the_client_has_its_secret(service: TableServiceClient) -> None:
    client = parse_client(await Table(service, CLIENTS).partition("app"))
    assert client is not None
    assert client.live_secret("s1")
    assert client.may_reach(tenant_id(1))
