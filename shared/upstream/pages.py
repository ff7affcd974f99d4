"""Page handles: short links for a provider's further pages where a plain link can't lead through the gateway."""

import asyncio
import hashlib
import logging
import random
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cachetools import LRUCache

from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind
from shared.fhir.paging import MAX_LINK
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import Table

LIFETIME_SECONDS = 3600
_HANDLE_BYTES = 24
_HANDLE_LENGTH = 32
_ROWS_TOGETHER = 80  # Table Storage takes 100 in a transaction, of 4 MiB
_MAX_REMEMBERED = 5_000  # digests and handles: 2 MB
_KEYS = ["PartitionKey", "RowKey"]
_KEPT_AFTER_EXPIRY = timedelta(days=1)  # so long an old handle is "expired" rather than unknown
# What has expired is deleted by chance, once for so many handles made: however short an instance lives, and however
# many there are. A sweep begins at a tenant by chance and ends after so many rows, more than were made meanwhile.
_HANDLES_PER_SWEEP = 100
_MAX_SWEPT = 500
_SWEEP_SECONDS = 60

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """A page that one provider offered to one client.

    `url` is the provider's own. `type` and `kind` are of the search or history that it is part of. `binding` is that
    of the provider's row: the page is for its address and credential alone.
    """

    tenant: str
    client_id: str
    base: str
    type: str
    kind: InteractionKind
    binding: str
    url: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        parts = (self.tenant, self.client_id, self.base, self.type, self.kind.value, self.binding, self.url)
        return hashlib.sha256("\0".join(parts).encode()).digest()


class Pages:
    """The table `Pages` (PartitionKey = tenant, RowKey = handle)."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._handles: LRUCache[bytes, tuple[str, float]] = LRUCache(_MAX_REMEMBERED)
        self._sweep: asyncio.Task[None] | None = None

    async def handles(self, pages: Sequence[Page], deadline: float) -> list[str]:
        """A handle for each of a tenant's pages, good for an hour at least; unguessable, and of no use to anyone else.

        Those that are new are written together, by `deadline` (the event loop's time). Raises FhirError: 502 for a URL
        that is too long to be kept, 504 when time runs out; StoreUnavailable when they can't be written.
        """
        if any(len(page.url) > MAX_LINK for page in pages):
            raise FhirError(502, "too-long", "The provider's link to a further page is too long.")
        now = time.time()
        made: dict[bytes, str] = {}
        rows = []
        for page in pages:
            remembered = self._handles.get(page.digest)
            if remembered is not None and now < remembered[1]:
                made[page.digest] = remembered[0]
            elif page.digest not in made:
                made[page.digest] = handle = secrets.token_urlsafe(_HANDLE_BYTES)
                rows.append((page.digest, _row(page, handle, now + 2 * LIFETIME_SECONDS)))
        if rows:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._insert([row for _, row in rows])
            except TimeoutError:
                raise FhirError(504, "timeout", "Links to further pages could not be kept in time.") from None
            for digest, _ in rows:
                self._handles[digest] = made[digest], now + LIFETIME_SECONDS
            self._perhaps_sweep(len(rows))
        return [made[page.digest] for page in pages]

    async def page(self, handle: str, *, tenant: str, client_id: str, base: str, type: str, binding: str) -> Page:
        """The page of a handle.

        Raises FhirError: 404 when there is no such handle for this tenant, client, base and type; 410 when it has
        expired, or was made for another `binding`.
        """
        row = await self._table.get(tenant, handle) if _is_handle(handle) else None
        if row is None or (row.get("Client"), row.get("Base"), row.get("Type")) != (client_id, base, type):
            raise FhirError(404, "not-found", "There is no such page.")
        expires = row.get("Expires")
        if not isinstance(expires, datetime) or expires <= datetime.now(UTC):
            raise FhirError(410, "not-found", "This page has expired. Search again.")
        if row.get("Binding") != binding:
            raise FhirError(410, "not-found", "This page was on a server that is not asked any more. Search again.")
        return Page(tenant, client_id, base, type, InteractionKind(row["Kind"]), binding, str(row["Url"]))

    async def close(self) -> None:
        """Ends what runs beside the requests."""
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.wait({self._sweep})

    async def _insert(self, rows: Sequence[dict[str, object]]) -> None:
        if len(rows) == 1:
            await self._table.insert(rows[0])
            return
        parts = (rows[start : start + _ROWS_TOGETHER] for start in range(0, len(rows), _ROWS_TOGETHER))
        await asyncio.gather(*(self._table.insert_together(*part) for part in parts))

    def _perhaps_sweep(self, made: int) -> None:
        by_chance = random.random() * _HANDLES_PER_SWEEP < made  # noqa: S311 (no secret)
        if by_chance and (self._sweep is None or self._sweep.done()):
            self._sweep = asyncio.create_task(self._delete_expired())

    async def _delete_expired(self) -> None:
        """Deletes up to _MAX_SWEPT rows that expired more than a day ago, beside the requests."""
        limit, start = datetime.now(UTC) - _KEPT_AFTER_EXPIRY, str(uuid.uuid4())
        deleted = 0
        try:
            async with asyncio.timeout(_SWEEP_SECONDS):
                for where in ("PartitionKey ge @start", "PartitionKey lt @start"):
                    parameters = {"start": start, "limit": limit}
                    async for row in self._table.where(f"{where} and Expires lt @limit", parameters, _KEYS):
                        if deleted == _MAX_SWEPT:
                            return
                        await self._table.delete(str(row["PartitionKey"]), str(row["RowKey"]))
                        deleted += 1
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("expired pages not deleted: %s", error or "out of time")


def _row(page: Page, handle: str, expires: float) -> dict[str, object]:
    return {
        "PartitionKey": page.tenant,
        "RowKey": handle,
        "Client": page.client_id,
        "Base": page.base,
        "Type": page.type,
        "Kind": page.kind.value,
        "Binding": page.binding,
        "Url": page.url,
        "Expires": datetime.fromtimestamp(expires, UTC),
    }


def _is_handle(text: str) -> bool:
    return len(text) == _HANDLE_LENGTH and text.isascii() and text.replace("-", "").replace("_", "").isalnum()
