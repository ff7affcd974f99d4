"""Which URLs lie below a base, and where they lie below another one."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from shared.fhir.rewriting.location import Location

_SLASH = r"(?:[/\\]|%(?:25)*+(?:2f|5c))"
# Servers take "..;x", "%2e%2e" and "..%252f" for "..", and browsers drop line breaks: none of them is followed.
_CLIMBING = re.compile(
    rf"{_SLASH}(?:\.|%(?:25)*+2e){{1,2}}(?={_SLASH}|;|%(?:25)*+3b|\Z)|[\t\n\r]", re.ASCII | re.IGNORECASE
)
_PATH = re.compile(r"[^?#]*+")
_PATH_IN_TEXT = re.compile(r"[^?#\s\"'<>]*+", re.ASCII)
_MAX_URL_IN_TEXT = 256
MAX_PATTERNS = 2_048
"""The hospitals whose patterns are remembered: compiling one costs a third of a request."""
_MAX_SOURCES = 256  # whose locations are: made in 4 microseconds, they take a kilobyte
_SCHEMES = frozenset({"http:", "https:"})
_LONGEST_SCHEME = 6
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
        slashes = url.find("//", 0, _LONGEST_SCHEME + 2)
        if slashes < 0 or url[:slashes].lower() not in _SCHEMES:
            return None
        for location in _locations(self.sources):
            if (end := location.end(url, slashes)) >= 0:
                return end if _last_climb(url, end, _path_end(_PATH, url, end)) < 0 else None
        return None

    def base_in_text(self, text: str, start: int, *, after_escape: bool = False) -> int | None:
        """The end of the source that begins at `start` of running text, or None when none does.

        A source stands alone or begins a longer URL; before it no letter may stand but that of an escape.
        """
        alone = text[start : start + _MAX_URL_IN_TEXT] if after_escape else text
        base = _text_pattern(self.sources).match(alone, 0 if after_escape else start)
        if base is None:
            return None
        end = base.end() + (start if after_escape else 0)
        path_end = _path_end(_PATH_IN_TEXT, text, end, end + _MAX_URL_IN_TEXT)
        return None if _last_climb(text, end, path_end) >= 0 else end

    def occurrences(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each source that stands in running text, alone or at the start of a longer URL."""
        path_end, climb = 0, -1
        for base in _text_pattern(self.sources).finditer(text):
            # Bases that follow each other without a break share the rest of the path: it is read once.
            if base.end() > path_end:
                path_end = _path_end(_PATH_IN_TEXT, text, base.end())
                climb = _last_climb(text, base.end(), path_end)
            if climb < base.end():
                yield base.span()

    def starts(self, body: bytes, start: int, end: int) -> list[tuple[int, int]]:
        """Start and end of each source that begins, by its "//", between `start` and `end`, no boundary at its end.

        No pattern is compiled, which for a source that is new takes longer than to look through a response.
        """
        found: list[tuple[int, int]] = []
        hosts = _hosts(self.sources)
        for host, behind in hosts:
            lowered = body[start : end + len(host) - 1].lower()
            at = lowered.find(host)
            while at >= 0:
                passed = start + at + len(host)
                for written, length in behind:
                    if body.startswith(written, passed):
                        passed += length
                        found.append((start + at, passed))
                        break
                at = lowered.find(host, passed - start)
        # Of two that begin at one place, the host of one begins with the other's: the longer one is meant.
        return found if len(hosts) == 1 else sorted(dict(sorted(found)).items())

    @property
    def pattern(self) -> str:
        """The text of a pattern that finds each source from its "//" on, without a boundary at its end.

        It begins with a literal, which lets `re` skip to the next "//" quickly.
        """
        return f"//(?:{'|'.join(location.pattern for location in _locations(self.sources))})"


@lru_cache(MAX_PATTERNS)
def _text_pattern(sources: tuple[str, ...]) -> re.Pattern[str]:
    locations = "|".join(location.pattern for location in _locations(sources))
    return re.compile(rf"(?<![\w.+-])(?i:https?)://(?:{locations}){_TEXT_BOUNDARY}", re.ASCII)


@lru_cache(_MAX_SOURCES)
def _base(url: str) -> str:
    """A base as it is compared, once its form has been checked: both maps of a hospital have its, and all ours."""
    Location.of(url)
    if _CLIMBING.search(url):
        raise ValueError("a base must not have dot segments")
    return url.rstrip("/")


@lru_cache(_MAX_SOURCES)
def _locations(sources: tuple[str, ...]) -> tuple[Location, ...]:
    """Where the sources lead, of two of which one begins as the other is written the longer one first."""
    return tuple(sorted(map(Location.of, sources), key=lambda each: len(each.host + each.behind[-1][0]), reverse=True))


@lru_cache(_MAX_SOURCES)
def _hosts(sources: tuple[str, ...]) -> tuple[tuple[bytes, tuple[tuple[bytes, int], ...]], ...]:
    """Each host of the sources with its "//", and what may stand behind it, as `Location` has it."""
    hosts: dict[bytes, list[tuple[bytes, int]]] = {}
    for location in _locations(sources):
        behind = hosts.setdefault(location.host.encode(), [])
        behind += ((written.encode(), length) for written, length in location.behind)
    return tuple((host, tuple(behind)) for host, behind in hosts.items())


def _path_end(path: re.Pattern[str], text: str, start: int, limit: int = sys.maxsize) -> int:
    below = path.match(text, start, limit)
    assert below is not None  # noqa: S101 (the patterns match the empty string)
    return below.end()


def _last_climb(text: str, start: int, end: int) -> int:
    """The start of the last dot segment between `start` and `end`, or -1."""
    return max((climb.start() for climb in _CLIMBING.finditer(text, start, end)), default=-1)
