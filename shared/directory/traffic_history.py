"""The table `Traffic`, read: one subject's figures over time, and the last day of all subjects at once."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from shared.directory.traffic import ALL, BOUNDS, HOPS, SLOT_SECONDS, SLOTS_OF_HOUR, Counts, add_counts, hour_key
from shared.error_kind import ErrorKind, Side
from shared.stores.cache import Cache
from shared.stores.tables import Row, Table

DAY_STEP = timedelta(minutes=30)
_HOUR_SECONDS = SLOT_SECONDS * SLOTS_OF_HOUR
_DAY_HOURS = 24
_SETTLED_SECONDS = 600  # an hour's rows are written ten minutes after it, unless the table is away
_STALE_SECONDS = 3600
_KINDS = {kind.value: kind for kind in ErrorKind}
_DIGEST_COLUMNS = tuple(f"Digest{number}" for number in range(20))


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted in some time; times are milliseconds. A digest's have the hop `upstream` only."""

    counts: Counts = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """FHIR requests."""
        return self.counts.get("n", 0)

    @property
    def token_requests(self) -> int:
        """Token requests, refused ones among them."""
        return self.counts.get("t", 0)

    @property
    def failures(self) -> Mapping[ErrorKind, int]:
        """FHIR and token requests that ended with an error, by its kind, the most frequent first."""
        found = ((kind, count) for code, count in self.counts.items() if (kind := _KINDS.get(code)))
        return dict(sorted(found, key=lambda each: -each[1]))

    def failed(self, side: Side) -> int:
        """The number of errors that arose on this side."""
        return sum(count for kind, count in self.failures.items() if kind.side is side)

    def percentile(self, hop: str, share: float) -> float | None:
        """The time within which this share of the requests made the hop (0.95 for p95); None without any.

        It is interpolated in its bucket, so it is right to a fifth or so.
        """
        buckets = self._buckets(hop)
        left = share * sum(buckets)
        for bucket, count in enumerate(buckets):
            if count and left <= count:
                lower = BOUNDS[bucket - 1] if bucket else 0.0
                upper = BOUNDS[bucket] if bucket < len(BOUNDS) else 2 * lower
                return lower + (upper - lower) * left / count
            left -= count
        return None

    def _buckets(self, hop: str) -> list[int]:
        return [self.counts.get(f"{HOPS[hop]}{bucket}", 0) for bucket in range(len(BOUNDS) + 1)]


@dataclass(frozen=True, slots=True)
class Slot:
    """The figures of the time from `start` on (UTC), until the next slot's."""

    start: datetime
    figures: Figures


@dataclass(frozen=True, slots=True)
class SubjectDay:
    """A hospital's or client's last day.

    A hospital's success is any response of its own that is no failure of it (a 404 is none), its failure an error on
    its side; a client's failure is an error on the client's. `failing_since` is the first failure after the last
    success, and None once there was one; `kind` is the last failure's.
    """

    figures: Figures
    last_success: datetime | None
    last_failure: datetime | None
    failing_since: datetime | None
    kind: ErrorKind | None


@dataclass(frozen=True, slots=True)
class Digest:
    """The last day, from `since` on: `total` by half hours, and every subject that had requests."""

    since: datetime
    total: Sequence[Slot]
    subjects: Mapping[str, SubjectDay]


@dataclass(slots=True)
class _Sum:
    """Some rows of `all`, added up; of each subject the counts, the last success, and what says of failures."""

    slots: dict[int, dict[str, int]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    success: dict[str, int] = field(default_factory=dict)
    failures: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        _add_slots(self.slots, row, 0, DAY_STEP)
        for subject, (counts, success, since, failure, kind) in _digest(row).items():
            add_counts(self.counts.setdefault(subject, {}), counts)
            self.success[subject] = max(success, self.success.get(subject, 0))
            if failure:
                self.failures.setdefault(subject, []).append((failure, since, kind))

    def copy(self) -> "_Sum":
        return _Sum(
            {slot: dict(counts) for slot, counts in self.slots.items()},
            {subject: dict(counts) for subject, counts in self.counts.items()},
            dict(self.success),
            {subject: list(failures) for subject, failures in self.failures.items()},
        )

    def day(self, subject: str) -> SubjectDay:
        success, failures = self.success[subject], self.failures.get(subject, [])
        failure, _, kind = max(failures, default=(0, 0, ""))
        failing = [max(since, success) for failed, since, _ in failures if since and failed >= success]
        return SubjectDay(
            Figures(self.counts[subject]),
            _time(success),
            _time(failure),
            _time(min(failing, default=0)),
            _KINDS.get(kind),
        )


class TrafficHistory:
    """What `Traffic` wrote, on all instances. Every method raises StoreUnavailable.

    The digest is at most `fresh_seconds` old while the table answers.
    """

    def __init__(self, table: Table, fresh_seconds: float = 60, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock
        self._past: tuple[int, _Sum] | None = None
        self._digests: Cache[str, Digest] = Cache(
            self._load, fresh_seconds=fresh_seconds, stale_seconds=_STALE_SECONDS, size=1
        )

    async def series(self, subject: str, since: datetime, until: datetime, step: timedelta) -> list[Slot]:
        """A subject's figures by `step`, also where it had none, from the five minutes of `since` on.

        The last step is the one that `until`, not counted in, ends or stands in. `subject` is of `hospital_subject` or
        `client_subject`, or ALL.
        """
        slots: dict[int, dict[str, int]] = {}
        first, end = since.timestamp() // SLOT_SECONDS * SLOT_SECONDS, until.timestamp()
        async for row in self._rows(subject, first, end, ["RowKey", "Slots"]):
            _add_slots(slots, row, int(first), step)
        return _slots(slots, first, end, step)

    async def delete_before(self, limit: datetime) -> int:
        """Deletes the rows of the hours before the one of `limit`, and returns how many there were.

        Those of `all`, the oldest first, name the others. A filter by hours alone would have Table Storage read every
        row of 90 days, a few seconds' worth a request.
        """
        deleted, before = 0, {"subject": ALL, "hour": hour_key(limit.timestamp())}
        rows = self._table.where("PartitionKey eq @subject and RowKey lt @hour", before, ["RowKey", *_DIGEST_COLUMNS])
        async for row in rows:
            key = str(row["RowKey"])
            named = [(subject, ".".join(key.split(".")[:2])) for subject in _digest(row)]
            await self._table.delete_all(named)
            await self._table.delete(ALL, key)  # last: what is interrupted is found again
            deleted += len(named) + 1
        return deleted

    async def digest(self) -> Digest:
        """The last 23 to 24 hours."""
        found = await self._digests.get("")
        assert found is not None  # noqa: S101 (it is never absent)
        return found

    async def _load(self, _: str) -> Digest:
        now = self._clock()
        settled = int(now - _SETTLED_SECONDS) // _HOUR_SECONDS
        first = (settled - _DAY_HOURS + 1) * _HOUR_SECONDS
        if self._past is None or self._past[0] != settled:
            self._past = settled, await self._read(_Sum(), first, settled * _HOUR_SECONDS)
        day = await self._read(self._past[1].copy(), settled * _HOUR_SECONDS, now + 1)
        total = _slots(day.slots, first, now + 1, DAY_STEP)
        return Digest(_utc(first), total, {subject: day.day(subject) for subject in day.counts})

    async def _read(self, into: _Sum, since: float, until: float) -> _Sum:
        async for row in self._rows(ALL, since, until, ["RowKey", "Slots", *_DIGEST_COLUMNS]):
            into.add(row)
            await asyncio.sleep(0)  # a row of 2,000 subjects takes 15 ms
        return into

    def _rows(self, subject: str, since: float, until: float, columns: list[str]) -> AsyncIterator[Row]:
        hours = "PartitionKey eq @subject and RowKey ge @first and RowKey lt @end"
        keys = {"subject": subject, "first": hour_key(since), "end": hour_key(until + _HOUR_SECONDS - 1)}
        return self._table.where(hours, keys, columns)


def _digest(row: Row) -> dict[str, Any]:
    packed = b"".join(part for name in _DIGEST_COLUMNS if isinstance(part := row.get(name), bytes))
    found: dict[str, Any] = orjson.loads(zlib.decompress(packed))
    return found


def _add_slots(sums: dict[int, dict[str, int]], row: Row, first: int, step: timedelta) -> None:
    """Adds a row's slots to the sums of the steps from `first` on, by the seconds since 1970 when each began."""
    hour = datetime.strptime(str(row["RowKey"])[:10], "%Y%m%d%H").replace(tzinfo=UTC)
    seconds = int(step.total_seconds())
    for number, counts in orjson.loads(str(row.get("Slots") or "{}")).items():
        after = int(hour.timestamp()) + int(number) * SLOT_SECONDS - first
        add_counts(sums.setdefault(first + after // seconds * seconds, {}), counts)


def _slots(sums: Mapping[int, Counts], first: float, until: float, step: timedelta) -> list[Slot]:
    starts = range(int(first), int(until), int(step.total_seconds()))
    return [Slot(_utc(start), Figures(sums.get(start, {}))) for start in starts]


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time(seconds: int) -> datetime | None:
    return _utc(seconds) if seconds else None
