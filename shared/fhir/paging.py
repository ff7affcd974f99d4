"""Where a Bundle's links lead a client: along a plain gateway link, along a page handle, or nowhere."""

from urllib.parse import urljoin, urlsplit

from shared.fhir.document import Link, Resource
from shared.fhir.errors import FhirError
from shared.fhir.interaction import InteractionKind, parse
from shared.fhir.policy import Permissions, authorize
from shared.fhir.rewriting import LinkMap, rewrite_form

LONGEST_PLAIN_LINK = 2_000  # half of what a Functions URL can carry: clients append to links, proxies cut them
PAGE_RELATIONS = frozenset({"next", "previous", "prev", "first", "last"})
_PAGED = frozenset({InteractionKind.SEARCH_TYPE, InteractionKind.HISTORY_INSTANCE})


def page_links(resource: Resource, kind: InteractionKind) -> list[Link]:
    """The links to pages in the answer to an interaction: of the Bundle that is the answer, or those inside a batch's.

    A Bundle that was read or is listed is content, and its links are no pages.
    """
    bundle = resource.bundle
    if bundle is None or kind in (InteractionKind.READ, InteractionKind.VREAD):
        return []
    if kind not in (InteractionKind.BATCH, InteractionKind.TRANSACTION):
        return list(bundle.links)
    answers = [entry.resource.bundle for entry in bundle.entries if entry.resource is not None]
    return [link for answer in (bundle, *answers) if answer is not None for link in answer.links]


def absolute(url: str, request_url: str) -> str:
    """A link as an absolute URL: host-relative and relative ones are meant against the URL that was asked for.

    Raises FhirError (502) when it is no URL.
    """
    try:
        return url if urlsplit(url).netloc and urlsplit(url).scheme else urljoin(request_url, url)
    except ValueError:
        raise FhirError(502, "exception", "The provider sent a link that is no URL.") from None


def plain_link(url: str, links: LinkMap, gateway_base: str, permissions: Permissions) -> str | None:
    """The gateway's form of a provider's absolute URL, if a client can simply follow it; None otherwise.

    It can when the link lies below the provider's base, is short enough, and asks for what policy lets through. Links
    in its parameters are mapped too.
    """
    mapped = links.map(url)
    if mapped is None:
        return None
    path, mark, query = mapped.removeprefix(gateway_base).partition("?")
    query = rewrite_form(query, links)
    mapped = f"{gateway_base}{path}{mark}{query}"
    if len(mapped) > LONGEST_PLAIN_LINK:
        return None
    try:
        interaction = parse("GET", path.removeprefix("/"), query, {})
        authorize(interaction, query, permissions)
    except FhirError:
        return None
    return mapped if interaction.kind in _PAGED else None


def same_site(url: str, provider_base: str) -> bool:
    """Whether a URL is on the provider's own host, on any port and path, and no less secure than its base."""
    try:
        target, base = urlsplit(url), urlsplit(provider_base)
        return (
            target.hostname is not None
            and target.hostname == base.hostname
            and target.username is None
            and (target.port is None or target.port > 0)
            and target.scheme in ("https", base.scheme)
        )
    except ValueError:
        return False
