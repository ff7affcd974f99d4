"""Whatever a provider sends is FHIR that may go on, or one refusal: nothing else comes of judging it."""

import json
import math
from collections.abc import Callable
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from shared.fhir.batch import BatchEntry, batch_entries, bundle_kind
from shared.fhir.document import run
from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind
from shared.fhir.json_document import read
from shared.fhir.rewriting import LinkMap
from shared.upstream.response import validate_response
from shared.upstream.transport import UpstreamResponse, retry_after_seconds

_BODIES = st.binary(max_size=60) | st.sampled_from(
    (
        b'{"resourceType":"Patient"}',
        b'{"resourceType":1}',
        b"[]",
        b'<Patient xmlns="http://hl7.org/fhir"/>',
        b"<a>",
        b"{",
    )
)
_MEDIA = st.sampled_from(("application/fhir+json", "application/fhir+xml", "text/html", "")) | st.text(max_size=20)
_CHARSETS = st.sampled_from(("", ";charset=utf-8", "; charset='utf-16'", ";charset=punycode", ";charset=x;charset=y"))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("resourceType", "type", "entry", "link", "url", "relation", "request", "method", "resource")
            )
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)

T = TypeVar("T")


def value_or_refusal(call: Callable[[], T]) -> T | FhirError:
    try:
        return call()
    except FhirError as refusal:
        return refusal


@given(
    status=st.integers(100, 999),
    body=_BODIES,
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
    found = value_or_refusal(
        lambda: run(validate_response(UpstreamResponse(status, headers, body), interaction, method))
    )
    if isinstance(found, FhirError):
        assert 400 <= found.status < 600
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


@given(_JSON)
@example({"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/1"}}]})
def test_any_document_is_a_batch_or_refused(document: object) -> None:
    links = LinkMap(("https://gateway.example/stu3",), "https://h.example/fhir")
    resource = value_or_refusal(lambda: run(read(json.dumps(document).encode())))
    if isinstance(resource, FhirError):
        assert resource.status == 400
        return
    kind = value_or_refusal(lambda: bundle_kind(resource))
    assert not isinstance(kind, FhirError) or kind.status == 400
    if bundle := resource.bundle:
        entries = run(batch_entries(bundle, links))
        assert all(isinstance(entry, BatchEntry) or entry.error.status in (400, 404, 405) for entry in entries)
