import json
import re
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.document import Unreadable, run
from shared.fhir.json_document import read
from shared.fhir.json_escapes import plain
from shared.fhir.rewriting import LinkMap, rewrite_json

HERE = "https://provider.example/fhir"
THERE = "https://gateway.example/stu3"
DOWN = LinkMap((HERE,), THERE)


def mapped(body: bytes, link_map: LinkMap = DOWN) -> bytes:
    return run(rewrite_json(run(plain(body)), link_map))


SIBLINGS = ",".join(f'{{"title":"{number}"}}' for number in range(2000))


# `@` stands for a base that is to be mapped, and HERE for one that is to stay.
@pytest.mark.parametrize(
    "text",
    [
        '{"link":[{"relation":"self","url":"@?a=1"},{"relation":"next","url":"@/Patient?page=2"}]}',
        '{"entry":[{"fullUrl":"@/Patient/1","link":[{"relation":"self","url":"@/Patient/1"}]}]}',
        '{"entry":[{"request":{"method":"GET","url":"@/Patient?name=x"}}]}',
        '{"entry":[{"response":{"status":"201","location":"@/Patient/1/_history/1"}}]}',
        '{"entry":[{"response":{"outcome":{"issue":[{"diagnostics":"no @/Patient/1."}]}}}]}',
        '{"subject":{"reference":"@/Patient/1"},"contained":[{"x":[{"reference":"@"}]}]}',
        '{"parameter":[{"name":"x","valueReference":{"reference":"@/Patient/1"}}]}',
        '{"photo":[{"contentType":"image/png","url":"@/Binary/1"},{"url":"@/Binary/2"}]}',
        '{"content":[{"attachment":{"url":"@/Binary/1"}}]}',
        '{"content":{"url":"@/Binary/1"},"presentedForm":[{"url":"@/Binary/1"}],"valueAttachment":{"url":"@/b"}}',
        '{"implementation":{"description":"x","url":"@"}}',
        '{"reference"\n:\t"@/1" , "reference" :"@/2","a":1,"a":2,"reference":"@?a=https://provider.example/fhir/x"}\n',
        '{"issue":[{"details":{"coding":[{"code":"x"}],"text":"@/Patient/1 is gone, see <@>"}}]}',
        '{"text":{"status":"generated","div":"<div><a href=\\"@/Patient/1\\">x</a><img src=\'@/Binary/1\'/></div>"}}',
        '{"text":{"div":"\\u003ca href=\\u0022@/Patient?a=1\\u0026amp;b=2\\u0022\\u003e"}}',
        # right after a partial match
        '{"a":"https://provider.example/fhi","reference":"@"}',
        '{"diagnostics":"https://provider.example/fhihttps://provider.example/fh @ @"}',
        "{\"div\":\"<a href='https://provider.example/fhi'/><a href='@'/><a href='https://provider'/>\"}",
        # far from the parent's name, or after what looks like another
        '{"photo":[{"title":"{\\"x\\":[","url":"@"}],"x":[{"title":"\\"link\\":[{","url":"HERE"}]}',
        '{"link":[{"extension":[{"url":"HERE"}]}],"x":{"link":{},"url":"HERE"},"reference":"@"}',
        f'{{"photo":[{SIBLINGS},{{"url":"@"}}],"x":[{SIBLINGS},{{"url":"HERE"}}]}}',
        '{"a":[' * 1000 + '{"link":{"url":"@"},"reference":"@"}' + "]}" * 1000,
    ],
    ids=count(),
)
def test_links_are_mapped(text: str) -> None:
    text = text.replace("HERE", HERE)
    assert mapped(text.replace("@", HERE).encode()).decode() == text.replace("@", THERE)


@pytest.mark.parametrize(
    "text",
    [
        '{"identifier":[{"system":"HERE/ids","value":"HERE/1"}]}',
        '{"code":{"coding":[{"system":"HERE/codes","display":"HERE"}],"text":"HERE"}}',
        '{"extension":[{"url":"HERE/ext","valueUri":"HERE/x"}],"modifierExtension":[{"url":"HERE/ext"}]}',
        '{"meta":{"profile":["HERE/StructureDefinition/x"],"source":"HERE"}}',
        '{"resourceType":"ValueSet","url":"HERE/ValueSet/1"}',
        '{"entry":[{"resource":{"resourceType":"ValueSet","url":"HERE/ValueSet/1"}}]}',
        '{"contained":[{"resourceType":"ValueSet","url":"HERE/ValueSet/1"}]}',
        '{"instantiatesCanonical":["HERE/x"],"valueCanonical":"HERE/x","valueUrl":"HERE/x"}',
        '{"note":[{"text":"HERE/x"}],"display":"HERE","div2":"HERE"}',
        '{"div":"<div title=\\"HERE\\" data-href=\\"HERE\\">href=\\"HERE\\" HERE<!-- HERE -->"}',
        '{"reference":["HERE"],"fullUrl":[["HERE"]],"_reference":"HERE","Reference":"HERE"}',
        '{"x\\"reference":"HERE","\\\\":"HERE"}',
        '{"x\\"reference" :"HERE","x\\"div":"<a href=\'HERE\'/>"}',
        '{"a":{"x\\"link":[{"url":"HERE"}]}}',
        '{"x":"\\"reference\\":\\"HERE","y":"\\\\\\"reference\\": \\"HERE"}',
        '{"reference":"HERE2","fullUrl":"https://provider.example:8443/fhir","location":"https://x@provider.example/fhir"}',
        '{"reference":"HERE/../admin","fullUrl":"HERE/%2e%2e/admin","location":"HERE/\\\\..\\\\admin"}',
        '{"reference":"urn:uuid:1","fullUrl":"see HERE","location":" HERE"}',
        '["HERE",{"a":"HERE"}]',
        *('"HERE"', "[]", "1", ""),
    ],
)
def test_what_only_looks_like_a_link_stays_the_same_object(text: str) -> None:
    body = text.replace("HERE", HERE).encode()
    assert mapped(body) is body


SELF, NEXT = '{"relation":"self","url":"@/Patient"}', '{"relation":"next","url":"/r4?x=1\\u0026y=\\u00e9"}'
ENTRY = '"entry":[{"link":[{"url":"https://provider.example/fhir/1"}],"resource":{"resourceType":"Patient","link":[{"other":{"x":{}}}]}}]'


@pytest.mark.parametrize(
    "bundle",
    [
        '{"resourceType":"Bundle","meta":{"tag":[{"code":"x"}]},"link":[SELF,NEXT],"entry":[{"a":{"b":{"c":{}}}}]}',
        '{"resourceType":"Bundle","entry":[{"a":{"b":[{"c":[]}]}}],"link":[SELF,NEXT],"total":1,"meta":{"x":[{}]}}\n',
        '{"resourceType":"Bundle","link":[SELF,NEXT],"entry":[{"fullUrl":"FULL"}]}',
        '{"resourceType":"Bundle","link":[SELF,NEXT],"entry":[{"url":"https://provider.example/fhir/2","a":{"b":{}}}]}',
        '{"resourceType":"Bundle",ENTRY,"link":[SELF,NEXT]}',
        '{"link":[{"extension":[{"url":"x"}],"url":"@/Patient"},NEXT],"resourceType":"Bundle"}',
        '{"resourceType":"Bundle","lin\\u006b":[SELF,NEXT]}',
        '{"resourceType":"Bundle","a":"\\"link\\"","b":"link","link":[SELF,NEXT]}',
    ],
)
def test_links_of_a_bundle_are_written_as_was_decided(bundle: str) -> None:
    text = bundle.replace("SELF", SELF).replace("NEXT", NEXT).replace("ENTRY", ENTRY).replace("FULL", f"{HERE}/1")
    body = run(plain(text.replace("@", HERE).encode()))
    found = run(read(body)).bundle
    assert found is not None
    assert [link.url for link in found.links] == [f"{HERE}/Patient", "/r4?x=1&y=é"]
    url = 'https://gateway.example/p?"\\é\U0001f600'
    written = json.loads(run(rewrite_json(body, DOWN, [(link.start, link.end, url) for link in found.links])))
    assert [link["url"] for link in written.pop("link")] == [url, url]
    expected = json.loads(mapped(body))
    del expected["link"]
    assert written == expected


@pytest.mark.parametrize(
    ("opening", "repeated", "closing"),
    [
        ('{"x":"', "https://provider.example/fhir ", '"}'),
        ('{"x":"', '\\"https://provider.example/fhir', '"}'),
        ('{"x":"', "\\\\" * 5 + "https://provider.example/fhir", '"}'),
        ('{"div":"', "<a \\\"'https://provider.example/fhir", '"}'),
        ('{"div":"', "<a href=https://provider.example/fhir <!-- <![CDATA[", '"}'),
        ('{"div":"', "aaaaaaaaaa", ' https://provider.example/fhir"}'),
        ('{"div":"<a ', "aaaaaaaaaa", ' https://provider.example/fhir"}'),
        ('{"diagnostics":"', "https://provider.example/fhir.!:", '"}'),
        ('{"diagnostics":"', "https://provider.example/fhir/x/%2525", '"}'),
        ('{"diagnostics":"', "https://provider.example/fhir/", '"}'),
        ('{"diagnostics":"', "https://provider.example/fhir,", '/..."}'),
        ('{"reference":"https://provider.example/fhir', "/%25", '"}'),
        ('{"a":', '{"url":"https://provider.example/fhir","link":[],"a":', "1" + "}" * 40_001),
        ('{"a":1', ',"link":[{"url":"https://provider.example/fhir"}]', "}"),
        ('{"a":1', ',"url":"https://provider.example/fhir"', "}"),
        ("[1", ',"https://provider.example/fhir"', "]"),
        ("", '{"link":[', "1" + "]}" * 40_000),
        ("", "[", "1" + "]" * 40_000),
        ('{"a":"', '\\"link', '"}'),
        ('{"a":1', ' , "link" : [ ]', "}"),
    ],
)
def test_hostile_shapes_take_linear_time(opening: str, repeated: str, closing: str) -> None:
    """A quadratic way through any of these would read tens of thousands of millions of characters."""
    body = (opening + repeated * 40_000 + closing).encode()
    with suppress(Unreadable):
        assert len(mapped(body)) <= len(body)


# The rewriting against a slow reference that walks the parsed document, on generated documents.
LINKING = ("link", "request", "implementation", "photo", "valueAttachment", "content")  # parents of a `url`
NAMES = [
    *LINKING, "reference", "fullUrl", "location", "url", "div", "diagnostics", "details", "text", "extension",
    "resource", "entry", "system", "display", "", 'x"reference', "link\\", "é", "Reference", "_reference",
]  # fmt: skip
CANONICAL = [HERE, f"{HERE}/Patient/1", f"{HERE}?_getpages=1&x=|", f"{HERE}/", f"{HERE}/1.2/_history/3#x"]
SPELLINGS = [
    "http://Provider.EXAMPLE:80/fhir/x", "HTTPS://provider.example:443/fhir", "https://provider.example:/fhir/x",
]  # fmt: skip
OTHERS = [
    f"{HERE}2/x", f"{HERE}/../x", f"{HERE}/.", f"{HERE}/%2E%2e/x", f"{HERE}/a/..%2fb", f"{HERE}\\x", f" {HERE}",
    "https://provider.example:8080/fhir", "https://u@provider.example/fhir", "ftp://provider.example/fhir",
    "urn:uuid:1", "/r4/Patient?page=2", "", "é\U0001f600", '"reference":"' + HERE, "\\", '"', "{[", "}]", "link",
    f"{HERE}?next={HERE}/x", "<72.0>", "<1.10>", "<1E400>", "<-0.0>", "<12345678901234567890>", None, True, 0,
]  # fmt: skip
# Running texts and narratives, in which "@" stands for a base that is mapped and HERE for one that stays.
TEXTS = [
    "no @/Patient/1.", f"(@), {HERE}2", "@: down", f"x{HERE} {HERE}/../x @", " @", "@\\x", '"reference":"@',
    "@?next=@/x",
]  # fmt: skip
DIVS = [
    f"<div xmlns='http://www.w3.org/1999/xhtml'><a href=\"@/1?a=1&amp;b=2\" title='{HERE}'>{HERE}</a></div>",
    f"<div><!-- <a href='@'> --><img alt='>' src='@/Binary/1'/>href='{HERE}'<a href='{HERE}2'/></div>",
]
IN_TEXT = {text.replace("@", HERE): text.replace("@", THERE) for text in TEXTS}
IN_TEXT |= {div.replace("@", HERE): div.replace("@", HERE).replace(HERE, THERE) for div in DIVS}
IN_TEXT = {text: mapped.replace(f"{THERE}2", f"{HERE}2") for text, mapped in IN_TEXT.items()}
IN_DIV = {div.replace("@", HERE): div.replace("@", THERE) for div in DIVS}
# The ways in which serializers write the same string, after which nothing but bases may change.
PHP, DOT_NET = {"/": "\\/"}, {character: f"\\u{ord(character):04x}" for character in "'<>&+`"}
STABLE: list[dict[str, str]] = [{}, PHP, DOT_NET]
ESCAPED = {"provider": "\\u0070rov\\u0069der", "https": "\\u0068ttps", "/f": "\\u002Ff"}
ESCAPED['"reference"'] = '"r\\u0065ference"'


def documents(urls: list[str]) -> st.SearchStrategy[Any]:
    scalars = st.sampled_from([*urls, *OTHERS, *IN_TEXT])
    names = st.sampled_from(["url", "text", "reference", "fullUrl", "location", "diagnostics", "div"])
    linking = st.dictionaries(st.sampled_from([*LINKING, "details"]), st.dictionaries(names, scalars), max_size=3)
    inner = st.recursive(
        scalars | linking,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
        max_leaves=25,
    )
    links = st.lists(inner | st.fixed_dictionaries({"url": scalars}), max_size=4)
    return inner | st.fixed_dictionaries({"type": st.just("x"), "link": links, "entry": inner})


@st.composite
def bodies(draw: st.DrawFn, urls: list[str], spellings: list[dict[str, str]]) -> bytes:
    document = draw(documents(urls))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", "\t: ")]))
    indent, ascii_only = draw(st.sampled_from([None, 1, "\t"])), draw(st.booleans())
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent, separators=separators)
    text = re.sub(r'"<([\d.E-]+)>"', r"\1", text)  # numbers as no serializer of Python writes them
    for plainly, written in draw(st.sampled_from(spellings)).items():
        text = text.replace(plainly, written)
    return text.encode()


def parse(body: bytes) -> Any:
    return json.loads(body, parse_float=lambda text: f"<{text}>", parse_int=lambda text: f"<{text}>")


def expected_url(url: str) -> str:
    parts = re.fullmatch(r"(https?)://([^/?#]*)([^?#]*)(.*)", url, re.DOTALL | re.IGNORECASE)
    if parts is None or not re.fullmatch(r"provider\.example(:(80|443)?)?", parts[2].lower()):
        return url
    path = parts[3]
    if path != "/fhir" and not path.startswith("/fhir/"):
        return url
    decoded = path
    while unquote(decoded) != decoded:
        decoded = unquote(decoded)
    if {".", ".."} & {segment.split(";")[0] for segment in decoded.replace("\\", "/").split("/")}:
        return url
    return THERE + path.removeprefix("/fhir") + parts[4]


def expected(node: Any, name: str = "", parent: str = "") -> Any:
    """`node` as it should be, where it is the value of `name` in the value of `parent`; a list's items have its name.

    A string in a list is nothing's value.
    """
    if isinstance(node, list):
        return [item if isinstance(item, str) else expected(item, name, name) for item in node]
    if isinstance(node, dict):
        return {key: expected(value, key, name) for key, value in node.items()}
    if not isinstance(node, str):
        return node
    if name in ("reference", "fullUrl", "location") or (name == "url" and parent in LINKING):
        return expected_url(node)
    if name == "diagnostics" or (name == "text" and parent == "details"):
        return IN_TEXT.get(node, expected_url(node))
    return IN_DIV.get(node, node) if name == "div" else node


@given(bodies(CANONICAL + SPELLINGS, [*STABLE, ESCAPED]))
def test_links_are_those_a_walk_over_the_parsed_document_finds(body: bytes) -> None:
    assert parse(mapped(body)) == expected(parse(body))


@given(bodies(CANONICAL, STABLE))
def test_only_bases_change_and_there_and_back_is_the_identity(body: bytes) -> None:
    there = mapped(body)
    assert there.replace(THERE.encode(), HERE.encode()) == run(plain(body)).replace(THERE.encode(), HERE.encode())
    assert mapped(there, DOWN.inverse) == run(plain(body))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner),
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_any_json_without_the_base_stays_the_same_object(document: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert run(rewrite_json(body, DOWN)) is body
