"""Tenants' rows as CSV (RFC 4180), exported and imported: a whole file is checked before a row of it is written.

But for the keys, a file's columns are those of the table.
"""

import asyncio
import csv
import hashlib
import io
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.directory.errors import RowError
from shared.directory.tenant_columns import COLUMNS, KEY_COLUMNS
from shared.directory.tenant_registry import RowChange, TenantRegistry, by_meaning
from shared.directory.tenant_row import parse_provider, parse_version
from shared.directory.typed_text import column_text, decoded, parse_tenant_id
from shared.fhir.versions import FhirVersion
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import Row, etag_of

TENANT_ID, FHIR_VERSION = "TenantId", "FhirVersion"
HEADER = (TENANT_ID, FHIR_VERSION, *COLUMNS)
NAME_OF_KEY: Mapping[str, str] = dict(zip(KEY_COLUMNS, HEADER, strict=False))
"""What a file calls the table's keys."""
_NAMES: Mapping[str, str] = {column.lower(): column for column in HEADER}
_MAX_ROWS = 20_000
_AT_ONCE = 32
_CHECKED_AT_ONCE = 100  # about 5 ms: so long a check may keep an event loop

# A spreadsheet takes such a cell for a formula; the apostrophe before it makes it text, and is not part of the value
# (owasp.org/www-community/attacks/CSV_Injection). A value that begins with apostrophes gets one more.
_FORMULA = re.compile(r"'*[=+\-@]")
_QUOTED_FORMULA = re.compile(r"'+[=+\-@]")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a file: the line as an editor counts it, and the column's name, "" when it is in none."""

    line: int
    column: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}{self.column and ', '}{self.column}: {self.text}"


@dataclass(frozen=True, slots=True)
class Record:
    """A line that names a tenant and a version; `columns` are those the file has, "" for one to be empty."""

    line: int
    tenant: str
    version: FhirVersion
    columns: Mapping[str, str]


def write_csv(rows: Iterable[Row]) -> bytes:
    """The rows with the table's own columns, in UTF-8 with the mark by which spreadsheets know it.

    No cell is a formula to a spreadsheet: one that would be has an apostrophe before it, which `read_csv` takes off.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows([_cell(row.get(column)) for column in (*KEY_COLUMNS, *COLUMNS)] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def read_csv(content: bytes, *, local: bool = False) -> tuple[Sequence[Record], Sequence[Problem]]:
    """The records of a file, and what is wrong with it; the values of a record's columns are not looked at.

    A line whose tenant or version is wrong makes no record, and is told with all that is wrong in it; for that,
    `local` is as for `parse_provider`.

    The first line names the columns: TenantId, FhirVersion, and any others of the table. Semicolons may stand for
    commas, as in the spreadsheets of half of Europe. A column without a name and without a value, which spreadsheets
    leave at the end, is none. A file has at most 20,000 rows.
    """
    try:
        text = decoded(content)
    except UnicodeDecodeError:
        return (), (Problem(1, "", "the file is not in UTF-8: save it as CSV UTF-8"),)
    records: list[Record] = []
    problems: list[Problem] = []
    header: Sequence[str] = ()
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    began, rows = 1, 0
    try:
        for cells in lines:
            line, began = began, lines.line_num + 1
            if not any(map(str.strip, cells)):
                continue
            if not header:
                header = _header(cells)
                problems += _header_problems(line, header)
                if problems:
                    return (), problems
            elif (rows := rows + 1) > _MAX_ROWS:
                problems.append(Problem(line, "", f"a file has at most {_MAX_ROWS} rows: part it"))
                break
            elif isinstance(found := _record(line, header, cells, local=local), Record):
                records.append(found)
            else:
                problems += found
    except csv.Error as error:
        problems.append(Problem(began, "", f"is no CSV: {error}"))
    problems += _repetitions(records)
    if not records and not problems:
        problems.append(Problem(began, "", "there is nothing in the file but perhaps a header"))
    return records, sorted(problems, key=lambda problem: problem.line)


def _delimiter(text: str) -> str:
    first_line = text.partition("\n")[0]
    return ";" if first_line.count(";") > first_line.count(",") else ","


def _header(cells: Sequence[str]) -> Sequence[str]:
    """The names in the first line, as the table has them, without those that are empty at its end."""
    names = [_NAMES.get(cell.strip().lower(), cell.strip()) for cell in cells]
    while not names[-1]:
        names.pop()
    return names


def _header_problems(line: int, header: Sequence[str]) -> Iterator[Problem]:
    for column in (TENANT_ID, FHIR_VERSION):
        if column not in header:
            yield Problem(line, column, "is missing in the first line, which names the columns")
    for place, column in enumerate(header):
        if column and column not in HEADER:
            yield Problem(line, column[:64], "is not a column of a tenants' file")
        elif column and column in header[:place]:
            yield Problem(line, column, "stands twice in the first line")


def _record(line: int, header: Sequence[str], cells: Sequence[str], *, local: bool) -> Record | Sequence[Problem]:
    if len(cells) < len(header) or any(map(str.strip, cells[len(header) :])):
        return [Problem(line, "", f"has {len(cells)} cells, but the first line names {len(header)} columns")]
    columns = {column: _value(cell) for column, cell in zip(header, cells, strict=False)}
    if columns.pop("", ""):
        return [Problem(line, "", "has a value in a column that the first line does not name")]
    keys = dict(zip(KEY_COLUMNS, (columns.pop(TENANT_ID), columns.pop(FHIR_VERSION)), strict=True))
    tenant, version = parse_tenant_id(keys["PartitionKey"]), parse_version(keys["RowKey"])
    if tenant is not None and version is not None:
        return Record(line, tenant, version, columns)
    try:
        parse_provider({**keys, **columns}, local=local)
    except RowError as error:
        return [problem for problem in _problems(line, error) if problem.column in header]
    return []


def _problems(line: int, error: RowError) -> Sequence[Problem]:
    return [Problem(line, NAME_OF_KEY.get(column, column), text) for column, text in error.problems]


def _repetitions(records: Iterable[Record]) -> Iterator[Problem]:
    seen: dict[tuple[str, FhirVersion], int] = {}
    for record in records:
        line = seen.setdefault((record.tenant, record.version), record.line)
        if line != record.line:
            yield Problem(record.line, TENANT_ID, f"the same tenant and version stand in line {line}")


def _cell(value: object) -> str:
    text = column_text(value)
    return f"'{text}" if _FORMULA.match(text) else text


def _value(cell: str) -> str:
    text = cell.strip()
    return text[1:] if _QUOTED_FORMULA.match(text) else text


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A line of a file and what it would write."""

    record: Record
    change: RowChange


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What a file would do. Nothing may be written while there are problems.

    A line that names a row of the table changes the columns that the file has, and leaves the others; `unchanged` are
    the lines whose rows mean the same already.
    """

    additions: Sequence[PlannedRow]
    replacements: Sequence[PlannedRow]
    unchanged: int
    problems: Sequence[Problem]

    @property
    def rows(self) -> Sequence[PlannedRow]:
        """Everything to write."""
        return [*self.additions, *self.replacements]

    @property
    def fingerprint(self) -> str:
        """The same for another plan only if it writes the same over the same rows."""
        changes = [row.change for row in self.rows]
        parts = [(sorted(change.row.items()), change.read and etag_of(change.read)) for change in changes]
        return hashlib.sha256(repr(parts).encode()).hexdigest()


class TenantImport:
    """Plans imports, and carries them out. What was interrupted is finished by doing the same again."""

    def __init__(self, tenants: TenantRegistry) -> None:
        self._tenants = tenants

    async def plan(self, content: bytes) -> ImportPlan:
        """What a CSV file would do to the rows as they are now. Raises StoreUnavailable."""
        records, found = read_csv(content, local=self._tenants.local)
        problems = list(found)
        rows = by_meaning(await self._tenants.rows()) if records else {}
        planned: list[PlannedRow] = []
        for number, record in enumerate(records):
            if number % _CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            meaning = (record.tenant, record.version)
            try:
                change = self._tenants.changed(meaning, rows.get(meaning, ()), record.columns)
            except RowError as error:
                problems += _problems(record.line, error)
            else:
                planned.append(PlannedRow(record, change))
        needed = [row for row in planned if row.change.needed]
        return ImportPlan(
            additions=[row for row in needed if row.change.read is None],
            replacements=[row for row in needed if row.change.read is not None],
            unchanged=len(planned) - len(needed),
            problems=sorted(problems, key=lambda problem: problem.line),
        )

    async def carry_out(
        self, rows: Sequence[PlannedRow], written: Callable[[PlannedRow], Awaitable[None]]
    ) -> Sequence[PlannedRow]:
        """Writes rows of a plan, tells `written` of each, and returns those that someone else was quicker to write.

        A store that fails ends it, and so does an interruption: what is under way is waited for and told, so that none
        is written without a trace, and StoreUnavailable or CancelledError is raised.
        """
        waiting = iter(rows)
        conflicts: list[PlannedRow] = []
        failures: list[BaseException] = []

        async def work() -> None:
            for row in waiting:
                try:
                    await self._tenants.write(row.change)
                except StoreConflict:
                    conflicts.append(row)
                except StoreUnavailable as error:
                    failures.append(error)
                else:
                    await written(row)
                if failures:
                    return

        working = asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError as error:
            failures.append(error)
            await working
        if failures:
            raise failures[0]
        return conflicts
