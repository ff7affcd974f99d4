"""Tenants' rows as CSV: read, checked, previewed, written, and exported again."""

import csv
import io
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.tenant_row import COLUMNS
from shared.fhir.versions import FhirVersion
from shared.portal.tenant_csv import HEADER, read_csv, write_csv
from tests.portal.conftest import Deployment, Visitor

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
OTHER = "0d4b7a8e-5ac5-4f0e-8a59-0c1a7a2b6f10"
STU3 = FhirVersion.STU3


@given(st.dictionaries(st.sampled_from(COLUMNS), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)))
def test_what_is_written_is_read_back(columns: dict[str, str]) -> None:
    records, problems = read_csv(write_csv([{"PartitionKey": GUID, "RowKey": "r4", **columns}]))
    assert not problems
    assert [(record.tenant, record.version) for record in records] == [(GUID, FhirVersion.R4)]
    assert records[0].columns == {column: columns.get(column, "") for column in COLUMNS}


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_is_read_or_has_a_problem(content: bytes) -> None:
    records, problems = read_csv(content)
    assert records or problems


@pytest.mark.parametrize(
    ("content", "line", "column", "text"),
    [
        (b"", 1, "", "nothing in it"),
        (b"PartitionKey,RowKey\n", 1, "", "nothing in it"),
        (b"PartitionKey,BaseUrl\n", 1, "RowKey", "is missing"),
        (b"PartitionKey,RowKey,BaseURL\n", 1, "BaseURL", "is not a column"),
        (b"PartitionKey,RowKey,Name,Name\n", 1, "Name", "stands twice"),
        (b"PartitionKey,RowKey\ncontoso,stu3\n", 2, "PartitionKey", "is not a tenant GUID"),
        (f"PartitionKey,RowKey\n\n{GUID},r5\n".encode(), 3, "RowKey", "is none of dstu2, stu3, r4"),
        (f"PartitionKey,RowKey\n{GUID}\n".encode(), 2, "", "has 1 cells"),
        (f"PartitionKey,RowKey\n{GUID},r4\n{{{GUID.upper()}}},R4\n".encode(), 3, "RowKey", "as line 2"),
        ("PartitionKey,RowKey,Name\nKrankenhaus Köln".encode("latin-1"), 1, "", "not in UTF-8"),
        (b'PartitionKey,RowKey\n"a', 2, "", "This is no CSV"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(content: bytes, line: int, column: str, text: str) -> None:
    _, (problem,) = read_csv(content)
    assert (problem.line, problem.column) == (line, column)
    assert text in problem.text


def test_semicolons_and_excels_mark_are_taken() -> None:
    content = f"\ufeffPartitionKey;RowKey;Types\r\n{GUID};stu3;Patient,Observation\r\n".encode()
    ((record,), problems) = read_csv(content)
    assert not problems
    assert record.columns == {"Types": "Patient,Observation"}


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
        "PartitionKey,RowKey,Name,BaseUrl\n"
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
    text = f"PartitionKey,RowKey,BaseUrl,Auth\n{id},stu3,https://a.example,\n{uuid4()},stu3,https://b.example,magic\n"
    page = await admin.upload("/portal/tenants/import", {}, text.encode())
    assert page.status == 422
    assert '<th scope="row" data-label="Line">3</th><td data-label="Column">Auth</td>' in page.text
    page = await admin.upload("/portal/tenants/import/write", {"text": text, "fingerprint": ""})
    assert page.status == 409
    assert await deployment.tenants.get(id, STU3) is None


async def test_what_was_not_previewed_is_not_written(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), str(uuid4())
    await deployment.tenants.set(id, STU3, {"Name": "Old", "BaseUrl": "https://old.example"})
    text = f"PartitionKey,RowKey,Name\n{id},stu3,Mine\n"
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
    mine = [line for line in lines if line["PartitionKey"] == id]
    assert mine == [
        {**dict.fromkeys(HEADER, ""), "PartitionKey": id, "RowKey": "stu3", "BaseUrl": "https://k.example", **columns}
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
