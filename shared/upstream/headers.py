"""Which headers pass through the gateway. Whatever is not named here does not."""

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

_VALUE = re.compile(r"[\x20-\x7e\t]*")


def chosen(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those of `names` that are present with a value that can stand in a header (the host fails non-ASCII ones)."""
    return {name: value for name in names if (value := headers.get(name)) is not None and _VALUE.fullmatch(value)}
