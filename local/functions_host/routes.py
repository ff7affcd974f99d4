"""Route templates of HTTP triggers and the target of a request line, as the Functions host has them.

Templates are matched as ASP.NET Core's route patterns, a target is read as Kestrel reads it.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

# ASCII: .NET folds no letter beyond ASCII into one of ours, Python would let "dſtu2" pass for "dstu2".
_FLAGS = re.IGNORECASE | re.ASCII

# Braces inside a parameter are doubled; a slash may stand there too, as part of a regex.
_SEGMENT = re.compile(r"\{(?P<parameter>(?:[^{}]|\{\{|\}\})*+)\}|(?P<literal>[^/{}?]+)")
_PARAMETER = re.compile(r"(?P<star>\*?)(?P<name>[^/{}?*:=]+)(?::(?P<constraint>.+))?", re.DOTALL)
_REGEX_ESCAPE = re.compile(r"\\.", re.DOTALL)
_ANCHORS = {r"\z": r"\Z", r"\Z": r"(?=\n?\Z)"}  # .NET's and Python's; `$` matches before a last line break in both
_CONSTRAINT = re.compile(r"(?P<kind>\w*)(?:\((?P<argument>.*)\))?", re.DOTALL)


_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
# What PathString.ToUriComponent escapes: everything but pchar and "/", and a "%" that begins no escape.
_UNSAFE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9%!$&'()*+,\-./:;=@_~]+")


class RouteError(ValueError):
    """A route template this host can't serve as Azure would; the message says why."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{...}` of a template."""

    name: str
    optional: bool
    catch_all: bool
    constraint: re.Pattern[str] | None

    def accepts(self, value: str | None) -> bool:
        """True for a decoded value that the constraint lets pass; only an optional parameter's may be missing."""
        if self.constraint is None or value is None:
            return self.constraint is None or self.optional
        return self.constraint.search(value) is not None


@dataclass(frozen=True, slots=True)
class Route:
    """A compiled route template."""

    template: str
    shape: re.Pattern[str]
    parameters: tuple[Parameter, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters that have a value in a decoded path (which begins with a slash), or None."""
        found = self.shape.fullmatch(path)
        if found is None:
            return None
        values = list(zip(self.parameters, found.groups(), strict=True))
        if not all(parameter.accepts(value) for parameter, value in values):
            return None
        return {parameter.name: value for parameter, value in values if value is not None}


def parse_route(template: str) -> Route:
    """Compiles a template such as `{base:regex(^(dstu2|stu3)$)}/{type?}/{*rest}`; raises RouteError.

    Of the constraints there is `regex`; defaults and segments of several parts are errors too.
    """
    segments = [_parse_segment(segment, template) for segment in _split(template)]
    parameters = tuple(segment for segment in segments if isinstance(segment, Parameter))
    if any(parameter.catch_all for parameter in segments[:-1] if isinstance(parameter, Parameter)):
        raise RouteError(f"a catch-all must come last: {template}")
    if len({parameter.name.lower() for parameter in parameters}) < len(parameters):
        raise RouteError(f"a parameter's name is used twice: {template}")
    return Route(template, re.compile(_shape(segments), _FLAGS | re.DOTALL), parameters)


def _split(template: str) -> list[re.Match[str]]:
    segments: list[re.Match[str]] = []
    position = 0
    while position <= len(template):
        segment = _SEGMENT.match(template, position)
        if segment is None or template[segment.end() : segment.end() + 1] not in ("", "/"):
            raise RouteError(f"not a literal or one parameter at {template[position:]!r}: {template}")
        segments.append(segment)
        position = segment.end() + 1
    return segments


def _parse_segment(segment: re.Match[str], template: str) -> str | Parameter:
    if segment["literal"] is not None:
        return segment["literal"]
    text = segment["parameter"].replace("{{", "{").replace("}}", "}")
    parts = _PARAMETER.fullmatch(text.removesuffix("?"))
    if parts is None:
        raise RouteError(f"not a parameter this host knows, {{{text}}}: {template}")
    constraint = None if parts["constraint"] is None else _parse_constraint(parts["constraint"], template)
    parameter = Parameter(parts["name"], text.endswith("?"), bool(parts["star"]), constraint)
    if parameter.optional and parameter.catch_all:
        raise RouteError(f"a catch-all can't be optional: {template}")
    return parameter


def _parse_constraint(text: str, template: str) -> re.Pattern[str]:
    parts = _CONSTRAINT.fullmatch(text)
    if parts is None or parts["kind"].lower() != "regex" or not parts["argument"]:
        raise RouteError(f"not a constraint this host knows, {text!r}: {template}")
    # ASP.NET ends a constraint at a parenthesis before a colon or an equals sign.
    if "):" in parts["argument"] or ")=" in parts["argument"]:
        raise RouteError(f"')' before ':' or '=' ends a constraint early, {text!r}: {template}")
    try:
        return re.compile(
            _REGEX_ESCAPE.sub(lambda escape: _ANCHORS.get(escape[0], escape[0]), parts["argument"]), _FLAGS
        )
    except re.error as error:
        raise RouteError(f"not a regular expression, {text!r} ({error}): {template}") from None


def _shape(segments: list[str | Parameter]) -> str:
    """The regex of the whole path with a group for each parameter; no segment is empty, one last slash is ignored."""
    shape = ""
    skippable = True
    for segment in reversed(segments):
        if isinstance(segment, str):
            shape, skippable = f"/{re.escape(segment)}{shape}", False
        elif segment.catch_all:
            shape = "(?:/([^/].*))?"
        elif segment.optional and skippable:
            shape = f"(?:/([^/]+){shape})?"
        else:
            shape, skippable = f"/([^/]+){shape}", False
    return f"{shape}/?"


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
