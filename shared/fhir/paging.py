"""The links of a Bundle to further pages: each becomes a plain link through the gateway, a page handle, or an error."""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from msgspec import Struct, structs

from shared.fhir.document import Bundle
from shared.fhir.errors import FhirError
from shared.fhir.interaction import BUNDLES, OF_ONE_RESOURCE, PAGED, TYPE_PATTERN, Interaction, InteractionKind, parse
from shared.fhir.policy import Permissions, authorize
from shared.fhir.rewriting import LinkMap, rewrite_form

MAX_PLAIN_LINK = 2_000  # half of what a Functions URL can carry: clients append to links, proxies cut them
MAX_LINK = 32_000  # a string property of Table Storage holds 64 KiB of UTF-16
MAX_HANDLES = 20  # of one Bundle; servers write up to four
PAGE_PARAMETER = "_page"
# Those that become handles, the first ones first.
PAGE_RELATIONS = ("next", "previous", "prev", "first", "last")

_NOT_IN_A_URL = re.compile(r"(?:%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~:/?@!$&'()*+,;=%])+")  # RFC 3986, sections 3.3, 3.4
_AUTHORITY = re.compile(r"[A-Za-z0-9._\-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_CURSOR_PATH = re.compile(r"[A-Za-z0-9\-._~/]*")
_TYPE = re.compile(TYPE_PATTERN)


class BundleRequest(Struct, frozen=True):
    """The request that a Bundle responds to; `query` is the client's, with the form of a search by POST."""

    interaction: Interaction
    query: str = ""


def page_bundles(
    bundle: Bundle, request: BundleRequest, entries: Sequence[BundleRequest] = ()
) -> Iterator[tuple[BundleRequest, Bundle]]:
    """The Bundles of a response whose links lead to pages, each with the request that it responds to.

    They are the response to a search or a history, to an operation where its type is searchset, and in a batch those of
    its `entries`. A Bundle that was read, or that is listed, is content. Raises FhirError (502) for the response to a
    batch with more entries than the batch, or with a Bundle where another resource was asked for.
    """
    kind = request.interaction.kind
    if kind in PAGED or (kind is InteractionKind.OPERATION and bundle.type == "searchset"):
        yield request, bundle
    elif kind in BUNDLES:
        if len(bundle.entries) > len(entries):
            raise FhirError(502, "exception", "The provider's response to a batch has more entries than the batch.")
        for part, entry in zip(entries, bundle.entries, strict=False):
            if entry.resource is not None and entry.resource.bundle is not None:
                if part.interaction.kind in OF_ONE_RESOURCE and part.interaction.type != "Bundle":
                    # Its links would pass for content, and lead anywhere.
                    raise FhirError(502, "exception", "The provider responded to an entry with a Bundle that is none.")
                yield from page_bundles(entry.resource.bundle, part)


class PageLink(Struct, frozen=True):
    """A page that a client may follow to: the provider's own `url`, and the gateway's plain one if there is any."""

    url: str
    plain: str | None = None


class InvalidPageLink(FhirError):
    """A link that is no page of the provider's, or not one that the client may read; the status is 502."""

    def __init__(self, problem: str) -> None:
        super().__init__(502, "exception", f"The provider's link to a further page {problem}.")


class Paging(Struct, frozen=True):
    """The reading of a provider's links for a client.

    `base_url` is the provider's base and `page_origins` are the origins besides its own that pages may come from;
    `links` maps its URLs to below `gateway_base`.
    """

    base_url: str
    page_origins: tuple[str, ...]
    links: LinkMap
    gateway_base: str
    permissions: Permissions

    def page(self, link: str, request_url: str, of: Interaction) -> PageLink:
        """The page that a provider's link leads to, in the response of `request_url` to an interaction.

        A relative link is relative to the base (http://hl7.org/fhir/R4/bundle.html#Bundle.link.url). Where that leads
        off the base, or to no FHIR interaction, and the other way, relative to the request or the server's root, leads
        to one below the base, that is what the provider means. Raises InvalidPageLink.
        """
        found: list[PageLink] = []
        problem: InvalidPageLink | None = None
        for candidate in absolute_urls(link, self.base_url, request_url):
            try:
                page, is_fhir = self._page(candidate, page_interaction(of))
            except InvalidPageLink as refused:
                problem = problem or refused
                continue
            if is_fhir:
                return page
            found.append(page)
        if found:
            return found[0]
        raise problem or InvalidPageLink("is no URL")

    def own(self, link: str, request_url: str) -> str | None:
        """The gateway's form of a link below the provider's base, of any length and whatever it asks for; else None."""
        if not _NOT_IN_A_URL.search(link) and (mapped := self._mapped(link)) is not None:
            return mapped
        for candidate in absolute_urls(link, self.base_url, request_url):
            parts = _split(candidate)
            mapped = None if parts is None else self._mapped(self._at_own_origin(parts).geturl())
            if mapped is not None:
                return mapped
        return None

    def is_own_host(self, link: str) -> bool:
        """Whether an absolute link is on the provider's host, or that of one of its page origins."""
        hosts = {urlsplit(origin).hostname for origin in (self.base_url, *self.page_origins)}
        try:
            return urlsplit(link.strip()).hostname in hosts
        except ValueError:
            return False

    def _page(self, url: str, of: Interaction) -> tuple[PageLink, bool]:
        """The page at a URL, and whether that is a FHIR interaction below the base."""
        parts = _split(url) if len(url) <= MAX_LINK else None
        if parts is None:
            raise InvalidPageLink("is no URL, or too long")
        parts = self._at_own_origin(parts)
        if _origin(parts) != _origin(urlsplit(self.base_url)) and _origin(parts) not in self.page_origins:
            raise InvalidPageLink("leads to another server: PageOrigins does not name it")
        if _climbs(parts.path):
            raise InvalidPageLink("climbs out of its path")
        url = parts.geturl()
        mapped = self._mapped(url)
        try:
            if mapped is not None:
                return self._below_the_base(url, mapped, of)
            if "$" in unquote(parts.path):
                raise InvalidPageLink("leads to an operation")
            authorize(of, "", self.permissions)
        except InvalidPageLink:
            raise
        except FhirError:
            raise InvalidPageLink("leads to what is not let through") from None
        return PageLink(url), False

    def _below_the_base(self, url: str, mapped: str, of: Interaction) -> tuple[PageLink, bool]:
        path, _, query = mapped.removeprefix(self.gateway_base).partition("?")
        path = path.removeprefix("/")
        try:
            interaction = parse("GET", path, query, {})
        except FhirError as error:
            # Some servers have paths of their own for pages.
            if error.status != 404 or not _CURSOR_PATH.fullmatch(path):
                raise InvalidPageLink("leads to what is no page") from None
            first = path.partition("/")[0]
            if _TYPE.fullmatch(first):
                of = structs.replace(of, type=first)
            authorize(of, query, self.permissions)
            return PageLink(url), False
        if interaction.kind is InteractionKind.SEARCH_SYSTEM:
            # HAPI pages a search of any type on the base itself.
            authorize(of, query, self.permissions)
            return PageLink(url), True
        if interaction.kind not in PAGED and interaction.kind is not InteractionKind.OPERATION:
            raise InvalidPageLink("leads to what is no page")
        authorize(interaction, query, self.permissions)
        is_plain = len(mapped) <= MAX_PLAIN_LINK and page_handle(query) is None
        return PageLink(url, mapped if is_plain else None), True

    def _at_own_origin(self, parts: SplitResult) -> SplitResult:
        """A URL of the base's host and below its path at the base's origin, whatever its scheme and port.

        A server behind a TLS terminator writes `http://` and its own port.
        """
        base = urlsplit(self.base_url)
        is_below = parts.path == base.path or parts.path.startswith(f"{base.path}/")
        if parts.hostname == base.hostname and is_below and _origin(parts) not in self.page_origins:
            return parts._replace(scheme=base.scheme, netloc=base.netloc)
        return parts

    def _mapped(self, url: str) -> str | None:
        mapped = self.links.map(url)
        if mapped is None:
            return None
        path, mark, query = mapped.partition("?")
        try:
            return f"{path}{mark}{rewrite_form(query, self.links)}"
        except FhirError:
            raise InvalidPageLink("names more links than any search") from None


def page_interaction(of: Interaction) -> Interaction:
    """The search or history that a further page is part of, which is authorized where the page's URL does not tell."""
    kind = of.kind if of.kind is InteractionKind.HISTORY_INSTANCE else InteractionKind.SEARCH_TYPE
    return Interaction(kind, of.type or "", of.type)


def page_handle(query: str) -> str | None:
    """The handle that a raw query names by `_page`, or None. A number is a provider's own page: some name it so."""
    if PAGE_PARAMETER not in query and "%" not in query:
        return None
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if unquote(name) == PAGE_PARAMETER and not value.isdecimal():
            return unquote(value)
    return None


def encoded(url: str) -> str:
    """A path, query or both as RFC 3986 writes them: all that they can't hold is percent-encoded, as UTF-8."""
    return _NOT_IN_A_URL.sub(lambda found: quote(found[0], safe="", errors="replace"), url)


def absolute_urls(link: str, base_url: str, request_url: str) -> Iterator[str]:
    """The absolute URLs that a provider's link may stand for, the likeliest first; none for what is no URL.

    A relative one is relative to the base, or else to the URL that was asked for.
    """
    link = link.strip()
    try:
        parts = urlsplit(link)
        if parts.scheme:
            yield link
        elif parts.netloc:
            yield urljoin(f"{base_url}/", link)
        elif link.startswith("/"):
            yield urljoin(base_url, link)
            yield base_url + link
        elif link:
            yield base_url + link if link.startswith("?") else urljoin(f"{base_url}/", link)
            yield urljoin(request_url, link)
    except ValueError:
        return


def _split(url: str) -> SplitResult | None:
    """An absolute http or https URL without a user, its path and query encoded, its fragment dropped; else None."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _AUTHORITY.fullmatch(parts.netloc) or port == 0:
        return None
    return parts._replace(path=encoded(parts.path), query=encoded(parts.query), fragment="")


def _origin(parts: SplitResult) -> str:
    """Scheme, host and port, as `https://fhir.example.com`: without a port where it is the scheme's default one."""
    default = 443 if parts.scheme == "https" else 80
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default) else f":{parts.port}")


def _climbs(path: str) -> bool:
    """Whether a path has dot segments, in whatever encoding, or encoded slashes that may hide them."""
    for _ in range(3):
        if any(segment.partition(";")[0] in (".", "..") for segment in re.split(r"[/\\]", path)):
            return True
        path = unquote(path)
    return False
