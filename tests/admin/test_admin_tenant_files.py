"""`./gateway tenant import` and `export`, run as processes on real stores."""

from uuid import uuid4

import pytest

from admin.tenants import kebab_case
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
    assert left.stderr.endswith("Error: 1 row refused: there already, and different (add --replace to change)\n")
    for_people = await admin("tenant import - --local", stdin=file(*tenants, name="Lakeside"))
    told = f"line 2, {first}/stu3: Name\n0 added, 0 changed, 1 unchanged, 1 refused\n"
    assert (for_people.stdout, for_people.audit) == (told, [])
    assert left.json["left"] == [{"line": 2, "tenant_id": first, "version": "stu3", "columns": "Name"}]
    assert [line["subject"] for line in left.audit[:-1]] == [f"{second}/stu3"]
    replaced = await admin(f"{command} --replace", stdin=file(*tenants, name="Lakeside"))
    assert (replaced.code, replaced.json["changed"], replaced.json["unchanged"]) == (0, 1, 1)
    assert [(line["subject"], line["detail"]) for line in replaced.audit[:-1]] == [(f"{first}/stu3", "Name")]
    assert (await admin.json("tenant show", first, "stu3"))["name"] == "Lakeside"
    quiet = await admin("tenant import - --local --replace", stdin=file(*tenants))
    assert (quiet.stdout, quiet.stderr) == ("0 added, 2 changed, 0 unchanged, 0 refused\n", "")


async def test_nothing_is_written_while_a_line_is_wrong(admin: CommandLine, tenants: Ids) -> None:
    content = file(tenants[0]) + f"\n{tenants[1]},stu3,http://x,".encode()
    wrong = await admin("tenant import - --local --json", stdin=content)
    assert (wrong.code, wrong.audit) == (1, [])
    assert wrong.json == {"problems": [{"line": 3, "column": "BaseUrl", "text": "must begin with https://"}]}
    assert wrong.stderr == "Error: nothing was written: 1 problem in the file\n"
    assert await admin.error("tenant show", tenants[0]) == f"there is no row for tenant {tenants[0]}"
    for_people = await admin("tenant import - --local", stdin=b"TenantId,FhirVersion,Acess\n")
    assert for_people.stdout == "line 1, Acess: is not a column of a tenants' file\n"
    nowhere = await admin("tenant import nowhere.csv --local")
    assert (nowhere.code, nowhere.stdout, "nowhere.csv" in nowhere.stderr) == (2, "", True)


async def test_every_mistake_is_told_at_once_with_its_column(
    admin: CommandLine, deployment: Deployment, tenants: Ids
) -> None:
    """By all that write rows or examine them."""
    wrong = {"BaseUrl": "http://x", "Auth": "basic", "Types": "Pateint", "TimeoutSeconds": "soon"}
    columns = ["BaseUrl", "AuthSecret", "Types", "TimeoutSeconds"]
    options = [f"--{kebab_case(column)}={value}" for column, value in wrong.items()]
    told = (await admin("tenant set --local", tenants[0], "stu3", *options)).stderr.splitlines()
    assert told[0] == f"Error: table Tenants, row ({tenants[0]}, stu3): 4 columns are wrong"
    assert [line.split(":")[0] for line in told[1:]] == [f"  {column}" for column in columns]

    lines = [",".join([tenant, "stu3", *wrong.values()]) for tenant in tenants]
    content = "\n".join([",".join(["TenantId", "FhirVersion", *wrong]), *lines]).encode()
    imported = await admin("tenant import - --local", stdin=content)
    places = [f"line {line}, {column}" for line in (2, 3) for column in columns]
    assert [line.split(":")[0] for line in imported.stdout.splitlines()] == places
    assert imported.stderr == "Error: nothing was written: 8 problems in the file\n"

    await deployment.table(TENANTS).insert({"PartitionKey": tenants[0], "RowKey": "stu3", **wrong})
    (fix,) = [found["fix"] for found in (await admin("doctor --local --json")).json if tenants[0] in found["fix"]]
    await deployment.table(TENANTS).delete(tenants[0], "stu3")
    assert [word for word in fix.split() if word[:2] == "--"] == [f"--{kebab_case(column)}" for column in columns]


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
