"""Links in the operations of a patch: a path tells what their values are, not the element they stand in."""

import re

import msgspec
import orjson

from shared.fhir.document import Steps, Unreadable
from shared.fhir.errors import FhirError
from shared.fhir.json_escapes import plain
from shared.fhir.rewriting.json_links import rewrite_json
from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.rewriting.positions import Position
from shared.fhir.rewriting.spelling import JSON_ESCAPE, XML_REFERENCE, Edit, escaped_edits, splice

# `"valueString": "Patient/1"`, `<valueString value="Patient/1"`: the values of a FHIRPath Patch's operations that may
# be the text of a reference.
_JSON_VALUE = re.compile(
    r'"value(?:String|Uri|Url)"[ \t\n\r]*+:[ \t\n\r]*+"(?P<value>(?:[^"\\]++|\\.)*+)"', re.ASCII | re.DOTALL
)
_XML_VALUE = re.compile(
    r"""<(?:[\w.-]++:)?+value(?:String|Uri|Url)\s++value\s*+=\s*+(?P<quote>["'])(?P<value>[^"'<]*+)(?P=quote)""",
    re.ASCII,
)


class _Operation(msgspec.Struct, omit_defaults=True):
    op: str
    path: str
    from_: str | msgspec.UnsetType = msgspec.field(name="from", default=msgspec.UNSET)
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(list[_Operation])


def rewrite_json_patch(body: bytes, link_map: LinkMap) -> Steps[bytes]:
    """A JSON Patch (RFC 6902) with the links in its values mapped, written from what was read of it.

    A value is what its path says: `{"op": "replace", "path": "/subject/reference", "value": "https://…"}` holds a
    reference, and `/photo/0` an attachment. Raises FhirError (400) for what is no JSON Patch.
    """
    try:
        body.decode()
        operations = _DECODER.decode((yield from plain(body)))
    except (ValueError, RecursionError, Unreadable):
        raise FhirError(400, "structure", "The body is not a JSON Patch.") from None
    for operation in operations:
        if operation.value is not msgspec.UNSET:
            operation.value = msgspec.Raw((yield from _value(bytes(operation.value), operation.path, link_map)))
        yield
    return msgspec.json.encode(operations)


def _value(value: bytes, path: str, link_map: LinkMap) -> Steps[bytes]:
    """The value inside objects of the names that lead to it, which tell whether it is a link."""
    names = [name for name in path.split("/")[1:] if name != "-" and not name.isdecimal()][-2:]
    opening = b"".join(b"{%b:" % orjson.dumps(name) for name in names)
    rewritten = yield from rewrite_json(opening + value + b"}" * len(names), link_map)
    return rewritten[len(opening) : len(rewritten) - len(names)]


def rewrite_fhirpath_patch(body: bytes, link_map: LinkMap) -> Steps[bytes]:
    """A FHIRPath Patch (`Parameters`, JSON or XML in UTF-8) with the strings mapped that are links as a whole.

    In `{"name": "value", "valueString": "https://gateway.example/stu3/Patient/1"}` only the path of the operation
    tells that it is a reference. References that are elements of their own are for `rewrite_json` and `rewrite_xml`.
    """
    text = body.decode("latin-1")
    edits: list[Edit] = []
    for pattern, escape in ((_JSON_VALUE, JSON_ESCAPE), (_XML_VALUE, XML_REFERENCE)):
        for found in pattern.finditer(text):
            edits += escaped_edits(Position.URL, found["value"], escape, found.start("value"), link_map)
            yield
    return splice(text, edits).encode("latin-1") if edits else body
