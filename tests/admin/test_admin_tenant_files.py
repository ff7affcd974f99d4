"""`./gateway tenant import` and `export`, run as processes on real stores."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.settings import Settings
from shared.stores.tables import TENANTS, Table, table_service
from tests.admin.command_line import CommandLine, settings_of

BASE_URL = "https://fhir.riverside.example/stu3"
IMPORT = ("--local", "--json", "tenant", "import", "-")


def file(*tenants: str, name: str = "Riverside", base_url: str = BASE_URL) -> bytes:
    """A file with an STU3 row for each tenant."""
    return "\n".join(["TenantId,FhirVersion,BaseUrl,Name", *(f"{t},stu3,{base_url},{name}" for t in tenants)]).encode()


@pytest.fixture
def tenants() -> tuple[str, str]:
    return str(uuid4()), str(uuid4())


@pytest.fixture
async def table(own_tables: TableService, vault_server: VaultServer) -> AsyncIterator[Table]:
    async with table_service(Settings.from_environment(settings_of(own_tables, vault_server))) as service:
        yield Table(service, TENANTS)


async def test_an_import_adds_rows_and_leaves_an_audit_line_for_each(
    admin: CommandLine, tenants: tuple[str, str]
) -> None:
    answer = await admin(*IMPORT, stdin=file(*tenants))
    assert answer.code == 0, answer.stderr
    assert answer.json == {"added": 2, "changed": 0, "unchanged": 0, "dry_run": False, "left": []}
    told = sorted((line["actor"], line["action"], line["subject"], line["detail"]) for line in answer.audit)
    assert told == sorted(("ada", "tenant.import", f"{tenant}/stu3", "BaseUrl, Name") for tenant in tenants)
    for tenant in tenants:
        assert (await admin("--local", "--json", "tenant", "show", tenant, "stu3")).json["name"] == "Riverside"
    again = await admin(*IMPORT, stdin=file(*tenants))
    assert (again.json["added"], again.json["unchanged"], again.audit) == (0, 2, [])


async def test_rows_that_are_there_are_left_and_told_unless_they_may_be_replaced(
    admin: CommandLine, tenants: tuple[str, str]
) -> None:
    assert (await admin(*IMPORT, stdin=file(tenants[0]))).code == 0
    left = await admin(*IMPORT, stdin=file(*tenants, name="Lakeside"))
    assert left.code == 1
    assert left.stderr.endswith("Error: 1 rows are there already and differ: add --replace to change them\n")
    assert left.json["left"] == [{"line": 2, "tenant_id": tenants[0], "version": "stu3", "columns": "Name"}]
    assert [line["subject"] for line in left.audit] == [f"{tenants[1]}/stu3"]
    replaced = await admin(*IMPORT, "--replace", stdin=file(*tenants, name="Lakeside"))
    assert (replaced.code, replaced.json["changed"], replaced.json["unchanged"]) == (0, 1, 1)
    assert [(line["subject"], line["detail"]) for line in replaced.audit] == [(f"{tenants[0]}/stu3", "Name")]


async def test_nothing_is_written_while_a_line_is_wrong(admin: CommandLine, tenants: tuple[str, str]) -> None:
    answer = await admin(*IMPORT, stdin=file(tenants[0]) + f"\n{tenants[1]},stu3,http://x,".encode())
    assert (answer.code, answer.audit) == (1, [])
    assert answer.json == {"problems": [{"line": 3, "column": "BaseUrl", "text": "must begin with https://"}]}
    assert answer.stderr == "Error: nothing was written: 1 problems in the file\n"
    assert (await admin("--local", "tenant", "show", tenants[0])).code == 1
    for_people = await admin("--local", "tenant", "import", "-", stdin=b"TenantId,FhirVersion,Acess\n")
    (line,) = [line.split() for line in for_people.stdout.splitlines() if "Acess" in line]
    assert " ".join(line) == "1 Acess is not a column of a tenants' file"


async def test_a_dry_run_says_what_would_be_and_writes_nothing(admin: CommandLine, tenants: tuple[str, str]) -> None:
    answer = await admin(*IMPORT, "--dry-run", stdin=file(*tenants))
    assert (answer.code, answer.json["added"], answer.json["dry_run"], answer.audit) == (0, 2, True, [])
    assert (await admin("--local", "tenant", "show", tenants[0])).code == 1


async def test_an_export_is_imported_without_a_change(
    admin: CommandLine, tenants: tuple[str, str], table: Table, tmp_path: Path
) -> None:
    assert (await admin(*IMPORT, stdin=file(*tenants, name="=Home"))).code == 0
    exported = await admin("--local", "tenant", "export")
    assert f"{tenants[0]},stu3,{BASE_URL},'=Home," in exported.stdout
    path = tmp_path / "hospitals.csv"
    to_file = await admin("--local", "--json", "tenant", "export", str(path))
    assert to_file.json["rows"] == exported.stdout.count("\n") - 1
    assert path.read_bytes().decode() == exported.stdout

    await table.put({"PartitionKey": tenants[0], "RowKey": "stu3", "BaseUrl": BASE_URL})
    ours = [line for line in exported.stdout.splitlines() if line.startswith(("\ufeff", *tenants))]
    restored = await admin(*IMPORT, "--replace", stdin="\n".join(ours).encode())
    assert (restored.json["changed"], restored.json["unchanged"]) == (1, 1)


async def test_an_export_has_rows_that_cannot_be_used_and_says_so(
    admin: CommandLine, tenants: tuple[str, str], table: Table
) -> None:
    await table.insert({"PartitionKey": tenants[0].upper(), "RowKey": "stu3", "BaseUrl": "fhir.example", "Acess": "w"})
    answer = await admin("--local", "tenant", "export")
    await table.delete(tenants[0].upper(), "stu3")
    assert f"\n{tenants[0].upper()},stu3,fhir.example," in answer.stdout
    assert f"can't be used: table Tenants, row ({tenants[0].upper()}, stu3), column Acess" in answer.stderr


async def test_a_file_that_is_not_there_is_one_line(admin: CommandLine) -> None:
    answer = await admin("--local", "tenant", "import", "nowhere.csv")
    assert (answer.code, answer.stdout) == (2, "")
    assert "nowhere.csv" in answer.stderr
