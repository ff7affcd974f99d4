from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.errors import FhirError
from shared.fhir.xml_outline import outline

BATCH = b"""<?xml version="1.0" encoding="UTF-8"?>
<f:Bundle xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><f:type value="batch"/>
<f:link><f:relation value="next"/><f:url value="a&amp;b"/></f:link>
<f:entry><f:resource><f:Patient id="a>b"/></f:resource>
<f:request><f:method value="PUT"/><f:url value="Patient/1"/><f:ifMatch value="W/&quot;1&quot;"/></f:request></f:entry>
<f:entry><f:request><f:method value="GET"/><f:url value="Patient/1"/></f:request></f:entry>
<f:entry><f:resource><f:Bundle><f:type value="searchset"/><f:entry><f:resource><f:Observation><f:contained><f:Device/>
</f:contained></f:Observation></f:resource></f:entry></f:Bundle></f:resource></f:entry></f:Bundle>"""


def test_the_outline_reads_as_the_same_bundle_in_json_would() -> None:
    assert outline(BATCH).document == {
        "resourceType": "Bundle",
        "type": "batch",
        "link": [{"relation": "next", "url": "a&b"}],
        "entry": [
            {
                "resource": {"resourceType": "Patient"},
                "request": {"method": "PUT", "url": "Patient/1", "ifMatch": 'W/"1"'},
            },
            {"request": {"method": "GET", "url": "Patient/1"}},
            {
                "resource": {
                    "resourceType": "Bundle",
                    "type": "searchset",
                    "entry": [{"resource": {"resourceType": "Observation"}}],
                }
            },
        ],
    }


def test_an_entrys_resource_is_a_document_of_its_own() -> None:
    patient, nothing, bundle = outline(BATCH).resources
    assert patient == (b'<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml" id="a>b"/>')
    assert nothing is None
    assert bundle is not None
    assert outline(bundle).document["resourceType"] == "Bundle"


def test_an_outcome_is_a_resource_to_judge() -> None:
    body = (
        b'<Bundle xmlns="http://hl7.org/fhir"><entry><response><status value="200"/>'
        b"<outcome><Patient/></outcome></response></entry></Bundle>"
    )
    assert outline(body).document["entry"] == [{"response": {"outcome": {"resourceType": "Patient"}}}]


def test_only_elements_of_fhir_count() -> None:
    body = (
        b'<Bundle xmlns="http://hl7.org/fhir"><entry><request xmlns="urn:x"><url value="a"/></request></entry></Bundle>'
    )
    assert outline(body).document == {"resourceType": "Bundle", "entry": [{}]}
    assert outline(b"<Patient/>").document == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Patient",
        b"<!DOCTYPE Patient><Patient/>",
        b'<Patient xmlns="http://hl7.org/fhir">\xff</Patient>',
        "<Patient/>".encode("utf-16"),
        b"<a>" * 1001 + b"</a>" * 1001,
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><type value="transaction"/></Bundle>',
        b'<Bundle xmlns="http://hl7.org/fhir"><entry><resource><Patient/><Device/></resource></entry></Bundle>',
        b'<Bundle xmlns="http://hl7.org/fhir"><entry><request><url/><url value="b"/></request></entry></Bundle>',
        b'<?xml version="1.0" encoding="latin-1"?><Patient xmlns="http://hl7.org/fhir"/>',
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(FhirError) as caught:
        outline(body)
    assert caught.value.status == 400


@given(st.binary(max_size=300) | st.text("<>/ab=\"' &;!?-[]", max_size=200).map(str.encode))
def test_no_bytes_fail_otherwise(body: bytes) -> None:
    with suppress(FhirError):
        outline(body)
