"""Many tenants' rows at once: all are checked before one is written."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from azure.data.tables.aio import TableServiceClient

from shared.azure.tables import TENANTS, Table, etag_of
from shared.directory.errors import StoreConflict, StoreUnavailable
from shared.directory.provider import Provider, Row, RowError
from shared.directory.tenant_id import parse_tenant_id
from shared.directory.tenant_registry import TenantRegistry
from shared.directory.tenant_row import parse_provider, parse_version
from shared.fhir.versions import FhirVersion
from shared.portal.snapshot import Snapshot
from shared.portal.tenant_csv import Problem, Record, read_csv
from shared.portal.tenant_form import column_text

_AT_ONCE = 32  # 10,000 rows take 20 s against Azurite


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A record that adds a row, or changes the named columns of one; `stored` is what it was checked against."""

    record: Record
    name: str
    stored: Row | None
    columns: Sequence[str]


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What a file would do. Nothing may be written while there are problems."""

    additions: Sequence[PlannedRow]
    changes: Sequence[PlannedRow]
    unchanged: int
    problems: Sequence[Problem]

    @property
    def rows(self) -> Sequence[PlannedRow]:
        """Everything to write."""
        return [*self.additions, *self.changes]

    @property
    def fingerprint(self) -> str:
        """The same for another plan only if it writes the same on the same rows."""
        parts = [
            (
                row.record.tenant,
                row.record.version.value,
                sorted(row.record.columns.items()),
                etag_of(row.stored) if row.stored is not None else None,
            )
            for row in self.rows
        ]
        return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How many rows were written, of how many; the rest waits for another try when a store failed."""

    written: int
    planned: int


class TenantImport:
    """Plans imports, and carries them out. `local` (a laptop) also allows http URLs on loopback."""

    def __init__(self, service: TableServiceClient, *, local: bool) -> None:
        self._service = service
        self._local = local

    async def plan(self, content: bytes) -> ImportPlan:
        """What a CSV file would do to the rows as they are now. Raises StoreUnavailable."""
        records, found = read_csv(content)
        problems = list(found)
        stored = await self._stored() if records else {}
        additions: list[PlannedRow] = []
        changes: list[PlannedRow] = []
        unchanged = 0
        for record in records:
            await asyncio.sleep(0)  # a long file is not to hold up other visits
            rows = stored.get((record.tenant, record.version), ())
            registry = self._registry(rows)
            try:
                provider = await registry.preview(record.tenant, record.version, record.columns)
            except RowError as error:
                problems.append(Problem(record.line, error.column, error.problem))
                continue
            row = rows[0] if rows else None
            columns = [
                column
                for column, value in record.columns.items()
                if column_text(row.get(column) if row is not None else None) != value.strip()
            ]
            planned = PlannedRow(record, provider.name, row, columns)
            if row is None:
                additions.append(planned)
            elif provider == self._provider(row):
                unchanged += 1
            else:
                changes.append(planned)
        return ImportPlan(additions, changes, unchanged, sorted(problems, key=lambda problem: problem.line))

    async def carry_out(self, plan: ImportPlan, written: Callable[[PlannedRow], None]) -> ImportResult:
        """Writes a plan's rows, and tells `written` of each.

        A row that someone changed since the plan, or a store that fails, ends it early; the same file can then be
        planned again, and finds only the rest to do.
        """
        waiting = iter(plan.rows)
        failed = False
        count = 0

        async def work() -> None:
            nonlocal failed, count
            for row in waiting:
                if failed:
                    return
                registry = self._registry(() if row.stored is None else (row.stored,))
                try:
                    await registry.set(row.record.tenant, row.record.version, row.record.columns)
                except (StoreConflict, StoreUnavailable):
                    failed = True
                    return
                count += 1
                written(row)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        return ImportResult(count, len(plan.rows))

    async def _stored(self) -> dict[tuple[str, FhirVersion], list[Row]]:
        rows: defaultdict[tuple[str, FhirVersion], list[Row]] = defaultdict(list)
        async for row in Table(self._service, TENANTS).scan():
            tenant, version = parse_tenant_id(str(row["PartitionKey"])), parse_version(row["RowKey"])
            if tenant is not None and version is not None:
                rows[tenant, version].append(row)
        return rows

    def _provider(self, row: Row) -> Provider | None:
        try:
            return parse_provider(row, local=self._local)
        except RowError:
            return None

    def _registry(self, rows: Sequence[Row]) -> TenantRegistry:
        return TenantRegistry(Snapshot(self._service, TENANTS, rows), local=self._local)
