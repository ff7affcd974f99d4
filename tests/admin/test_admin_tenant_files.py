"""`./gateway tenant import` and `export`, run as processes on real stores."""

from uuid import uuid4

import pytest

from shared.stores.tables import TENANTS
from tests.admin.command_line import CommandLine
from tests.deployment import Deployment

Ids = tuple[str, str]
BASE_URL = "https://fhir.riverside.example/stu3"


def file(*tenants: str, name: str = "Riverside") -> bytes:
    """A file with an STU3 row for each tenant."""
    return "\n".join(["TenantId,FhirVersion,BaseUrl,Name", *(f"{t},stu3,{BASE_URL},{name}" for t in tenants)]).encode()


@pytest.fixture
def tenants() -> Ids:
    return str(uuid4()), str(uuid4())


async def test_an_import_leaves_rows_that_are_there_but_with_replace(admin: CommandLine, tenants: Ids) -> None:
    command = "tenant import - -v --local --json"
    first, second = tenants
    dry = await admin(f"{command} --dry-run", stdin=file(*tenants))
    assert (dry.code, dry.json["added"], dry.json["dry_run"], dry.audit) == (0, 2, True, [])
    assert await admin.error("tenant show", first) == f"there is no row for tenant {first}"

    added = await admin(command, stdin=file(first))
    assert added.json == {"added": 1, "changed": 0, "unchanged": 0, "dry_run": False, "left": []}
    found = [(line["actor"], line["action"], line["subject"], line["detail"]) for line in added.audit[:-1]]
    assert found == [("ada", "tenant.import", f"{first}/stu3", "BaseUrl, Name")]
    again = await admin(command, stdin=file(first))
    assert (again.json["added"], again.json["unchanged"], again.audit) == (0, 1, [])

    left = await admin(command, stdin=file(*tenants, name="Lakeside"))
    assert left.code == 1
    assert left.stderr.endswith("Error: 1 rows are there already and differ: add --replace to change them\n")
    assert left.json["left"] == [{"line": 2, "tenant_id": first, "version": "stu3", "columns": "Name"}]
    assert [line["subject"] for line in left.audit[:-1]] == [f"{second}/stu3"]
    replaced = await admin(f"{command} --replace", stdin=file(*tenants, name="Lakeside"))
    assert (replaced.code, replaced.json["changed"], replaced.json["unchanged"]) == (0, 1, 1)
    assert [(line["subject"], line["detail"]) for line in replaced.audit[:-1]] == [(f"{first}/stu3", "Name")]
    assert (await admin.json("tenant show", first, "stu3"))["name"] == "Lakeside"


async def test_nothing_is_written_while_a_line_is_wrong(admin: CommandLine, tenants: Ids) -> None:
    content = file(tenants[0]) + f"\n{tenants[1]},stu3,http://x,".encode()
    wrong = await admin("tenant import - --local --json", stdin=content)
    assert (wrong.code, wrong.audit) == (1, [])
    assert wrong.json == {"problems": [{"line": 3, "column": "BaseUrl", "text": "must begin with https://"}]}
    assert wrong.stderr == "Error: nothing was written: 1 problems in the file\n"
    assert await admin.error("tenant show", tenants[0]) == f"there is no row for tenant {tenants[0]}"
    for_people = await admin("tenant import - --local", stdin=b"TenantId,FhirVersion,Acess\n")
    (line,) = [line.split() for line in for_people.stdout.splitlines() if "Acess" in line]
    assert " ".join(line) == "1 Acess is not a column of a tenants' file"
    nowhere = await admin("tenant import nowhere.csv --local")
    assert (nowhere.code, nowhere.stdout, "nowhere.csv" in nowhere.stderr) == (2, "", True)


async def test_an_export_has_every_row(admin: CommandLine, tenants: Ids, deployment: Deployment) -> None:
    """And is imported without a change, as tests/portal/test_portal_import.py shows."""
    table, typed, path = deployment.table(TENANTS), str(uuid4()).upper(), admin.folder / "all-hospitals.csv"
    await admin.json("tenant import -", stdin=file(*tenants, name="=Home"))
    await table.insert({"PartitionKey": typed, "RowKey": "stu3", "BaseUrl": "fhir.example", "Acess": "w"})
    exported = await admin("tenant export --local")
    to_file = await admin.json("tenant export", str(path))
    await table.delete(typed, "stu3")
    assert f"{tenants[0]},stu3,{BASE_URL},'=Home," in exported.stdout
    assert f"\n{typed},stu3,fhir.example," in exported.stdout
    assert to_file == {"rows": exported.stdout.count("\n") - 1, "unusable": 1}
    assert path.read_bytes().decode() == exported.stdout
