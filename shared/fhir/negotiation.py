"""Which format a client asks for, and which one a body has (http://hl7.org/fhir/R4/http.html#mime-type, RFC 9110).

Every spelling of every FHIR version is understood on every base: clients keep theirs when a server moves on. Responses
are spelled as the base's version registers it.
"""

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from msgspec import Struct

from shared.fhir.errors import FhirError
from shared.fhir.versions import FhirFormat, FhirVersion

_NAMES = {
    FhirFormat.JSON: ("application/fhir+json", "application/json+fhir", "application/json", "text/json"),
    FhirFormat.XML: ("application/fhir+xml", "application/xml+fhir", "application/xml", "text/xml"),
}
_MEDIA_TYPES = {media: format for format, names in _NAMES.items() for media in names}
_SHORT = {format.value: format for format in FhirFormat}
_ANY, _ANY_APPLICATION = "*/*", "application/*"
# `_format=`, with any of its characters percent-encoded.
_FORMAT_PARAMETER = re.compile(
    r"(?:\A|&)" + "".join(rf"(?:{letter}|%(?i:{ord(letter):02x}))" for letter in "_format") + "=([^&]+)"
)
_MAX_READ = 2048  # characters of an Accept header; browsers send 200
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')  # a comma inside a quoted parameter separates nothing
_QUALITY = re.compile(r"0?\.[0-9]+|0\.?|1(?:\.0*)?")  # RFC 9110, section 12.4.2, and the `.2` that Java sends


class _Range(Struct, frozen=True):
    """One media range of an Accept header; `release` is its `fhirVersion` parameter."""

    media: str
    quality: float
    release: str | None


def negotiate(query: str, accept: str | None, version: FhirVersion) -> FhirFormat:
    """The format of the response, by the raw `query` string's `_format`, or else by the Accept header.

    Without either it is JSON. Where a client likes both formats as much, the one it names wins over one that only a
    wildcard covers, then the one it names first, then JSON. A browser gets JSON: it lists `application/xml` for the
    sake of XHTML, above the `*/*` that covers FHIR.

    Raises FhirError 406 where the client takes neither format, or only of another FHIR version.
    """
    format = requested_format(query, accept, version)
    if format is None:
        release = version.release
        raise FhirError(
            406, "not-supported", f"This base answers in JSON or XML of FHIR {release} (fhirVersion={release})"
        )
    return format


def requested_format(query: str, accept: str | None, version: FhirVersion | None = None) -> FhirFormat | None:
    """As `negotiate`, but None where that raises; without a `version` a `fhirVersion` parameter counts for nothing."""
    asked = _format_parameter(query)
    if asked:
        wanted = _range(asked)
        format = _SHORT.get(wanted.media) or _MEDIA_TYPES.get(_with_plus(wanted.media))
        return format if _is_release(wanted, version) else None
    return _accepted((accept or "")[:_MAX_READ], version)


def content_accept(query: str, accept: str | None) -> str | None:
    """The Accept header that asks for a Binary's own content, and None where the client asks for FHIR.

    It does by `_format`, or where it likes no other type it names more than one of FHIR's.
    """
    if _format_parameter(query):
        return None
    accept = (accept or "").strip()
    if not accept or len(accept) > _MAX_READ or not accept.isascii() or not accept.isprintable():
        return _ANY
    ranges = [_range(element) for element in _ELEMENT.findall(accept) if element.strip()]
    fhir = max((wanted.quality for wanted in ranges if wanted.media in _MEDIA_TYPES), default=0.0)
    named = [wanted for wanted in ranges if wanted.media not in _MEDIA_TYPES and "*" not in wanted.media]
    return accept if not fhir or any(wanted.quality > fhir for wanted in named) else None


def spelled_format(text: str, version: FhirVersion) -> str:
    """The raw query or form `text` with each media type of a `_format` in the spelling of `version`.

    `_format=application/fhir+json` becomes `_format=application/json%2Bfhir` for DSTU2. What is spelled so already, a
    short name, which every version has, and every other byte stay as they are.
    """
    if "_format" not in text and "%" not in text:
        return text
    return "&".join(_spelled(pair, version) for pair in text.split("&"))


def _spelled(pair: str, version: FhirVersion) -> str:
    name, _, value = pair.partition("=")
    if not _is_format(name):
        return pair
    asked = unquote(value)
    format = _MEDIA_TYPES.get(_with_plus(_range(asked).media))
    if format is None or asked == version.media_type(format):
        return pair
    return f"{name}={quote(version.media_type(format))}"


def _with_plus(media: str) -> str:
    """A plus sign that the client left as it is means a blank in a query, and still it means a plus sign here."""
    return media.replace(" ", "+")


def _is_format(name: str) -> bool:
    return name == "_format" or ("%" in name and unquote(name) == "_format")


@lru_cache(maxsize=256)  # an app sends the same header with every request
def _accepted(accept: str, version: FhirVersion | None) -> FhirFormat | None:
    ranges = [_range(element) for element in _ELEMENT.findall(accept) if element.strip()]
    if not ranges:
        return FhirFormat.JSON
    return _best([wanted for wanted in ranges if _is_release(wanted, version)])


def media_type_format(content_type: str | None) -> FhirFormat | None:
    """The format of a body by its Content-Type in any FHIR version's spelling; None if that isn't FHIR's."""
    return _MEDIA_TYPES.get((content_type or "").partition(";")[0].strip().lower())


def content_type(version: FhirVersion, format: FhirFormat) -> str:
    """The Content-Type of a response."""
    return f"{version.media_type(format)}; charset=utf-8"


def _format_parameter(query: str) -> str:
    found = _FORMAT_PARAMETER.search(query)
    return unquote(found[1]) if found else ""


def _range(text: str) -> _Range:
    media, *parameters = text.lower().split(";")
    quality, release = 1.0, None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        name, value = name.strip(" \t+"), value.strip(' \t"')
        if name == "q":
            quality = float(value) if _QUALITY.fullmatch(value) else 0.0
        elif name == "fhirversion":
            release = value
    media = media.strip()
    return _Range(_ANY if media == "*" else media, quality, release)  # the bare `*` is Java's


def _is_release(wanted: _Range, version: FhirVersion | None) -> bool:
    """Whether the range takes `version`, named as `4.0` or, as some clients do, `4.0.1`."""
    named = wanted.release
    return version is None or named is None or any(f"{named}.".startswith(f"{own}.") for own in version.releases)


def _best(ranges: list[_Range]) -> FhirFormat | None:
    listed = {wanted.media for wanted in ranges}
    if "text/html" in listed and _ANY in listed:
        ranges = [wanted for wanted in ranges if wanted.media not in ("application/xml", "text/xml")]
    ranked = [(rank, format) for format in FhirFormat if (rank := _rank(ranges, format)) is not None]
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _rank(ranges: list[_Range], format: FhirFormat) -> tuple[float, int, int] | None:
    """The rank of `format`, by the most specific ranges that cover it: quality, specificity, minus the position."""
    for specificity, names in ((2, _NAMES[format]), (1, (_ANY_APPLICATION,)), (0, (_ANY,))):
        found = [(wanted.quality, -position) for position, wanted in enumerate(ranges) if wanted.media in names]
        if found:
            quality, first = max(found)
            return (quality, specificity, first) if quality else None
    return None
