"""FHIR JSON, read only as far as the gateway must judge an answer: which resources and links it holds."""

from typing import Any, TypedDict

import msgspec
import orjson


class _Link(TypedDict, total=False):
    relation: Any
    url: Any


class _Response(TypedDict, total=False):
    outcome: "_Resource"


class _Entry(TypedDict, total=False):
    resource: "_Resource"
    response: _Response


class _Resource(TypedDict, total=False):
    resourceType: Any
    type: Any
    link: list[_Link]
    entry: list[_Entry]


_DECODER = msgspec.json.Decoder(_Resource)


def outline(body: bytes) -> Any:
    """The document with, of each resource, no more than `resourceType`, `type`, `link` and `entry`.

    Entries keep `resource` and `response.outcome`, again as outlines. What is skipped is checked to be JSON but builds
    nothing: a third of the time of parsing all, and next to none of the memory. A document in which one of these
    members is something else than in a Bundle is parsed as a whole; it need not be an object. Raises ValueError when
    the body is not JSON in UTF-8, or nested too deeply.
    """
    try:
        body.decode()  # the decoder does not look into the strings that it skips
        return _DECODER.decode(body)
    except msgspec.ValidationError:
        return orjson.loads(body)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("the body is not JSON, or nested too deeply") from None
