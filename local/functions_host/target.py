"""The target of a request line, read as Kestrel reads it and handed on as the Functions host hands it on."""

import re
from urllib.parse import parse_qsl, quote

_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
# What PathString.ToUriComponent escapes: everything but pchar and "/", and a "%" that begins no escape.
_UNSAFE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9%!$&'()*+,\-./:;=@_~]+")


def decode_path(raw: str) -> str:
    """The path the routes see: escapes decoded once, all but `%2F` and what is not UTF-8, then dot segments removed.

    Raises ValueError for an escaped null character.
    """
    path = _ESCAPES.sub(_decode, raw) if "%" in raw else raw
    return _without_dot_segments(path) if "/." in path else path


def encode_path(path: str) -> str:
    """A decoded path as `req.url` has it."""
    return _UNSAFE.sub(lambda unsafe: quote(unsafe[0], safe=""), path)


def query_params(query: str) -> dict[str, str]:
    """A raw query as `req.params` has it: names in any case are one, repeats are joined, empty values lost."""
    params: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for spelling, value in parse_qsl(query):
        name = spellings.setdefault(spelling.lower(), spelling)
        params[name] = f"{params[name]},{value}" if name in params else value
    return params


def _decode(escapes: re.Match[str]) -> str:
    text = escapes[0]
    decoded: list[str] = []
    position = 0
    for character in bytes.fromhex(text.replace("%", "")).decode(errors="surrogateescape"):
        if character == "\0":
            raise ValueError("the path contains a null character")
        end = position + 3 * len(character.encode(errors="surrogateescape"))
        kept = character == "/" or "\udc80" <= character <= "\udcff"
        decoded.append(text[position:end] if kept else character)
        position = end
    return "".join(decoded)


def _without_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4 for a path that begins with a slash."""
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
