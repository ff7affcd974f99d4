"""Where a provider's links lead, by what they are written like; and what no link may lead to."""

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from shared.fhir.document import Bundle, Entry, Link, Resource
from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind
from shared.fhir.paging import BundleRequest, InvalidPageLink, PageLink, Paging, encoded, page_bundles
from shared.fhir.policy import Permissions
from shared.fhir.rewriting import LinkMap
from shared.fhir.versions import FhirVersion

P, G = "https://h.example/fhir", "https://gateway.example/stu3"
PERMISSIONS = Permissions(
    frozenset({"Patient", "Observation"}), operations=frozenset({"Patient/$everything"}), version=FhirVersion.STU3
)
PAGING = Paging(P, ("https://pages.example", "https://h.example:8443"), LinkMap((P,), G), G, PERMISSIONS)
SEARCH = Interaction(InteractionKind.SEARCH_TYPE, "Patient/_search", "Patient")
HISTORY = Interaction(InteractionKind.HISTORY_INSTANCE, "Patient/1/_history", "Patient", "1")
LONG = "x" * 2000


def followed(link: str, request_url: str = f"{P}/Patient/_search", answered: Interaction = SEARCH) -> PageLink:
    return PAGING.page(link, request_url, answered)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        # Relative to the base.
        ("Patient?page=2", f"{P}/Patient?page=2"),
        ("?page=2", f"{P}?page=2"),
        ("?_getpages=1", f"{P}?_getpages=1"),
        ("Patient/1/_history?page=2", f"{P}/Patient/1/_history?page=2"),
        ("/fhir/Patient?page=2", f"{P}/Patient?page=2"),
        ("//h.example/fhir/Patient?page=2", f"{P}/Patient?page=2"),
        # The provider's own way, where only that leads below the base.
        ("../Patient?page=2", f"{P}/Patient?page=2"),
        ("/Patient?page=2", f"{P}/Patient?page=2"),
        # As they are.
        (f"{P}/Patient?page=2#top", f"{P}/Patient?page=2"),
        ("/paging?cursor=1", "https://h.example/paging?cursor=1"),
        (f"{P}/Patient/_search/deeper?x=1", f"{P}/Patient/_search/deeper?x=1"),
        ("https://pages.example/2?x=1", "https://pages.example/2?x=1"),
        ("https://pages.example:443/2", "https://pages.example:443/2"),
        ("https://h.example:8443/fhir/Patient?page=2", "https://h.example:8443/fhir/Patient?page=2"),
        # At the base's own origin.
        ("http://h.example/fhir/Patient?page=2", f"{P}/Patient?page=2"),
        ("http://H.example:8080/fhir/Patient?page=2", f"{P}/Patient?page=2"),
        ("http://h.example:8080/fhir?_getpages=1", f"{P}?_getpages=1"),
        # As RFC 3986 writes it.
        (
            f'{P}/Patient?name=a b|é"<>^`{{}}\\[]%zz%41+',
            f"{P}/Patient?name=a%20b%7C%C3%A9%22%3C%3E%5E%60%7B%7D%5C%5B%5D%25zz%41+",
        ),
        (f" {P}/Patient?page=2\n", f"{P}/Patient?page=2"),
    ],
)
def test_a_link_is_asked_for_where_the_provider_means_it(link: str, url: str) -> None:
    assert followed(link).url == url


@pytest.mark.parametrize(
    ("link", "plain"),
    [
        ("Patient?page=2", f"{G}/Patient?page=2"),
        ("http://h.example:8080/fhir/Patient?page=2", f"{G}/Patient?page=2"),
        (f"{P}/Patient/1/_history?page=2", f"{G}/Patient/1/_history?page=2"),
        (f"{P}/Patient/1/$everything?page=2", f"{G}/Patient/1/$everything?page=2"),
        (f"{P}/Observation?patient={P}/Patient/1", f"{G}/Observation?patient={G}/Patient/1"),
        (f"{P}/Patient?_page=2", f"{G}/Patient?_page=2"),  # a number is a provider's own
        (f"{P}/Patient?_page=b2c", None),
        (f"{P}/Patient?_count=1&%5Fpage=b%2Dc", None),
        (f"{P}/Patient?page=b2c", f"{G}/Patient?page=b2c"),
        (f"{P}/Patient?x={LONG}", None),
        ("?_getpages=1", None),
        ("/paging?cursor=1", None),
    ],
)
def test_a_link_that_a_client_can_simply_follow_is_plain(link: str, plain: str | None) -> None:
    assert followed(link).plain == plain


@pytest.mark.parametrize(
    "link",
    [
        # another server, scheme or port, without being named
        "https://evil.example/fhir/Patient", "//evil.example/x", "http://h.example/paging?cursor=1",
        "https://h.example:9999/paging", "http://pages.example/2", "https://h.example@evil.example/",
        "https://user@h.example/fhir/Patient", "https://h.example:0/fhir/Patient", "https://[", "urn:uuid:8c1d",
        "ftp://h.example/fhir/Patient",
        # what is no page
        f"{P}/Patient/1", f"{P}/Patient/1/_history/2", f"{P}/metadata", f"{P}/_history", f"{P}/Patient/_history",
        f"{P}/Observation/$lastn", f"{P}/$everything", f"{P}/Patient/1/%24everything",
        f"{P}/Patient/%31/$everything", "https://h.example/other/Patient/1/$everything",
        # what is not let through
        f"{P}/Practitioner?page=2", f"{P}/Practitioner/some/cursor", f"{P}?_getpages=1&_type=Practitioner",
        f"{P}/Patient?_include=Patient:general-practitioner:Practitioner", f"{P}/Patient?_filter=x",
        # what climbs
        f"{P}/../admin", f"{P}/%2e%2e/admin", f"{P}/..%2fadmin", f"{P}/..;x/admin", f"{P}/%252e%252e/admin",
        "https://h.example/x/%2e%2e/fhir/Patient/1", "https://pages.example/..%5c..",
    ],
)  # fmt: skip
def test_what_is_no_page_of_the_providers_is_refused(link: str) -> None:
    with pytest.raises(InvalidPageLink):
        followed(link)


def test_a_history_pages_by_what_a_reader_may_read() -> None:
    reader = structs.replace(PAGING, permissions=structs.replace(PERMISSIONS, scopes=()))
    assert reader.page("?_getpages=1", f"{P}/Patient/1/_history", HISTORY).url == f"{P}?_getpages=1"
    assert followed("Patient/1/_history?page=2", f"{P}/Patient/1/_history", HISTORY).plain


@given(st.text(max_size=40), st.sampled_from(["", "/", "//", "https://", "https://h.example", f"{P}/", "../", "?"]))
@example("", "https://h.example\\@evil.example/")
@example("evil.example", "https:\t//")
def test_no_link_ever_leads_off_the_origins_that_the_row_names(rest: str, start: str) -> None:
    try:
        url = followed(start + rest).url
    except InvalidPageLink:
        return
    parts = urlsplit(url)
    named = ("h.example", "h.example:443", "pages.example", "pages.example:443", "h.example:8443")
    assert parts.scheme == "https"
    assert parts.netloc.lower() in named
    assert url == encoded(url)
    assert url.isascii()
    assert followed(url).url == url


def bundle(*urls: str, type: str = "searchset", entries: tuple[Entry, ...] = ()) -> Bundle:
    return Bundle(type, tuple(Link("next", url, 0, 0, (0, 0)) for url in urls), entries)


def entry(resource: Bundle | None) -> Entry:
    return Entry(resource=Resource("Bundle" if resource else "Patient", 0, 0, resource))


def test_links_are_pages_only_where_they_are_pages() -> None:
    stored = bundle("c", type="collection")
    found = bundle("a", entries=(entry(stored), entry(bundle("b"))))
    asked = {kind: BundleRequest(Interaction(kind, "Patient", "Patient")) for kind in InteractionKind}

    def pages(kind: InteractionKind, answer: Bundle, *entries: InteractionKind) -> list[Bundle]:
        return [page for _, page in page_bundles(answer, asked[kind], [asked[each] for each in entries])]

    search, read = InteractionKind.SEARCH_TYPE, InteractionKind.READ
    assert pages(search, found) == pages(InteractionKind.HISTORY_INSTANCE, found) == [found]
    for kind in (read, InteractionKind.VREAD, InteractionKind.CREATE, InteractionKind.UPDATE):
        assert pages(kind, found) == pages(kind, stored) == []
    assert pages(InteractionKind.OPERATION, found) == [found]
    assert pages(InteractionKind.OPERATION, stored) == []
    batch = bundle("d", entries=(entry(found), entry(None), entry(bundle("e"))))
    operation = InteractionKind.OPERATION
    assert pages(InteractionKind.BATCH, batch, search, read, operation, search) == [found, bundle("e")]
    # What nobody asked for would pass for content, its links with it.
    for requests in ((), (search, read), (read, read, search), (InteractionKind.DELETE, read, search)):
        with pytest.raises(FhirError) as refused:
            pages(InteractionKind.BATCH, batch, *requests)
        assert refused.value.status == 502
