"""FHIR documents that readers may read differently: good ones, with some of what makes readers differ put in.

The same random numbers make the same document. What a batch asks for that must not go up, and what an answer holds that
must not come down, stands in `_HOSTILE`.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from xml.sax.saxutils import quoteattr

from shared.fhir.versions import FhirFormat

ELSEWHERE = "https://elsewhere.example/"
_FHIR, _XHTML = "http://hl7.org/fhir", "http://www.w3.org/1999/xhtml"
_FORBIDDEN, _PATIENT = {"resourceType": "Practitioner", "id": "9"}, {"resourceType": "Patient"}
_DELETE = {"method": "DELETE", "url": "Patient/1"}
_NEXT = {"relation": "next", "url": ELSEWHERE}
_HOSTILE: dict[str, tuple[Any, ...]] = {
    "resourceType": ("Practitioner", "Bundle", "Patient", "Parameters"),
    "type": ("batch", "transaction", "searchset", "collection", "batch-response", "history", "message"),
    "entry": ([{"request": _DELETE}], [{"resource": _FORBIDDEN}], [{"resource": _PATIENT}], []),
    "link": ([_NEXT], [{"relation": "self", "url": ELSEWHERE}]),
    "relation": ("next", "self", "previous", "first", "last", "Next"),
    "url": (ELSEWHERE, "Practitioner/9", "Patient/1/$everything", "Patient?_include=*", "Observation/2", ""),
    "fullUrl": (f"{ELSEWHERE}Patient/1", "urn:uuid:1"),
    "request": (_DELETE, {"method": "PUT", "url": "Practitioner/9"}),
    "method": ("DELETE", "PUT", "POST", "PATCH", "GET"),
    "ifMatch": ('W/"1"',),
    "ifNoneExist": ("identifier=x",),
    "resource": (_FORBIDDEN, _PATIENT, {"resourceType": "Bundle", "entry": [{"resource": _FORBIDDEN}]}),
    "response": ({"status": "200", "outcome": _FORBIDDEN}, {"status": "200"}),
    "outcome": (_FORBIDDEN,),
    "reference": ("Practitioner?identifier=x", "Patient?_has:Group:member:name=x", "Organization/1"),
    "contained": ([_FORBIDDEN], [{"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": _FORBIDDEN}]}]),
    "extension": ([{"url": ELSEWHERE, "valueString": "x"}],),
}
_LOOKALIKES = str.maketrans({"s": "ſ", "k": "\u212a", "i": "ı"})


@dataclass(frozen=True, slots=True)
class Document:
    """`changes` names what was done to it; without any it is good FHIR."""

    format: FhirFormat
    content: bytes
    changes: tuple[str, ...] = ()


def plain(resource: dict[str, Any], format: FhirFormat) -> Document:
    """The resource in a format, as it is."""
    return Document(format, _text(_tree(resource, format)).encode())


def document(chance: Random, resource: dict[str, Any], format: FhirFormat) -> Document:
    """The resource in a format, with none to three changes, or, rarely, more."""
    changes = chance.choices(_CHANGES[format], k=chance.choice((0, 1, 1, 1, 1, 2, 2, 3, 6)))
    tree = _tree(resource, format)
    late: list[Callable[[Random, bytes], bytes]] = []
    for change in changes:
        if change in _OF_TEXT:
            late.append(_OF_TEXT[change])
        elif _places(tree):
            _OF_TREES[change](chance, tree)
    content = _text(tree).encode("utf-8", "surrogatepass")
    for alter in late:
        content = alter(chance, content)
    return Document(format, content, tuple(changes))


def _tree(resource: dict[str, Any], format: FhirFormat) -> Any:
    return json_tree(resource) if format is FhirFormat.JSON else xml_tree(resource, ("xmlns", f'"{_FHIR}"'))


def _text(tree: Any) -> str:
    return xml_text(tree) if isinstance(tree, Element) else json_text(tree)


class Members(list[list[Any]]):
    """A JSON object: pairs of a name as it is written, with its quotes, and a value.

    A value is Members, a list of values, or a scalar as it is written.
    """


Tree = Any  # Members, or an Element


def json_tree(value: Any) -> Any:
    if isinstance(value, dict):
        return Members([json.dumps(name), json_tree(item)] for name, item in value.items())
    return [json_tree(item) for item in value] if isinstance(value, list) else json.dumps(value)


def json_text(value: Any) -> str:
    if isinstance(value, Members):
        return "{" + ",".join(f"{name}:{json_text(item)}" for name, item in value) + "}"
    return "[" + ",".join(map(json_text, value)) + "]" if isinstance(value, list) else str(value)


@dataclass(slots=True)
class Element:
    """An XML element: its name and attributes as they are written (values with their quotes), children, and text."""

    name: str
    attributes: list[tuple[str, str]] = field(default_factory=list)
    children: list["Element | str"] = field(default_factory=list)


def xml_tree(resource: dict[str, Any], *attributes: tuple[str, str]) -> Element:
    children = [child for name, value in resource.items() if name != "resourceType" for child in _xml(name, value)]
    return Element(resource["resourceType"], list(attributes), children)


def _xml(name: str, value: Any) -> Iterator[Element | str]:
    if isinstance(value, list):
        for item in value:
            yield from _xml(name, item)
    elif name == "div":
        yield value
    elif not isinstance(value, dict):
        yield Element(name, [("value", quoteattr(str(value)))])
    elif "resourceType" in value:
        yield Element(name, [], [xml_tree(value)])
    else:
        own = {"url": value["url"]} if name == "extension" else {}
        children = [child for key, item in value.items() if key not in own for child in _xml(key, item)]
        yield Element(name, [(key, quoteattr(item)) for key, item in own.items()], children)


def xml_text(element: Element | str) -> str:
    if isinstance(element, str):
        return element
    attributes = "".join(f" {name}={value}" for name, value in element.attributes)
    if not element.children:
        return f"<{element.name}{attributes}/>"
    return f"<{element.name}{attributes}>{''.join(map(xml_text, element.children))}</{element.name}>"


def _picked(chance: Random, tree: Tree) -> tuple[Any, int, str]:
    """One of the tree's places (container, index, plain name), mostly one in a Bundle's envelope."""
    places = _places(tree)
    envelope = [place for place in places if place[2] in _HOSTILE]
    return chance.choice(envelope if envelope and chance.random() < 0.9 else places)


def _places(tree: Tree) -> list[tuple[Any, int, str]]:
    """Each member or element below the tree's root: the list that it stands in, where, and its plain name."""
    found: list[tuple[Any, int, str]] = []
    if isinstance(tree, Members):
        for index, (name, value) in enumerate(tree):
            found += [(tree, index, name.strip("\"'_")), *_places(value)]
    elif isinstance(tree, Element):
        for index, child in enumerate(tree.children):
            if isinstance(child, Element):
                found += [(tree.children, index, child.name.rpartition(":")[2]), *_places(child)]
    elif isinstance(tree, list):
        for value in tree:
            found += _places(value)
    return found


def _made(chance: Random, siblings: Any, name: str, written: str = "") -> Any:
    """A hostile member or element of that name, to stand among `siblings`."""
    if isinstance(siblings, Members):
        return [json.dumps(written or name, ensure_ascii=chance.random() < 0.5), json_tree(_hostile(chance, name))]
    made = copy.deepcopy(_hostile_element(chance, name))
    if written and isinstance(made, Element):
        made.name = written
    return made


def _repeat(chance: Random, tree: Tree) -> None:
    siblings, index, name = _picked(chance, tree)
    again = copy.deepcopy(siblings[index]) if chance.random() < 0.3 else _made(chance, siblings, name)
    siblings.insert(chance.choice((0, index, index + 1, len(siblings))), again)


def _respell(chance: Random, tree: Tree) -> None:
    siblings, index, name = _picked(chance, tree)
    if chance.random() < 0.3:
        siblings.insert(chance.choice((0, index + 1)), _made(chance, siblings, name, _respelled(chance, name)))
    elif isinstance(siblings[index], Element):
        siblings[index].name = _respelled(chance, name)
    else:
        siblings[index][0] = json.dumps(_respelled(chance, name), ensure_ascii=chance.random() < 0.5)


def _insert(chance: Random, tree: Tree) -> None:
    siblings, _, _ = _picked(chance, tree)
    name = chance.choice(list(_HOSTILE))
    extension = f"_{name}" if isinstance(siblings, Members) and chance.random() < 0.3 else ""
    siblings.insert(chance.choice((0, len(siblings))), _made(chance, siblings, name, extension))


def _drop(chance: Random, tree: Tree) -> None:
    siblings, index, _ = _picked(chance, tree)
    if len(siblings) > 1:
        del siblings[index]


def _hostile(chance: Random, name: str) -> Any:
    return chance.choice(_HOSTILE.get(name) or ("x", 1, None, {}, []))


def _respelled(chance: Random, name: str) -> str:
    return chance.choice(
        (
            name.upper(), name.lower(), name.capitalize(), name.swapcase(),
            "".join(chance.choice((letter.upper(), letter.lower())) for letter in name), name.translate(_LOOKALIKES),
            f"_{name}", f"{name} ", f" {name}", f"{name}\0", f"{name}\u200b", f"{name}s",
        )
    )  # fmt: skip


def _retype_value(chance: Random, tree: Any) -> None:
    members, index, name = _picked(chance, tree)
    value = members[index][1]
    hostile = json_tree(_hostile(chance, name))
    choices = [
        [value], [[value]], [value, hostile], [hostile, value], Members([['"value"', value]]),
        json.dumps(json_text(value)), *("null", "true", "0", "1e400", '""', [], Members()), ["null", value], hostile,
    ]  # fmt: skip
    if isinstance(value, list) and value:
        more = chance.choice(("null", "1", '"x"', [], Members()))
        choices += [value[0], Members([['"0"', value[0]]]), [*value, more]]
    members[index][1] = copy.deepcopy(chance.choice(choices))


def _escape(chance: Random, tree: Any) -> None:
    members, index, _ = _picked(chance, tree)
    part = chance.choice((0, 0, 1))
    if isinstance(members[index][part], str) and members[index][part].startswith('"'):
        inside = members[index][part][1:-1]
        share = chance.choice((0.2, 1.0))
        members[index][part] = f'"{"".join(_numbered(chance, c) if chance.random() < share else c for c in inside)}"'


def _numbered(chance: Random, character: str) -> str:
    number = ord(character)
    forms = (f"\\u{number:04x}", f"\\u{number:04X}", "\\/" if character == "/" else character)
    return character if character in '\\"' else chance.choice(forms)


def _primitive_extension(chance: Random, tree: Any) -> None:
    members, index, name = _picked(chance, tree)
    hostile = json_tree(_hostile(chance, name))
    value = chance.choice(
        (
            Members([['"id"', '"a"']]), Members([['"extension"', json_tree(_hostile(chance, "extension"))]]),
            Members([['"value"', hostile]]), Members([[f'"{name}"', hostile]]), [Members([['"extension"', "[]"]])],
            hostile,
        )
    )  # fmt: skip
    members.insert(index + 1, [f'"_{name}"', value])
    if chance.random() < 0.4:
        del members[index]


def _nest_member(chance: Random, tree: Any) -> None:
    places = [(members, index) for members, index, name in _places(tree) if name in ("resource", "outcome", "entry")]
    if places:
        members, index = chance.choice(places)
        value = members[index][1]
        wrapped = json_tree({"resourceType": "Bundle", "type": chance.choice(_HOSTILE["type"])})
        entry = value if isinstance(value, list) else [Members([['"resource"', value]])]
        wrapped += [['"entry"', entry], *([['"link"', json_tree([_NEXT])]] * chance.randrange(2))]
        members[index][1] = [Members([['"resource"', wrapped]])] if isinstance(value, list) else wrapped


def _alter_string(chance: Random, tree: Any) -> None:
    members, index, _ = _picked(chance, tree)
    if isinstance(members[index][1], str) and members[index][1].startswith('"'):
        try:
            members[index][1] = json.dumps(_altered(chance, json.loads(members[index][1])))
        except ValueError:
            members[index][1] = '"x"'


def _altered(chance: Random, text: str) -> str:
    return chance.choice(
        (
            text.lower(), text.upper(), text.capitalize(), f" {text}", f"{text} ", f"\n{text}", f"{text}\t",
            f"\u00a0{text}", f"\ufeff{text}", f"{text}\0", f"{text}\ud800", f"{text}#x", f"/{text}",
            f"//elsewhere.example/{text}", f"./{text}", f"{text}/../../Practitioner/9", f"{text};x",
            f"\\\\elsewhere.example\\{text}", f"{text}?_include=*", text.replace("/", "%2F"), text.replace("a", "%61"),
            text.translate(_LOOKALIKES), text + "x" * 5000, ELSEWHERE,
        )
    )  # fmt: skip


_OF_JSON: dict[str, Callable[[Random, Any], None]] = {
    "a value of another type": _retype_value,
    "escapes": _escape,
    "an extension of a primitive": _primitive_extension,
    "a Bundle more around": _nest_member,
    "another string": _alter_string,
}


def _element(chance: Random, tree: Element) -> Element:
    """An element, the root now and then."""
    if not _places(tree) or chance.random() < 0.1:
        return tree
    siblings, index, _ = _picked(chance, tree)
    found: Element = siblings[index]
    return found


def _hostile_element(chance: Random, name: str) -> Element | str:
    made = list(_xml(name, _hostile(chance, name)))
    return chance.choice(made) if made else Element(name)


def _set_namespace(chance: Random, tree: Element) -> None:
    element = _element(chance, tree)
    uri = chance.choice(("", "u", _FHIR, f"{_FHIR}/", _FHIR.upper(), _XHTML, "http://hl7.org/fhir\n"))
    if chance.random() < 0.5:
        element = _added(chance, tree, element)
    element.attributes = [(name, value) for name, value in element.attributes if name != "xmlns"]
    element.attributes.append(("xmlns", quoteattr(uri)))


def _added(chance: Random, tree: Element, beside: Element) -> Element:
    """A hostile element, put into the one given."""
    names = [name for name in _HOSTILE if name not in ("resourceType", "contained", "extension")]
    made = _hostile_element(chance, chance.choice(names))
    if not isinstance(made, Element):
        return beside
    made = copy.deepcopy(made)
    beside.children.insert(chance.choice((0, len(beside.children))), made)
    return made


def _set_prefix(chance: Random, tree: Element) -> None:
    element = _element(chance, tree)
    if chance.random() < 0.5:
        element = _added(chance, tree, element)
    prefix = chance.choice(("x", "fhir", "xml", "é"))
    uri = chance.choice(("u", "u", _FHIR, _FHIR, _XHTML, ""))
    inside = [element]
    if chance.random() < 0.6:
        inside += [siblings[index] for siblings, index, _ in _places(element)]
    for each in inside:
        each.name = f"{prefix}:{each.name}"
    chance.choice((tree, element)).attributes.append((f"xmlns:{prefix}", quoteattr(uri)))


def _set_attribute(chance: Random, tree: Element) -> None:
    element = _element(chance, tree)
    name = chance.choice(
        ("value", "value", "url", "id", "Value", "href", "xml:lang", "xml:base", "xml:id", "x:value", "schemaLocation")
    )
    value = quoteattr(str(_hostile(chance, element.name)))
    if name == "x:value":
        chance.choice((tree, element)).attributes.append(("xmlns:x", quoteattr(chance.choice((_FHIR, "u")))))
    if name == "schemaLocation":
        tree.attributes.append(("xmlns:xsi", '"http://www.w3.org/2001/XMLSchema-instance"'))
        name = "xsi:schemaLocation"
    if chance.random() < 0.5:
        element.attributes = [(own, text) for own, text in element.attributes if own != name]
    element.attributes.insert(chance.choice((0, len(element.attributes))), (name, value))


def _insert_markup(chance: Random, tree: Element) -> None:
    element = _element(chance, tree)
    hidden = xml_text(_hostile_element(chance, chance.choice(("entry", "request", "link"))))
    markup = chance.choice(
        (
            f"<!--{hidden}-->", f"<![CDATA[{hidden}]]>", f"<?x {hidden}?>", "<?xml-stylesheet href='x'?>", "text",
            "&#x20;&#10;", "\u00a0", f'<div xmlns="{_XHTML}">{hidden}</div>',
            f'<text><div xmlns="{_XHTML}">{hidden}</div></text>',
            f'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{ELSEWHERE}"/>', "&lt;entry/&gt;", "&entity;",
        )
    )  # fmt: skip
    element.children.insert(chance.randrange(len(element.children) + 1), markup)


def _alter_value(chance: Random, tree: Element) -> None:
    element = _element(chance, tree)
    for index, (name, value) in enumerate(element.attributes):
        if name == "value" and len(value) > 2:
            text = re.sub("[\0\ud800\ufeff]", "", _altered(chance, value[1:-1].replace("&amp;", "&")))
            numbered = "".join(f"&#{ord(c)};" if chance.random() < 0.5 else f"&#x{ord(c):x};" for c in text)
            element.attributes[index] = (name, f'"{numbered}"' if chance.random() < 0.3 else quoteattr(text))


def _move_value(chance: Random, tree: Element) -> None:
    """The value, where other kinds of XML have it."""
    element = _element(chance, tree)
    values = [value[1:-1] for name, value in element.attributes if name == "value"]
    if values:
        element.attributes = [pair for pair in element.attributes if pair[0] != "value"]
        element.children.append(chance.choice((values[0], Element("value", [("value", f'"{values[0]}"')]))))


def _nest_element(chance: Random, tree: Element) -> None:
    places = [place for place in _places(tree) if place[2] in ("resource", "outcome")]
    if places:
        siblings, index, name = chance.choice(places)
        bundle = xml_tree({"resourceType": "Bundle", "type": "searchset", "link": [_NEXT] * chance.randrange(2)})
        bundle.children.append(Element("entry", [], [siblings[index]]))
        siblings[index].name = "resource"
        siblings[index] = Element(name, [], [bundle])


_OF_XML: dict[str, Callable[[Random, Element], None]] = {
    "another default namespace": _set_namespace,
    "a prefix": _set_prefix,
    "an attribute": _set_attribute,
    "comments, sections, instructions, text": _insert_markup,
    "another value": _alter_value,
    "a value elsewhere": _move_value,
    "a Bundle more around an element": _nest_element,
}


_OF_BOTH: dict[str, Callable[[Random, Tree], None]] = {
    "one repeated": _repeat,
    "a name in another spelling": _respell,
    "one more": _insert,
    "one less": _drop,
    "another order": lambda chance, tree: chance.shuffle(_picked(chance, tree)[0]),
}
_OF_TREES: dict[str, Callable[[Random, Any], None]] = {**_OF_BOTH, **_OF_JSON, **_OF_XML}
_BROKEN = (b"\xff", b"\0", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x0b")
_HEADS = (
    '<?xml version="1.0" encoding="UTF-8"?>', "<?xml version='1.1'?>", '<?xml version="1.0" encoding="ISO-8859-1"?>',
    '<?xml version="1.0" standalone="yes"?>\n', '<!DOCTYPE Bundle [<!ENTITY entity "x">]>', "<!-- -->",
    '<!DOCTYPE Bundle [<!ATTLIST method value CDATA "DELETE"><!ATTLIST entry xmlns CDATA "u">]>',
    " \n", ")]}',\n", "/* */", "[", "\0",
)  # fmt: skip
_TAILS = (b" \n", b"\0", b"{}", b"<a/>", b"]", b",", b"<!-- -->", b"/**/")


def _recode(chance: Random, content: bytes) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "latin-1")), "replace")


def _break_byte(chance: Random, content: bytes) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + chance.choice(_BROKEN) + content[at + chance.randrange(2) :]


_OF_TEXT: dict[str, Callable[[Random, bytes], bytes]] = {
    "a byte order mark": lambda chance, content: b"\xef\xbb\xbf" + content,
    "another encoding": _recode,
    "a broken byte": _break_byte,
    "something before": lambda chance, content: chance.choice(_HEADS).encode() + content,
    "something after": lambda chance, content: content + chance.choice((*_TAILS, content)),
    "the end cut off": lambda chance, content: content[: chance.randrange(1, len(content))],
}
# Of the text few, for most of these are refused at once; of names and namespaces more, where readers differ the most.
_CHANGES: dict[FhirFormat, tuple[str, ...]] = {
    FhirFormat.JSON: (*_OF_BOTH, *_OF_JSON) * 3 + (*_OF_TEXT,),
    FhirFormat.XML: (*_OF_BOTH, *_OF_XML, "another default namespace", "a prefix") * 3 + (*_OF_TEXT,),
}
