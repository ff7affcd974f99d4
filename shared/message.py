"""An HTTP request and its response, free of any server's types: what `shared` takes in and gives back."""

import random
import re
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Request(Struct, frozen=True):
    """A request as it came over the wire.

    `path` and `query` are the raw text of the request target (`query` without its "?", never decoded or joined);
    header names are lower case, a repeated header's values are joined with a comma.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Response(Struct, frozen=True):
    """A complete response. `headers` has one value per name and never a Content-Length, which the server computes."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


Handler = Callable[[Request], Awaitable[Response]]


def request_id(headers: Mapping[str, str]) -> str:
    """The client's `X-Request-Id` if it is one we may echo and log, else a new one."""
    given = headers.get("x-request-id", "")
    # Unique, no secret: asking the kernel for it would let other threads of the worker take over meanwhile.
    return given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
