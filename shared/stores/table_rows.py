"""Rows of Table Storage as JSON on the wire (OData 3 with minimal metadata: types where JSON has none, and ETags).

{"odata.etag": "W/\"datetime'2026-…'\"", "PartitionKey": "…", "RowKey": "stu3", "Timestamp": "…",
 "Expires@odata.type": "Edm.DateTime", "Expires": "2026-11-26T22:50:59.123456Z"}
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson

Row = Mapping[str, object]
"""The columns of a row by name, `PartitionKey` and `RowKey` among them."""

_TYPE = "@odata.type"
_PARAMETER = re.compile(r"@(\w+)")
_READERS: Mapping[str, Callable[[Any], object]] = {
    "Edm.Binary": b64decode,
    "Edm.DateTime": lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
    "Edm.Double": float,
    "Edm.Guid": UUID,
    "Edm.Int64": int,
}


class StoredRow(dict[str, object]):
    """A row as it was read, which keeps its ETag when it is copied by `copy.copy`."""

    etag = ""


def etag_of(row: Row) -> str:
    """The ETag a row was read with."""
    if not isinstance(row, StoredRow) or not row.etag:
        raise TypeError("the row was not read from a table")
    return row.etag


def read_rows(content: bytes) -> list[Row]:
    """The rows of a query's response. Raises ValueError for what is none."""
    try:
        return [_read(entity) for entity in orjson.loads(content)["value"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no rows") from error


def read_row(content: bytes) -> Row:
    """The row of a response. Raises ValueError for what is none."""
    try:
        return _read(orjson.loads(content))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no row") from error


def written(row: Row) -> bytes:
    """The JSON that writes a row; a column that is None is left out."""
    entity: dict[str, object] = {}
    for column, value in row.items():
        if value is None:
            continue
        kind, entity[column] = _typed(value)
        if kind:
            entity[column + _TYPE] = kind
    return orjson.dumps(entity)


def key(partition: str, row: str) -> str:
    """How a URL names a row after its table's name."""
    return f"(PartitionKey='{_quoted(partition)}',RowKey='{_quoted(row)}')"


def condition(filter: str, parameters: Mapping[str, object]) -> str:
    """The value of `$filter` in a URL, with the `parameters` in place of the `@names` of an OData `filter`."""
    return quote(_PARAMETER.sub(lambda name: _literal(parameters[name[1]]), filter), safe="")


def _read(entity: dict[str, Any]) -> Row:
    row, types = StoredRow(), dict[str, str]()
    for name, value in entity.items():
        if name.endswith(_TYPE):
            types[name.removesuffix(_TYPE)] = value
        elif name == "odata.etag":
            row.etag = str(value)
        elif name != "Timestamp" and not name.startswith("odata."):
            row[name] = value
    for name, kind in types.items():
        if (read := _READERS.get(kind)) is not None and name in row:
            row[name] = read(row[name])
    return row


def _typed(value: object) -> tuple[str, object]:
    """The type to be named beside a value, "" where JSON's own says it, and the value as JSON has it."""
    if isinstance(value, bool | str):
        return "", value
    if isinstance(value, int):
        return ("", value) if -(2**31) <= value < 2**31 else ("Edm.Int64", str(value))
    if isinstance(value, float):
        return "Edm.Double", value if isfinite(value) else json.dumps(value)
    if isinstance(value, datetime):
        return "Edm.DateTime", _time(value)
    if isinstance(value, UUID):
        return "Edm.Guid", str(value)
    if isinstance(value, bytes):
        return "Edm.Binary", b64encode(value).decode()
    raise TypeError(f"a column can't hold a {type(value).__name__}")


def _literal(value: object) -> str:
    if isinstance(value, datetime):
        return f"datetime'{_time(value)}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise TypeError(f"a condition can't compare with a {type(value).__name__}")


def _quoted(text: str) -> str:
    return quote(text.replace("'", "''"), safe="")


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
