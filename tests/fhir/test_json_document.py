"""The strict reading of FHIR JSON: the envelope as any other reader has it, or a refusal."""

import gc
import itertools
import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from shared.fhir import json_document, json_escapes
from shared.fhir.document import MAX_BUNDLE_DEPTH, Bundle, Resource, Steps, Unreadable, run
from shared.fhir.json_cursor import SLICE
from shared.fhir.json_document import read, references
from shared.fhir.json_escapes import plain

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "1", "contained": [{"resourceType": "Device"}]}
OUTCOME = {"issue": [], "resourceType": "OperationOutcome"}
BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "batch-response",
    "link": [{"relation": "next", "url": "https://h.example/fhir?page=2&é"}, {"relation": "self"}],
    "entry": [
        {"fullUrl": "https://h.example/fhir/Patient/1", "resource": PATIENT, "search": {"mode": "match"}},
        {"response": {"status": "404", "outcome": OUTCOME}},
        {"resource": {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": PATIENT}]}},
        {"request": {"method": "PUT", "url": "Patient/1", "ifMatch": 'W/"1"', "id": "x"}, "resource": PATIENT},
    ],
}


def reading(text: str) -> Resource:
    return run(read(run(plain(text.encode()))))


def written(resource: Resource, body: bytes) -> Any:
    """What has been read, as the document it was read from."""
    whole = json.loads(body[resource.start : resource.end])
    bundle = resource.bundle
    assert whole["resourceType"] == resource.type
    if bundle is None:
        return whole
    links = [(link.relation, link.url) for link in bundle.links]
    assert [json.loads(body[link.start - 1 : link.end + 1]) for link in bundle.links] == [url for _, url in links]
    entries = []
    for entry in bundle.entries:
        parts = [part and written(part, body) for part in (entry.resource, entry.outcome)]
        entries.append([entry.full_url, entry.request, entry.status, *parts])
    return bundle.type, links, entries


def expected(document: Any) -> Any:
    """The same by way of a parser of the whole."""
    if document["resourceType"] != "Bundle":
        return document
    found = []
    for entry in document.get("entry") or []:
        response, request = entry.get("response") or {}, entry.get("request")
        known = ("method", "url", "ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist")
        given = request and {name: value for name, value in request.items() if name in known and value is not None}
        parts = [part and expected(part) for part in (entry.get("resource"), response.get("outcome"))]
        found.append([entry.get("fullUrl"), given, response.get("status") or "", *parts])
    links = [link for link in document.get("link") or [] if link.get("url") is not None]
    return document.get("type") or "", [(link.get("relation") or "", link["url"]) for link in links], found


NAMES = st.sampled_from(["resource", "response", "request", "fullUrl", "search", "link", "id", "extension"])
OTHER = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
RESOURCES = st.builds(
    lambda type, before, after: {**before, "resourceType": type, **after},
    st.sampled_from(["Patient", "Basic", "Parameters"]),
    st.dictionaries(st.text(max_size=3), OTHER, max_size=2),
    st.dictionaries(st.sampled_from(["contained", "x", "entry", "link", "type"]), OTHER, max_size=3)
    | st.just({"contained": [{"resourceType": "Device"}, {}]})
    | st.just({"parameter": [{"resource": {"resourceType": "Patient"}}]}),
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
REQUESTS = st.dictionaries(st.sampled_from(["method", "url", "ifMatch", "ifNoneExist"]), TEXT, max_size=3)


def entries(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    outcomes = st.fixed_dictionaries({}, optional={"status": TEXT, "outcome": inner | st.none(), "etag": TEXT})
    or_null = {"resource": inner, "request": REQUESTS, "response": outcomes, "fullUrl": TEXT}
    members = {name: members | st.none() for name, members in or_null.items()}
    return st.fixed_dictionaries({}, optional={**members, "search": OTHER, "extension": OTHER})


def bundles(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    link = st.fixed_dictionaries({}, optional={"relation": TEXT, "url": TEXT, "id": OTHER})
    lists = {"link": st.lists(link, max_size=3), "entry": st.lists(entries(inner), max_size=3), "type": TEXT}
    or_null = {name: members | st.none() for name, members in lists.items()}
    members = st.fixed_dictionaries({"resourceType": st.just("Bundle")}, optional={**or_null, "meta": OTHER})
    return members.flatmap(lambda made: st.permutations(list(made.items())).map(dict))


DOCUMENTS = st.recursive(RESOURCES, bundles, max_leaves=8)


def depth(document: Any) -> int:
    """How deep Bundles lie in Bundles."""
    if document.get("resourceType") != "Bundle":
        return -1
    found = [(entry.get("resource"), entry.get("response") or {}) for entry in document.get("entry") or []]
    parts = [part for resource, response in found for part in (resource, response.get("outcome"))]
    return 1 + max((depth(part) for part in parts if part), default=-1)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_any_resource_is_read_as_by_a_parser_of_the_whole(document: Any, ascii_only: bool, indent: int | None) -> None:
    body = run(plain(json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")))
    document = json.loads(body)
    assume(depth(document) <= MAX_BUNDLE_DEPTH)
    assert written(run(read(body)), body) == expected(document)


ONE = '{"resource":{"resourceType":"Patient"}}'
# A bundle with its members, and what is wrong with them.
REFUSED = [
    ('"entry":[ONE],"entry":[]', "entry is repeated"),
    ('"entry":[ONE],"\\u0065ntry":[]', "entry is repeated"),
    ('"Entry":[ONE]', "entry is spelt"),
    ('"ENTRY":[]', "entry is spelt"),
    ('"lin\u212a":[]', "link is spelt"),
    ('"type":"batch","type":"batch"', "type is repeated"),
    ('"resourceType":"Bundle"', "resourceType is repeated"),
    ('"resourcetype":"Bundle"', "resourceType is spelt"),
    ('"_entry":{"id":"a"}', "entry has an underscore"),
    ('"type":["batch"]', "string"),
    ('"entry":ONE', "list"),
    ('"entry":"x"', "list"),
    ('"entry":[null]', "object"),
    ('"entry":[[ONE]]', "object"),
    ('"link":{"relation":"next","url":"https://elsewhere.example/"}', "list"),
    ('"link":[{"relation":"next","url":["https://elsewhere.example/"]}]', "string"),
    ('"link":[{"relation":"next","URL":"https://elsewhere.example/"}]', "url is spelt"),
    ('"link":[{"relation":["next"],"url":"x"}]', "string"),
    ('"link":[{"url":"a","url":"b"}]', "url is repeated"),
    ('"link":["next"]', "object"),
    ('"entry":[{"resource":{"resourceType":"Patient"},"resource":{"resourceType":"Basic"}}]', "resource is repeated"),
    ('"entry":[{"fullUrl":"x","resource":{"resourceType":"Patient"},"resource":null}]', "resource is repeated"),
    ('"entry":[{"Resource":{"resourceType":"Patient"}}]', "resource is spelt"),
    ('"entry":[{"resource":[{"resourceType":"Patient"}]}]', "not an object"),
    ('"entry":[{"resource":{"resourceType":"Patient","resourceType":"Basic"}}]', "resourceType is repeated"),
    ('"entry":[{"resource":{"resourceType":"Patient","a":{},"resource\\u0054ype":"Basic"}}]', "is repeated"),
    ('"entry":[{"resource":{"resourceType":"Patient","ResourceType":"Basic"}}]', "resourceType is spelt"),
    ('"entry":[{"resource":{"resourceType":"Patient","re\u017fourceType":"Basic"}}]', "resourceType is spelt"),
    ('"entry":[{"resource":{"resourceType":"Patient","re\\u017FourceType":"Basic"}}]', "resourceType is spelt"),
    ('"entry":[{"resource":{"resourceType":["Patient"]}}]', "not a string"),
    ('"entry":[{"resource":{"id":"1"}}]', "no resource"),
    ('"entry":[{"resource":{}}]', "no resource"),
    ('"entry":[{"request":[]}]', "object"),
    ('"entry":[{"request":{"method":"GET","Method":"DELETE"}}]', "method is spelt"),
    ('"entry":[{"request":{"method":"GET","method":"DELETE"}}]', "method is repeated"),
    ('"entry":[{"request":{"method":1}}]', "string"),
    ('"entry":[{"response":{"outcome":[]}}]', "not an object"),
    ('"entry":[{"response":{"outcome":{"resourceType":"Patient"},"outcome":null}}]', "outcome is repeated"),
]


@pytest.mark.parametrize(("members", "problem"), REFUSED)
def test_what_two_readers_could_read_in_two_ways_is_refused(members: str, problem: str) -> None:
    text = members.replace("ONE", ONE)
    for body in (f'{{"resourceType":"Bundle",{text}}}', f'{{{text},"resourceType":"Bundle"}}'):
        for nested in (body, f'{{"resourceType":"Bundle","entry":[{{"resource":{body}}}]}}'):
            with pytest.raises(Unreadable, match=problem):
                reading(nested)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"resourceType":1}', b'{"resourceType":"Patient"} x',
        b'{"resourceType":"Patient","a":NaN}', b'{"resourceType":"Patient","a":01}',
        b'{"resourceType":"Patient","a":"line\nbreak"}', b'{"resourceType":"Patient","a":' + b"[" * 100_000,
        b'{"resourceType":"Patient","a":' * 100_000 + b"1" + b"}" * 100_000, b'{"resourceType":"Patient"}\xff',
        b'{"resourceType":"Patient","a":"\xed\xa0\x80"}',
        b'{"resourceType":"Patient","x":[' + b",".join([b"[]"] * 150_000) + b"]}",
        b'{"resourceType":"Patient"' + b" " * 100_000 + b"}",
        b'{"resourceType":"Bundle","entry":[' + b",".join([b"{}"] * 6_000) + b"]}",
        b'{"resourceType":"Bundle","link":[' + b",".join([b'{"url":"x"}'] * 1_001) + b"]}",
        b'{"resourceType":"Bundle","type":"' + b"x" * 100_000 + b'"}',
        b'{"resourceType":"Bundle",' + b",".join(b'"a%d":1' % n for n in range(2_000)) + b"}",
        b'{"resourceType":"Bundle",' + b",".join([b'"a":{}'] * 2_000) + b"}",
        '{"resourceType":"Patient"}'.encode("utf-16"), b'{"resourceType":"Patient","a":"' + b"\\u0041" * 3_000 + b'"}',
    ],
    ids=range(24),
)  # fmt: skip
def test_what_is_no_resource_or_costs_too_much_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        run(read(run(plain(body))))


@pytest.mark.parametrize(
    "frame",
    [
        '{"resourceType":"Patient","x":%s}',
        '{"x":%s,"resourceType":"Patient"}',
        '{"resourceType":"Patient","contained":[{"resourceType":"Basic","x":%s}]}',
        '{"resourceType":"Bundle","entry":[{"resource":{"contained":[{"resourceType":"Basic"}],"x":%s}}]}',
    ],
)
def test_what_is_nested_too_deeply_is_refused_at_any_depth(frame: str) -> None:
    for depth in range(800, 1_100):
        with suppress(Unreadable):
            reading(frame % ("[" * depth + "]" * depth))
    with pytest.raises(Unreadable, match="nested"):
        reading(frame % ("[" * 2_000 + "]" * 2_000))


def test_what_real_servers_send_is_read() -> None:
    nulls = '{"resourceType":"Bundle","entry":null,"link":null,"type":null}'
    assert reading(f" \n{nulls}\n") == Resource("Bundle", 2, 64, Bundle(""))
    for half in ("\\ud83c", "\\uDf00", "\\ud83c\\n", "\\udf00\\ud83c"):
        body = run(plain(f'{{"resourceType":"Patient","a":"{half}","b":"\\ud83c\\udf00"}}'.encode()))
        assert json.loads(body)["a"].strip("\n") in ("\ufffd", "\ufffd\ufffd")
        assert json.loads(body)["b"] == "\U0001f300"
        assert run(read(body)).type == "Patient"


def test_bundles_may_lie_in_each_other_but_not_without_end() -> None:
    body = '{"resourceType":"Patient"}'
    for _ in range(MAX_BUNDLE_DEPTH + 1):
        body = f'{{"resourceType":"Bundle","entry":[{{"resource":{body}}}]}}'
    assert reading(body).type == "Bundle"
    with pytest.raises(Unreadable, match="too deeply"):
        reading(f'{{"resourceType":"Bundle","entry":[{{"resource":{body}}}]}}')


MEMBERS = [
    '"fullUrl":"urn:a"', '"fullUrl":"urn:b"', '"fullUrl":""', '"fullUrl":null', '"fullUrl":"urn:\\u00e9"',
    '"fullUrl":1', '"fullUrl" : "urn:a"', '"FullUrl":"urn:a"', '"_fullUrl":{}', '"link":[]',
    *(
        f'"resource":{{{members}}}'
        for members in (
            '"resourceType":"Basic"', '"resourceType":"Patient","a":"}"', '"id":"1","resourceType":"Basic"',
            '"resourceType":"Basic","contained":[{"resourceType":"Patient"}]', '"resourceType":"Bundle"',
            '"resourceType":"Basic","ResourceType":"Patient"', '"resourceType":"Basic","resourceType":"Patient"',
            '"resourceType":"Basic","a":"\\"resourceType\\":"', '"resourceType" : "Basic"', '"resourceType":1',
            '"resourceType":"Basic","re\u017fourceType":"Patient"', "",
        )
    ),
    '"resource":null',
    '"search":{"mode":"match"}', '"search":{"mode":"include","resourceType":"Basic"}', '"search":1', '"search" :{}',
]  # fmt: skip
FULL_URL, RESOURCE, SEARCH = (
    st.sampled_from(alike[:3]) | st.sampled_from(alike)
    for alike in (
        [each for each in MEMBERS if each.startswith(f'"{name}"')] for name in ("fullUrl", "resource", "search")
    )
)
PLAIN_ENTRY = st.tuples(FULL_URL, RESOURCE, SEARCH) | st.tuples(RESOURCE, SEARCH) | st.tuples(FULL_URL, RESOURCE)
ANY_ENTRY = st.lists(st.sampled_from(MEMBERS), max_size=4)
ENTRIES = st.lists(PLAIN_ENTRY, max_size=4) | st.lists(PLAIN_ENTRY | ANY_ENTRY, max_size=4)


@settings(max_examples=500)
@given(ENTRIES, st.sampled_from([",", " , ", ",\n"]), st.sampled_from(["", " "]), st.integers(0, 200))
def test_entries_of_a_search_are_read_as_member_by_member(
    entries: list[list[str]], comma: str, space: str, piece: int
) -> None:
    listed = comma.join(f"{{{space}{comma.join(members)}{space}}}" for members in entries)
    body = f'{{"resourceType":"Bundle","entry":[{listed}]}}'.encode()

    def outcome() -> Resource | str:
        try:
            return run(read(body))
        except Unreadable as error:
            return error.problem

    read_by_layout = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_document, "_layout", lambda *_: None)
        assert outcome() == read_by_layout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_document, "_MAX_OBJECTS", 0)
        patch.setattr(json_document, "_PIECE", piece)
        assert outcome() == read_by_layout
    if isinstance(read_by_layout, Resource) and read_by_layout.bundle is not None:
        found = [(each.full_url, each.resource and each.resource.type) for each in read_by_layout.bundle.entries]
        assert lenient(body, first=True) == lenient(body, first=False) == found


def test_a_resource_that_was_skipped_is_read_with_as_many_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document, "_extents", no_extents)
    body = b'{"resourceType":"Bundle","x":[%b{}]}' % (b'{"a":12345},' * SLICE)
    pauses = [sum(1 for _ in read(body))]
    for _ in range(3):
        body = b'{"resourceType":"Bundle","entry":[{"resource":%b}]}' % body
        pauses.append(sum(1 for _ in read(body)))
    assert all(outer - inner >= len(body) // SLICE for inner, outer in itertools.pairwise(pauses))


def no_extents(*_: object) -> Steps[list[Any]]:
    """As where the decoder takes the entries of a Bundle for something else."""
    yield
    return []


KNOWN = {name.casefold(): name for name in ("resourceType", "entry", "fullUrl", "resource")}


def lenient(body: bytes, *, first: bool) -> list[tuple[str | None, str | None]]:
    """URL and type of each entry to a reader that takes names in any case, and of two alike the first or the last."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {KNOWN.get(name.casefold(), name): value for name, value in (reversed(pairs) if first else pairs)}

    entries = json.loads(body, object_pairs_hook=members)["entry"]
    return [(each.get("fullUrl"), (each.get("resource") or {}).get("resourceType")) for each in entries]


@given(st.data())
def test_what_a_strict_parser_refuses_is_refused(data: st.DataObject) -> None:
    body = bytearray(json.dumps(BUNDLE, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    with suppress(Unreadable):
        assert written(run(read(bytes(body))), bytes(body)) == expected(orjson.loads(bytes(body)))


ESCAPED = st.lists(
    st.sampled_from(["\\\\", "\\/", "\\u002f", "\\u0041", "\\n", '\\"', "a", "u", "/", "0041", "\\u00e9", "é", " "])
    | st.just("\\ud83c\\udf00"),
    max_size=40,
).map("".join)


@given(ESCAPED, st.integers(13, 40))
@example("\\\\u0041", 40)
def test_no_escape_hides_a_name_or_a_url(characters: str, slice: int) -> None:
    body = f'{{"x":"{characters}"}}'.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_escapes, "_SLICE", slice)
        undone = run(plain(body))
    assert json.loads(undone) == json.loads(body)
    assert run(plain(undone)) == undone
    if "\\" not in characters:
        assert undone is body


@pytest.mark.parametrize(
    "unit", [b'"a":"b",', b'"a":"\\n\\"",', b'"a":[{"b":"a long value","c":[1,2]}],', b'"a":1,', b'"a":"\xc3\xa9",']
)
def test_a_body_is_read_in_slices_of_one_size(unit: bytes) -> None:
    def pauses(size: int) -> int:
        body = b'{"resourceType":"Patient","x":{' + unit * (size // len(unit)) + b'"z":1}}'
        return sum(1 for _ in read(body))

    assert pauses(2_000_000) > 2 * pauses(500_000) > 4


def test_the_collector_has_no_part_of_a_bundle_to_go_through() -> None:
    bundle = reading(json.dumps(BUNDLE)).bundle
    assert bundle is not None
    parts = [part for entry in bundle.entries for part in (entry, entry.resource, entry.outcome)]
    assert not any(map(gc.is_tracked, (bundle, *bundle.links, *parts)))


def test_references_with_criteria_are_found_wherever_they_stand() -> None:
    body = b'{"resourceType":"Basic","a":[{"reference":"Patient?a=\\u00e9"},{"reference" : "Patient/1"}],"b":{"x":"?"}}'
    assert run(references(body, run(read(body)))) == ["Patient?a=é"]
    many = b'{"resourceType":"Basic","a":[' + b",".join([b'{"reference":"A?b"}'] * 1_001) + b"]}"
    several = b'{"resourceType":"Basic","subject":{"reference" : [ ["Patient?a=b"]]}}'
    for refused in (many, several):
        with pytest.raises(Unreadable):
            run(references(refused, run(read(refused))))
    listed = b'{"resourceType":"Basic","reference":[{"reference":"Patient?a=b"}]}'
    assert run(references(listed, run(read(listed)))) == ["Patient?a=b"]
