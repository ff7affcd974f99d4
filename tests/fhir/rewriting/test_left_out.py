"""A link that is left out takes its separators with it: what stays is valid, and nothing else is touched."""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.body import read_body
from shared.fhir.document import run
from shared.fhir.rewriting import LinkMap
from shared.fhir.rewriting.left_out import left_out
from shared.fhir.versions import FhirFormat

NONE = LinkMap(("https://nowhere.example/fhir",), "https://gateway.example/stu3")
URLS = st.lists(st.sampled_from(["", "a", "{b}"]), min_size=1, max_size=5)


def without_empty_links(content: bytes, format: FhirFormat) -> bytes:
    body = run(read_body(content, format))
    assert body.resource.bundle is not None
    empty = [link for link in body.resource.bundle.links if not link.url]
    spans = left_out(body.content, format, body.resource.bundle, empty)
    return run(body.mapped(NONE, [(*span, "") for span in spans]))


@given(URLS, st.sampled_from([None, 1, "\t"]), st.booleans(), st.booleans())
def test_json_stays_valid(urls: list[str], indent: int | str | None, first: bool, alone: bool) -> None:
    links = [{"relation": "next", "url": url} for url in urls]
    members = {"resourceType": "Bundle", "type": "searchset"}
    if not alone:
        members["total"] = 1  # type: ignore[assignment]
    bundle = {"link": links, **members} if first else {**members, "link": links}
    kept = [link for link in links if link["url"]]
    expected = {**members, "link": kept} if kept else members
    found = without_empty_links(json.dumps(bundle, indent=indent).encode(), FhirFormat.JSON)
    assert json.loads(found) == expected


@given(URLS, st.sampled_from(["", "\n  "]), st.sampled_from(["", "f:"]))
def test_xml_stays_valid(urls: list[str], space: str, prefix: str) -> None:
    def written(urls: list[str]) -> str:
        link = f'{space}<@link>{space}<@relation value="next"/><@url value="%s"/></@link>'
        bundle = f'<@Bundle xmlns{prefix and ":f"}="http://hl7.org/fhir">{space}<@total value="1"/>%s</@Bundle>'
        return (bundle % "".join(link % url for url in urls)).replace("@", prefix)

    def canonical(text: str) -> str:
        return ElementTree.canonicalize(text, strip_text=True)

    found = without_empty_links(written(urls).encode(), FhirFormat.XML).decode()
    assert canonical(found) == canonical(written([url for url in urls if url]))


@pytest.mark.parametrize(
    "link",
    [
        {"relation": "next", "url": "", "extension": [{"url": "x", "valueString": "}"}]},
        {"url": "", "extension": [{"url": "x"}], "relation": "next"},
        {"relation": "{", "url": ""},
    ],
)
@pytest.mark.parametrize("others", [[], [{"relation": "x"}]])
def test_a_link_is_left_out_with_all_that_is_in_it(link: dict[str, object], others: list[dict[str, str]]) -> None:
    bundle = {"resourceType": "Bundle", "type": "searchset"}
    content = json.dumps({**bundle, "link": [*others, link]}).encode()
    assert json.loads(without_empty_links(content, FhirFormat.JSON)) == bundle | ({"link": others} if others else {})


@pytest.mark.parametrize(
    "inside",
    [
        '<!-- </link><link><relation value="next"/><url value="https://elsewhere.example/"/> -->',
        "<!-- <link> -->",
        '<extension url="x"><valueString value="&lt;link> &lt;/link>"/></extension>',
        f"<!-- {'x' * 10_000} -->",
    ],
)
@pytest.mark.parametrize("inside_first", [True, False])
def test_nothing_inside_a_link_hides_where_it_ends(inside: str, inside_first: bool) -> None:
    head, tail = '<Bundle xmlns="http://hl7.org/fhir">', '<type value="searchset"/></Bundle>'
    parts = [inside, '<relation value="next"/><url value=""/>']
    link = f"<link>{''.join(parts if inside_first else reversed(parts))}</link>"
    assert without_empty_links(f"{head}{link}{tail}".encode(), FhirFormat.XML).decode() == head + tail
