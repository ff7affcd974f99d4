"""When a client's secret was last used, to the hour: so that a person knows whether an old one can go."""

import asyncio
import logging
import time
from datetime import UTC, datetime

from cachetools import LRUCache

from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Table

_SIZE = 10_000

_log = logging.getLogger(__name__)


class Usage:
    """The table `Usage` (PartitionKey = client_id, RowKey = secret_id, `LastUsed` = the hour's start, UTC).

    An instance writes a secret's row at most once an hour, beside the request; a failed write is tried again with the
    secret's next use.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._written: LRUCache[tuple[str, str], int] = LRUCache(_SIZE)
        self._tasks: set[asyncio.Task[None]] = set()

    def used(self, client_id: str, secret_id: str) -> None:
        """Notes a use now; returns at once."""
        hour = int(time.time()) // 3600
        key = (client_id, secret_id)
        if self._written.get(key) == hour:
            return
        self._written[key] = hour
        task = asyncio.create_task(self._write(key, hour))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def last_used(self, client_id: str) -> dict[str, datetime]:
        """The hour each of a client's secrets was last used, by secret id; without those never used."""
        rows = await self._table.partition(client_id)
        return {str(row["RowKey"]): used for row in rows if isinstance(used := row.get("LastUsed"), datetime)}

    async def close(self) -> None:
        """Waits for what is being written."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _write(self, key: tuple[str, str], hour: int) -> None:
        used = datetime.fromtimestamp(hour * 3600, UTC)
        try:
            await self._table.put({"PartitionKey": key[0], "RowKey": key[1], "LastUsed": used})
        except StoreUnavailable as error:
            self._written.pop(key, None)
            _log.warning("usage not written: %s", error)
