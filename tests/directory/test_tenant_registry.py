"""Tenants' rows, written to real tables and read back by the gateway's own directory."""

from uuid import uuid4

import pytest

from shared.directory.errors import RowError
from shared.directory.tenant_registry import TenantRegistry
from shared.fhir.versions import FhirVersion
from shared.stores.errors import StoreConflict
from shared.stores.tables import Row, Table, TableAccount

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
STU3, R4 = FhirVersion.STU3, FhirVersion.R4
BASE = {"BaseUrl": "https://fhir.riverside.example/stu3"}


async def keys(table: Table) -> list[tuple[object, object]]:
    return [(row["PartitionKey"], row["RowKey"]) async for row in table.scan()]


async def test_columns_have_the_types_of_what_they_hold_and_an_empty_value_removes_its_column(
    registry: TenantRegistry, table: Table
) -> None:
    auth = {"Auth": "basic", "AuthSecret": "riverside"}
    elsewhere = {"PartitionKey": str(uuid4()), "RowKey": "r4"}  # no change moves a row to another tenant
    columns = {**BASE, **auth, "Name": "Riverside", "TimeoutSeconds": "2", "MaxConcurrent": "8"}
    preview = await registry.preview(TENANT, STU3, columns)
    assert await keys(table) == []
    assert await registry.set(TENANT, STU3, columns | elsewhere) == preview
    assert [item async for item in registry.list()] == [((TENANT, "stu3"), preview)]
    changed = await registry.set(TENANT, STU3, {"Enabled": "no", "Auth": "", "AuthSecret": "  ", "MaxConcurrent": None})
    assert (changed.name, changed.max_concurrent, changed.enabled) == ("Riverside", 512, False)
    await registry.set(TENANT, STU3, {"MaxConcurrent": "8"})
    row = await table.get(TENANT, "stu3")
    assert row is not None
    expected = {**BASE, "Name": "Riverside", "Enabled": False, "TimeoutSeconds": 2.0, "MaxConcurrent": 8}
    assert row == {"PartitionKey": TENANT, "RowKey": "stu3", **expected}
    assert await keys(table) == [(TENANT, "stu3")]
    types = [type(row[column]) for column in ("Enabled", "TimeoutSeconds", "MaxConcurrent")]
    assert types == [bool, float, int]


@pytest.mark.parametrize("key", [(f"{{{TENANT.upper()}}}", "stu3"), (TENANT, " STU3 ")])
async def test_a_row_with_keys_typed_oddly_is_found_and_put_right(
    registry: TenantRegistry, table: Table, key: tuple[str, str]
) -> None:
    await table.insert({"PartitionKey": key[0], "RowKey": key[1], **BASE, "Name": "Riverside"})
    found = await registry.get(TENANT, STU3)
    assert found is not None
    assert found.name == "Riverside"
    changed = await registry.set(TENANT, STU3, {"TimeoutSeconds": "2"})
    assert (changed.name, changed.timeout_seconds) == ("Riverside", 2)
    assert await keys(table) == [(TENANT, "stu3")]
    assert await registry.get(TENANT, STU3) == changed


async def test_a_row_with_columns_typed_oddly_is_read_and_put_right(registry: TenantRegistry, table: Table) -> None:
    number = 12_345_678_901
    typed = {"baseurl": f" {BASE['BaseUrl']} ", "NAME": number, "maxConcurrent": 64}
    await table.insert({"PartitionKey": TENANT, "RowKey": "stu3", **typed})
    provider = await registry.get(TENANT, STU3)
    assert provider is not None
    assert (provider.base_url, provider.name, provider.max_concurrent) == (BASE["BaseUrl"], "12345678901", 64)
    [row] = await registry.rows()
    change = registry.changed((TENANT, STU3), [row], {"TimeoutSeconds": "2"})
    assert change.columns == ("TimeoutSeconds",)
    await registry.set(TENANT, STU3, {"TimeoutSeconds": "2", "BaseUrl": BASE["BaseUrl"]})
    columns = {**BASE, "Name": "12345678901", "MaxConcurrent": 64, "TimeoutSeconds": 2.0}
    assert await table.get(TENANT, "stu3") == {"PartitionKey": TENANT, "RowKey": "stu3", **columns}


async def test_of_two_rows_for_one_version_one_must_be_removed_and_removing_takes_no_other_row(
    registry: TenantRegistry, table: Table
) -> None:
    other = str(uuid4())
    for tenant, version in ((TENANT, STU3), (TENANT, R4), (other, STU3)):
        await registry.set(tenant, version, BASE)
    await table.insert({"PartitionKey": TENANT.upper(), "RowKey": "STU3", **BASE})
    with pytest.raises(RowError, match="second row for stu3"):
        await registry.set(TENANT, STU3, {"Name": "Riverside"})
    assert await registry.remove(TENANT, STU3)
    assert not await registry.remove(TENANT, STU3)
    assert set(await keys(table)) == {(TENANT, "r4"), (other, "stu3")}


async def test_a_change_that_meets_another_writes_nothing(
    service: TableAccount, table_name: str, registry: TenantRegistry
) -> None:
    """The other change comes in between the read and the write of the first, or both make the same row."""
    first, second = (registry.changed((TENANT, STU3), (), BASE) for _ in range(2))
    await registry.write(first)
    with pytest.raises(StoreConflict):
        await registry.write(second)

    class Interrupted(Table):
        async def replace(self, row: Row, etag: str) -> None:
            await registry.set(TENANT, STU3, {"Name": "Second"})
            await super().replace(row, etag)

    with pytest.raises(StoreConflict):
        await TenantRegistry(Interrupted(service, table_name), local=False).set(TENANT, STU3, {"Name": "First"})
    found = await registry.get(TENANT, STU3)
    assert found is not None
    assert found.name == "Second"
