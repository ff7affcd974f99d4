"""An HTTP request and its response, free of any server's types: what `shared` takes in and gives back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came over the wire.

    `path` and `query` are the raw text of the request target (`query` without its "?", never decoded or joined);
    header names are lower case, a repeated header's values are joined with a comma.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer. `headers` has one value per name and never a Content-Length, which the server computes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Handler = Callable[[Request], Awaitable[Response]]
