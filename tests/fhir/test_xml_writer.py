from typing import Any
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.statement import statement
from shared.fhir.versions import FhirVersion
from shared.fhir.xml_writer import to_xml

HL7 = "{http://hl7.org/fhir}"
WRITTEN = '<?xml version="1.0" encoding="UTF-8"?><Basic xmlns="http://hl7.org/fhir">{}</Basic>'
CARRIED = st.characters(
    exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=0x20
) | st.sampled_from("\t\n\r")


def parse(resource: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(to_xml(resource))  # noqa: S314 (our own document)


@given(st.text(CARRIED))
def test_text_survives_an_xml_parser(text: str) -> None:
    element = parse({"resourceType": "Basic", "language": text}).find(f"{HL7}language")

    assert element is not None
    assert element.get("value") == text


@given(st.text(st.characters()))
def test_any_text_gives_well_formed_xml_of_the_same_length(text: str) -> None:
    element = parse({"resourceType": "Basic", "language": text}).find(f"{HL7}language")

    assert element is not None
    assert len(element.get("value", "")) == len(text)


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_a_character_that_xml_lacks_is_replaced(character: str) -> None:
    assert (
        to_xml({"resourceType": "Basic", "language": f"a{character}b"})
        == WRITTEN.format('<language value="a\ufffdb"/>').encode()
    )


@pytest.mark.parametrize(
    ("members", "written"),
    [
        ({"id": "1"}, '<id value="1"/>'),
        ({"active": True, "dead": False}, '<active value="true"/><dead value="false"/>'),
        ({"count": 3}, '<count value="3"/>'),
        ({"given": ["a", "b"]}, '<given value="a"/><given value="b"/>'),
        ({"code": {"id": "x", "text": "t"}}, '<code id="x"><text value="t"/></code>'),
        ({"software": {"url": "u"}}, '<software><url value="u"/></software>'),
        (
            {"extension": [{"url": "a&b", "id": "x", "extension": [{"url": "c", "valueUri": "d"}]}]},
            '<extension id="x" url="a&amp;b"><extension url="c"><valueUri value="d"/></extension></extension>',
        ),
        (
            {"contained": [{"resourceType": "Patient", "id": "p"}]},
            '<contained><Patient><id value="p"/></Patient></contained>',
        ),
    ],
)
def test_members_are_written_as_fhir_has_them(members: dict[str, Any], written: str) -> None:
    assert to_xml({"resourceType": "Basic", **members}).decode() == WRITTEN.format(written)


@pytest.mark.parametrize("version", FhirVersion)
def test_a_statement_keeps_its_order_and_values(version: FhirVersion) -> None:
    document = statement(
        version, "https://gateway.test/fhir", "https://gateway.test/token", "https://gateway.test/authorize"
    )
    root = parse(document)

    names = [child.tag.removeprefix(HL7) for child in root]
    assert list(dict.fromkeys(names)) == [name for name in document if name != "resourceType"]
    assert root.tag == HL7 + document["resourceType"]
    uri = root.find(f"{HL7}rest/{HL7}security/{HL7}extension/{HL7}extension[@url='token']/{HL7}valueUri")
    assert uri is not None
    assert uri.get("value") == "https://gateway.test/token"


def test_it_agrees_with_another_writer() -> None:
    bundle = {
        "resourceType": "Bundle",
        "id": "b",
        "type": "searchset",
        "total": 1,
        "link": [{"relation": "self", "url": "https://gateway.test/Basic?a=1&b=2"}],
        "entry": [{"resource": {"resourceType": "Basic", "id": "x", "code": {"text": 'a "b" <c>'}}}],
    }
    theirs = Bundle.model_validate(bundle).model_dump_xml()

    assert ElementTree.canonicalize(to_xml(bundle)) == ElementTree.canonicalize(theirs)
