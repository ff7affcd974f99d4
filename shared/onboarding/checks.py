"""The last check of each hospital, and when its credentials end: the table `Checks`, with nothing of a patient."""

import logging
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import orjson

from shared.directory.provider import Provider
from shared.fhir.versions import FhirVersion
from shared.onboarding.report import Report, Verdict, to_json
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Row, Table
from shared.stores.vault import Vault
from shared.upstream.credentials.stored import stored_credentials

_MAX_REPORT_BYTES = 60 * 1024  # of a column's 64 KiB: a statement may declare any number of formats
_UNFINISHED = "unfinished"
_SHORT_COLUMNS = [
    *("PartitionKey", "RowKey", "At", "By", "Verdict", "Since", "Binding", "Problem", "Milliseconds", "Ends"),
]

_ends = msgspec.json.Decoder(dict[str, Annotated[datetime, msgspec.Meta(tz=True)] | None]).decode

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """A hospital's last check. Times are UTC.

    `verdict` is None for one that was ended before it was through, `since` is when this verdict began, `problem` the
    first problem's text or "", `milliseconds` the time of the slowest call. A `binding` other than the provider's tells
    that its row has changed since. `ends` has the end of each credential by its name, None for never. `report` is
    `to_json` of the report, where it was asked for and is there.
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
    ends: Mapping[str, datetime | None]
    report: Mapping[str, Any] | None = None


class CheckLog:
    """The table `Checks` (PartitionKey = tenant, RowKey = FHIR version)."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def record(self, provider: Provider, report: Report | None, by: str, vault: Vault) -> None:
        """Keeps the report of a check that `by` made now, None for one that was ended early; it never fails.

        `vault` has the provider's credentials, whose ends are kept beside it.
        """
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
            ends = {each.name: each.ends for each in await stored_credentials(vault, provider.auth)}
            last = await self._table.get(provider.tenant, provider.version.value) or {}
            same = (last.get("Verdict"), last.get("Binding")) == (verdict, provider.binding)
            since = last.get("Since", now) if same else now
            await self._table.put({**row, "Since": since, "Ends": orjson.dumps(ends).decode()})
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


def latest_ends(checks: Iterable[Check]) -> Mapping[str, datetime | None]:
    """When credentials end, by their names, as the latest of the checks found it: one may be of many hospitals."""
    ends: dict[str, datetime | None] = {}
    for check in sorted(checks, key=lambda check: check.at):
        ends |= check.ends
    return ends


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
            _ends(str(row["Ends"])),
            orjson.loads(zlib.decompress(report)) if isinstance(report, bytes) and report else None,
        )
    except (KeyError, ValueError, zlib.error):
        return None


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise ValueError("no time")
    return value
