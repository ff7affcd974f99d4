"""Files of tenants' rows in the portal: uploaded, checked, previewed, written, and exported again."""

import csv
import io
import json
import logging
from pathlib import Path
from uuid import uuid4

import pytest

from shared.directory.tenant_csv import HEADER
from shared.fhir.versions import FhirVersion
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Row, Table
from tests.admin.command_line import CommandLine
from tests.portal.conftest import Deployment, Visitor

STU3 = FhirVersion.STU3


async def preview_and_write(admin: Visitor, text: str) -> str:
    preview = await admin.upload("/portal/tenants/import", {}, text.encode())
    assert preview.status == 200, preview.text
    form = {"text": preview.field("text"), "fingerprint": preview.field("fingerprint")}
    return (await admin.upload("/portal/tenants/import/write", form)).text


async def test_a_file_adds_changes_and_leaves(deployment: Deployment) -> None:
    admin = await deployment.admin()
    new, old, same = (str(uuid4()) for _ in range(3))
    for id in (old, same):
        await deployment.tenants.set(id, STU3, {"Name": "Old", "BaseUrl": "https://old.example", "Batch": "split"})
    text = (
        "TenantId,FhirVersion,Name,BaseUrl\n"
        f"{new},stu3,New,https://new.example\n{old},stu3,Renamed,https://old.example\n{same},stu3,Old,https://old.example\n"
    )
    preview = await admin.upload("/portal/tenants/import", {}, text.encode())
    assert [
        f"{dt}</dt><dd>1</dd>" in preview.text for dt in ("Rows to add", "Rows to change", "Rows that stay as they are")
    ] == [True] * 3
    assert "changes Name" in preview.text
    assert await deployment.tenants.get(new, STU3) is None
    assert "2 rows were written" in await preview_and_write(admin, text)
    found = [await deployment.tenants.get(id, STU3) for id in (new, old, same)]
    assert [provider and (provider.name, provider.batch.value) for provider in found] == [
        ("New", "native"),
        ("Renamed", "split"),
        ("Old", "split"),
    ]
    assert "there is nothing to do" in (await admin.upload("/portal/tenants/import", {"text": text})).text


async def test_nothing_is_written_while_one_line_is_wrong(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), str(uuid4())
    text = f"TenantId,FhirVersion,BaseUrl,Auth\n{id},stu3,https://a.example,\n{uuid4()},stu3,https://b.example,magic\n"
    page = await admin.upload("/portal/tenants/import", {}, text.encode())
    assert page.status == 422
    assert '<th scope="row" data-label="Line">3</th><td data-label="Column">Auth</td>' in page.text
    page = await admin.upload("/portal/tenants/import/write", {"text": text, "fingerprint": ""})
    assert page.status == 409
    assert await deployment.tenants.get(id, STU3) is None


async def test_what_was_not_previewed_is_not_written(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), str(uuid4())
    await deployment.tenants.set(id, STU3, {"Name": "Old", "BaseUrl": "https://old.example"})
    text = f"TenantId,FhirVersion,Name\n{id},stu3,Mine\n"
    preview = await admin.upload("/portal/tenants/import", {}, text.encode())
    await deployment.tenants.set(id, STU3, {"Name": "Theirs"})
    form = {"text": preview.field("text"), "fingerprint": preview.field("fingerprint")}
    page = await admin.upload("/portal/tenants/import/write", form)
    assert page.status == 409
    assert "rows have changed since you looked" in page.text
    provider = await deployment.tenants.get(id, STU3)
    assert provider is not None
    assert provider.name == "Theirs"


async def test_an_export_imports_without_a_change(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), str(uuid4())
    columns = {"Name": "Köln, „Süd“", "Enabled": "false", "TimeoutSeconds": "2.5", "ExtraHeaders": '{"X-A": "1, 2"}'}
    await deployment.tenants.set(id, STU3, {"BaseUrl": "https://k.example", **columns})
    page = await admin.get("/portal/tenants/export")
    assert page.response.headers["Content-Disposition"] == 'attachment; filename="tenants.csv"'
    lines = list(csv.DictReader(io.StringIO(page.response.body.decode("utf-8-sig"))))
    mine = [line for line in lines if line["TenantId"] == id]
    assert mine == [
        {**dict.fromkeys(HEADER, ""), "TenantId": id, "FhirVersion": "stu3", "BaseUrl": "https://k.example", **columns}
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER)
    writer.writeheader()
    writer.writerows(mine)
    preview = await admin.upload("/portal/tenants/import", {}, text.getvalue().encode("utf-8-sig"))
    assert "there is nothing to do" in preview.text


async def test_a_file_has_a_limit(deployment: Deployment) -> None:
    admin = await deployment.admin()
    assert (await admin.upload("/portal/tenants/import", {}, b"x" * (5 * 1_048_576 + 20_000))).status == 413
    assert (await admin.upload("/portal/tenants/import", {})).status == 422


async def test_every_row_is_audited_by_its_columns(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    admin, ids = await deployment.admin(), sorted(str(uuid4()) for _ in range(2))
    rows = "".join(f"{id},r4,https://a.example,8\n" for id in ids)
    with caplog.at_level(logging.INFO, "gateway.audit"):
        await preview_and_write(admin, f"TenantId,FhirVersion,BaseUrl,MaxConcurrent\n{rows}")
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.audit"]
    assert sorted((line["actor"], line["action"], line["subject"], line["detail"]) for line in lines) == [
        ("grace@example.com", "tenant.import", f"{id}/r4", "BaseUrl, MaxConcurrent") for id in ids
    ]


async def test_what_a_store_stopped_is_told_and_done_by_the_next_try(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await deployment.admin()
    rows = "".join(f"{uuid4()},r4,https://a.example\n" for _ in range(50))
    left, insert = 20, Table.insert

    async def fail(self: Table, row: Row) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoreUnavailable("no answer")
        await insert(self, row)

    text = f"TenantId,FhirVersion,BaseUrl\n{rows}"
    with monkeypatch.context() as patch:
        patch.setattr(Table, "insert", fail)
        page = await preview_and_write(admin, text)
    assert "20 of 50 rows were written. Then the storage did not answer." in page
    assert "30 rows were written" in await preview_and_write(admin, text)


async def test_rows_that_someone_else_writes_meanwhile_are_theirs(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, (first, second) = await deployment.admin(), (str(uuid4()) for _ in range(2))
    insert = Table.insert

    async def meet(self: Table, row: Row) -> None:
        if row["PartitionKey"] == first:
            await insert(self, {**row, "Name": "Theirs"})
        await insert(self, row)

    monkeypatch.setattr(Table, "insert", meet)
    text = f"TenantId,FhirVersion,Name,BaseUrl\n{first},stu3,Mine,https://a.example\n{second},stu3,Mine,https://a.example\n"
    page = await preview_and_write(admin, text)
    assert "1 of 2 rows were written. The others someone else changed meanwhile" in page
    found = [await deployment.tenants.get(id, STU3) for id in (first, second)]
    assert [provider and provider.name for provider in found] == ["Theirs", "Mine"]


async def test_the_command_line_writes_and_reads_the_same_file(
    deployment: Deployment, environment: dict[str, str], tmp_path: Path
) -> None:
    command_line = CommandLine(tmp_path)
    command_line.configure(environment)
    admin, id = await deployment.admin(), str(uuid4())
    columns = {"Name": '=Köln; "Süd"', "Enabled": "false", "TimeoutSeconds": "2.5"}
    await deployment.tenants.set(id, STU3, {"BaseUrl": "https://k.example", **columns})

    from_portal = (await admin.get("/portal/tenants/export")).response.body
    assert (await command_line("--local", "tenant", "export")).stdout.encode() == from_portal
    header, *rows = from_portal.decode("utf-8-sig").splitlines()
    mine = "\r\n".join([header, next(row for row in rows if id in row)]).encode("utf-8-sig")

    read = await command_line("--local", "--json", "tenant", "import", "-", stdin=mine)
    assert (read.code, read.json["unchanged"]) == (0, 1)
    assert "there is nothing to do" in (await admin.upload("/portal/tenants/import", {}, mine)).text
