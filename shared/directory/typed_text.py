"""Text as people type, paste and save it: names of columns, their values, tenant IDs, files and credentials."""

import codecs
import re
from collections.abc import Collection
from copy import copy
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:  # the command line's --help does without the Azure SDKs
    from shared.stores.tables import Row

_KEYS = frozenset({"PartitionKey", "RowKey"})
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MARK = "\ufeff"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def canonical(row: "Row", columns: Collection[str]) -> "Row":
    """The row, with the ETag it was read with, and the names of its columns as the table has them.

    A name in another case, or with spaces around it, is taken for the column; where the row has that one as well, it
    stays as it is, and is refused as an unknown one.
    """
    others = [name for name in row if name not in columns and name not in _KEYS]
    if not others:
        return row
    meant = {column.lower(): column for column in columns}
    misspelt = [name for name in others if name.strip().lower() in meant]
    if not misspelt:
        return row
    renamed: Any = copy(row)
    for name in misspelt:
        column = meant[name.strip().lower()]
        if column not in renamed:
            renamed[column] = renamed.pop(name)
    found: Row = renamed
    return found


def unknown_column(name: str, columns: Collection[str]) -> str | None:
    """Why a canonical row can't have a column of this name; None when it can."""
    if name in columns:
        return None
    column = next((column for column in columns if column.lower() == name.strip().lower()), None)
    return f"is a second column {column}: remove one" if column else "is not a column of this table"


def column_text(value: object) -> str:
    """A column's value as a person would type it; "" for None, which a missing column has."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return "" if value is None else str(value).strip()


def is_text(value: object) -> bool:
    """Whether a column's value means what `column_text` has of it: bytes and times don't."""
    return value is None or isinstance(value, str | bool | int | float | UUID)


def flag(text: str) -> bool | None:
    """What a column says that is true or false; None when it is neither, or empty."""
    return _FLAGS.get(text.lower())


def parse_tenant_id(text: str) -> str | None:
    """The GUID of an Entra tenant in lower case, without the braces and spaces people paste along; None for no GUID."""
    bare = text.strip()
    if bare.startswith("{") and bare.endswith("}"):
        bare = bare[1:-1].strip()
    lower = bare.lower()
    return lower if _GUID.fullmatch(lower) else None


def decoded(content: bytes) -> str:
    """A file's text: UTF-8, or UTF-16 by its mark, as PowerShell writes it. Raises UnicodeDecodeError."""
    return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8").removeprefix(_MARK)


def credential(text: str) -> str:
    """A credential without the mark before it and the line's end after it, which come along with a file's content."""
    return text.removeprefix(_MARK).rstrip("\r\n")
