import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.errors import FhirError
from shared.fhir.json_body import entry_resources, parse_resource

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def test_a_resource_is_parsed() -> None:
    assert parse_resource(b' {"resourceType":"Patient","id":"1"} ')["id"] == "1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"resourceType":1}',
        b'{"resourceType":"Patient","resourceType":"Patient"}',
        b'{"resourceType":"Patient","a":{"b":1,"b":2}}',
        b'{"resourceType":"Patient","a":1,"\\u0061":2}',
        b'{"resourceType":"Patient","a":NaN}',
        b'{"resourceType":"Patient","a":' + b"[" * 100_000,
        b'{"resourceType":"Patient"}\xff',
        '{"resourceType":"Patient"}'.encode("utf-16"),
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(FhirError) as caught:
        parse_resource(body)
    assert caught.value.status == 400


def test_an_entrys_resource_keeps_every_byte() -> None:
    body = '{ "entry" : [ {"resource": { "a" : 1.10, "b":"\\u00e9ü" } , "x":[1] },{"request":{}}, {"resource":{}} ]}'
    resources = entry_resources(body.encode())
    assert resources == ['{ "a" : 1.10, "b":"\\u00e9ü" }'.encode(), None, b"{}"]


def test_a_bundle_may_have_no_entries() -> None:
    assert entry_resources(b'{"resourceType":"Bundle"}') == []
    assert entry_resources(b'{"entry":[ ]}') == []


@given(
    st.lists(st.dictionaries(st.sampled_from(["resource", "request", "x"]), JSON, max_size=3), max_size=4),
    st.booleans(),
)
def test_entry_resources_agree_with_the_parsed_document(entries: list[dict[str, object]], indented: bool) -> None:
    document = {"resourceType": "Bundle", "entry": entries}
    body = json.dumps(document, indent=2 if indented else None).encode()
    found = [None if raw is None else json.loads(raw) for raw in entry_resources(body)]
    assert found == [entry.get("resource") for entry in entries]
