"""The last check of each hospital: the table `Checks`, which holds nothing of a patient."""

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from shared.directory.provider import Provider
from shared.fhir.versions import FhirVersion
from shared.onboarding.report import Report, Verdict, to_json
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Row, Table

_MAX_REPORT_BYTES = 60 * 1024  # of a column's 64 KiB: a statement may declare any number of formats
_UNFINISHED = "unfinished"
_SHORT_COLUMNS = [
    *("PartitionKey", "RowKey", "At", "By", "Verdict", "Since", "Binding", "Problem", "Milliseconds"),
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """A hospital's last check. Times are UTC.

    `verdict` is None for one that was ended before it was through, `since` is when this verdict began, `problem` the
    first problem's text or "", `milliseconds` the time of the slowest call. A `binding` other than the provider's tells
    that its row has changed since. `report` is `to_json` of the report, where it was asked for and is there.
    """

    tenant: str
    version: FhirVersion
    at: datetime
    by: str
    verdict: Verdict | None
    since: datetime
    binding: str
    problem: str
    milliseconds: int
    report: Mapping[str, Any] | None = None


class CheckLog:
    """The table `Checks` (PartitionKey = tenant, RowKey = FHIR version)."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def record(self, provider: Provider, report: Report | None, by: str) -> None:
        """Keeps the report of a check that `by` made now, None for one that was ended early; it never fails."""
        now, verdict = datetime.now(UTC), _UNFINISHED if report is None else report.verdict.value
        content = b"" if report is None else zlib.compress(orjson.dumps(to_json(report)))
        row = {
            "PartitionKey": provider.tenant,
            "RowKey": provider.version.value,
            "At": now,
            "By": by,
            "Verdict": verdict,
            "Binding": provider.binding,
            "Problem": _problem(report),
            "Milliseconds": round((report.slowest if report is not None else None) or 0),
            "Report": content if len(content) <= _MAX_REPORT_BYTES else b"",
        }
        try:
            last = await self._table.get(provider.tenant, provider.version.value) or {}
            same = (last.get("Verdict"), last.get("Binding")) == (verdict, provider.binding)
            await self._table.put({**row, "Since": last.get("Since", now) if same else now})
        except StoreUnavailable as error:
            _log.warning("a check's report is not kept: %s", error)

    async def latest(self, tenant: str, version: FhirVersion) -> Check | None:
        """The last check of a hospital with its report; None before the first. Raises StoreUnavailable."""
        row = await self._table.get(tenant, version.value)
        return None if row is None else _check(row)

    async def all(self) -> Mapping[tuple[str, FhirVersion], Check]:
        """Every hospital's last check, without its report. Raises StoreUnavailable."""
        checks = [_check(row) async for row in self._table.scan(_SHORT_COLUMNS)]
        return {(check.tenant, check.version): check for check in checks if check is not None}

    async def delete(self, tenant: str, version: FhirVersion) -> None:
        """Forgets a hospital's check. Raises StoreUnavailable."""
        await self._table.delete(tenant, version.value)


def _problem(report: Report | None) -> str:
    if report is None:
        return "the check was not through in time"
    return next((problem.text for _, problem in report.problems()), "")


def _check(row: Row) -> Check | None:
    """A row's check; None for a row that another release, or a person, wrote in a form of their own."""
    try:
        report, verdict, milliseconds = row.get("Report"), str(row["Verdict"]), row["Milliseconds"]
        return Check(
            str(row["PartitionKey"]),
            FhirVersion(row["RowKey"]),
            _time(row["At"]),
            str(row["By"]),
            None if verdict == _UNFINISHED else Verdict(verdict),
            _time(row["Since"]),
            str(row["Binding"]),
            str(row["Problem"]),
            milliseconds if isinstance(milliseconds, int) else 0,
            orjson.loads(zlib.decompress(report)) if isinstance(report, bytes) and report else None,
        )
    except (KeyError, ValueError, zlib.error):
        return None


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise ValueError("no time")
    return value
