"""The changes that people made: the table `Activity`, kept for 90 days, beside the audit log's lines."""

import asyncio
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.audit import AuditLog
from shared.directory.traffic import ALL, hospital_subject
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Table

_LAST_MICROSECOND = 10**16 - 1  # a row's key counts down from it, so that the latest stands first

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Activity:
    """A change: who made it, what it was (`client.disable`), to what, and which columns or ids."""

    at: datetime
    actor: str
    action: str
    subject: str
    detail: str


class ActivityLog:
    """Writes an audit line and rows for each change, and reads the latest.

    A row stands in the partition `all` and in that of its subject: `hospital.<tenant>.<version>`, `client.<client_id>`
    or `keys`. RowKey = `<microseconds left until the year 2286>.<8 hex digits>`.
    """

    def __init__(self, table: Table, audit: AuditLog) -> None:
        self._table = table
        self._audit = audit

    async def change(self, *, actor: str, action: str, subject: str, detail: str = "", in_all: bool = True) -> None:
        """Notes a change that was made; it never fails.

        `subject` is `<tenant>/<version>`, a client's id or a key's, or "" for none in particular; `detail` names
        columns or ids, never a value of theirs. With `in_all` false the change, one of many at once, stands among its
        subject's only.
        """
        self._audit.change(actor=actor, action=action, subject=subject, detail=detail)
        now = datetime.now(UTC)
        row = {"RowKey": f"{_countdown(now)}.{secrets.token_hex(4)}", "At": now}
        row |= {"Actor": actor, "Action": action, "Subject": subject, "Detail": detail}
        partitions = [*([ALL] if in_all else []), *([_partition(action, subject)] if subject else [])]
        try:
            await asyncio.gather(*(self._table.insert({"PartitionKey": key, **row}) for key in partitions))
        except StoreUnavailable as error:
            _log.warning("a change is in the log alone: %s", error)

    async def latest(self, subject: str = ALL, count: int = 20) -> tuple[Activity, ...]:
        """The latest changes of a partition, the last one first. Raises StoreUnavailable."""
        return tuple(
            Activity(
                _time(row.get("At")), *(str(row.get(column, "")) for column in ("Actor", "Action", "Subject", "Detail"))
            )
            for row in await self._table.first(subject, count)
        )

    async def delete_before(self, limit: datetime) -> int:
        """Deletes the rows older than `limit`, and returns how many there were. Raises StoreUnavailable."""
        return await self._table.delete_where("RowKey gt @limit", {"limit": _countdown(limit)})


def _countdown(at: datetime) -> str:
    return f"{_LAST_MICROSECOND - int(at.timestamp() * 1_000_000):016d}"


def _partition(action: str, subject: str) -> str:
    kind = action.partition(".")[0]
    if kind == "keys":
        return kind
    return hospital_subject(*subject.split("/")) if kind == "tenant" else f"{kind}.{subject}"


def _time(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromtimestamp(0, UTC)
