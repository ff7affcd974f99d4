"""Which headers pass through the gateway. Whatever is not named here does not."""

import random
import re
from collections.abc import Iterable, Mapping

UP = (
    "accept-language",
    "if-match",
    "if-none-match",
    "if-none-exist",
    "if-modified-since",
    "if-unmodified-since",
    "prefer",
    "x-correlation-id",
    "traceparent",
    "tracestate",
    "x-provenance",
)
DOWN = (
    "ETag",
    "Last-Modified",
    "Retry-After",
    "X-Progress",
    "X-Correlation-Id",
    "Date",
    "Expires",
    "Cache-Control",
    "Content-Language",
)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_VALUE = re.compile(r"[\x20-\x7e\t]*")


def request_id(headers: Mapping[str, str]) -> str:
    """The client's `X-Request-Id` if it is one we may echo and log, else a new one."""
    given = headers.get("x-request-id", "")
    # Unique, no secret: asking the kernel for it would let other threads of the worker take over meanwhile.
    return given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def chosen(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those of `names` that are present with a value that can stand in a header (the host fails non-ASCII ones)."""
    return {name: value for name in names if (value := headers.get(name)) is not None and _VALUE.fullmatch(value)}
