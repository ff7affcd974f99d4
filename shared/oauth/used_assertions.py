"""The assertions that were used, each by its `jti` (RFC 7523 section 3), on all instances."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from shared.stores.errors import StoreConflict
from shared.stores.tables import Row, Table

_MAX_TOGETHER = 100  # rows of a transaction of Table Storage


class _Use(Struct, frozen=True):
    """A request's wish to use an assertion, and whether it may."""

    row: Row
    is_first: asyncio.Future[bool]


class UsedAssertions:
    """The table `Assertions` (PartitionKey = client_id, RowKey = SHA-256 of the `jti`, `Expires`).

    A client's rows go one after another: those that come while some are under way go together in the next transaction,
    which costs a third of as many single inserts. A request that nothing is ahead of waits for none, and no client for
    another.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._waiting: dict[str, list[_Use]] = {}  # of each client that has rows under way
        self._tasks: set[asyncio.Task[None]] = set()

    async def use(self, client_id: str, jti: str, expires: int) -> bool:
        """Whether this is the first use of a client's assertion, which is good until `expires` (seconds since 1970).

        One that was sent stays used when its request is cancelled. Raises StoreUnavailable when that can't be noted.
        """
        row = {"PartitionKey": client_id, "RowKey": _row_key(jti), "Expires": datetime.fromtimestamp(expires, UTC)}
        use = _Use(row, asyncio.get_running_loop().create_future())
        waiting = self._waiting.get(client_id)
        if waiting is not None:
            waiting.append(use)
        else:
            self._waiting[client_id] = [use]
            task = asyncio.create_task(self._insert_waiting(client_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await use.is_first

    async def is_used(self, client_id: str, jti: str) -> bool:
        """Whether a client's assertion was used. Raises StoreUnavailable."""
        return await self._table.get(client_id, _row_key(jti)) is not None

    async def close(self) -> None:
        """Waits for what is being written."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _insert_waiting(self, client_id: str) -> None:
        """Inserts a client's rows until none waits."""
        taken: list[_Use] = []
        try:
            while taken := self._waiting[client_id]:
                self._waiting[client_id] = []
                rows = defaultdict[object, list[_Use]](list)  # a transaction must not name a row twice
                for use in taken:
                    if not use.is_first.done():  # else its request was cancelled
                        rows[use.row["RowKey"]].append(use)
                uses = list(rows.values())
                parts = range(0, len(uses), _MAX_TOGETHER)
                await asyncio.gather(*(self._insert(uses[at : at + _MAX_TOGETHER]) for at in parts))
        finally:
            for use in (*taken, *self._waiting.pop(client_id)):
                use.is_first.cancel()  # where this task was: nobody waits for ever

    async def _insert(self, rows: Sequence[Sequence[_Use]]) -> None:
        """Inserts rows of one client, and tells those who wait for each: the first of them has used it."""
        first, *others = (uses[0].row for uses in rows)
        try:
            await (self._table.insert_together(first, *others) if others else self._table.insert(first))
        except StoreConflict:
            if others:  # one of them was there, so none was inserted
                await asyncio.gather(*(self._insert([uses]) for uses in rows))
            else:
                _tell(rows[0], False)
        except Exception as error:
            for use in (use for uses in rows for use in uses):
                if not use.is_first.done():
                    use.is_first.set_exception(error)
        else:
            for uses in rows:
                _tell(uses[:1], True)
                _tell(uses[1:], False)


def _tell(uses: Sequence[_Use], is_first: bool) -> None:
    for use in uses:
        if not use.is_first.done():
            use.is_first.set_result(is_first)


def _row_key(jti: str) -> str:
    return hashlib.sha256(jti.encode("utf-8", "surrogatepass")).hexdigest()
