"""The outline of FHIR JSON: what it keeps is what a whole parse would say, and it takes nothing that is not JSON."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.json_outline import outline

PATIENT = {"resourceType": "Patient", "id": "1", "name": [{"family": "Black"}], "multipleBirthInteger": 2}
BUNDLE = {
    "resourceType": "Bundle",
    "type": "batch-response",
    "total": 2,
    "link": [{"relation": "next", "url": "https://hospital.example/fhir?page=2", "id": "x"}],
    "entry": [
        {"fullUrl": "https://hospital.example/fhir/Patient/1", "resource": PATIENT, "search": {"mode": "match"}},
        {"response": {"status": "404", "outcome": {"resourceType": "OperationOutcome", "issue": []}}},
        {"resource": {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": PATIENT}]}},
    ],
}


def test_the_outline_has_types_and_links_and_nothing_else() -> None:
    assert outline(json.dumps(BUNDLE).encode()) == {
        "resourceType": "Bundle",
        "type": "batch-response",
        "link": [{"relation": "next", "url": "https://hospital.example/fhir?page=2"}],
        "entry": [
            {"resource": {"resourceType": "Patient"}},
            {"response": {"outcome": {"resourceType": "OperationOutcome"}}},
            {
                "resource": {
                    "resourceType": "Bundle",
                    "type": "searchset",
                    "entry": [{"resource": {"resourceType": "Patient"}}],
                }
            },
        ],
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"List","entry":{"item":1}}',
        b'{"resourceType":"Bundle","entry":[1,{"resource":null}]}',
        b'{"resourceType":"Bundle","entry":[{"resource":["Patient"]}]}',
        b'{"resourceType":"Bundle","link":"next","entry":[{"response":"200"}]}',
        b"[1,2]",
        b'"text"',
        b"null",
    ],
)
def test_what_is_shaped_otherwise_is_parsed_as_a_whole(body: bytes) -> None:
    assert outline(body) == orjson.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"resourceType":"Patient"',
        b'{"resourceType":"Patient"} x',
        b'{"resourceType":"Patient","x":01}',
        b'{"resourceType":"Patient","x":NaN}',
        b'{"resourceType":"Patient","x":"\xff"}',
        b'{"resourceType":"Patient","x":"\xed\xa0\x80"}',
        b'{"resourceType":"Patient","x":"line\nbreak"}',
        b'{"resourceType":"Patient","x":' + b"[" * 1_000_000,
        b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"entry":[{"resource":' * 100_000 + b"{}" + b"}]}" * 100_000,
    ],
    ids=range(11),
)
def test_what_is_not_json_or_too_deep_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        outline(body)


NAMES = st.sampled_from(["resourceType", "type", "link", "entry", "resource", "response", "outcome", "url", "other"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


def pruned(whole: Any, outlined: Any) -> Any:
    """Of a whole document what its outline has."""
    if isinstance(whole, dict) and isinstance(outlined, dict):
        return {name: pruned(whole[name], value) for name, value in outlined.items()}
    if isinstance(whole, list) and isinstance(outlined, list) and len(whole) == len(outlined):
        return [pruned(*pair) for pair in zip(whole, outlined, strict=True)]
    return whole


def judged(document: Any) -> Any:
    """Of a document what judging an answer looks at."""
    if not isinstance(document, dict):
        return document
    kept = {name: document[name] for name in ("resourceType", "type") if name in document}
    for name, part in (("link", _link), ("entry", _entry)):
        if isinstance(document.get(name), list):
            kept[name] = [part(item) if isinstance(item, dict) else item for item in document[name]]
        elif name in document:
            kept[name] = document[name]
    return kept


def _link(link: dict[str, Any]) -> dict[str, Any]:
    return {name: link[name] for name in ("relation", "url") if name in link}


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    kept = {"resource": judged(entry["resource"])} if "resource" in entry else {}
    if isinstance(entry.get("response"), dict):
        kept["outcome"] = judged(entry["response"].get("outcome"))
    return kept


@given(st.dictionaries(NAMES, VALUES, max_size=6) | VALUES)
def test_any_document_is_judged_as_if_it_were_parsed_as_a_whole(document: Any) -> None:
    body = json.dumps(document).encode()
    found = outline(body)
    whole = orjson.loads(body)
    assert pruned(whole, found) == found
    assert judged(found) == judged(whole)


@given(st.data())
def test_what_a_strict_parser_refuses_is_refused(data: st.DataObject) -> None:
    body = bytearray(json.dumps(BUNDLE, ensure_ascii=False).replace("Black", "Blé\\n€").encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError:
        with pytest.raises(ValueError, match=r".+"):
            outline(bytes(body))
    else:
        assert judged(outline(bytes(body))) == judged(whole)
