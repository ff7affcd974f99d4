"""Page handles: short links for a provider's next pages where a plain link can't lead through the gateway."""

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cachetools import LRUCache

from shared.azure.tables import Table
from shared.directory.errors import StoreUnavailable
from shared.fhir.errors import FhirError

LIFETIME_SECONDS = 3600
_HANDLE_BYTES = 24
_HANDLE_LENGTH = 32
_LONGEST_URL = 32_000  # a string property holds 64 KiB of UTF-16
_REMEMBERED = 5_000
_SWEEP_SECONDS = 3600
_KEPT_AFTER_EXPIRY = timedelta(days=1)  # so long an old handle is "expired" rather than unknown

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """A page that one provider offered to one client.

    `url` is the provider's own. `type` is what the search was for, or "" when it was an entry of a batch: then the
    page is judged by what it holds alone.
    """

    tenant: str
    client_id: str
    base: str
    type: str
    url: str = field(repr=False)


class Pages:
    """The table `Pages` (PartitionKey = tenant, RowKey = handle)."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._handles: LRUCache[Page, tuple[str, float]] = LRUCache(_REMEMBERED)
        self._swept_at = time.monotonic()
        self._sweep: asyncio.Task[None] | None = None

    async def handle(self, page: Page) -> str:
        """A handle for a page, good for an hour at least; unguessable, and of no use to anyone else.

        Raises FhirError (502) for a URL that is too long to be kept, StoreUnavailable when it can't be written.
        """
        if len(page.url) > _LONGEST_URL:
            raise FhirError(502, "too-long", "The provider's link to a further page is too long.")
        now = time.time()
        remembered = self._handles.get(page)
        if remembered is not None and now < remembered[1]:
            return remembered[0]
        handle = secrets.token_urlsafe(_HANDLE_BYTES)
        expires = now + 2 * LIFETIME_SECONDS
        await self._table.insert(
            {
                "PartitionKey": page.tenant,
                "RowKey": handle,
                "Client": page.client_id,
                "Base": page.base,
                "Type": page.type,
                "Url": page.url,
                "Expires": datetime.fromtimestamp(expires, UTC),
            }
        )
        self._handles[page] = handle, expires - LIFETIME_SECONDS
        if time.monotonic() - self._swept_at > _SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._sweep = asyncio.create_task(self._delete_expired())
        return handle

    async def page(self, handle: str, *, tenant: str, client_id: str, base: str) -> Page:
        """The page of a handle.

        Raises FhirError: 404 when there is no such handle for this tenant, client and base, 410 when it has expired.
        """
        row = await self._table.get(tenant, handle) if _is_handle(handle) else None
        if row is None or row.get("Client") != client_id or row.get("Base") != base:
            raise FhirError(404, "not-found", "There is no such page.")
        expires = row.get("Expires")
        if not isinstance(expires, datetime) or expires <= datetime.now(UTC):
            raise FhirError(410, "not-found", "This page has expired. Search again.")
        return Page(tenant, client_id, base, str(row.get("Type")), str(row.get("Url")))

    async def close(self) -> None:
        """Ends what runs beside the requests."""
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.wait({self._sweep})

    async def _delete_expired(self) -> None:
        """Deletes what expired more than a day ago, about once an hour."""
        limit = datetime.now(UTC) - _KEPT_AFTER_EXPIRY
        try:
            async for row in self._table.scan(["PartitionKey", "RowKey", "Expires"]):
                expires = row.get("Expires")
                if isinstance(expires, datetime) and expires < limit:
                    await self._table.delete(str(row["PartitionKey"]), str(row["RowKey"]))
        except StoreUnavailable as error:
            _log.warning("expired pages not deleted: %s", error)


def _is_handle(text: str) -> bool:
    return len(text) == _HANDLE_LENGTH and text.isascii() and text.replace("-", "").replace("_", "").isalnum()
