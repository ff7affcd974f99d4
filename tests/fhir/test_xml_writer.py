import re
from typing import Any
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.xml_writer import to_xml

WRITTEN = '<?xml version="1.0" encoding="UTF-8"?><Basic xmlns="http://hl7.org/fhir">{}</Basic>'
LACKING = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


@given(st.text(st.characters()))
def test_text_survives_an_xml_parser_but_for_what_xml_lacks(text: str) -> None:
    element = ElementTree.fromstring(to_xml({"resourceType": "Basic", "language": text}))[0]  # noqa: S314 (our own)
    assert element.get("value") == LACKING.sub("\ufffd", text)


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


def test_it_agrees_with_another_writer() -> None:
    link = {"relation": "self", "url": "https://gateway.test/Basic?a=1&b=2"}
    entry = {"resource": {"resourceType": "Basic", "id": "x", "code": {"text": 'a "b" <c>'}}}
    bundle = {"resourceType": "Bundle", "id": "b", "type": "searchset", "total": 1, "link": [link], "entry": [entry]}
    theirs = Bundle.model_validate(bundle).model_dump_xml()
    assert ElementTree.canonicalize(to_xml(bundle)) == ElementTree.canonicalize(theirs)
