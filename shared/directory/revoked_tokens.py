"""The access tokens that their clients revoked before they expired (RFC 7009)."""

from datetime import UTC, datetime

from cachetools import LRUCache

from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.tables import Table

_SIZE = 5_000
_REMEMBERED = 100
_SINGLE_SIZE = 20_000


class RevokedTokens:
    """The table `Revoked` (PartitionKey = client_id, RowKey = `<until>.<jti>`, `Expires` = until).

    `until` is when the token is good no more anyway, in seconds since 1970, so that what has ended stands before the
    rest. This instance knows at once what it added, whether the table answers then or not, and the others within
    `CACHE_SECONDS`. Of a client's revoked tokens the first 100 are remembered together; where there are more, each
    token of it is looked up alone.
    """

    def __init__(self, table: Table, settings: Settings) -> None:
        self._table = table
        self._added: LRUCache[tuple[str, str], None] = LRUCache(_SINGLE_SIZE)
        fresh, stale = settings.cache_seconds, settings.stale_seconds
        self._first: Cache[str, frozenset[str]] = Cache(
            self._load_first, fresh_seconds=fresh, stale_seconds=stale, size=_SIZE
        )
        self._single: Cache[tuple[str, str], bool] = Cache(
            self._load_single, fresh_seconds=fresh, stale_seconds=stale, size=_SINGLE_SIZE
        )

    async def holds(self, client_id: str, token_id: str, until: int) -> bool:
        """Whether a client revoked this token of its own. Raises StoreUnavailable."""
        key = _row_key(token_id, until)
        if (client_id, key) in self._added:
            return True
        first = await self._first.get(client_id) or frozenset()
        if key in first or len(first) < _REMEMBERED:
            return key in first
        return await self._single.get((client_id, key)) is not None

    async def add(self, client_id: str, token_id: str, until: int) -> None:
        """Ends a token. Raises StoreUnavailable."""
        key = _row_key(token_id, until)
        await self._table.put({"PartitionKey": client_id, "RowKey": key, "Expires": datetime.fromtimestamp(until, UTC)})
        self._added[client_id, key] = None

    async def _load_first(self, client_id: str) -> frozenset[str]:
        rows = await self._table.first(client_id, _REMEMBERED, after=str(int(datetime.now(UTC).timestamp())))
        return frozenset(str(row["RowKey"]) for row in rows)

    async def _load_single(self, key: tuple[str, str]) -> bool | None:
        return True if await self._table.get(*key) is not None else None


def _row_key(token_id: str, until: int) -> str:
    return f"{until}.{token_id}"
