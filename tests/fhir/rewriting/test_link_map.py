import re
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.fhir.rewriting import LinkMap

P, G = "https://provider.example/fhir", "https://gateway.example/stu3"
DOWN = LinkMap((P,), G)


@pytest.mark.parametrize(
    "base",
    [
        P, "http://provider.example/fhir", "HTTPS://Provider.EXAMPLE/fhir", "https://provider.example:443/fhir",
        "http://provider.example:80/fhir", "https://provider.example:/fhir",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "below", ["", "/", "/Patient/1?a=%7C&b=|#x", "?_getpages=1", "#x", "/a..b/.c/...", "/x?y=/../z"]
)
def test_maps_what_lies_at_or_below_the_base(base: str, below: str) -> None:
    assert DOWN.map(base + below) == G + below


@pytest.mark.parametrize(
    "url",
    [
        "", "Patient/1", "/fhir/Patient/1", "urn:uuid:7c1f", "ftp://provider.example/fhir", "https://provider.example",
        "https://provider.example/fhir2", "https://provider.example/fhir2/Patient",
        "https://provider.example/FHIR/Patient", "https://provider.example/fhir\\..\\admin",
        "https://provider.example/fhi", "https://provider.example:8443/fhir", "https://provider.example:4430/fhir",
        "https://provider.example.evil.example/fhir", "https://evil-provider.example/fhir",
        "https://user@provider.example/fhir", "https://user:pass@provider.example/fhir",
        "https://provider.example@evil.example/fhir", " https://provider.example/fhir",
        "https://provider.example/other/https://provider.example/fhir", "https://provider\u212a.example/fhir",
    ],
)  # fmt: skip
def test_maps_nothing_else(url: str) -> None:
    assert DOWN.map(url) is None


@pytest.mark.parametrize(
    "path",
    [
        "/..", "/../admin", "/./x", "/Patient/..", "/Patient/../../admin", "/%2e%2e/admin", "/.%2E/admin",
        "/%252e%252e/admin", "/x%2f..%2fadmin", "/x%252F..%252Fadmin", "/x%5c..%5cadmin", "/x\\..\\admin",
        "/..;a=b/admin", "/..%3Ba/admin", "/..?x", "/..#x", "/.\t./admin", "/.\n./admin",
    ],
)  # fmt: skip
def test_a_path_that_climbs_is_not_mapped(path: str) -> None:
    assert DOWN.map(P + path) is None


def test_ports_other_than_the_default_count() -> None:
    down = LinkMap(("http://[::1]:8080/r4",), "https://gateway.example/r4")
    assert down.map("http://[::1]:8080/r4/Patient") == "https://gateway.example/r4/Patient"
    assert down.map("http://[::1]/r4/Patient") is None
    assert down.map("http://[::1]:80/r4/Patient") is None
    assert down.map("http://[::1]:80801/r4/Patient") is None


def test_a_default_port_does_not_grow_page_by_page() -> None:
    down = LinkMap(("https://provider.example:443/fhir",), "https://gateway.example:443/stu3")
    page = down.map("https://provider.example:443/fhir/Patient?page=2")
    assert page == "https://gateway.example:443/stu3/Patient?page=2"
    assert down.inverse.map(page) == "https://provider.example:443/fhir/Patient?page=2"


def test_several_spellings_of_a_base_map_to_one() -> None:
    up = LinkMap(("https://gateway.example/fhir", "https://gateway.example/fhir/stu3"), "https://provider.example/x")
    assert up.map("https://gateway.example/fhir/Patient/1") == "https://provider.example/x/Patient/1"
    assert up.map("https://gateway.example/fhir/stu3/Patient/1") == "https://provider.example/x/Patient/1"
    assert up.map("https://gateway.example/fhir/stu3x/1") == "https://provider.example/x/stu3x/1"
    assert up.inverse == LinkMap(("https://provider.example/x",), "https://gateway.example/fhir")


def test_a_base_without_path_and_a_trailing_slash() -> None:
    down = LinkMap(("https://provider.example/",), "https://gateway.example/r4/")
    assert down.map("https://provider.example/Patient/1") == "https://gateway.example/r4/Patient/1"
    assert down.map("https://provider.example") == "https://gateway.example/r4"
    assert down.map("https://provider.example.org/Patient/1") is None


@pytest.mark.parametrize(
    "base",
    [
        "", "provider.example/fhir", "ftp://provider.example", "https://", "https://user@provider.example/fhir",
        "https://provider.example/fhir?x", "https://provider.example/fhir#x", 'https://provider.example/"',
        "https://provider.example/a\\b", "https://provider.example/<b>", "https://provider.example/a b",
        "https://provider.example/a&b", "https://provider.example/%2e", "https://provider.example/../x",
        "https://provider.example/fhir\n", "https://pro\u212aider.example/fhir",
    ],
)  # fmt: skip
def test_a_malformed_base_is_refused(base: str) -> None:
    for sources, target in (((base,), G), ((P,), base), (base, G)):
        with pytest.raises(ValueError, match="base" if base or sources else "source"):
            LinkMap(sources, target)  # type: ignore[arg-type]


# `@` stands for a base that is found.
@pytest.mark.parametrize(
    "text",
    [
        "@/Patient/1 not found", "at @.", "at @: down", "<@>", "(@)", "“@”", "@,@/x", "https://provider.example/@",
        f"{P}{P}", f"{P}2 {P}.old/x", f"{P}/../admin {P}/x/../y", f"{P}/../@/x", f"x{P}",
    ],
)  # fmt: skip
def test_occurrences_in_text_stand_at_a_boundary(text: str) -> None:
    for base in (P, "http://Provider.example:80/fhir"):
        written = text.replace("@", base)
        assert [written[start:end] for start, end in DOWN.occurrences(written)] == [base] * text.count("@")
    host = LinkMap(("https://provider.example",), G)
    assert list(host.occurrences("https://provider.example: connection refused")) == [(0, 24)]


HOSTS = ("provider.example", "provider.example.org", "[::1]")
BASE = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(HOSTS),
    st.sampled_from(["", ":80", ":443", ":8443"]),
    st.sampled_from(["", "/", "/fhir", "/fhir/r4", "/a:b//c"]),
)
PIECES = ("http:", "HTTPS:", "//", "//Provider.EXAMPLE", ":80", ":443", ":", "/", "/fhir", "/r4", "?", ".org", "x")


@settings(max_examples=500)
@given(st.lists(BASE, min_size=1, max_size=3), st.integers(1, 20), st.data())
def test_sources_are_found_as_by_a_pattern(sources: list[str], part: int, data: st.DataObject) -> None:
    bare = [re.sub(r":\d*(?=/|$)", "", source) for source in sources]
    text = "".join(data.draw(st.lists(st.sampled_from([*PIECES, *sources, *bare]), max_size=6)))
    links = LinkMap(tuple(sources), G)
    spans = [found.span() for found in re.finditer(links.pattern, text, re.ASCII)]
    body = text.encode()
    for size in (part, len(body) + 1):
        found = [links.starts(body, start, start + size) for start in range(0, len(body), size)]
        # In parts, one may be found that begins in one of the part before.
        assert [span for span in chain(*found) if not any(a < span[0] < b for a, b in spans)] == spans
    base = re.match(rf"(?i:https?):{links.pattern}(?=[/?#]|\Z)", text, re.ASCII)
    assert links.base_length(text) == (base.end() if base else None)
