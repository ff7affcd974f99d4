from shared.fhir.document import Bundle, Entry, Link, Resource, run
from shared.fhir.xml_document import content, read

FHIR, XHTML = "http://hl7.org/fhir", "http://www.w3.org/1999/xhtml"
BATCH = b"""<?xml version="1.0" encoding="UTF-8"?>
<f:Bundle xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><f:type value="batch"/>
<f:link><f:relation value="next"/><f:url value="a&amp;b"/></f:link>
<f:entry><f:fullUrl value="urn:uuid:1"/><f:resource><f:Patient id="a>b"/></f:resource>
<f:request><f:method value="PUT"/><f:url value="Patient/1"/><f:ifMatch value="W/&quot;1&quot;"/></f:request></f:entry>
<f:entry><f:request><f:method value="GET"/><f:url value="Patient/1"/></f:request></f:entry>
<f:entry><f:resource><f:Bundle><f:type value="searchset"/><f:entry><f:response><f:outcome><f:OperationOutcome>
<f:contained><f:Device/></f:contained></f:OperationOutcome ></f:outcome></f:response></f:entry></f:Bundle></f:resource>
</f:entry></f:Bundle>"""


def span(text: bytes) -> tuple[int, int]:
    assert BATCH.count(text) == 1
    return BATCH.index(text), BATCH.index(text) + len(text)


def test_the_envelope_is_read_as_json_would_have_it() -> None:
    around = {"f": FHIR, "h": XHTML}
    start, end = BATCH.index(b"<f:Oper"), BATCH.index(b"</f:outcome>")
    inner_start, inner_end = BATCH.index(b"<f:Bundle>"), BATCH.index(b"</f:resource>\n</f:entry>")
    inner = Bundle("searchset", (), (Entry(outcome=Resource("OperationOutcome", start, end, None, around)),))
    assert run(read(BATCH)) == Resource(
        "Bundle",
        BATCH.index(b"<f:Bundle x"),
        len(BATCH),
        Bundle(
            "batch",
            (Link("next", "a&b", *span(b"a&amp;b")),),
            (
                Entry(
                    "urn:uuid:1",
                    {"method": "PUT", "url": "Patient/1", "ifMatch": 'W/"1"'},
                    Resource("Patient", *span(b'<f:Patient id="a>b"/>'), None, around),
                ),
                Entry(None, {"method": "GET", "url": "Patient/1"}),
                Entry(resource=Resource("Bundle", inner_start, inner_end, inner, around)),
            ),
        ),
    )


def test_a_resource_in_a_bundle_is_a_document_of_its_own() -> None:
    bundle = run(read(BATCH)).bundle
    assert bundle is not None
    patient, _, inner = (entry.resource for entry in bundle.entries)
    assert patient is not None
    assert inner is not None
    assert content(BATCH, patient) == b'<f:Patient xmlns:f="http://hl7.org/fhir" id="a>b"/>'
    assert run(read(content(BATCH, inner))).type == "Bundle"
