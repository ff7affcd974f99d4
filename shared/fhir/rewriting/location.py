"""Where a base URL leads: its host, port and path, and how these may be written."""

import re

from msgspec import Struct

# `https://provider.example:8443/fhir`. Unreserved characters and ":" only: none that JSON, XML or a form escapes, so
# that a base can be written into each.
_BASE = re.compile(
    r"https?://(?P<host>[\w.-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?(?P<path>(?:/[\w.~:-]*)*)",
    re.ASCII | re.IGNORECASE,
)
_BOUNDARY = ("", "/", "?", "#")
_DEFAULT_PORTS = frozenset({None, "80", "443"})


class Location(Struct, frozen=True):
    """A base without its scheme: `host` begins with "//" and is in lower case.

    `behind` are the ways to write port and path, each with the number of its characters that belong to the base: an
    empty port is the default one (RFC 3986 section 3.2.3), but in running text a colon is punctuation unless a "/"
    follows.
    """

    host: str
    behind: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, base: str) -> "Location":
        """The location of an absolute http or https URL. Raises ValueError for one with other parts or characters."""
        found = _BASE.fullmatch(base)
        if found is None:
            raise ValueError("a base must be an absolute http or https URL of a host and a path")
        path = found["path"].rstrip("/")
        ports = (":443", ":80", ":", "") if found["port"] in _DEFAULT_PORTS else (f":{found['port']}",)
        written = ((port + path, port == ":" and not path) for port in ports)
        behind = tuple((text + "/" if slash else text, len(text)) for text, slash in written)
        return cls(f"//{found['host'].lower()}", behind)

    def end(self, text: str, at: int) -> int:
        """The end of the base that begins with its "//" at `at`, where its path ends too, or -1."""
        behind = at + len(self.host)
        host = text[at:behind]
        if host == self.host or (host.isascii() and host.lower() == self.host):
            for written, length in self.behind:
                end = behind + length
                if text.startswith(written, behind) and text[end : end + 1] in _BOUNDARY:
                    return end
        return -1

    @property
    def pattern(self) -> str:
        """The text of a pattern, with `re.ASCII`, that matches the base from behind its "//" on, whatever follows."""
        behind = "|".join(
            re.escape(written[:length]) + (f"(?={re.escape(written[length:])})" if written[length:] else "")
            for written, length in self.behind
        )
        return f"(?i:{re.escape(self.host[2:])})(?:{behind})"
