"""Tenants' rows as a file: what is written, what is read, and what is said of a file that can't be."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.tenant_columns import COLUMNS
from shared.directory.tenant_csv import HEADER, Problem, read_csv, write_csv
from shared.fhir.versions import FhirVersion
from shared.stores.tables import Row

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
OTHER = "0d4b7a8e-5ac5-4f0e-8a59-0c1a7a2b6f10"


def lines(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def test_a_file_names_the_keys_and_values_as_people_type_them() -> None:
    row: Row = {"PartitionKey": TENANT, "RowKey": "r4", "Enabled": False, "TimeoutSeconds": 2.0, "MaxConcurrent": 8}
    header, cells = csv.reader(io.StringIO(write_csv([row]).decode("utf-8-sig")))
    assert tuple(header) == HEADER == ("TenantId", "FhirVersion", *COLUMNS)
    expected = {
        "TenantId": TENANT,
        "FhirVersion": "r4",
        "Enabled": "false",
        "TimeoutSeconds": "2",
        "MaxConcurrent": "8",
    }
    assert dict(zip(header, cells, strict=True)) == dict.fromkeys(COLUMNS, "") | expected


def test_a_cell_may_hold_quotes_commas_and_lines_and_lines_are_counted_as_an_editor_does() -> None:
    file = lines("TenantId,FhirVersion,Name", "", f'{TENANT},r4,"a\n""b"",c"', f"{OTHER},r4,d", f"{OTHER},r6,e")
    records, problems = read_csv(file)
    assert [(record.line, record.columns["Name"]) for record in records] == [(3, 'a\n"b",c'), (5, "d")]
    assert list(map(str, problems)) == ["line 6, FhirVersion: is none of dstu2, stu3, r4, r4b, r5"]


@pytest.mark.parametrize(
    "file",
    [
        lines("TenantId,FhirVersion,Name,,,", f"{TENANT},r4,Riverside,,,"),
        lines("TenantId,FhirVersion,Name,,,", f"{TENANT},r4,Riverside"),
        lines("TenantId,FhirVersion,Name", f"{TENANT},r4,Riverside, ,,"),
        lines("TenantId,,FhirVersion,Name ", f"{TENANT}, ,r4,Riverside"),
        lines("FhirVersion, TENANTID , name ", f" R4 ,{{{TENANT.upper()}}},Riverside "),
        f"\ufeffTenantId;FhirVersion;Name;;\r\n{TENANT};r4;Riverside;;\r\n;;;;\r\n".encode(),
        f"TenantId,FhirVersion,Name\r\n{TENANT},r4,Riverside\r\n".encode("utf-16"),
    ],
)
def test_a_file_may_have_what_spreadsheets_and_people_leave(file: bytes) -> None:
    """Empty columns, semicolons, names in another case and with spaces, UTF-16."""
    (record,), problems = read_csv(file)
    assert (list(problems), record.line, record.tenant, record.version) == ([], 2, TENANT, FhirVersion.R4)
    assert record.columns == {"Name": "Riverside"}


@pytest.mark.parametrize(
    "value", ["=1+1", "+1", "-1", "@SUM(A1)", "=", "'=1", "''-x", "O'Hara", "'s Bosch", "''", "a=b"]
)
def test_no_cell_is_a_formula_to_a_spreadsheet(value: str) -> None:
    file = write_csv([{"PartitionKey": TENANT, "RowKey": "r4", "Name": value}])
    cell = list(csv.reader(io.StringIO(file.decode("utf-8-sig"))))[1][HEADER.index("Name")]
    assert cell == (f"'{value}" if value.lstrip("'")[:1] in "=+-@" and value != "''" else value)
    assert read_csv(file)[0][0].columns["Name"] == value


cells = st.text(st.sampled_from("=+-@'\",;\n\r\t ") | st.characters(exclude_categories=["Cs"]))


@given(st.lists(cells, min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_what_is_written_is_read_back(values: list[str]) -> None:
    row: Row = {"PartitionKey": TENANT, "RowKey": "r4", **dict(zip(COLUMNS, values, strict=True))}
    (record,), problems = read_csv(write_csv([row]))
    assert (problems, record.line) == ([], 2)
    assert record.columns == {column: value.strip() for column, value in zip(COLUMNS, values, strict=True)}


@given(st.binary() | st.text().map(str.encode))
def test_any_file_is_read_or_has_problems(content: bytes) -> None:
    records, problems = read_csv(content)
    assert records or problems


MISSING = "1, FhirVersion: is missing in the first line, which names the columns"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (lines(""), ["1: there is nothing in the file but perhaps a header"]),
        (lines("TenantId,FhirVersion", "", ""), ["3: there is nothing in the file but perhaps a header"]),
        ("TenantId,FhirVersion\nx,Köln".encode("latin-1"), ["1: the file is not in UTF-8: save it as CSV UTF-8"]),
        (
            lines("TenantId,Acess,BaseUrl,BaseUrl"),
            [MISSING, "1, Acess: is not a column of a tenants' file", "1, BaseUrl: stands twice in the first line"],
        ),
        (
            lines("TenantId,,FhirVersion,basEurl,BASEURL,", f"{TENANT},x,r4,,,", f"{OTHER},,r4,,,,x"),
            ["1, BaseUrl: stands twice in the first line"],
        ),
        (lines("TenantId,RowKey", f"{TENANT},r4"), [MISSING, "1, RowKey: is not a column of a tenants' file"]),
        (
            lines("TenantId,,FhirVersion,", f"{TENANT},x,r4,", f"{OTHER},,r4,,,x", "contoso,,r4", f"{TENANT},,r6", "x"),
            [
                "2: has a value in a column that the first line does not name",
                "3: has 6 cells, but the first line names 3 columns",
                "4, TenantId: is not a tenant GUID",
                "5, FhirVersion: is none of dstu2, stu3, r4, r4b, r5",
                "6: has 1 cells, but the first line names 3 columns",
            ],
        ),
        (
            lines("TenantId,FhirVersion", f"{TENANT},r4", f"{TENANT},stu3", f"{TENANT.upper()},R4"),
            ["4, TenantId: the same tenant and version stand in line 2"],
        ),
        (lines("TenantId,FhirVersion", f"{TENANT},r4", f'{OTHER},"r4', "x"), ["3: is no CSV: unexpected end of data"]),
    ],
)
def test_everything_that_is_wrong_is_said_with_its_line_and_column(file: bytes, said: list[str]) -> None:
    assert list(map(str, read_csv(file)[1])) == [f"line {problem}" for problem in said]


def test_a_file_has_a_limit() -> None:
    """Of rows that can be read and of those that can't, so that no file keeps its reader busy."""
    for row, found in ((f"{TENANT},r4", 20_000), ("x", 0)):
        records, problems = read_csv(lines("TenantId,FhirVersion", *[row] * 30_000))
        assert len(records) == found
        assert Problem(20_002, "", "a file has at most 20000 rows: part it") in problems
        assert len(problems) <= 20_001
