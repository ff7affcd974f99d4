"""Links to a provider's further pages: plain gateway links where they fit, short page handles where they don't.

`https://gateway.example/stu3/Patient?_page=AtB0p5yX…` stands for a provider's URL that is kept in the table `Pages`.
"""

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cachetools import LRUCache
from msgspec import Struct

from shared.error_kind import ErrorKind
from shared.fhir.body import Body
from shared.fhir.document import Bundle, Link
from shared.fhir.errors import FhirError
from shared.fhir.interaction import PAGED, Interaction, InteractionKind, parse
from shared.fhir.paging import (
    MAX_HANDLES,
    MAX_LINK,
    MAX_PLAIN_LINK,
    PAGE_PARAMETER,
    PAGE_RELATIONS,
    BundleRequest,
    InvalidPageLink,
    Paging,
    encoded,
    page_bundles,
    page_handle,
    page_interaction,
)
from shared.fhir.policy import authorize
from shared.fhir.rewriting import rewrite_form
from shared.fhir.rewriting.left_out import left_out
from shared.stores.tables import Table
from shared.upstream.request_context import RequestContext

LIFETIME_SECONDS = 3600
_HANDLE_BYTES = 24
_HANDLE = re.compile(r"[A-Za-z0-9_-]{32}")
_MAX_HANDLES_OF_RESPONSE = 500  # a batch's response holds as many Bundles as the batch has searches
_MAX_ROWS_TOGETHER = 80  # Table Storage takes 100 in a transaction, of 4 MiB
_MAX_REMEMBERED = 5_000  # digests and handles: 2 MB
_MAX_SELF = 2 * MAX_PLAIN_LINK  # nobody has to append to it, as to a page's
KEPT_AFTER_EXPIRY = timedelta(days=1)
"""So long an old handle is "expired" rather than unknown; then the night's upkeep deletes it."""
_RANKS = {relation: rank for rank, relation in enumerate(PAGE_RELATIONS)}

_log = logging.getLogger(__name__)


class OfferedPage(Struct, frozen=True):
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
    url: str

    def __repr__(self) -> str:
        return f"OfferedPage({self.type!r})"

    @property
    def digest(self) -> bytes:
        parts = (self.tenant, self.client_id, self.base, self.type, self.kind.value, self.binding, self.url)
        return hashlib.sha256("\0".join(parts).encode()).digest()

    def row(self, handle: str, expires: datetime) -> dict[str, object]:
        """The row of the table `Pages`."""
        key = {"PartitionKey": self.tenant, "RowKey": handle, "Client": self.client_id, "Base": self.base}
        page = {"Type": self.type, "Kind": self.kind.value, "Binding": self.binding, "Url": self.url}
        return {**key, **page, "Expires": expires}


class PageHandles:
    """The table `Pages` (PartitionKey = tenant, RowKey = handle)."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._handles: LRUCache[bytes, tuple[str, float]] = LRUCache(_MAX_REMEMBERED)

    async def handles(self, pages: Sequence[OfferedPage], deadline: float) -> list[str]:
        """A handle for each of a tenant's pages, good for an hour at least; unguessable, and of no use to anyone else.

        Those that are new are written together, by `deadline` (the event loop's time). Raises FhirError: 502 for a URL
        that is too long to be kept, 504 when time runs out; StoreUnavailable when they can't be written.
        """
        if any(len(page.url) > MAX_LINK for page in pages):
            raise FhirError(502, "too-long", "The provider's link to a further page is too long.")
        now = time.time()
        made: dict[bytes, str] = {}
        rows: dict[bytes, dict[str, object]] = {}
        for page in pages:
            digest = page.digest
            handle, good_until = self._handles.get(digest, ("", 0.0))
            if now < good_until:
                made[digest] = handle
            elif digest not in rows:
                made[digest] = secrets.token_urlsafe(_HANDLE_BYTES)
                rows[digest] = page.row(made[digest], datetime.fromtimestamp(now + 2 * LIFETIME_SECONDS, UTC))
        if rows:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._insert(list(rows.values()))
            except TimeoutError:
                text = "Links to further pages could not be kept in time."
                raise FhirError(504, "timeout", text, kind=ErrorKind.STORE_UNAVAILABLE) from None
            self._handles.update((digest, (made[digest], now + LIFETIME_SECONDS)) for digest in rows)
        return [made[page.digest] for page in pages]

    async def page(
        self, handle: str, *, tenant: str, client_id: str, base: str, type: str, binding: str
    ) -> OfferedPage:
        """The page of a handle.

        Raises FhirError: 404 when there is no such handle for this tenant, client, base and type; 410 when it has
        expired, or was made for another `binding`.
        """
        row = await self._table.get(tenant, handle) if _HANDLE.fullmatch(handle) else None
        if row is None or (row.get("Client"), row.get("Base"), row.get("Type")) != (client_id, base, type):
            raise FhirError(404, "not-found", "There is no such page.")
        expires = row.get("Expires")
        if not isinstance(expires, datetime) or expires <= datetime.now(UTC):
            raise FhirError(410, "not-found", "This page has expired. Search again.")
        if row.get("Binding") != binding:
            raise FhirError(410, "not-found", "This page was on a server that is not asked any more. Search again.")
        return OfferedPage(tenant, client_id, base, type, InteractionKind(row["Kind"]), binding, str(row["Url"]))

    async def _insert(self, rows: Sequence[dict[str, object]]) -> None:
        if len(rows) == 1:
            await self._table.insert(rows[0])
            return
        parts = (rows[start : start + _MAX_ROWS_TOGETHER] for start in range(0, len(rows), _MAX_ROWS_TOGETHER))
        await asyncio.gather(*(self._table.insert_together(*part) for part in parts))


def paging(context: RequestContext) -> Paging:
    """The rules for links of the context's provider."""
    provider = context.provider
    return Paging(
        provider.base_url, provider.page_origins, context.downstream_links, context.base_url, context.permissions
    )


async def page_url(context: RequestContext, handles: PageHandles, handle: str, type: str) -> tuple[Interaction, str]:
    """The search or history that a handle's page is part of, and the provider's URL of it.

    It is authorized again: the row and the token may have changed since the handle was made. Raises FhirError.
    """
    page = await handles.page(
        handle,
        tenant=context.grant.tenant,
        client_id=context.grant.client_id,
        base=context.trace.base,
        type=type,
        binding=context.provider.binding,
    )
    interaction = Interaction(page.kind, page.type, page.type)
    authorize(interaction, "", context.permissions)
    try:
        return interaction, paging(context).page(page.url, page.url, interaction).url
    except InvalidPageLink:
        raise FhirError(410, "not-found", "This page is not let through any more. Search again.") from None


async def write_links(
    context: RequestContext,
    handles: PageHandles,
    body: Body,
    url: str,
    sent: BundleRequest,
    entries: tuple[BundleRequest, ...] = (),
) -> list[tuple[int, int, str]]:
    """The links to pages in a response that came from `url`: byte span and new text, "" for one that is left out.

    A link that is not among them is mapped like any other URL. Raises FhirError (502) when a page is on another server
    or is not let through, and what `PageHandles.handles` raises.
    """
    if body.resource.bundle is None:
        return []
    replaced: list[tuple[int, int, str]] = []
    kept: list[tuple[Link, OfferedPage]] = []
    for number, (request, bundle) in enumerate(page_bundles(body.resource.bundle, sent, entries)):
        if number:
            await asyncio.sleep(0)
        request_url = url if request is sent else f"{context.provider.base_url}/{request.interaction.path}"
        links = await _links_of(context, bundle, request_url, request, _MAX_HANDLES_OF_RESPONSE - len(kept))
        replaced += [(link.start, link.end, new) for link, new in links.written]
        replaced += [(*span, "") for span in left_out(body.content, body.format, bundle, links.left_out)]
        kept += links.kept
    if kept:
        made = await handles.handles([page for _, page in kept], context.deadline)
        for (link, page), handle in zip(kept, made, strict=True):
            replaced.append((link.start, link.end, f"{context.base_url}/{page.type}?{PAGE_PARAMETER}={handle}"))
    return replaced


class _Links(Struct):
    written: list[tuple[Link, str]] = []
    kept: list[tuple[Link, OfferedPage]] = []
    left_out: list[Link] = []


async def _links_of(
    context: RequestContext, bundle: Bundle, request_url: str, request: BundleRequest, left: int
) -> _Links:
    """A Bundle's links, of which at most `left`, and MAX_HANDLES, may get a handle.

    No more than MAX_HANDLES are looked at: no Bundle needs more, and each may be long.
    """
    rules, found = paging(context), _Links()
    grant, part = context.grant, page_interaction(request.interaction)
    whose = (grant.tenant, grant.client_id, context.trace.base, part.type or "", part.kind, context.provider.binding)
    seen = 0
    # The most wanted ones first.
    for link in sorted(bundle.links, key=lambda link: _RANKS.get(_relation(link), len(_RANKS))):
        relation = _relation(link)
        if relation not in _RANKS and relation != "self" and link.url.strip():
            if context.downstream_links.map(link.url) is None and rules.is_own_host(link.url):
                found.left_out.append(link)
            continue
        if seen == MAX_HANDLES or not link.url.strip():
            found.left_out.append(link)
            continue
        seen += 1
        if len(link.url) > MAX_PLAIN_LINK:
            await asyncio.sleep(0)  # others may be served
        if relation == "self":
            found.written.append((link, _self(context, rules, link.url, request_url, request)))
            continue
        page = rules.page(link.url, request_url, request.interaction)
        if page.plain is not None:
            found.written.append((link, page.plain))
        elif len(found.kept) < left:
            found.kept.append((link, OfferedPage(*whose, page.url)))
        else:
            found.left_out.append(link)
    return found


def _relation(link: Link) -> str:
    return link.relation.strip().lower()


def _self(context: RequestContext, rules: Paging, url: str, request_url: str, request: BundleRequest) -> str:
    """The provider's own link if it can be sent and names a search or a history below its base, or else the client's
    request, which for a further page is its handle.
    """
    own = rules.own(url, request_url)
    if own is not None and len(own) <= _MAX_SELF:
        path, _, query = own.removeprefix(context.base_url).partition("?")
        try:
            if parse("GET", path.removeprefix("/"), query, {}).kind in PAGED and page_handle(query) is None:
                return own
        except FhirError:
            pass
    path = request.interaction.path.removesuffix("/_search")
    query = encoded(rewrite_form(request.query, context.downstream_links))
    return f"{context.base_url}/{path}" + (f"?{query}" if query else "")
