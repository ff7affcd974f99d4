"""Patches name what their values are by a path, so links in them are found by that."""

import json

import pytest

from shared.fhir.document import run
from shared.fhir.errors import FhirError
from shared.fhir.rewriting import LinkMap, rewrite_fhirpath_patch, rewrite_json_patch

UP = LinkMap(("https://gateway.example/stu3",), "https://provider.example/fhir")
HERE, THERE = "https://gateway.example/stu3/Patient/1", "https://provider.example/fhir/Patient/1"


@pytest.mark.parametrize(
    ("path", "value", "mapped"),
    [
        ("/subject/reference", HERE, THERE),
        ("/performer/0/reference", HERE, THERE),
        ("/performer/-", {"reference": HERE}, {"reference": THERE}),
        ("/performer", [{"reference": HERE}], [{"reference": THERE}]),
        ("/photo/0", {"url": HERE}, {"url": THERE}),
        ("/photo/0/url", HERE, THERE),
        ("", {"resourceType": "Observation", "subject": {"reference": HERE}}, None),
        ("/identifier/0/system", HERE, HERE),
        ("/identifier/0", {"system": HERE}, {"system": HERE}),
        ("/comment", f"see {HERE}", f"see {HERE}"),
        ("/extension/0/url", HERE, HERE),
        ('/a"b/~1c', HERE, HERE),
    ],
)
def test_a_value_is_what_its_path_says(path: str, value: object, mapped: object) -> None:
    patch = json.dumps([{"value": value, "path": path, "op": "add"}]).encode()
    if mapped is None:
        mapped = json.loads(json.dumps(value).replace(HERE, THERE))
    assert json.loads(run(rewrite_json_patch(patch, UP))) == [{"op": "add", "path": path, "value": mapped}]


def test_a_number_keeps_its_digits_and_a_member_that_no_patch_has_is_left_out() -> None:
    patch = b'[{"op":"replace","path":"/value","value":1.500,"Path":"/x"},{"op":"move","path":"/a","from":"/b"}]'
    assert run(rewrite_json_patch(patch, UP)) == patch.replace(b',"Path":"/x"', b"")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b'[{"op":"add"}]', b"[" * 5000, b'[{"op":"add","path":"/a","value":"\xff"}]']
)
def test_what_is_no_json_patch_is_refused(body: bytes) -> None:
    with pytest.raises(FhirError) as refused:
        run(rewrite_json_patch(body, UP))
    assert refused.value.status == 400


@pytest.mark.parametrize("name", ["valueString", "valueUri", "valueUrl"])
def test_a_fhirpath_patch_sets_a_reference_by_its_text(name: str) -> None:
    written = json.dumps({"parameter": [{"name": "operation", "part": [{"name": "value", name: HERE}]}]})
    for body in (written, written.replace("/", "\\/"), written.replace('": "', '" : "')):
        mapped = json.loads(run(rewrite_fhirpath_patch(body.encode(), UP)))
        assert mapped["parameter"][0]["part"][0][name] == THERE
    xml = f'<part><name value="value"/><{name} value="{HERE}"/></part>'
    assert run(rewrite_fhirpath_patch(xml.encode(), UP)) == xml.replace(HERE, THERE).encode()
    text = json.dumps({"part": [{"name": "value", name: f"see {HERE}"}]}).encode()
    assert run(rewrite_fhirpath_patch(text, UP)) is text
