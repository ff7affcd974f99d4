"""What the rewriting of JSON protects, case by case; `test_json_links_properties` compares it with a slow reference."""

import json
from contextlib import suppress
from itertools import count

import pytest

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
