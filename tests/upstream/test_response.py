"""Whatever a provider sends is FHIR that may go on, or one refusal: nothing else comes of judging it."""

import math

from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from shared.fhir.document import run
from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind
from shared.upstream.response import validate_response
from shared.upstream.transport import UpstreamResponse, retry_after_seconds

_BODIES = (
    *(b'{"resourceType":"Patient"}', b'{"resourceType":1}', b"[]", b"{"),
    *(b'<Patient xmlns="http://hl7.org/fhir"/>', b"<a>"),
)
_MEDIA = st.sampled_from(("application/fhir+json", "application/fhir+xml", "text/html", "")) | st.text(max_size=20)
_CHARSETS = st.sampled_from(("", ";charset=utf-8", "; charset='utf-16'", ";charset=punycode", ";charset=x;charset=y"))


@given(
    status=st.integers(100, 999),
    body=st.binary(max_size=60) | st.sampled_from(_BODIES),
    media=_MEDIA,
    charset=_CHARSETS,
    retry_after=st.text(max_size=10),
    kind=st.sampled_from(InteractionKind),
    method=st.sampled_from(("GET", "HEAD", "POST", "DELETE")),
)
def test_any_answer_is_fhir_or_a_refusal(
    status: int, body: bytes, media: str, charset: str, retry_after: str, kind: InteractionKind, method: str
) -> None:
    headers = CIMultiDict({"Content-Type": media + charset, "Retry-After": retry_after})
    interaction = Interaction(kind, "Patient", type="Patient")
    refusal, found = 0, None
    try:
        found = run(validate_response(UpstreamResponse(status, headers, body), interaction, method))
    except FhirError as error:
        refusal = error.status
    if refusal:
        assert 400 <= refusal < 600
        return
    assert status not in (401, 407)
    assert status == 304 or not 300 <= status < 400
    assert found is None or found.resource.type


@given(st.text(max_size=40) | st.integers().map(str) | st.datetimes().map(str))
@example("\u00b2")
@example("9" * 400)
@example("Mon, 01 Jan 2024 00:00:00 +99999999999999999999")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
def test_any_retry_after_is_a_time_to_wait(value: str) -> None:
    seconds = retry_after_seconds(value)
    assert seconds >= 0
    assert not math.isnan(seconds)
