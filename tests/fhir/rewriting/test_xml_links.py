from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.document import Unreadable, run
from shared.fhir.rewriting import LinkMap
from shared.fhir.rewriting.xml_links import rewrite_xml, xml_references
from shared.fhir.xml_document import read

HERE = "https://provider.example/fhir"
THERE = "https://gateway.example/stu3"
DOWN = LinkMap((HERE,), THERE)

# `@` stands for a base that is mapped, and HERE for one that stays.
TEMPLATE = "\ufeff" + (Path(__file__).parent / "bundle_of_links.xml").read_text()
BUNDLE, REWRITTEN = (TEMPLATE.replace("HERE", HERE).replace("@", base).encode() for base in (HERE, THERE))

FHIR, XHTML = "http://hl7.org/fhir", "http://www.w3.org/1999/xhtml"
NAMES = ["reference", "fullUrl", "url", "link", "photo", "valueAttachment", "system", "details", "text", "diagnostics"]
TREE_VALUES = [
    HERE, f"{HERE}/Patient/1?a=1&b='2'", f"{HERE}2/x", f"{HERE}/../x", "é\U0001f600", f"see {HERE}/x", "a\"<'",
]  # fmt: skip


@st.composite
def trees(draw: st.DrawFn) -> ElementTree.Element:
    root = ElementTree.Element(f"{{{FHIR}}}Basic")
    elements = [ElementTree.SubElement(root, f"{{{FHIR}}}extension") for _ in range(2)]
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=15)):
        element = ElementTree.SubElement(draw(st.sampled_from(elements)), f"{{{FHIR}}}{name}")
        if draw(st.booleans()):
            element.set("value", draw(st.sampled_from(TREE_VALUES)))
        elements.append(element)
    return root


def _expected(element: ElementTree.Element, parent: str) -> None:
    name, value = element.tag.rpartition("}")[2], element.get("value", "")
    below = value.startswith(HERE) and value[len(HERE) :][:1] in ("", "/", "?") and "/.." not in value
    if name in ("reference", "fullUrl") or (name == "url" and parent in ("link", "photo", "valueAttachment")):
        if below:
            element.set("value", THERE + value[len(HERE) :])
    elif (name == "diagnostics" or (name == "text" and parent == "details")) and (below or value.startswith("see ")):
        element.set("value", value.replace(HERE, THERE))
    for child in element:
        _expected(child, name)


def rewritten(body: bytes, link_map: LinkMap = DOWN, *replaced: tuple[int, int, str]) -> bytes:
    return run(rewrite_xml(body, run(read(body)), link_map, replaced))


def patient(inner: str) -> bytes:
    return f'<Patient xmlns="{FHIR}">{inner}</Patient>'.encode()


def narrative(inner: str) -> bytes:
    return patient(f'<text><status value="generated"/><div xmlns="{XHTML}">{inner}</div></text>')


def test_links_are_mapped_and_all_else_stays() -> None:
    assert rewritten(BUNDLE) == REWRITTEN


@pytest.mark.parametrize("body", [BUNDLE.replace(b"provider", b"elsewhere"), patient("")])
def test_nothing_to_map_gives_the_same_object(body: bytes) -> None:
    assert rewritten(body) is body


# What a value is written as, and what it is when it is mapped; None for a value that stays.
VALUES = [
    (HERE, THERE), (f"{HERE}/Patient/1?a=%20&amp;b='..'", f"{THERE}/Patient/1?a=%20&amp;b='..'"),
    (f"{HERE}/Patient/%31", f"{THERE}/Patient/%31"), (f"{HERE}#a/../b", f"{THERE}#a/../b"),
    (f"{HERE}/é/.hidden", f"{THERE}/é/.hidden"), ("https://provider.example&#47;fhir/a", f"{THERE}/a"),
    ("https:&#x2F;&#47;provider.example/fhir/a", "https:&#x2F;&#x2F;gateway.example&#x2F;stu3/a"),
    ("&#104;ttps://provider.example/fhir/a", f"{THERE}/a"), ("HTTP://Provider.Example:443/fhir/", f"{THERE}/"),
    (f"{HERE}2/Patient/1", None), (f"{HERE}&amp;x", None), (f"{HERE}/../x", None), (f"{HERE}/%2e%2e/x", None),
    (f"{HERE}/a&#10;b", None), (f" {HERE}", None), (f"x {HERE}", None),
    ("https://elsewhere.example/fhir?u=" + HERE, None),
]  # fmt: skip


@pytest.mark.parametrize("before", ["", " id = 'value'", ' id="href"'])
@pytest.mark.parametrize("after", ["", " ", ' id2=">"'])
@pytest.mark.parametrize(("value", "mapped"), VALUES)
def test_each_spelling_of_a_link_is_mapped(value: str, mapped: str | None, before: str, after: str) -> None:
    for quoted in {f'"{value}"', f"'{value}'"} - ({f"'{value}'"} if "'" in value else set()):
        link, hyperlink = f"<reference{before} value={quoted}{after}/>", f"<a{before} href={quoted}{after}>x</a>"
        for body in (patient(link), narrative(hyperlink)):
            assert rewritten(body) == body.replace(value.encode(), (mapped or value).encode())


@given(trees(), st.sampled_from(["", "f"]))
def test_trees_are_mapped_as_by_a_walk_over_the_parsed_tree(tree: ElementTree.Element, prefix: str) -> None:
    ElementTree.register_namespace(prefix, FHIR)
    body = ElementTree.tostring(tree)
    mapped = rewritten(body)
    assert rewritten(mapped, DOWN.inverse) == body
    _expected(tree, "")
    assert mapped == ElementTree.tostring(tree)


def test_a_bundles_links_are_replaced() -> None:
    body = (
        f'<Bundle xmlns="{FHIR}"><link><url value="/r4?a=1&amp;b=é"/></link><link><url value="{HERE}?a"/></link>'
        f'<link><url value="{HERE}?b"/></link><entry><link><url value="{HERE}/1"/></link></entry>'
        '<link><url value="last"/></link></Bundle>'
    ).encode()
    bundle = run(read(body)).bundle
    assert bundle is not None
    first, _, third, last = bundle.links
    new = 'https://gateway.example/p?"<é&>'
    mapped = rewritten(body, DOWN, *((link.start, link.end, new) for link in (last, first, third)))
    urls = [url.get("value") for url in ElementTree.fromstring(mapped).iter(f"{{{FHIR}}}url")]  # noqa: S314
    assert urls == [new, f"{THERE}?a", new, f"{THERE}/1", new]


def test_a_resource_of_a_bundle_is_mapped_as_a_document_of_its_own() -> None:
    bundle = run(read(BUNDLE)).bundle
    assert bundle is not None
    for entry in bundle.entries:
        assert entry.resource is not None
        alone = run(rewrite_xml(BUNDLE, entry.resource, DOWN.inverse))
        ElementTree.fromstring(alone)  # noqa: S314
        assert run(rewrite_xml(BUNDLE, entry.resource, DOWN)) == rewritten(alone)


def test_references_with_criteria_are_found() -> None:
    one = '<a><reference value="Patient?a=1&amp;b=&#233;é"/></a><b><reference value="Patient/1"/></b>'
    two = '<!-- <reference value="Patient?no"/> --><subject><reference value="Patient?c"/></subject>'
    resources = "".join(f"<entry><resource><Basic>{inner}</Basic></resource></entry>" for inner in (one, two))
    body = f'<Bundle xmlns="{FHIR}">{resources}</Bundle>'.encode()
    document = run(read(body))
    assert run(xml_references(body, document)) == ["Patient?a=1&b=éé", "Patient?c"]
    assert document.bundle is not None
    for entry, found in zip(document.bundle.entries, (["Patient?a=1&b=éé"], ["Patient?c"]), strict=True):
        assert entry.resource is not None
        assert run(xml_references(body, entry.resource)) == found
    body = patient('<a><reference value="Patient?a"/></a>' * 1_001)
    with pytest.raises(Unreadable):
        run(xml_references(body, run(read(body))))


@pytest.mark.parametrize(
    "body",
    [
        patient(f'<diagnostics value="{HERE} {"&lt;" * 20_000}"/>'),
        patient(f'<diagnostics value="{HERE + "/.." * 20_000}"/>'),
        patient(f'<reference value="{HERE}/%31"/>     ' * 10_000),
    ],
)
def test_links_that_cost_too_much_are_refused(body: bytes) -> None:
    document = run(read(body))
    with pytest.raises(Unreadable):
        run(rewrite_xml(body, document, DOWN))


def test_links_are_mapped_in_slices() -> None:
    unit = f'<subject><reference value="{HERE}/Patient/1"/></subject>'
    for number in (5_000, 10_000, 20_000):
        body = patient(unit * number)
        assert sum(1 for _ in rewrite_xml(body, run(read(body)), DOWN)) == number // 1_000
