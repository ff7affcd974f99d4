"""Text as editors, shells and copying leave it: with a byte order mark, or a line's end that nobody meant."""

import codecs

_MARK = "\ufeff"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decoded(content: bytes) -> str:
    """A file's text: UTF-8, or UTF-16 by its mark, as PowerShell writes it. Raises UnicodeDecodeError."""
    return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8").removeprefix(_MARK)


def credential(text: str) -> str:
    """A credential without the mark before it and the line's end after it, which come along with a file's content."""
    return text.removeprefix(_MARK).rstrip("\r\n")
