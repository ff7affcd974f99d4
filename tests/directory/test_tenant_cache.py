"""The directory of tenants, on a table whose rows people typed."""

import traceback
import uuid

import pytest
from msgspec import structs

from shared.directory.errors import NoSuchVersion, RowError, UnknownTenant
from shared.directory.provider import Provider
from shared.directory.tenant_cache import TenantCache
from shared.fhir.versions import FhirVersion
from shared.settings import Settings
from shared.stores.tables import Table, TableAccount
from tests.deployment import Deployment
from tests.oauth.conftest import until

STU3, R4, DSTU2 = FhirVersion.STU3, FhirVersion.R4, FhirVersion.DSTU2


class Rows:
    """The table, and the directory that an instance in Azure reads from it."""

    def __init__(self, table: Table, settings: Settings) -> None:
        self.table = table
        self.tenants = TenantCache(table, structs.replace(settings, cache_seconds=1, local_vault=None))

    async def put(self, key: str, row_key: str = "stu3", **columns: object) -> None:
        row = {"PartitionKey": key, "RowKey": row_key, "BaseUrl": "https://hospital.example/fhir", **columns}
        await self.table.put(row)

    async def base_url(self, tenant: str, version: FhirVersion = STU3) -> str:
        return (await self.tenants.provider(tenant, version)).base_url


@pytest.fixture
def rows(table: Table, deployment: Deployment) -> Rows:
    return Rows(table, deployment.settings)


@pytest.fixture
def tenant() -> str:
    return str(uuid.uuid4())


async def test_a_tenants_row_leads_to_its_provider_alone(rows: Rows, tenant: str) -> None:
    other = str(uuid.uuid4())
    await rows.put(tenant)
    await rows.put(tenant, "r4", BaseUrl="https://hospital.example/r4")
    await rows.put(other, BaseUrl="https://other.example/fhir")
    found = await rows.tenants.provider(tenant, STU3)
    assert (found.tenant, found.version, found.base_url) == (tenant, STU3, "https://hospital.example/fhir")
    assert await rows.base_url(tenant, R4) == "https://hospital.example/r4"
    assert await rows.base_url(other) == "https://other.example/fhir"
    assert await rows.tenants.known(tenant)


@pytest.mark.parametrize(
    ("spell", "row_key"), [("{}", " Stu3 "), ("{{{}}}", "STU3"), (" {} ", "stu3"), ("{{ {} }}", "stu3")]
)
async def test_keys_as_people_type_them(rows: Rows, tenant: str, spell: str, row_key: str) -> None:
    await rows.put(spell.format(tenant.upper()), row_key, BaseUrl=" HTTPS://Hospital.example/fhir/ ")
    assert await rows.tenants.known(tenant)
    assert await rows.base_url(tenant) == "https://hospital.example/fhir"
    await rows.put(tenant, "r4", BaseUrl="https://hospital.example/r4")
    assert not await rows.tenants.is_current((tenant, R4, ""), older_than=0)
    assert await rows.base_url(tenant, R4) == "https://hospital.example/r4"


async def test_an_unknown_tenant_has_no_provider_to_fall_back_to(
    rows: Rows, tenant: str, service: TableAccount, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    await rows.put(str(uuid.uuid4()))
    for key, row_key in (("*", "stu3"), ("", "stu3"), (tenant, "stu4")):
        await rows.put(key, row_key)
    missing = TenantCache(Table(service, f"T{uuid.uuid4().hex}"), deployment.settings)
    for tenants, unknown in (
        (missing, tenant),
        *((rows.tenants, each) for each in (tenant, tenant[:-1], "' or true or '")),
    ):
        assert not await tenants.known(unknown)
        with pytest.raises(UnknownTenant):
            await tenants.provider(unknown, STU3)
    assert f"table Tenants, row ({tenant}, stu4), column RowKey: " in caplog.text


@pytest.mark.parametrize("off", [False, "FALSE", "no", "0"])
async def test_a_version_that_is_off_or_has_no_row_names_those_that_are_on(
    rows: Rows, tenant: str, off: object
) -> None:
    other = str(uuid.uuid4())
    await rows.put(other, Enabled=off)
    await rows.put(other.upper(), "dstu2")
    await rows.put(other, "stu4")
    await rows.put(f"{{{other}}}", "r4")
    await rows.put(tenant, Enabled=off)
    assert not await rows.tenants.known(tenant)
    with pytest.raises(UnknownTenant):
        await rows.tenants.provider(tenant, STU3)
    assert await rows.tenants.known(other)
    with pytest.raises(NoSuchVersion) as raised:
        await rows.tenants.provider(other, STU3)
    assert set(raised.value.versions) == {R4, DSTU2}


async def test_a_wrong_row_is_named_and_hurts_only_that_version_of_that_tenant(rows: Rows, tenant: str) -> None:
    other = str(uuid.uuid4())
    await rows.put(f"{{{tenant}}}", " STU3", Acess="read")
    await rows.put(tenant, "r4")
    await rows.put(other)
    depths = set()  # of the error's traceback: it keeps nothing of the requests it fails
    for _ in range(3):
        with pytest.raises(RowError) as raised:
            await rows.tenants.provider(tenant, STU3)
        depths.add(len(traceback.extract_tb(raised.value.__traceback__)))
    assert len(depths) == 1
    assert str(raised.value).startswith(f"table Tenants, row ({{{tenant}}},  STU3), column Acess: ")
    assert isinstance(await rows.tenants.provider(tenant, R4), Provider)
    assert isinstance(await rows.tenants.provider(other, STU3), Provider)
    assert await rows.tenants.known(tenant)


async def test_two_rows_for_one_version_are_refused_and_the_second_named(rows: Rows, tenant: str) -> None:
    await rows.put(tenant, "stu3")
    await rows.put(tenant, "STU3", BaseUrl="https://other.example/fhir")
    await rows.put(tenant, "r4")
    with pytest.raises(RowError) as raised:
        await rows.tenants.provider(tenant, STU3)
    assert raised.value.column == "RowKey"
    assert tenant in str(raised.value)
    assert isinstance(await rows.tenants.provider(tenant, R4), Provider)


@pytest.mark.parametrize("key", ["{}", "{{{}}}"])
async def test_a_change_is_seen_within_the_cache_time(rows: Rows, tenant: str, key: str) -> None:
    async def serves(base_url: str) -> bool:
        try:
            return await rows.base_url(tenant) == base_url
        except UnknownTenant:
            return False

    async def is_unknown() -> bool:
        return not await rows.tenants.known(tenant)

    typed = key.format(tenant)
    assert await is_unknown()
    await rows.put(typed)
    await until(lambda: serves("https://hospital.example/fhir"), "the new row is seen")
    await rows.put(typed, BaseUrl="https://moved.example/fhir")
    await until(lambda: serves("https://moved.example/fhir"), "the change is seen")
    await rows.put(typed, Enabled=False)
    await until(is_unknown, "the row is off")
    await rows.put(typed)
    await until(lambda: serves("https://hospital.example/fhir"), "the row is on")
    await rows.table.delete(typed, "stu3")
    await until(is_unknown, "the row is gone")


async def test_http_on_loopback_is_for_a_laptop_only(rows: Rows, tenant: str, deployment: Deployment) -> None:
    await rows.put(tenant, BaseUrl="http://127.0.0.1:9000/fhir")
    with pytest.raises(RowError):
        await rows.tenants.provider(tenant, STU3)
    found = await TenantCache(rows.table, deployment.settings).provider(tenant, STU3)
    assert found.base_url == "http://127.0.0.1:9000/fhir"
