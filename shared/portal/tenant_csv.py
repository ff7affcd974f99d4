"""Tenants' rows as CSV (RFC 4180), as Storage Explorer names their columns: out, and in again."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.directory.provider import Row
from shared.directory.tenant_id import parse_tenant_id
from shared.directory.tenant_row import COLUMNS, KEY_COLUMNS, parse_version
from shared.fhir.versions import FhirVersion
from shared.portal.tenant_form import column_text

HEADER = (*KEY_COLUMNS, *COLUMNS)
_MOST_LINES = 20_000


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a file: the line as an editor counts it, and the column's name, if it is in one."""

    line: int
    column: str
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """A line that names a tenant and a version; `columns` are those the file has, "" for one to be empty."""

    line: int
    tenant: str
    version: FhirVersion
    columns: Mapping[str, str]


def write_csv(rows: Iterable[Row]) -> bytes:
    """All rows with the gateway's columns, in UTF-8 with the mark by which Excel knows it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows([column_text(row.get(column)) for column in HEADER] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def read_csv(content: bytes) -> tuple[Sequence[Record], Sequence[Problem]]:
    """The records of a file, and what is wrong with it.

    The first line names the columns: PartitionKey and RowKey, and any others of the table. Semicolons may stand for
    commas, as in the Excel of half of Europe.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return (), (Problem(1, "", "The file is not in UTF-8: save it as “CSV UTF-8”."),)
    first_line = text.partition("\n")[0]
    delimiter = ";" if first_line.count(";") > first_line.count(",") else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: Sequence[str] | None = None
    records: list[Record] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, FhirVersion], int] = {}
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                problems += _header_problems(lines.line_num, header)
                if problems:
                    break
                continue
            record = _record(lines.line_num, header, cells)
            if isinstance(record, Problem):
                problems.append(record)
                continue
            earlier = seen.setdefault((record.tenant, record.version), record.line)
            if earlier != record.line:
                problems.append(Problem(record.line, "RowKey", f"is the same tenant and version as line {earlier}"))
            records.append(record)
            if len(records) > _MOST_LINES:
                problems.append(Problem(record.line, "", f"A file has at most {_MOST_LINES} lines."))
                break
    except csv.Error as error:
        problems.append(Problem(lines.line_num, "", f"This is no CSV: {error}."))
    if not records and not problems:
        problems.append(Problem(1, "", "There is nothing in it but perhaps a header."))
    return records, problems


def _header_problems(line: int, header: Sequence[str]) -> Iterable[Problem]:
    for column in KEY_COLUMNS:
        if column not in header:
            yield Problem(line, column, "is missing in the first line, which names the columns")
    for place, column in enumerate(header):
        if column not in HEADER:
            yield Problem(line, column[:64], "is not a column of the table")
        elif column in header[:place]:
            yield Problem(line, column, "stands twice in the first line")


def _record(line: int, header: Sequence[str], cells: Sequence[str]) -> Record | Problem:
    if len(cells) != len(header):
        return Problem(line, "", f"The line has {len(cells)} cells, the first line names {len(header)} columns.")
    columns = dict(zip(header, cells, strict=True))
    tenant = parse_tenant_id(columns.pop("PartitionKey"))
    version = parse_version(columns.pop("RowKey"))
    if tenant is None:
        return Problem(line, "PartitionKey", "is not a tenant GUID")
    if version is None:
        return Problem(line, "RowKey", f"is none of {', '.join(version.value for version in FhirVersion)}")
    return Record(line, tenant, version, columns)
