"""Files of tenants' rows in the portal: uploaded, checked, previewed, written, and exported again."""

import csv
import io
from pathlib import Path
from uuid import uuid4

import pytest

from shared.directory.tenant_csv import HEADER
from shared.fhir.versions import FhirVersion
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Row, Table
from tests.admin.command_line import CommandLine
from tests.portal.conftest import Changes, Page, Person, Portal

STU3 = FhirVersion.STU3
IMPORT, WRITE = "/portal/tenants/import", "/portal/tenants/import/write"


async def write(admin: Person, preview: Page) -> Page:
    """Confirms a preview."""
    return await admin.upload(WRITE, {name: preview.field(name) for name in ("text", "fingerprint")})


async def preview_and_write(admin: Person, text: str) -> str:
    return (await write(admin, await admin.upload(IMPORT, {}, text.encode()))).text


async def test_a_file_adds_changes_and_leaves_and_each_row_is_audited(portal: Portal, changes: Changes) -> None:
    admin = await portal.admin()
    new, old, same = (str(uuid4()) for _ in range(3))
    for id in (old, same):
        await portal.tenants.set(id, STU3, {"Name": "Old", "BaseUrl": "https://old.example", "Batch": "split"})
    rows = [f"{new},stu3,New", f"{old},stu3,Renamed", f"{same},stu3,Old"]
    text = "\n".join(["TenantId,FhirVersion,Name,BaseUrl", *(f"{row},https://old.example" for row in rows)])
    preview = await admin.upload(IMPORT, {}, text.encode())
    for label in ("Rows to add", "Rows to change", "Rows that stay as they are"):
        assert f"{label}</dt><dd>1</dd>" in preview.text
    assert "changes Name" in preview.text
    assert await portal.tenants.get(new, STU3) is None
    assert "2 rows were written" in (await write(admin, preview)).text
    found = [await portal.provider(id) for id in (new, old, same)]
    kept = [(provider.name, provider.batch.value) for provider in found]
    assert kept == [("New", "native"), ("Renamed", "split"), ("Old", "split")]
    audited = {(new, "BaseUrl, Name"), (old, "Name")}
    *rows, file = changes()
    assert set(rows) == {("grace@example.com", "tenant.import", f"{id}/stu3", names) for id, names in audited}
    assert file == ("grace@example.com", "tenant.import", "", "2 rows")
    assert "there is nothing to do" in (await admin.upload(IMPORT, {"text": text})).text


async def test_nothing_is_written_while_one_line_is_wrong(portal: Portal) -> None:
    admin, id = await portal.admin(), str(uuid4())
    text = f"TenantId,FhirVersion,BaseUrl,Auth\n{id},stu3,https://a.example,\n{uuid4()},stu3,https://b.example,magic\n"
    page = await admin.upload(IMPORT, {}, text.encode())
    assert page.status == 422
    assert '<th scope="row" data-label="Line">3</th><td data-label="Column">Auth</td>' in page.text
    assert (await admin.upload(WRITE, {"text": text, "fingerprint": ""})).status == 409
    assert await portal.tenants.get(id, STU3) is None


async def test_a_file_is_text_of_at_most_five_megabytes(portal: Portal) -> None:
    for file, status in ((b"x" * (5 * 1_048_576 + 20_000), 413), (b"", 422), (b"\xff\xfeTenantId\xd8", 422)):
        assert (await (await portal.admin()).upload(IMPORT, {}, file)).status == status


async def test_a_plan_that_was_not_previewed_is_not_carried_out(portal: Portal) -> None:
    admin, (id, _) = await portal.admin(), await portal.tenant(Name="Old")
    preview = await admin.upload(IMPORT, {}, f"TenantId,FhirVersion,Name\n{id},stu3,Mine\n".encode())
    await portal.tenants.set(id, STU3, {"Name": "Theirs"})
    page = await write(admin, preview)
    assert page.status == 409
    assert "rows have changed since you looked" in page.text
    assert (await portal.provider(id)).name == "Theirs"


async def test_an_export_imports_without_a_change_here_and_on_the_command_line(portal: Portal, tmp_path: Path) -> None:
    command_line = CommandLine(tmp_path)
    command_line.configure(dict(portal.deployment.environment))
    columns = {"Name": '=Köln; "Süd"', "Enabled": "false", "TimeoutSeconds": "2.5", "ExtraHeaders": '{"X-A": "1, 2"}'}
    admin, (id, _) = await portal.admin(), await portal.tenant(**columns)
    page = await admin.get("/portal/tenants/export")
    assert page.response.headers["Content-Disposition"] == 'attachment; filename="tenants.csv"'
    assert (await command_line("--local", "tenant", "export")).stdout.encode() == page.response.body
    lines = list(csv.DictReader(io.StringIO(page.response.body.decode("utf-8-sig"))))
    mine = next(line for line in lines if line["TenantId"] == id)
    row = {"TenantId": id, "FhirVersion": "stu3", "BaseUrl": "https://fhir.riverside.example/stu3", **columns}
    assert mine == {**dict.fromkeys(HEADER, ""), **row, "Name": f"'{columns['Name']}"}  # no formula for a spreadsheet
    header, *rows = page.response.body.splitlines(keepends=True)
    file = header + next(line for line in rows if id.encode() in line)
    assert "there is nothing to do" in (await admin.upload(IMPORT, {}, file)).text
    read = await command_line("--local", "--json", "tenant", "import", "-", stdin=file)
    assert (read.code, read.json["unchanged"]) == (0, 1)


async def test_a_stopped_import_is_ended_by_the_next_try(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await portal.admin()
    text = "TenantId,FhirVersion,BaseUrl\n" + "".join(f"{uuid4()},r4,https://a.example\n" for _ in range(50))
    left, insert = 20, Table.insert

    async def fail(self: Table, row: Row) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoreUnavailable("no answer")
        await insert(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(Table, "insert", fail)
        page = await preview_and_write(admin, text)
    assert "20 of 50 rows were written. Then the storage did not answer." in page
    assert "30 rows were written" in await preview_and_write(admin, text)


async def test_rows_that_others_write_meanwhile_are_theirs(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, ids, insert = await portal.admin(), [str(uuid4()) for _ in range(2)], Table.insert

    async def insert_late(self: Table, row: Row) -> None:
        if row["PartitionKey"] == ids[0]:
            await insert(self, {**row, "Name": "Theirs"})
        await insert(self, row)

    monkeypatch.setattr(Table, "insert", insert_late)
    rows = "".join(f"{id},stu3,Mine,https://a.example\n" for id in ids)
    page = await preview_and_write(admin, f"TenantId,FhirVersion,Name,BaseUrl\n{rows}")
    assert "1 of 2 rows were written. The others someone else changed meanwhile" in page
    assert [(await portal.provider(id)).name for id in ids] == ["Theirs", "Mine"]
