"""Where a Bundle's links lead a client: along a plain gateway link, along a page handle, or nowhere."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from shared.fhir.document import Bundle
from shared.fhir.errors import FhirError
from shared.fhir.interaction import OF_ONE_RESOURCE, TYPE_PATTERN, Interaction, InteractionKind, parse
from shared.fhir.policy import Permissions, authorize
from shared.fhir.rewriting import LinkMap, rewrite_form

MAX_PLAIN_LINK = 2_000  # half of what a Functions URL can carry: clients append to links, proxies cut them
MAX_LINK = 32_000  # a string property of Table Storage holds 64 KiB of UTF-16
MAX_HANDLES = 20  # of one Bundle; servers write up to four
PAGE_PARAMETER = "_page"
# Those that become handles, the first ones first.
PAGE_RELATIONS = ("next", "previous", "prev", "first", "last")

_PAGED = frozenset({InteractionKind.SEARCH_TYPE, InteractionKind.HISTORY_INSTANCE})
_BUNDLES = frozenset({InteractionKind.BATCH, InteractionKind.TRANSACTION})
_NOT_IN_A_URL = re.compile(r"(?:%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~:/?@!$&'()*+,;=%])+")  # RFC 3986, sections 3.3, 3.4
_AUTHORITY = re.compile(r"[A-Za-z0-9._\-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_CURSOR_PATH = re.compile(r"[A-Za-z0-9\-._~/]*")
_TYPE = re.compile(TYPE_PATTERN)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a Bundle answers: the interaction, and the client's query, with its form where it was sent by POST."""

    interaction: Interaction
    query: str = ""


def page_bundles(bundle: Bundle, asked: Asked, entries: Sequence[Asked] = ()) -> Iterator[tuple[Asked, Bundle]]:
    """The Bundles of an answer whose links lead to pages, each with what it answers.

    That is the answer to a search or a history; of a batch's answer those of its `entries`, which are the requests of
    the batch. An operation answers with pages where its Bundle says so. A Bundle that was read, or that is listed, is
    content. Raises FhirError (502) for a batch's answer with entries that nobody asked for, or with Bundles where one
    resource was.
    """
    kind = asked.interaction.kind
    if kind in _PAGED or (kind is InteractionKind.OPERATION and bundle.type == "searchset"):
        yield asked, bundle
    elif kind in _BUNDLES:
        if len(bundle.entries) > len(entries):
            raise FhirError(502, "exception", "The provider answered a batch with more entries than it has.")
        for request, entry in zip(entries, bundle.entries, strict=False):
            if entry.resource is not None and entry.resource.bundle is not None:
                if request.interaction.kind in OF_ONE_RESOURCE and request.interaction.type != "Bundle":
                    # Its links would pass for content, and lead anywhere.
                    raise FhirError(502, "exception", "The provider answered an entry with a Bundle that is none.")
                yield from page_bundles(entry.resource.bundle, request)


@dataclass(frozen=True, slots=True)
class PageLink:
    """A page that a client may follow to: the provider's own `url`, and the gateway's plain one if there is any."""

    url: str
    plain: str | None = None


class NoPage(FhirError):
    """A link that is no page of the provider's, or not one that the client may read; the status is 502."""

    def __init__(self, problem: str) -> None:
        super().__init__(502, "exception", f"The provider's link to a further page {problem}.")


@dataclass(frozen=True, slots=True)
class Paging:
    """How a provider's links are read for a client.

    `base_url` is the provider's base and `page_origins` are the origins besides its own that pages may come from;
    `links` maps its URLs to below `gateway_base`.
    """

    base_url: str
    page_origins: tuple[str, ...]
    links: LinkMap
    gateway_base: str
    permissions: Permissions

    def page(self, link: str, request_url: str, answered: Interaction) -> PageLink:
        """The page that a provider's link leads to, in the answer to an interaction that `request_url` asked for.

        A relative link is relative to the base (http://hl7.org/fhir/R4/bundle.html#Bundle.link.url). Where that leads
        off the base, or to no FHIR interaction, and the other way, relative to the request or the server's root, leads
        to one below the base, that is what the provider means. Raises NoPage.
        """
        found: list[PageLink] = []
        problem: NoPage | None = None
        for candidate in absolute_urls(link, self.base_url, request_url):
            try:
                page, is_fhir = self._judged(candidate, continued(answered))
            except NoPage as refused:
                problem = problem or refused
                continue
            if is_fhir:
                return page
            found.append(page)
        if found:
            return found[0]
        raise problem or NoPage("is no URL")

    def own(self, link: str, request_url: str) -> str | None:
        """The gateway's form of a link below the provider's base, of any length and whatever it asks for; else None."""
        for candidate in absolute_urls(link, self.base_url, request_url):
            parts = _split(candidate)
            mapped = None if parts is None else self._mapped(self._at_own_origin(parts))
            if mapped is not None:
                return mapped
        return None

    def is_own_site(self, link: str) -> bool:
        """Whether an absolute link is on the provider's host, or that of one of its page origins."""
        hosts = {urlsplit(origin).hostname for origin in (self.base_url, *self.page_origins)}
        try:
            return urlsplit(link.strip()).hostname in hosts
        except ValueError:
            return False

    def _judged(self, url: str, answered: Interaction) -> tuple[PageLink, bool]:
        """The page at a URL, and whether that is a FHIR interaction below the base."""
        parts = _split(url) if len(url) <= MAX_LINK else None
        if parts is None:
            raise NoPage("is no URL, or too long")
        parts = self._at_own_origin(parts)
        if _origin(parts) != _origin(urlsplit(self.base_url)) and _origin(parts) not in self.page_origins:
            raise NoPage("leads to another server: PageOrigins does not name it")
        if _climbs(parts.path):
            raise NoPage("climbs out of its path")
        url = parts.geturl()
        mapped = self._mapped(parts)
        try:
            if mapped is not None:
                return self._below_the_base(url, mapped, answered)
            if "$" in unquote(parts.path):
                raise NoPage("leads to an operation")
            authorize(answered, "", self.permissions)
        except NoPage:
            raise
        except FhirError:
            raise NoPage("leads to what is not let through") from None
        return PageLink(url), False

    def _below_the_base(self, url: str, mapped: str, answered: Interaction) -> tuple[PageLink, bool]:
        path, _, query = mapped.removeprefix(self.gateway_base).partition("?")
        path = path.removeprefix("/")
        try:
            interaction = parse("GET", path, query, {})
        except FhirError as error:
            # Some servers have paths of their own for pages.
            if error.status != 404 or not _CURSOR_PATH.fullmatch(path):
                raise NoPage("leads to what is no page") from None
            first = path.partition("/")[0]
            if _TYPE.fullmatch(first):
                answered = replace(answered, type=first)
            authorize(answered, query, self.permissions)
            return PageLink(url), False
        if interaction.kind is InteractionKind.SEARCH_SYSTEM:
            # HAPI pages a search of any type on the base itself.
            authorize(answered, query, self.permissions)
            return PageLink(url), True
        if interaction.kind not in _PAGED and interaction.kind is not InteractionKind.OPERATION:
            raise NoPage("leads to what is no page")
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

    def _mapped(self, parts: SplitResult) -> str | None:
        mapped = self.links.map(parts.geturl())
        if mapped is None:
            return None
        path, mark, query = mapped.partition("?")
        try:
            return f"{path}{mark}{rewrite_form(query, self.links)}"
        except FhirError:
            raise NoPage("names more links than any search") from None


def continued(answered: Interaction) -> Interaction:
    """What a further page is judged as where its URL does not tell: as the search or history that it is part of."""
    kind = answered.kind if answered.kind is InteractionKind.HISTORY_INSTANCE else InteractionKind.SEARCH_TYPE
    return Interaction(kind, answered.type or "", answered.type)


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
        if parts.scheme or parts.netloc:
            yield urljoin(f"{base_url}/", link) if parts.netloc else link
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
