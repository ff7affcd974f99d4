"""Route templates of HTTP triggers, matched as the Functions host matches them (ASP.NET Core's route patterns)."""

import re
from dataclasses import dataclass

# ASCII: .NET folds no letter beyond ASCII into one of ours, Python would let "dſtu2" pass for "dstu2".
_FLAGS = re.IGNORECASE | re.ASCII

# Braces inside a parameter are doubled; a slash may stand there too, as part of a regex.
_SEGMENT = re.compile(r"\{(?P<parameter>(?:[^{}]|\{\{|\}\})*+)\}|(?P<literal>[^/{}?]+)")
_PARAMETER = re.compile(r"(?P<star>\*?)(?P<name>[^/{}?*:=]+)(?::(?P<constraint>.+))?", re.DOTALL)
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_ANCHORS = {r"\z": r"\Z", r"\Z": r"(?=\n?\Z)"}  # .NET's and Python's; `$` matches before a last line break in both
_CONSTRAINT = re.compile(r"(?P<kind>\w*)(?:\((?P<argument>.*)\))?", re.DOTALL)


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
        return re.compile(_ESCAPE.sub(lambda escape: _ANCHORS.get(escape[0], escape[0]), parts["argument"]), _FLAGS)
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
