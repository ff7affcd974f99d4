"""Which URLs lie below a base, and where they lie below another one."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

# `https://provider.example:8443/fhir`. Unreserved characters and ":" only: none that JSON, XML or a form escapes, so
# that a base can be written into each.
_BASE = re.compile(
    r"https?://(?P<host>[\w.-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?(?P<path>(?:/[\w.~:-]*)*)",
    re.ASCII | re.IGNORECASE,
)
_SLASH = r"(?:[/\\]|%(?:25)*+(?:2f|5c))"
# Servers take "..;x", "%2e%2e" and "..%252f" for "..", and browsers drop line breaks: none of them is followed.
_CLIMBING = re.compile(
    rf"{_SLASH}(?:\.|%(?:25)*+2e){{1,2}}(?={_SLASH}|;|%(?:25)*+3b|\Z)|[\t\n\r]", re.ASCII | re.IGNORECASE
)
_PATH = re.compile(r"[^?#]*+")
_PATH_IN_TEXT = re.compile(r"[^?#\s\"'<>]*+", re.ASCII)
_MAX_URL_IN_TEXT = 256
_STARTS = "//(?:{})"
_URL_BOUNDARY = r"(?=[/?#]|\Z)"
_TEXT_BOUNDARY = r"(?=[/?#\\,;)\]}|`\s\"'<>]|[^\x00-\x7f]|[.:!]*+(?:[\s\"'<>\\]|\Z))"


@dataclass(frozen=True)
class LinkMap:
    """Maps URLs at or below any of the bases `sources` to the same place below the base `target`.

    A base is an absolute http or https URL without query, fragment or user; a trailing slash is dropped. Http and https
    count as one, because a server behind a TLS terminator writes http links to itself; so do no port, 80 and 443.
    Hosts are compared without case, any other port and the path exactly (RFC 3986 section 6.2.2.1). A base matches only
    at a path boundary, and never when the path below it climbs by dot segments in whatever encoding.

    Raises ValueError for a base that is malformed, or whose path has other characters than letters, digits, "-._~:/".
    """

    sources: tuple[str, ...]
    target: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(_base(source) for source in self.sources))
        object.__setattr__(self, "target", _base(self.target))
        if not self.sources:
            raise ValueError("a link map needs a source")

    @property
    def inverse(self) -> "LinkMap":
        """The way back: from `target` to the first of `sources`."""
        return LinkMap((self.target,), self.sources[0])

    def map(self, url: str) -> str | None:
        """`url` with its base replaced and the rest as it was, or None when it is not below a source."""
        length = self.base_length(url)
        return None if length is None else self.target + url[length:]

    def base_length(self, url: str) -> int | None:
        """The number of characters of `url` that spell a source, or None when it is not below one."""
        base = self._url.match(url)
        if base is None or _last_climb(url, base.end(), _path_end(_PATH, url, base.end())) >= 0:
            return None
        return base.end()

    def base_in_text(self, text: str, start: int, *, after_escape: bool = False) -> int | None:
        """The end of the source that begins at `start` of running text, or None when none does.

        A source stands alone or begins a longer URL; before it no letter may stand but that of an escape.
        """
        alone = text[start : start + _MAX_URL_IN_TEXT] if after_escape else text
        base = self._text.match(alone, 0 if after_escape else start)
        if base is None:
            return None
        end = base.end() + (start if after_escape else 0)
        path_end = _path_end(_PATH_IN_TEXT, text, end, end + _MAX_URL_IN_TEXT)
        return None if _last_climb(text, end, path_end) >= 0 else end

    def occurrences(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each source that stands in running text, alone or at the start of a longer URL."""
        path_end, climb = 0, -1
        for base in self._text.finditer(text):
            # Bases that follow each other without a break share the rest of the path: it is read once.
            if base.end() > path_end:
                path_end = _path_end(_PATH_IN_TEXT, text, base.end())
                climb = _last_climb(text, base.end(), path_end)
            if climb < base.end():
                yield base.span()

    @property
    def starts(self) -> re.Pattern[str]:
        """Finds each source from its "//" on, without a boundary at its end."""
        return _pattern(_STARTS, self.sources)

    @property
    def starts_text(self) -> str:
        """The text of the pattern `starts`, which is not compiled for it.

        It begins with a literal, which lets `re` skip to the next "//" quickly.
        """
        return _framed(_STARTS, self.sources)

    @cached_property
    def _url(self) -> re.Pattern[str]:
        return _pattern(f"(?i:https?)://(?:{{}}){_URL_BOUNDARY}", self.sources)

    @cached_property
    def _text(self) -> re.Pattern[str]:
        return _pattern(rf"(?<![\w.+-])(?i:https?)://(?:{{}}){_TEXT_BOUNDARY}", self.sources)


# Compiling costs a third of a request; a pattern has about 1 KB. The way up has the same sources for every provider.
MAX_PATTERNS = 2_048


@lru_cache(MAX_PATTERNS)
def _pattern(frame: str, sources: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(_framed(frame, sources), re.ASCII)


@lru_cache(MAX_PATTERNS)
def _framed(frame: str, sources: tuple[str, ...]) -> str:
    """`frame` around the sources from host to path, the longest first."""
    locations = "|".join(_location(source) for source in sorted(sources, key=len, reverse=True))
    return frame.replace("{}", locations)


def _base(url: str) -> str:
    base = _BASE.fullmatch(url)
    if base is None or _CLIMBING.search(base["path"]):
        raise ValueError("a base must be an absolute http or https URL of a host and a path")
    return url.rstrip("/")


def _location(source: str) -> str:
    base = _BASE.fullmatch(source)
    assert base is not None  # noqa: S101 (checked when the map was made)
    # An empty port is the default one (RFC 3986 section 3.2.3), but in running text the colon is punctuation.
    port = r"(?::(?:443|80|(?=/)))?" if base["port"] in (None, "80", "443") else f":{base['port']}"
    return f"(?i:{re.escape(base['host'])}){port}{re.escape(base['path'])}"


def _path_end(path: re.Pattern[str], text: str, start: int, limit: int = sys.maxsize) -> int:
    below = path.match(text, start, limit)
    assert below is not None  # noqa: S101 (the patterns match the empty string)
    return below.end()


def _last_climb(text: str, start: int, end: int) -> int:
    """The start of the last dot segment between `start` and `end`, or -1."""
    return max((climb.start() for climb in _CLIMBING.finditer(text, start, end)), default=-1)
