"""What happened for each hospital and each client, by five minutes: counted in memory, kept in the table `Traffic`.

A row is one subject's hour (UTC) as one instance saw it, without anything of a patient. No two write the same row:

    PartitionKey  hospital.72f988bf-86f1-41af-91ab-2d7cd011db47.stu3     or client.<client_id>, or all
    RowKey        2026112614.9f86d081
    Slots         {"0":{"n":12,"2xx":10,"5xx":2,"timed-out":2,"u":61500000,"u11":10,"u25":2,"g":14000,"g4":12},"3":...}

`Slots` has the hour's twelve five minutes by number: `n` FHIR and `t` token requests, statuses, kinds of errors, and
for each hop, by its first letter, microseconds altogether and requests by bucket of BOUNDS. Rows of `all` have besides
the columns `Digest0`, `Digest1`, ...: pieces of one zlib'd JSON with the hour of each subject, so that nobody need
read the rows of each: `{"hospital....": [{"n":12,"timed-out":2,"u11":10,"u25":2},<success>,<since>,<failure>,
"timed-out"]}`. The times, in seconds since 1970 and 0 for never, are the latest success, the first failure after it,
and the latest failure, whose kind follows. Of more subjects than fit a row, `<RowKey>.1` and so on have the others.
"""

import asyncio
import logging
import random
import secrets
import time
import zlib
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
import orjson
from msgspec import Struct

from shared.error_kind import ErrorKind, Side
from shared.pauses import paused
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Row, Table

ALL = "all"
SLOT_SECONDS = 300
SLOTS_OF_HOUR = 12
HOPS: Mapping[str, str] = {name: name[0] for name in ("auth", "directory", "credential", "upstream", "gateway")}
BOUNDS = tuple(10 ** (step / 5) for step in range(-2, 28))
"""What parts the buckets of a hop's milliseconds: five a decade, from 0.4 ms to 251 s."""

_BUCKETS = {hop: tuple(f"{code}{bucket}" for bucket in range(len(BOUNDS) + 1)) for hop, code in HOPS.items()}
_STATUSES = ("", "1xx", "2xx", "3xx", "4xx", "5xx")
_NOT_IN_DIGEST = frozenset(HOPS.values()).union(*(codes for hop, codes in _BUCKETS.items() if hop != "upstream"))
_JITTER_SECONDS = 30.0
_AT_ONCE = 8  # writes
_MAX_NOTED = 256
_MAX_PAIRS = 2_000  # of half a kilobyte each
_MAX_ROWS = 20_000
_SUBJECTS_A_ROW = 2_000  # of a digest: a row may have 1 MiB
_COLUMN_BYTES = 60_000  # a binary column may have 64 KiB

_log = logging.getLogger(__name__)

Counts = Mapping[str, int]
_Pairs = dict[tuple[str, str], defaultdict[str, int]]
_Noted = tuple[float, str, str, int, ErrorKind | None, Mapping[str, float], bool]


def hospital_subject(tenant: str, version: str) -> str:
    """The subject that one row of the table `Tenants` is."""
    return f"hospital.{tenant}.{version}"


def client_subject(client_id: str) -> str:
    """The subject that a client is."""
    return f"client.{client_id}"


def hour_key(seconds: float) -> str:
    """The hour of a time as row keys begin with it, so that they sort by it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H")


@dataclass(slots=True)
class _Health:
    """When a subject was last served, since when it has not been, and why; seconds since 1970, 0 for never."""

    success: int = 0
    since: int = 0
    failure: int = 0
    kind: str = ""

    def succeeded(self, now: int) -> None:
        self.success, self.since = now, 0

    def failed(self, now: int, kind: str) -> None:
        self.since = self.since or now
        self.failure, self.kind = now, kind


class _Total(Struct, array_like=True):
    """The sum of a row's slots as the digest has it."""

    total: dict[str, int] = {}


class _SubjectsHour(_Total, array_like=True):
    """One row: its slots by number besides. It is kept packed (MessagePack), in a fraction of what the dicts take."""

    slots: dict[int, dict[str, int]] = {}


@dataclass(slots=True)
class _Hour:
    """The rows of an hour. Begun anew for one that was written and let go of, it has another id, and other rows."""

    id: str = field(default_factory=lambda: secrets.token_hex(4))
    rows: dict[str, bytes] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)


_pack = msgspec.msgpack.Encoder().encode
_unpacked = msgspec.msgpack.Decoder(_SubjectsHour).decode
_total = msgspec.msgpack.Decoder(_Total).decode


class Traffic:
    """Counts requests, and writes what it counted at most once in five minutes: its end loses no more than that.

    A request is only noted; each 256 together add to integers of their clients and hospitals. Subjects are what the
    directory knows, so strangers make none; at most 20,000 rows are held (some 1 KB each where all five minutes are
    busy). While the table is away they wait, and nothing is lost until they are that many: then the oldest hours go.
    """

    def __init__(self, table: Table, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock
        self._noted: list[_Noted] = []
        self._slot = 0
        self._pairs: _Pairs = {}
        self._full: list[tuple[int, _Pairs]] = []
        self._hours: dict[int, _Hour] = {}
        self._health: dict[str, _Health] = {}
        self._flushing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None

    def fhir_request(
        self,
        client_id: str,
        hospital: str,
        status: int,
        kind: ErrorKind | None,
        hops: Mapping[str, float],
        *,
        answered: bool,
    ) -> None:
        """Counts a FHIR request; `hops` are its milliseconds, `answered` says that the provider served it.

        `client_id` and `hospital`, a subject, are "" unless the directory knows them.
        """
        self._note((self._clock(), client_id, hospital, status, kind, hops, answered))

    def token_request(self, client_id: str, kind: ErrorKind | None) -> None:
        """Counts a token request; `client_id` is "" unless the directory knows it."""
        self._note((self._clock(), client_id, "", 0, kind, {}, False))

    async def flush(self) -> None:
        """Writes every row that has changed since it was written; what can't be written is tried the next time."""
        self._count()
        self._turn(self._slot)
        async with self._flushing:
            await self._add_up()
            await self._write()

    async def close(self) -> None:
        """Writes what is left."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        await self.flush()

    def _note(self, noted: _Noted) -> None:
        """Keeps a request to be counted with others: one after the other they cost less than each by itself."""
        if self._writer is None and not self._closing:
            self._writer = asyncio.create_task(self._keep_writing())
        self._noted.append(noted)
        if len(self._noted) >= _MAX_NOTED:
            self._count()

    def _count(self) -> None:
        noted, self._noted = self._noted, []
        for at, client_id, hospital, status, kind, hops, answered in noted:
            now = int(at)
            client = client_subject(client_id) if client_id else ""
            if self._slot != now // SLOT_SECONDS or len(self._pairs) >= _MAX_PAIRS:
                self._turn(now // SLOT_SECONDS)
                self._wake.set()
            counts = self._pairs.get((client, hospital))
            if counts is None:
                counts = self._pairs[client, hospital] = defaultdict(int)
            if status:
                counts["n"] += 1
                counts[_STATUSES[status // 100]] += 1
            else:
                counts["t"] += 1
            for hop, milliseconds in hops.items():
                counts[HOPS[hop]] += int(milliseconds * 1000)
                counts[_BUCKETS[hop][bisect(BOUNDS, milliseconds)]] += 1
            if kind is not None:
                counts[kind.value] += 1
            if client and kind is None:
                self._health_of(client).succeeded(now)
            elif client and kind is not None and kind.side is Side.CLIENT:
                self._health_of(client).failed(now, kind.value)
            if hospital and answered:
                self._health_of(hospital).succeeded(now)
            elif hospital and kind is not None and kind.side is Side.HOSPITAL and kind is not ErrorKind.NOT_ASKED:
                self._health_of(hospital).failed(now, kind.value)

    def _health_of(self, subject: str) -> _Health:
        health = self._health.get(subject)
        if health is None:
            health = self._health[subject] = _Health()
        return health

    def _turn(self, slot: int) -> None:
        """Puts away what was counted so far, to be added up beside the requests."""
        if self._pairs:
            self._full.append((self._slot, self._pairs))
        self._slot, self._pairs = slot, {}

    async def _keep_writing(self) -> None:
        due = self._next_write()
        while not self._closing:
            try:
                async with asyncio.timeout(max(due - self._clock(), 0.0)):
                    await self._wake.wait()
            except TimeoutError:
                await self.flush()
                due = self._next_write()
            else:
                self._wake.clear()
                async with self._flushing:
                    await self._add_up()

    def _next_write(self) -> float:
        now = self._clock()
        return now - now % SLOT_SECONDS + SLOT_SECONDS + random.uniform(0, _JITTER_SECONDS)  # noqa: S311 (no secret)

    async def _add_up(self) -> None:
        while self._full:
            await paused(self._added(*self._full.pop(0)))
        kept = sum(len(hour.rows) for hour in self._hours.values())
        for start in sorted(self._hours)[:-1]:
            if kept > _MAX_ROWS:
                kept -= len(self._hours[start].rows)
                _log.error("traffic of an hour not written: %d rows are lost", len(self._hours.pop(start).unwritten))
        while len(self._health) > _MAX_ROWS:
            del self._health[next(iter(self._health))]

    def _added(self, slot: int, pairs: _Pairs) -> Generator[None, None, None]:
        sums: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for pair in list(pairs):  # let go of one by one, as their sums take as much
            counts = pairs.pop(pair)
            for subject in (ALL, *filter(None, pair)):
                add_counts(sums[subject], counts)
            yield
        number, slot = divmod(slot, SLOTS_OF_HOUR)
        hour = self._hours.setdefault(number, _Hour())
        for subject in list(sums):
            counted = sums.pop(subject)
            if subject not in hour.rows and len(hour.rows) >= _MAX_ROWS:
                continue
            hour.rows[subject] = _packed_with(hour.rows.get(subject), slot, counted)
            hour.unwritten.add(subject)
            yield

    async def _write(self) -> None:
        """The rows of `all` first: they name the others, which are found by them once they are old.

        After a failure none, as the next would wait for the store likewise.
        """
        changed = [(number, subject) for number, hour in self._hours.items() for subject in hour.unwritten]
        failed = False

        async def write(waiting: Iterator[tuple[int, str]]) -> None:
            nonlocal failed
            for number, subject in waiting:
                if failed:
                    return
                try:
                    for row in self._rows(number, subject):
                        await self._table.put(row)
                    self._hours[number].unwritten.discard(subject)
                except Exception as error:  # whatever it is, what was counted is written the next time
                    if failed:
                        return
                    failed = True
                    _log.warning("traffic not written: %s", error, exc_info=not isinstance(error, StoreUnavailable))

        for of_all in (True, False):
            waiting = iter([each for each in changed if (each[1] == ALL) is of_all])
            await asyncio.gather(*(write(waiting) for _ in range(_AT_ONCE)))
        this_hour = int(self._clock()) // SLOT_SECONDS // SLOTS_OF_HOUR
        for number in [number for number, hour in self._hours.items() if not hour.unwritten and number < this_hour]:
            del self._hours[number]

    def _rows(self, number: int, subject: str) -> Iterator[Row]:
        hour = self._hours[number]
        key = f"{hour_key(number * SLOT_SECONDS * SLOTS_OF_HOUR)}.{hour.id}"
        slots = msgspec.json.encode(_unpacked(hour.rows[subject]).slots).decode()
        row: dict[str, object] = {"PartitionKey": subject, "RowKey": key, "Slots": slots}
        if subject != ALL:
            yield row
            return
        subjects = [each for each in hour.rows if each != ALL]
        for part in range(0, max(len(subjects), 1), _SUBJECTS_A_ROW):
            if part:
                row = {"PartitionKey": ALL, "RowKey": f"{key}.{part // _SUBJECTS_A_ROW}"}
            digest = {}
            for each in subjects[part : part + _SUBJECTS_A_ROW]:
                health = self._health.get(each) or _Health()
                times = health.success, health.since, health.failure, health.kind
                digest[each] = [_total(hour.rows[each]).total, *times]
            packed = zlib.compress(orjson.dumps(digest))
            for column, start in enumerate(range(0, len(packed), _COLUMN_BYTES)):
                row[f"Digest{column}"] = packed[start : start + _COLUMN_BYTES]
            yield row


def _packed_with(packed: bytes | None, slot: int, counts: Counts) -> bytes:
    """A row to which the counts of a slot were added."""
    hour = _SubjectsHour() if packed is None else _unpacked(packed)
    add_counts(hour.slots.setdefault(slot, {}), counts)
    add_counts(hour.total, {code: count for code, count in counts.items() if code not in _NOT_IN_DIGEST})
    # A copy: the bytes that encoders make hold on to the buffer that they began with.
    return bytes(bytearray(_pack(hour)))


def add_counts(sums: dict[str, int], counts: Counts) -> dict[str, int]:
    """Adds counts to sums, which it returns."""
    for code, count in counts.items():
        sums[code] = sums.get(code, 0) + count
    return sums
