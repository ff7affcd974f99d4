import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.fhir.charsets import to_utf8
from shared.fhir.document import MAX_BUNDLE_DEPTH, MAX_DEPTH, Bundle, Entry, Link, Resource, Unreadable, run
from shared.fhir.rewriting import LinkMap
from shared.fhir.rewriting.xml_links import rewrite_xml
from shared.fhir.xml_document import read

FHIR, XHTML, XSI = "http://hl7.org/fhir", "http://www.w3.org/1999/xhtml", "http://www.w3.org/2001/XMLSchema-instance"
BATCH = b"""<?xml version="1.0" encoding="UTF-8"?>
<f:Bundle xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><f:type value="batch"/>
<f:link><f:relation value="next"/><f:url id="1" value = 'a&amp;b'/></f:link>
<f:entry><f:fullUrl value="urn:uuid:1"/><f:resource><f:Patient id="a>b"/></f:resource>
<f:request><f:method value="PUT"/><f:url value="Patient/1"/><f:ifMatch value="W/&quot;1&quot;"/></f:request></f:entry>
<f:entry><f:request><f:method value="GET"/><f:url value="Patient/1"/></f:request></f:entry>
<f:entry><f:resource><f:Bundle><f:type value="searchset"/><f:entry><f:response><f:status value="404"/><f:outcome>
<f:OperationOutcome><f:contained><f:Device/></f:contained></f:OperationOutcome ></f:outcome></f:response></f:entry>
</f:Bundle></f:resource></f:entry></f:Bundle>"""


def span(text: bytes) -> tuple[int, int]:
    assert BATCH.count(text) == 1
    return BATCH.index(text), BATCH.index(text) + len(text)


def without_places(resource: Resource) -> Resource:
    """The resource without what only the rewriting looks at."""
    changes: dict[str, object] = {"places": ()}
    if bundle := resource.bundle:
        parts = [{"resource": entry.resource, "outcome": entry.outcome} for entry in bundle.entries]
        kept = [{name: part and without_places(part) for name, part in each.items()} for each in parts]
        entries = [replace(entry, **each) for entry, each in zip(bundle.entries, kept, strict=True)]
        changes["bundle"] = replace(bundle, entries=tuple(entries))
    return replace(resource, **changes)


def test_the_envelope_is_read_as_json_would_have_it() -> None:
    around = {"f": FHIR, "h": XHTML}
    outcome_start, outcome_end = BATCH.index(b"<f:Oper"), BATCH.index(b"</f:outcome>")
    start, end = BATCH.index(b"<f:Bundle>"), BATCH.index(b"</f:resource></f:entry></f:Bundle>")
    outcome = Resource("OperationOutcome", outcome_start, outcome_end, None, around)
    inner = Bundle("searchset", (), (Entry(status="404", outcome=outcome),))
    link = Link("next", "a&b", *span(b"a&amp;b"), (BATCH.index(b"<f:link>"), BATCH.index(b"</f:link>") + 9))
    put = {"method": "PUT", "url": "Patient/1", "ifMatch": 'W/"1"'}
    entries = (
        Entry("urn:uuid:1", put, Resource("Patient", *span(b'<f:Patient id="a>b"/>'), None, around)),
        Entry(None, {"method": "GET", "url": "Patient/1"}),
        Entry(resource=Resource("Bundle", start, end, inner, around)),
    )
    envelope = Bundle("batch", (link,), entries)
    assert without_places(run(read(BATCH))) == Resource("Bundle", BATCH.index(b"<f:Bundle x"), len(BATCH), envelope)


def test_a_resource_in_a_bundle_is_a_document_of_its_own() -> None:
    bundle = run(read(BATCH)).bundle
    assert bundle is not None
    patient, _, inner = (entry.resource for entry in bundle.entries)
    assert patient is not None
    assert inner is not None
    links = LinkMap(("https://a.example",), "https://b.example")
    assert run(rewrite_xml(BATCH, patient, links)) == b'<f:Patient xmlns:f="http://hl7.org/fhir" id="a>b"/>'
    assert run(read(run(rewrite_xml(BATCH, inner, links)))).type == "Bundle"


def patient(inner: str = "", attributes: str = "") -> str:
    return f'<Patient xmlns="{FHIR}"{attributes}>{inner}</Patient>'


def narrative(inner: str, attributes: str = "") -> str:
    return patient(f'<text><status value="generated"/><div xmlns="{XHTML}"{attributes}>{inner}</div></text>')


def bundle(inner: str, attributes: str = "") -> str:
    return f'<Bundle xmlns="{FHIR}"{attributes}>{inner}</Bundle>'


def entry(inner: str) -> str:
    return bundle(f"<entry>{inner}</entry>")


TAKEN = {
    "a byte order mark": "\ufeff" + patient(),
    "a declaration": '<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n' + patient(),
    "a prefix for FHIR": f'<f:Patient xmlns:f="{FHIR}"><f:active value="true"/></f:Patient>',
    "both spellings": f'<Patient xmlns="{FHIR}" xmlns:f="{FHIR}"><f:active value="true"/></Patient>',
    "another namespace that is only declared": patient(attributes=' xmlns:o="urn:o"'),
    "a hint at a schema": patient(attributes=f' xmlns:xsi="{XSI}" xsi:schemaLocation="{FHIR} fhir.xsd"'),
    "a language in a narrative": narrative('<p xml:lang="de" lang="de">x</p>', ' xml:lang="en"'),
    "text, comments and CDATA in a narrative": narrative("a<!-- b --><![CDATA[<c>]]>&amp;&#233;<br/>"),
    "a narrative with a prefix": patient(f'<text><h:div xmlns:h="{XHTML}"><h:p>x</h:p></h:div></text>'),
    "comments and white space between elements": patient(" <!-- <Bundle> -->\n\t\r\n<active value='true'/> "),
    "an element that is called as one of the envelope": patient("<Entry/><link/><link/><type/><type/>"),
    "order": bundle('<entry/><type value="batch"/><link/>'),
    "an extension of a type": bundle('<type value="batch"><extension url="u"><valueId value="x"/></extension></type>'),
    "a value of white space": entry('<request><ifMatch value=" "/></request>'),
    "no value": bundle("<type/><link><url/></link>"),
    "as deep as may be": patient("<a>" * (MAX_DEPTH - 1) + "</a>" * (MAX_DEPTH - 1)),
    "a long value": patient(f'<a value="{"QUJD" * 200_000}" id="x"/>'),
    "a long value of other letters": patient(f'<a value="{"x" * 300_000 + "é" * 300_000}"/>'),
    "a long value of these, cut elsewhere": patient(f'<a value="{"é" * 300_000}"/><a value="x{"é" * 300_000}"/>'),
    "a long value with line breaks": patient(f"<a value='{('QUJD' * 19 + '&#xA;') * 20_000}'/>"),
}

REFUSED = {
    "nothing": "",
    "a part": "<Patient",
    "two roots": patient() + patient(),
    "no namespace": "<Patient/>",
    "another namespace": '<Patient xmlns="http://hl7.org/fhir/"/>',
    "another namespace inside": bundle('<x:entry xmlns:x="u"/>'),
    "no namespace inside": bundle('<entry xmlns=""/>'),
    "a prefix that is not declared": patient("<f:active/>"),
    "a prefix that is not declared any more": patient(f'<a><f:b xmlns:f="{FHIR}"/></a><f:b/>'),
    "a prefix without a namespace": patient(attributes=' xmlns:f=""'),
    "a reserved prefix": patient(attributes=' xmlns:xml="http://www.w3.org/XML/1998/namespace"'),
    "a reserved namespace": patient(attributes=' xmlns:f="http://www.w3.org/2000/xmlns/"'),
    "two colons": f'<f:f:Patient xmlns:f="{FHIR}"/>',
    "XHTML outside a narrative": patient(f'<p xmlns="{XHTML}"/>'),
    "a narrative elsewhere": patient(f'<note><div xmlns="{XHTML}"/></note>'),
    "a narrative of another element": patient(f'<text><p xmlns="{XHTML}"/></text>'),
    "a narrative in FHIR's namespace": patient("<text><div/></text>"),
    "FHIR in a narrative": narrative(f'<p xmlns="{FHIR}"/>'),
    "another namespace in a narrative": narrative('<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "XHTML as the root": f'<div xmlns="{XHTML}"/>',
    "an attribute with a prefix": patient(f'<a xmlns:f="{FHIR}" f:value="x"/>'),
    "another hint": patient(attributes=f' xmlns:xsi="{XSI}" xsi:type="x"'),
    "a hint further down": patient(f'<a xmlns:xsi="{XSI}" xsi:schemaLocation="x"/>'),
    "two hints": patient(attributes=f' xmlns:a="{XSI}" xmlns:b="{XSI}" a:schemaLocation="x" b:schemaLocation="x"'),
    "a language outside a narrative": patient('<a xml:lang="de"/>'),
    "an attribute with a prefix in a narrative": narrative('<p xmlns:o="urn:o" o:x=""/>'),
    "an attribute twice": patient('<a value="1" value="2"/>'),
    "a document type": "<!DOCTYPE Patient>" + patient(),
    "an entity": patient('<a value="&b;"/>'),
    "a processing instruction": '<?xml-stylesheet href="x"?>' + patient(),
    "a processing instruction inside": patient("<?x y?>"),
    "a declaration that comes late": "\n<?xml version='1.0'?>" + patient(),
    "XML 1.1": '<?xml version="1.1"?>' + patient(),
    "another encoding": '<?xml version="1.0" encoding="ISO-8859-1"?>' + patient(),
    "text": patient("x"),
    "text in an element with a value": patient('<active value="true">false</active>'),
    "text as a value": bundle("<type>batch</type>"),
    "text in CDATA": patient("<![CDATA[x]]>"),
    "a space that XML has not": patient("\u00a0"),
    "text by a reference": patient("&#120;"),
    "text after a narrative": narrative("").replace("</text>", "x</text>"),
    "a forbidden character": patient('<a value="&#1;"/>'),
    "half a character": patient('<a value="&#xD800;"/>'),
    "a type twice": bundle('<type value="batch"/><type value="transaction"/>'),
    "a type twice, without value": bundle('<type value="batch"/><type/>'),
    "a request twice": entry("<request/><request/>"),
    "a response twice": entry("<response/><response/>"),
    "a resource twice": entry("<resource><Patient/></resource><resource><Patient/></resource>"),
    "a full URL twice": entry('<fullUrl value="a"/><fullUrl value="b"/>'),
    "a method twice": entry('<request><method value="GET"/><method value="DELETE"/></request>'),
    "a relation twice": bundle('<link><relation value="self"/><relation value="next"/></link>'),
    "an outcome twice": entry("<response><outcome><A/></outcome><outcome><A/></outcome></response>"),
    "an entry in capitals": bundle("<Entry/>"),
    "a link in capitals": bundle("<LINK/>"),
    "a URL in capitals": bundle('<link><URL value="x"/></link>'),
    "a method in capitals": entry('<request><Method value="DELETE"/></request>'),
    "a resource in capitals": entry("<Resource><Patient/></Resource>"),
    "a long s": entry("<reſource><Patient/></reſource>"),
    "two resources in one": entry("<resource><Patient/><Device/></resource>"),
    "no resource": entry("<resource/>"),
    "no outcome": entry("<response><outcome/></response>"),
    "two contained resources in one": patient("<contained><A/><B/></contained>"),
    "no contained resource": patient("<contained/>"),
    "a resource in small letters": entry("<resource><bundle/></resource>"),
    "a Bundle in capitals": f'<BUNDLE xmlns="{FHIR}"/>',
    "an odd attribute of a Bundle": bundle("", ' type="batch"'),
    "an odd attribute of a type": bundle('<type value="batch" code="transaction"/>'),
    "an odd attribute of a request": entry('<request method="DELETE"/>'),
    "an odd attribute of a container": entry('<resource type="x"><Patient/></resource>'),
    "a code with a space": entry('<request><method value="DELETE "/></request>'),
    "a type with a line break": bundle('<type value="&#10;batch"/>'),
    "a very long URL": entry(f'<request><url value="{"x" * 200_000}"/></request>'),
    "too deep": patient("<a>" * MAX_DEPTH + "</a>" * MAX_DEPTH),
    "too deep in a narrative": narrative("<b>" * MAX_DEPTH + "</b>" * MAX_DEPTH),
    "Bundles in Bundles": bundle(
        "<entry><resource><Bundle>" * (MAX_BUNDLE_DEPTH + 1) + "</Bundle></resource></entry>" * (MAX_BUNDLE_DEPTH + 1)
    ),
    "many declarations": patient(attributes="".join(f' xmlns:a{i}="urn:{i}"' for i in range(17))),
    "many prefixes for one namespace": patient(attributes="".join(f' xmlns:a{i}="{FHIR}"' for i in range(5))),
    "many scopes": patient("".join(f'<a xmlns:b="urn:{i}"/>' for i in range(100))),
    "many attributes": narrative("<p " + " ".join(f'a{i}="x"' for i in range(33)) + "/>"),
    "many names": patient("".join(f'<a{i} value="0123456789"/>' for i in range(5_000))),
    "dense elements": patient("<a/>" * 20_000),
    "dense comments": patient("<!---->" * 20_000),
    "dense attributes": narrative('<p a="" b="" c="" d="" e="" f="" g="" h=""/>' * 4_000),
    "dense declarations": patient(f'<a xmlns="{FHIR}"/>' * 4_000),
    "dense entries": bundle("<entry><request/></entry>" * 10_000),
    "dense links": bundle("<link><url value='u'/></link>" * 5_000),
    "dense hyperlinks": narrative('<a href="http://"/>' * 20_000),
    "a long name": patient(f"<{'a' * 500_000}/>"),
    "a long comment": patient(f"<!--{'a' * 500_000}-->"),
    "a long link": patient(f'<reference value="http://{"x" * 200_000}"/>'),
    "a long hyperlink": narrative(f'<a href="http://{"x" * 100_000}"/>'),
    "a long message": patient(f'<diagnostics value="{"x" * 1_000_000}"/>'),
    "more links than any Bundle has": bundle("<link><url value='x'/></link>" * 1_001),
    "two long values in one element": patient(f'<a id="{"x" * 400_000}" value="{"y" * 400_000}"/>'),
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_what_real_bodies_have_is_read(body: str) -> None:
    assert run(read(body.encode())).type in ("Patient", "Bundle")


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_two_readers_could_read_differently_or_costs_too_much_is_refused(body: str) -> None:
    with pytest.raises(Unreadable) as caught:
        run(read(body.encode()))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        patient().encode("utf-16"), patient().encode("utf-16-le"), patient('<a value="ä"/>').encode("latin-1"),
        patient().encode() + b"\0", patient('<a value="\ufffe"/>').encode(),
        b'<Patient xmlns="http://hl7.org/fhir"><a value="\xed\xa0\x80"/></Patient>',
    ],
)  # fmt: skip
def test_other_bytes_than_utf_8_are_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        run(read(body))


@given(st.binary(max_size=300) | st.text("<>/ab=\"' &;!?-[]", max_size=200).map(str.encode))
def test_no_bytes_fail_otherwise(body: bytes) -> None:
    with suppress(Unreadable):
        run(read(body))


@given(
    st.lists(
        st.sampled_from(["x" * 70_000, "é" * 30_000, "&amp;", "&#10;", "'", ">", "/", "=", " ", "\n"]), max_size=8
    ),
    st.integers(0, 70_000),
)
def test_what_is_skipped_of_long_values_moves_nothing(parts: list[str], before: int) -> None:
    value = "".join(parts)
    body = bundle(f"<a>{' ' * before}</a><b value=\"{value}\"/><link><url value='https://x.example/'/></link>").encode()
    document = run(read(body))
    assert document.bundle is not None
    (link,) = document.bundle.links
    assert body[link.start : link.end] == b"https://x.example/"
    assert document.end == len(body)


@pytest.mark.parametrize("unit", ["<a><b value='0123456789012345'/></a>", "<!-- 0123456789 -->", " " * 30])
def test_a_body_is_read_in_slices_of_one_size(unit: str) -> None:
    lengths = [10_000, 20_000, 40_000]
    slices = [sum(1 for _ in read(patient(unit * length).encode())) for length in lengths]
    size = len(unit)
    assert all(count >= length * size // 100_000 for count, length in zip(slices, lengths, strict=True))


@pytest.mark.parametrize("charset", ["iso-8859-1", "iso-8859-15", "windows-1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("declares", [True, False])
def test_another_charset_is_read_as_utf_8(charset: str, declares: bool) -> None:
    text = patient('<a value="äöü"/>' * 30_000)
    declaration = f"<?xml version='1.0' encoding='{charset.upper()}' standalone='yes'?>" if declares else ""
    named = {"utf-16-le": "utf-16le"}.get(charset, charset)
    by_declaration = declares and not charset.startswith("utf-16")
    for given_charset in (named.upper(), *([None] if by_declaration else [])):
        body = run(to_utf8((declaration + text).encode(charset), given_charset))
        assert body.decode() == (declaration and "<?xml version='1.0' standalone='yes'?>") + text
        assert run(read(body)).type == "Patient"


def test_utf_8_is_left_as_it_is() -> None:
    body = b'<?xml version="1.0" encoding="UTF-8"?><a>\xc3\xa4</a>'
    assert run(to_utf8(body, None)) is body
    assert run(to_utf8(b"\xef\xbb\xbf" + body, "utf-8")) == body
    text = json.dumps({"a": "<?xml version='1.0' encoding='latin1'?>"})
    assert run(to_utf8(text.encode("utf-16"), None)).decode() == text


@pytest.mark.parametrize(
    ("body", "charset"),
    [(b"<a/>", "punycode"), (b'<?xml version="1.0" encoding="ebcdic"?><a/>', None), (b"<", "utf-16")],
)
def test_other_charsets_are_refused(body: bytes, charset: str | None) -> None:
    with pytest.raises(Unreadable):
        run(to_utf8(body, charset))
