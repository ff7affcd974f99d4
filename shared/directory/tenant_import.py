"""Many tenants' rows at once, from a file: all are checked before one is written."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.directory.provider import RowError
from shared.directory.tenant_csv import NAME_OF_KEY, Problem, Record, read_csv
from shared.directory.tenant_registry import RowChange, TenantRegistry, by_meaning
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import etag_of

_AT_ONCE = 32
_CHECKED_AT_ONCE = 100  # about 5 ms: so long a check may keep an event loop


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
        records, found = read_csv(content)
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
                problems.append(Problem(record.line, NAME_OF_KEY.get(error.column, error.column), error.problem))
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
        self, rows: Sequence[PlannedRow], written: Callable[[PlannedRow], None]
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
                    written(row)
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
