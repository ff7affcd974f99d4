"""Files of tenants' rows, imported into real tables."""

import asyncio
from collections.abc import Iterable, Mapping
from uuid import UUID

import pytest

from shared.directory.tenant_csv import ImportPlan, PlannedRow, TenantImport
from shared.directory.tenant_registry import TenantRegistry
from shared.fhir.versions import FhirVersion
from shared.stores.tables import Table

STU3 = FhirVersion.STU3
BASE_URL = "https://fhir.riverside.example/stu3"


@pytest.fixture
def importing(registry: TenantRegistry) -> TenantImport:
    return TenantImport(registry)


def tenant(number: int) -> str:
    return str(UUID(int=number))


def file(*rows: Mapping[str, object]) -> bytes:
    """A file of STU3 rows with the columns of the first."""
    header = list(rows[0])
    cells = [[str(row[column]) for column in header] for row in rows]
    numbered = [[tenant(number), "stu3", *row] for number, row in enumerate(cells)]
    return "\n".join(",".join(line) for line in [["TenantId", "FhirVersion", *header], *numbered]).encode()


def numbers(rows: Iterable[PlannedRow]) -> list[int]:
    return [UUID(row.record.tenant).int for row in rows]


def said(plan: ImportPlan) -> list[str]:
    return list(map(str, plan.problems))


async def carry_out(importing: TenantImport, plan: ImportPlan) -> list[PlannedRow]:
    written: list[PlannedRow] = []

    async def note(row: PlannedRow) -> None:
        written.append(row)

    assert await importing.carry_out([*plan.additions, *plan.replacements], note) == []
    return written


async def test_new_rows_are_added_with_the_types_of_the_table_and_others_keep_what_the_file_does_not_have(
    importing: TenantImport, registry: TenantRegistry, table: Table
) -> None:
    auth = {"Auth": "basic", "AuthSecret": "riverside"}
    await registry.set(tenant(0), STU3, {"BaseUrl": BASE_URL, "Name": "Old", "MaxConcurrent": "8", **auth})
    rows = [
        {"Name": "New", "MaxConcurrent": "", "BaseUrl": BASE_URL},
        {"Name": "", "MaxConcurrent": 8, "BaseUrl": BASE_URL},
    ]
    plan = await importing.plan(file(*rows))
    assert (numbers(plan.additions), numbers(plan.replacements), plan.unchanged, said(plan)) == ([1], [0], 0, [])
    assert plan.replacements[0].change.columns == ("Name", "MaxConcurrent")
    assert sorted(numbers(await carry_out(importing, plan))) == [0, 1]
    keys = {"RowKey": "stu3", "BaseUrl": BASE_URL}
    assert await table.get(tenant(0), "stu3") == {"PartitionKey": tenant(0), **keys, "Name": "New", **auth}
    assert await table.get(tenant(1), "stu3") == {"PartitionKey": tenant(1), **keys, "MaxConcurrent": 8}


async def test_every_line_is_checked_against_the_row_it_will_make(
    importing: TenantImport, registry: TenantRegistry, table: Table
) -> None:
    await registry.set(tenant(3), STU3, {"BaseUrl": BASE_URL, "Auth": "basic", "AuthSecret": "a"})
    await table.insert({"PartitionKey": f"{{{tenant(4)}}}", "RowKey": "stu3"})
    await table.insert({"PartitionKey": tenant(4), "RowKey": "stu3"})
    row: dict[str, object] = {"BaseUrl": BASE_URL, "Auth": "", "TimeoutSeconds": 1}
    rows = [{**row, "BaseUrl": "ftp://x"}, {**row, "TimeoutSeconds": 0}, {**row, "Auth": "header"}]
    rows += [{**row, "Auth": "none"}, row]
    plan = await importing.plan(file(*rows) + b"\ncontoso,r4,,,")
    assert said(plan) == [
        "line 2, BaseUrl: must begin with https://",
        "line 3, TimeoutSeconds: must be a number of seconds from 0.1 to 220",
        "line 4, AuthHeader: is needed by Auth=header",
        "line 4, AuthSecret: is needed by Auth=header",
        "line 5, AuthSecret: is not used by Auth=none: empty it, or set Auth",
        "line 6, FhirVersion: is the tenant's second row for stu3: remove one",
        "line 7, TenantId: is not a tenant GUID",
        "line 7, BaseUrl: is missing",
    ]


async def test_a_row_typed_with_odd_keys_is_found_and_put_right(importing: TenantImport, table: Table) -> None:
    await table.insert({"PartitionKey": f"{{{tenant(0)}}}", "RowKey": "STU3", "BaseUrl": BASE_URL})
    assert (await importing.plan(file({"BaseUrl": BASE_URL}))).unchanged == 1
    await carry_out(importing, await importing.plan(file({"BaseUrl": f"{BASE_URL}/x"})))
    assert [(row["PartitionKey"], row["RowKey"]) async for row in table.scan()] == [(tenant(0), "stu3")]


async def test_an_interrupted_import_tells_all_that_it_wrote(importing: TenantImport, registry: TenantRegistry) -> None:
    content = file(*({"BaseUrl": BASE_URL, "Name": number} for number in range(300)))
    plan = await importing.plan(content)
    written: list[PlannedRow] = []

    async def interrupt_once(row: PlannedRow) -> None:
        written.append(row)
        if len(written) == 50:
            task.cancel()

    task = asyncio.create_task(importing.carry_out(plan.additions, interrupt_once))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 50 <= len(written) < 300
    assert {row.record.tenant for row in written} == {row["PartitionKey"] for row in await registry.rows()}
