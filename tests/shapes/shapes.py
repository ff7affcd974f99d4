"""Bodies by their shape, of any length: real ones, and those that cost a reader more than their length."""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from shared.fhir.versions import FhirFormat

MEGABYTE = 1_048_576


class Way(Enum):
    """Which way a body goes; the second value is how large it may be at most, in megabytes."""

    UP = "up", 20
    DOWN = "down", 50

    @property
    def limit(self) -> int:
        """Bytes."""
        return self.value[1] * MEGABYTE


JSON, XML = FhirFormat.JSON, FhirFormat.XML
_FHIR, _XHTML = 'xmlns="http://hl7.org/fhir"', 'xmlns="http://www.w3.org/1999/xhtml"'
_DIV = f"<div {_XHTML}>"


@dataclass(frozen=True)
class Shape:
    """`head`, as many `units` as there is room for, with `between` them, and `tail`.

    In all of these `BASE` stands for the base URL of whoever sends it, `TYPE` for the type of its Bundle, and in units
    `NUMBER` for a number that each has alone. `real` are the ways that such bodies go in practice, and must pass.
    """

    name: str
    format: FhirFormat
    head: str
    unit: str
    tail: str
    between: str = ""
    real: tuple[Way, ...] = ()

    @property
    def is_bundle(self) -> bool:
        return "Bundle" in self.head[:60]

    def body(self, size: int, base: str, bundle_type: str) -> bytes:
        def written(text: str) -> str:
            return text.replace("BASE", base).replace("TYPE", bundle_type)

        head, unit, tail, between = map(written, (self.head, self.unit, self.tail, self.between))
        room = max(0, size - len(head.encode()) - len(tail.encode()))
        units = [unit] * (room // len((unit + between).replace("NUMBER", "0000000").encode()))
        if "NUMBER" in unit:
            units = [unit.replace("NUMBER", f"{number:07}") for number in range(len(units))]
        return (head + between.join(units) + tail).encode()


def _patient(name: str, head: str, unit: str, tail: str, between: str = "", **rest: Any) -> Shape:
    return Shape(name, JSON, '{"resourceType":"Patient","id":"1",' + head, unit, tail + "}", between, **rest)


def _bundle(name: str, head: str, unit: str, tail: str, between: str = "", **rest: Any) -> Shape:
    return Shape(name, JSON, '{"resourceType":"Bundle","type":"TYPE",' + head, unit, tail + "}", between, **rest)


def _xml_patient(name: str, unit: str, head: str = "", tail: str = "", root: str = "", **rest: Any) -> Shape:
    return Shape(name, XML, f'<Patient {_FHIR}{root}><id value="1"/>{head}', unit, f"{tail}</Patient>", **rest)


def _xml_bundle(name: str, unit: str, head: str = "", tail: str = "", root: str = "", **rest: Any) -> Shape:
    return Shape(name, XML, f'<Bundle {_FHIR}{root}><type value="TYPE"/>{head}', unit, f"{tail}</Bundle>", **rest)


def _narrative(name: str, unit: str, **rest: Any) -> Shape:
    return _xml_patient(name, unit, f'<text><status value="generated"/>{_DIV}', "</div></text>", **rest)


_REQUEST = '{"request":{"method":"GET","url":"Patient?QUERY"}}'
_LINK = '{"relation":"next","url":"BASE/Patient?page=NUMBER"}'
_XML_LINK = '<link><relation value="next"/><url value="BASE/Patient?page=NUMBER"/></link>'
_DEEP = 290
_DEEP_HEAD, _DEEP_TAIL = '"entry":[{"resource":{"resourceType":"Bundle","type":"TYPE",', "}}]"
_XML_DEEP = f'<entry><resource><Bundle {_FHIR}><type value="TYPE"/>', "</Bundle></resource></entry>"
_MANY_NAMESPACES = "".join(f' xmlns:a{number}="urn:{number}"' for number in range(20_000))
_OBSERVATION = {
    "resourceType": "Observation",
    "id": "NUMBER",
    "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000+00:00"},
    "text": {"status": "generated", "div": f"{_DIV}<p>Body <b>weight</b>: 70.1 kg</p></div>"},
    "status": "final",
    "category": [{"coding": [{"system": "http://hl7.org/fhir/observation-category", "code": "vital-signs"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7", "display": "Body Weight"}]},
    "subject": {"reference": "BASE/Patient/1"},
    "context": {"reference": "BASE/Encounter/NUMBER"},
    "effectiveDateTime": "2026-01-01T00:00:00+00:00",
    "valueQuantity": {"value": 70.1, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
}
_XML_OBSERVATION = (
    f'<Observation {_FHIR}><id value="NUMBER"/><text><status value="generated"/>{_DIV}<p>Body <b>weight</b>: 70.1 kg'
    '</p></div></text><status value="final"/><code><coding><system value="http://loinc.org"/><code value="29463-7"/>'
    '<display value="Body Weight"/></coding></code><subject><reference value="BASE/Patient/1"/></subject>'
    '<effectiveDateTime value="2026-01-01T00:00:00+00:00"/><valueQuantity><value value="70.1"/><unit value="kg"/>'
    '<system value="http://unitsofmeasure.org"/><code value="kg"/></valueQuantity></Observation>'
)
_ENTRY = '{"fullUrl":"BASE/Observation/NUMBER","resource":' + json.dumps(_OBSERVATION) + ',"search":{"mode":"match"}}'
_XML_ENTRY = f'<entry><fullUrl value="BASE/Observation/NUMBER"/><resource>{_XML_OBSERVATION}</resource></entry>'

_PHOTO = "iVBORw0KGgoA" * 3500
_WRITE = (
    f'{{"resource":{{"resourceType":"Patient","photo":[{{"contentType":"image/png","data":"{_PHOTO}"}}],'
    '"managingOrganization":{"reference":"BASE/Organization/1"}},"request":{"method":"POST","url":"Patient"}}'
)
_XML_WRITE = (
    f'<entry><resource><Patient {_FHIR}><photo><contentType value="image/png"/><data value="{_PHOTO}"/></photo>'
    '<managingOrganization><reference value="BASE/Organization/1"/></managingOrganization></Patient></resource>'
    '<request><method value="POST"/><url value="Patient"/></request></entry>'
)

SHAPES = (
    # As servers and apps send them.
    _bundle("a chart of observations", '"entry":[', _ENTRY, "]", ",", real=(Way.DOWN,)),
    _bundle("a batch of writes", '"entry":[', _WRITE, "]", ",", real=(Way.UP, Way.DOWN)),
    _patient(
        "an attachment", '"photo":[{"contentType":"image/png","data":"', "iVBORw0KGgoA", '"}]', real=(Way.UP, Way.DOWN)
    ),
    _patient(
        "a long narrative", f'"text":{{"status":"generated","div":"{_DIV[:5]}>', "<p>Text, and more.</p>", '</div>"}'
    ),
    # JSON: what it costs to build.
    _bundle("type: lists", '"x":1,"type":[', "[]", "]", ","),
    _bundle("lists", '"x":[', "[]", "]", ","),
    _bundle("objects", '"x":[', "{}", "]", ","),
    _bundle("lists 200 deep", '"x":[', "[" * 200 + "]" * 200, "]", ","),
    _patient("zeros", '"x":[', "0", "]", ","),
    _patient("empty strings", '"x":[', '""', "]", ","),
    _patient("digits", '"x":', "1", ""),
    _patient("a long name", '"', "a", '":1'),
    _patient("names", '"x":1,', '"NUMBER":1', "", ","),
    _patient("objects of one name", '"x":[', '{"NUMBER":1}', "]", ","),
    _patient("white space", "", " \n", '"x":1'),
    # JSON: what it costs to map.
    _patient("escaped letters", '"x":"', r"\u0041", '"'),
    _patient("escaped quotes", '"x":"', r"\"", '"'),
    _patient("escaped backslashes", '"x":"', r"\\", '"'),
    _patient("escaped slashes", '"x":[', r'{"reference":"http:\/\/a\/Patient\/1"}', "]", ","),
    _patient("letters beyond ASCII", '"x":"', "é漢😀", '"'),
    _patient("references", '"x":[', '{"reference":"BASE/Patient/1"}', "]", ","),
    _patient("a reference of parameters", '"x":{"reference":"Patient?', "%61=1&", '"}'),
    _bundle("entries of parameters", '"entry":[', _REQUEST.replace("QUERY", "%61=1&" * 9_000), "]", ","),
    _patient("searches as references", '"x":[', '{"reference":"Patient?x"}', "]", ","),
    _patient("bases in a text", '"diagnostics":"', "BASE/x ", '"'),
    _patient("bases as strings", '"x":[', '"BASE"', "]", ","),
    _patient("URLs of extensions", '"extension":[', '{"url":"BASE/x"}', "]", ","),
    _patient("two slashes", '"diagnostics":"', "//", '"'),
    _patient("hrefs in a div", f'"text":{{"div":{json.dumps(_DIV)[:-1]}', r"<a href=\"BASE/x\"/>", '</div>"}'),
    _patient("contained resources", '"contained":[', '{"resourceType":"Patient"}', "]", ","),
    # JSON: a Bundle's envelope.
    _bundle("entries of nothing", '"entry":[', "{}", "]", ","),
    _bundle("entries of an id", '"entry":[', '{"resource":{"resourceType":"Patient","id":"1"}}', "]", ","),
    _bundle("entries of a URL", '"entry":[', '{"fullUrl":"aaaaaa"}', "]", ","),
    _bundle("entries of zeros", '"entry":[', '{"x":[' + "0," * 40 + "0]}", "]", ","),
    _bundle("links", '"link":[', _LINK, "]", ","),
    _bundle("links of nothing", '"link":[', "{}", "]", ","),
    _bundle("Bundles 290 deep, with links", _DEEP_HEAD * _DEEP + '"link":[', _LINK, "]" + _DEEP_TAIL * _DEEP, ","),
    _bundle("members of an entry", '"entry":[{', '"NUMBER":1', "}]", ","),
    # XML: elements, attributes, namespaces.
    _xml_bundle("a chart of observations in XML", _XML_ENTRY, real=(Way.DOWN,)),
    _xml_bundle("a batch of writes in XML", _XML_WRITE, real=(Way.UP, Way.DOWN)),
    _xml_patient(
        "an attachment in XML", "iVBORw0KGgoA", '<photo><data value="', '"/></photo>', real=(Way.UP, Way.DOWN)
    ),
    _xml_patient("empty elements", "<a/>"),
    _xml_patient("empty elements with values", '<a value=""/>'),
    _xml_patient("elements of one name", "<aNUMBER/>"),
    _xml_patient("elements 240 deep", "<a>" * 240 + "</a>" * 240),
    _xml_patient("a long name in XML", "a", "<", "/>"),
    _xml_patient("attributes", "<a " + " ".join(f'{letter}=""' for letter in "abcdefghijklmnopqrst") + "/>"),
    _xml_patient("attributes of one element", ' aNUMBER=""', "<a", "/>"),
    _xml_patient("declarations of namespaces", '<a xmlns:b="u"/>'),
    _xml_patient("the same declaration again", f"<a {_FHIR}/>"),
    _xml_bundle(
        "20,000 namespaces, 499 entries",
        "<entry><resource><Patient/></resource></entry>",
        "<entry><resource><Patient/></resource></entry>" * 499,
        root=_MANY_NAMESPACES,
    ),
    # XML: text.
    _xml_patient("a long value", "x", '<a value="', '"/>'),
    _xml_patient("escapes in a value", "&lt;", '<a value="', '"/>'),
    _xml_patient("numbered characters in a value", "&#65;", '<a value="', '"/>'),
    _xml_patient("letters beyond ASCII in XML", "é漢😀", '<a value="', '"/>'),
    _xml_patient("white space in XML", " \n"),
    _xml_patient("comments", "<!---->"),
    _narrative("hrefs in a div in XML", '<a href="BASE/x"/>'),
    _narrative("a table of cells", "<td>x</td>"),
    _narrative("sections", "<![CDATA[]]>"),
    _narrative("escapes in a text", "&lt;"),
    _narrative("text", "x"),
    # XML: what it costs to map, and a Bundle's envelope.
    _xml_patient("references in XML", '<a><reference value="BASE/Patient/1"/></a>'),
    _xml_patient("searches as references in XML", '<reference value="Patient?x"/>'),
    _xml_patient("bases in a text in XML", "BASE/x ", '<diagnostics value="', '"/>'),
    _xml_patient("contained resources in XML", "<contained><Patient/></contained>"),
    _xml_bundle("entries of nothing in XML", "<entry/>"),
    _xml_bundle("entries of an id in XML", '<entry><resource><Patient><id value="1"/></Patient></resource></entry>'),
    _xml_bundle("links in XML", _XML_LINK),
    _xml_bundle("Bundles 290 deep in XML", _XML_LINK, _XML_DEEP[0] * _DEEP, _XML_DEEP[1] * _DEEP),
)
