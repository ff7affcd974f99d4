"""A provider's response, validated: FHIR, or a Binary's own content, may go on to the client, and nothing else."""

import re
from collections.abc import Mapping

from shared.error_kind import ErrorKind, kind_of_response
from shared.fhir.body import Body, read_body
from shared.fhir.charsets import to_utf8
from shared.fhir.document import Steps, Unreadable
from shared.fhir.errors import FhirError
from shared.fhir.interaction import BUNDLES, OF_ONE_RESOURCE, READS, Interaction
from shared.fhir.negotiation import media_type_format
from shared.message import Response
from shared.upstream.transport import UpstreamResponse

SAFE_CONTENT: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Content-Disposition": "attachment",
}
"""Headers that keep browsers from showing a Binary's content as a page of the gateway."""

_CHARSET = re.compile(r"""(?i)charset\s*=\s*["']?([a-z0-9._-]+)""")
_SECONDS = re.compile(r"[0-9]{1,6}")
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:[ \t]*;[\t\x20-\x7e]*)?", re.ASCII)  # text/plain; charset=x
_CODES = {
    400: "invalid", 403: "forbidden", 404: "not-found", 405: "not-supported", 409: "conflict", 410: "not-found",
    412: "conflict", 413: "too-long", 414: "too-long", 415: "not-supported", 422: "processing", 429: "throttled",
}  # fmt: skip
# These refuse this very request, with or without an OperationOutcome, and are passed on: no outage.
_REFUSALS = frozenset(_CODES) - {403}
_WITH_BODY = BUNDLES.union(READS)


def validate_response(response: UpstreamResponse, interaction: Interaction, method: str) -> Steps[Body | None]:
    """The body of a response that may go on to the client, as FHIR; None when there is none.

    Raises FhirError (502, or 504 if that is what the provider's own gateway says) for a redirect, a refusal of our
    credential, and a body that is missing, cut off or not FHIR; what the provider refuses the request for without an
    OperationOutcome keeps its status.
    """
    status = response.status
    if status in (401, 407):
        text = "The provider refused the gateway's credential."
        raise FhirError(502, "security", text, kind=ErrorKind.CREDENTIAL_REFUSED)
    if not 200 <= status < 600 or (300 <= status < 400 and status != 304):
        text = "The provider answered with a redirect, which the gateway does not follow."
        raise FhirError(502, "exception", text, kind=ErrorKind.REDIRECTED)
    if status in (204, 304) or method == "HEAD":
        return None
    if not response.body:
        if status < 300 and interaction.kind in _WITH_BODY and status != 202:
            raise FhirError(502, "incomplete", "The provider's answer has no body.")
        if status >= 400:
            raise _without_outcome(response)
        return None
    content_type = response.headers.get("Content-Type", "")
    format = media_type_format(content_type)
    if format is None:
        raise _not_fhir(response)
    try:
        charset = _CHARSET.search(content_type.partition(";")[2])
        content = yield from to_utf8(response.body, charset[1] if charset else None)
        body = yield from read_body(content, format)
    except Unreadable as error:
        raise (
            _without_outcome(response) if status in _REFUSALS else unreadable(error, kind_of_response(status))
        ) from None
    if body.resource.bundle is not None and status >= 400:
        raise _not_fhir(response)
    if body.resource.bundle is not None and interaction.kind in OF_ONE_RESOURCE and interaction.type != "Bundle":
        # Its links would pass for content, and lead anywhere.
        if interaction.kind not in READS:
            return None  # the write has been done
        raise FhirError(502, "exception", "The provider answered with a Bundle instead of the resource asked for.")
    return body


def unreadable(error: Unreadable, kind: ErrorKind | None = None) -> FhirError:
    """The error of a provider's response that can't be read (502)."""
    text = f"The provider's answer was cut off, or can't be read: {error.problem}."
    return FhirError(502, "structure", text, kind=kind)


def content_response(response: UpstreamResponse, accept: str | None, headers: Mapping[str, str]) -> Response | None:
    """A Binary's own content in place of the resource (http://hl7.org/fhir/R4/binary.html#rest).

    `accept` is the client's where it asks for content, `headers` are those that come down. None for a response that
    can't be that: HTML is content only where `accept` names it, otherwise it is a sign-in page or an error.
    """
    content_type = response.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if accept is None or response.status != 200 or "fhir" in media_type or not _MEDIA_TYPE.fullmatch(content_type):
        return None
    if media_type in _HTML and media_type not in accept.lower():
        return None
    return Response(200, {**headers, **SAFE_CONTENT, "Content-Type": content_type}, response.body)


def _without_outcome(response: UpstreamResponse) -> FhirError:
    """The provider's refusal in words, where it has no OperationOutcome itself."""
    status = response.status
    text = f"The provider answered {status} without saying why."
    code, kind = _CODES.get(status, "exception"), kind_of_response(status)
    return FhirError(status, code, text, _retry_after(response), kind)


def _not_fhir(response: UpstreamResponse) -> FhirError:
    if response.status in _REFUSALS:
        return _without_outcome(response)
    text = f"The provider answered {response.status} with something other than FHIR."
    status, kind = 504 if response.status == 504 else 502, kind_of_response(response.status)
    return FhirError(status, "exception", text, _retry_after(response), kind)


def _retry_after(response: UpstreamResponse) -> dict[str, str]:
    value = response.headers.get("Retry-After", "")
    return {"Retry-After": value} if _SECONDS.fullmatch(value) else {}
