"""The links of a provider's pages, written anew so that a client can follow them through the gateway."""

import asyncio
from dataclasses import dataclass, field

from shared.fhir.body import Body
from shared.fhir.document import Bundle, Link
from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind, parse
from shared.fhir.paging import (
    MAX_HANDLES,
    MAX_PLAIN_LINK,
    PAGE_PARAMETER,
    PAGE_RELATIONS,
    BundleRequest,
    Paging,
    encoded,
    page_bundles,
    page_handle,
    page_interaction,
)
from shared.fhir.rewriting import rewrite_form
from shared.fhir.rewriting.left_out import left_out
from shared.upstream.context import RequestContext
from shared.upstream.pages import Page, Pages

_MAX_HANDLES_OF_RESPONSE = 500  # a batch's response holds as many Bundles as the batch has searches
_SELF = frozenset({InteractionKind.SEARCH_TYPE, InteractionKind.HISTORY_INSTANCE})
_RANKS = {relation: rank for rank, relation in enumerate(PAGE_RELATIONS)}

Replaced = list[tuple[int, int, str]]
"""Byte spans of a body, and what is written there."""


def paging(context: RequestContext) -> Paging:
    """How the links of the context's provider are read."""
    provider = context.provider
    return Paging(
        provider.base_url, provider.page_origins, context.downstream_links, context.base_url, context.permissions
    )


async def write_links(
    context: RequestContext,
    pages: Pages,
    body: Body,
    url: str,
    asked: BundleRequest,
    entries: tuple[BundleRequest, ...] = (),
) -> Replaced:
    """What is written instead of the links to pages in a response that came from `url`; "" for one that is left out.

    A link that is not among them is mapped like any other URL. Raises FhirError (502) when a page is on another server
    or is not let through, and what `Pages.handles` raises.
    """
    if body.resource.bundle is None:
        return []
    replaced: Replaced = []
    kept: list[tuple[Link, Page]] = []
    for answered, bundle in page_bundles(body.resource.bundle, asked, entries):
        request_url = url if answered is asked else f"{context.provider.base_url}/{answered.interaction.path}"
        links = await _links_of(context, bundle, request_url, answered, _MAX_HANDLES_OF_RESPONSE - len(kept))
        replaced += [(link.start, link.end, new) for link, new in links.written]
        replaced += [(*span, "") for span in left_out(body.content, body.format, bundle, links.left_out)]
        kept += links.kept
        await asyncio.sleep(0)
    if kept:
        handles = await pages.handles([page for _, page in kept], context.deadline)
        for (link, page), handle in zip(kept, handles, strict=True):
            replaced.append((link.start, link.end, f"{context.base_url}/{page.type}?{PAGE_PARAMETER}={handle}"))
    return replaced


@dataclass(slots=True)
class _Links:
    """What becomes of a Bundle's links: written anew, kept under a handle, or left out."""

    written: list[tuple[Link, str]] = field(default_factory=list)
    kept: list[tuple[Link, Page]] = field(default_factory=list)
    left_out: list[Link] = field(default_factory=list)


async def _links_of(
    context: RequestContext, bundle: Bundle, request_url: str, answered: BundleRequest, left: int
) -> _Links:
    """What becomes of a Bundle's links, of which at most `left`, and MAX_HANDLES, may get a handle.

    So many are judged at all: no Bundle needs more, and each may be long.
    """
    links, found = paging(context), _Links()
    judged = 0
    # The most wanted ones first.
    for link in sorted(bundle.links, key=lambda link: _RANKS.get(_relation(link), len(_RANKS))):
        relation = _relation(link)
        if relation not in _RANKS and relation != "self" and link.url.strip():
            if context.downstream_links.map(link.url) is None and links.is_own_host(link.url):
                found.left_out.append(link)
            continue
        if judged == MAX_HANDLES or not link.url.strip():
            found.left_out.append(link)
            continue
        judged += 1
        if len(link.url) > MAX_PLAIN_LINK:
            await asyncio.sleep(0)  # others may be served
        if relation == "self":
            found.written.append((link, _self(context, links, link.url, request_url, answered)))
            continue
        page = links.page(link.url, request_url, answered.interaction)
        if page.plain is not None:
            found.written.append((link, page.plain))
        elif len(found.kept) < left:
            found.kept.append((link, _page(context, page.url, answered)))
        else:
            found.left_out.append(link)
    return found


def _relation(link: Link) -> str:
    return link.relation.strip().lower()


def _self(context: RequestContext, links: Paging, url: str, request_url: str, answered: BundleRequest) -> str:
    """The provider's own link if it names a search or a history below its base, or else what the client asked for."""
    own = links.own(url, request_url)
    if own is not None:
        path, _, query = own.removeprefix(context.base_url).partition("?")
        try:
            if parse("GET", path.removeprefix("/"), query, {}).kind in _SELF and page_handle(query) is None:
                return own
        except FhirError:
            pass
    path = answered.interaction.path.removesuffix("/_search")
    query = encoded(rewrite_form(answered.query, context.downstream_links))
    return f"{context.base_url}/{path}" + (f"?{query}" if query else "")


def _page(context: RequestContext, url: str, answered: BundleRequest) -> Page:
    grant, page = context.grant, page_interaction(answered.interaction)
    binding = context.provider.binding
    return Page(grant.tenant, grant.client_id, context.base, page.type or "", page.kind, binding, url)
