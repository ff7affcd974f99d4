"""The access tokens that their clients revoked before they expired (RFC 7009)."""

from datetime import UTC, datetime

from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.tables import Table

_SIZE = 5_000


class RevokedTokens:
    """The table `Revoked` (PartitionKey = client_id, RowKey = the token's `jti`, `Expires` = when the token does).

    A revocation is seen at once by this instance, and by the others within `CACHE_SECONDS`.
    """

    def __init__(self, table: Table, settings: Settings) -> None:
        self._table = table
        self._ids: Cache[str, frozenset[str]] = Cache(
            self._load, fresh_seconds=settings.cache_seconds, stale_seconds=settings.stale_seconds, size=_SIZE
        )

    async def holds(self, client_id: str, token_id: str) -> bool:
        """Whether a client revoked this token of its own. Raises StoreUnavailable."""
        return token_id in (await self._ids.get(client_id) or ())

    async def add(self, client_id: str, token_id: str, expires: int) -> None:
        """Ends a token that would have expired then, in seconds since 1970. Raises StoreUnavailable."""
        until = datetime.fromtimestamp(expires, UTC)
        await self._table.put({"PartitionKey": client_id, "RowKey": token_id, "Expires": until})
        self._ids.expire(client_id)

    async def _load(self, client_id: str) -> frozenset[str]:
        named = {"client": client_id, "now": datetime.now(UTC)}
        rows = self._table.where("PartitionKey eq @client and Expires gt @now", named, ["RowKey"])
        return frozenset([str(row["RowKey"]) async for row in rows])
