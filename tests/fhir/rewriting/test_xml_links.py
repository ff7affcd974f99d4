from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.rewriting import LinkMap, UnsafeXml, rewrite_xml

HERE = "https://provider.example/fhir"
THERE = "https://gateway.example/stu3"
DOWN = LinkMap((HERE,), THERE)

BUNDLE = """\ufeff<?xml version='1.0' encoding="UTF-8"?>
<!-- https://provider.example/fhir -->
<Bundle xmlns="http://hl7.org/fhir">
  <id value="x"/><meta><profile value="https://provider.example/fhir/StructureDefinition/x"/></meta>
  <link><relation value='next'/><url  value = 'https://provider.example/fhir?page=2&amp;x=1' /></link>
  <entry>
    <link><relation value="self"/><url value="HTTP://provider.example:80/fhir/Patient/1"/></link>
    <fullUrl id="f" value="https://provider.example/fhir/Patient/1"></fullUrl>
    <resource><Patient>
      <text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">
        <a title="https://provider.example/fhir" href="https://provider.example/fhir/Patient/1?a=1&amp;b=2">
        https://provider.example/fhir</a><img alt='é' src='https:&#x2F;&#47;provider.example/fhir/Binary/1'/></div></text>
      <extension url="https://provider.example/fhir/ext"><valueUri value="https://provider.example/fhir/x"/></extension>
      <identifier><system value="https://provider.example/fhir/ids"/><value value="1"/></identifier>
      <photo><url value="https://provider.example/fhir/Binary/1"/></photo>
      <generalPractitioner><reference value="https://provider.example/fhir2/Practitioner/1"/></generalPractitioner>
      <managingOrganization><reference value="https://provider.example/fhir/Organization/1"/></managingOrganization>
    </Patient></resource>
    <request><method value="GET"/><url value="https://provider.example/fhir/Patient"/></request>
    <response><status value="201"/><location value="https://provider.example/fhir/Patient/1/_history/1"/></response>
  </entry>
  <entry><resource><OperationOutcome><issue><details><text value="no https://provider.example/fhir/x."/></details>
    <diagnostics value="GET &lt;https://provider.example/fhir/x&gt; failed"/><location value="/f:Patient"/>
  </issue></OperationOutcome></resource></entry>
  <entry><resource><CapabilityStatement><url value="https://provider.example/fhir/metadata"/>
    <implementation><description value="https://provider.example/fhir"/><url value="https://provider.example/fhir"/></implementation>
  </CapabilityStatement></resource></entry>
</Bundle>
""".encode()  # noqa: E501

REWRITTEN = BUNDLE.decode()
for old, new in (
    ("'https://provider.example/fhir?page=2&amp;x=1'", "'https://gateway.example/stu3?page=2&amp;x=1'"),
    ('"HTTP://provider.example:80/fhir/Patient/1"', '"https://gateway.example/stu3/Patient/1"'),
    ('"f" value="https://provider.example/fhir/', '"f" value="https://gateway.example/stu3/'),
    ('href="https://provider.example/fhir/', 'href="https://gateway.example/stu3/'),
    ("'https:&#x2F;&#47;provider.example/fhir/", "'https:&#x2F;&#x2F;gateway.example&#x2F;stu3/"),
    ('<photo><url value="https://provider.example/fhir/', '<photo><url value="https://gateway.example/stu3/'),
    ('"https://provider.example/fhir/Organization/1"', '"https://gateway.example/stu3/Organization/1"'),
    ('"https://provider.example/fhir/Patient"/>', '"https://gateway.example/stu3/Patient"/>'),
    ('location value="https://provider.example/fhir/', 'location value="https://gateway.example/stu3/'),
    ("no https://provider.example/fhir/x.", "no https://gateway.example/stu3/x."),
    ("&lt;https://provider.example/fhir/x&gt;", "&lt;https://gateway.example/stu3/x&gt;"),
    ('<url value="https://provider.example/fhir"/></impl', '<url value="https://gateway.example/stu3"/></impl'),
):
    assert REWRITTEN.count(old) == 1, old
    REWRITTEN = REWRITTEN.replace(old, new)


def test_links_are_mapped_and_all_else_stays() -> None:
    assert rewrite_xml(BUNDLE, DOWN).decode() == REWRITTEN


def test_prefixes_are_resolved() -> None:
    body = (
        b'<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:o="urn:other"><o:reference value="https://provider.example/fhir/1"/>'
        b'<f:link><f:other><f:reference value="https://provider.example/fhir/Patient/2"/></f:other></f:link></f:Patient>'
    )
    rewritten = rewrite_xml(body, DOWN)
    assert rewritten == body.replace(b"provider.example/fhir/Patient/2", b"gateway.example/stu3/Patient/2")


@pytest.mark.parametrize(
    "body",
    [
        BUNDLE.replace(b"provider", b"elsewhere"),
        b'<reference value="https://provider.example/fhir/1"/>',
        b'<Patient xmlns="http://hl7.org/fhir"/>',
    ],
)
def test_nothing_to_map_gives_the_same_object(body: bytes) -> None:
    assert rewrite_xml(body, DOWN) is body


def test_a_hook_decides_on_the_links_of_bundles() -> None:
    seen = []

    def link_url(url: str) -> str | None:
        seen.append(url)
        return None if url == "keep" else 'https://gateway.example/p/"<é&>'

    body = (
        '<Bundle xmlns="http://hl7.org/fhir"><link><url value="/r4?a=1&amp;b=é"/></link>'
        '<link><url value="keep"/></link><link><url value="https://provider.example/fhir"/></link>'
        '<entry><link><url value="https://provider.example/fhir/1"/></link>'
        '<resource><Bundle><link><url value="nested"/></link></Bundle></resource></entry></Bundle>'
    )
    rewritten = rewrite_xml(body.encode(), DOWN, link_url=link_url)
    assert seen == ["/r4?a=1&b=é", "keep", HERE, "nested"]
    root = ElementTree.fromstring(rewritten)  # noqa: S314
    assert [url.get("value") for url in root.iter("{http://hl7.org/fhir}url")] == [
        'https://gateway.example/p/"<é&>',
        "keep",
        'https://gateway.example/p/"<é&>',
        "https://gateway.example/stu3/1",
        'https://gateway.example/p/"<é&>',
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"<a/><b/>",
        b"\xff\xfe<\x00a\x00/\x00>\x00",
        b"<a>\xe9</a>",
        b'<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>',
        b'<?xml version="1.0" encoding="utf-16"?><a/>',
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<a>&b;</a>",
        b"<a>" * 1001 + b"</a>" * 1001,
    ],
)
def test_unsafe_xml_is_refused(body: bytes) -> None:
    with pytest.raises(UnsafeXml):
        rewrite_xml(body, DOWN)


def test_a_thousand_levels_are_taken() -> None:
    body = b"<a>" * 1000 + b"</a>" * 1000
    assert rewrite_xml(body, DOWN) is body


NAMES = ["reference", "fullUrl", "url", "link", "photo", "valueAttachment", "system", "details", "text", "diagnostics"]
VALUES = [HERE, f"{HERE}/Patient/1?a=1&b='2'", f"{HERE}2/x", f"{HERE}/../x", "é\U0001f600", f"see {HERE}/x", "a\"<'"]


@st.composite
def trees(draw: st.DrawFn) -> ElementTree.Element:
    root = ElementTree.Element("{http://hl7.org/fhir}Bundle")
    elements = [root]
    for _ in range(draw(st.integers(0, 15))):
        element = ElementTree.SubElement(
            draw(st.sampled_from(elements)), "{http://hl7.org/fhir}" + draw(st.sampled_from(NAMES))
        )
        if draw(st.booleans()):
            element.set("value", draw(st.sampled_from(VALUES)))
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


@given(trees(), st.sampled_from(["", "f"]))
def test_trees_are_mapped_as_by_a_walk_over_the_parsed_tree(tree: ElementTree.Element, prefix: str) -> None:
    ElementTree.register_namespace(prefix, "http://hl7.org/fhir")
    body = ElementTree.tostring(tree)
    rewritten = rewrite_xml(body, DOWN)
    assert rewrite_xml(rewritten, DOWN.inverse) == body
    _expected(tree, "")
    assert rewritten == ElementTree.tostring(tree)
