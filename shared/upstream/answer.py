"""A provider's answer, judged: FHIR is passed on, and nothing else gets through."""

import re
from dataclasses import dataclass

from multidict import MultiMapping

from shared.fhir.body import Body, read_body
from shared.fhir.charsets import to_utf8
from shared.fhir.document import Steps, Unreadable
from shared.fhir.errors import FhirError
from shared.fhir.interaction import OF_ONE_RESOURCE, Interaction, InteractionKind
from shared.fhir.negotiation import media_type_format
from shared.upstream.transport import UpstreamAnswer

_CHARSET = re.compile(r"""(?i)charset\s*=\s*["']?([a-z0-9._-]+)""")
_SECONDS = re.compile(r"[0-9]{1,6}")
_CODES = {
    400: "invalid",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    409: "conflict",
    410: "not-found",
    412: "conflict",
    413: "too-long",
    414: "too-long",
    415: "not-supported",
    422: "processing",
    429: "throttled",
}
# What a server says so of this very request, with or without an OperationOutcome: no outage.
_OF_THE_REQUEST = frozenset({400, 404, 405, 409, 410, 412, 413, 414, 415, 422, 429})
_READS = frozenset({InteractionKind.READ, InteractionKind.VREAD})
_ANSWERED_WITH_RESOURCES = frozenset(
    {
        InteractionKind.READ,
        InteractionKind.VREAD,
        InteractionKind.SEARCH_TYPE,
        InteractionKind.HISTORY_INSTANCE,
        InteractionKind.BATCH,
        InteractionKind.TRANSACTION,
    }
)


@dataclass(frozen=True, slots=True)
class FhirAnswer:
    """An answer that may go on to the client.

    `body` is None when there is none.
    """

    status: int
    headers: MultiMapping[str]
    body: Body | None = None


def judge(answer: UpstreamAnswer, interaction: Interaction, method: str) -> Steps[FhirAnswer]:
    """The answer as FHIR.

    Raises FhirError (502, or 504 if that is what the provider's own gateway says) for a redirect, a refusal of our
    credential, and a body that is missing, cut off or not FHIR; what the provider refuses the request for without an
    OperationOutcome keeps its status.
    """
    status = answer.status
    if status in (401, 407):
        raise FhirError(502, "security", "The provider refused the gateway's credential.")
    if status == 304 or status == 204 or method == "HEAD":
        if 300 <= status < 400 and status != 304:
            raise _redirect()
        return FhirAnswer(status, answer.headers)
    if not 200 <= status < 600 or 300 <= status < 400:
        raise _redirect()
    if not answer.body:
        if status < 300 and interaction.kind in _ANSWERED_WITH_RESOURCES and status != 202:
            raise FhirError(502, "incomplete", "The provider's answer has no body.")
        if status >= 400:
            raise _without_outcome(answer)
        return FhirAnswer(status, answer.headers)
    content_type = answer.headers.get("Content-Type", "")
    format = media_type_format(content_type)
    if format is None:
        raise _not_fhir(answer)
    try:
        charset = _CHARSET.search(content_type)
        content = yield from to_utf8(answer.body, charset[1] if charset else None)
        body = yield from read_body(content, format)
    except Unreadable as error:
        if status in _OF_THE_REQUEST:
            raise _without_outcome(answer) from None
        raise unreadable(error) from None
    if body.resource.bundle is not None and status >= 400:
        raise _not_fhir(answer)
    if body.resource.bundle is not None and interaction.kind in OF_ONE_RESOURCE and interaction.type != "Bundle":
        # Its links would pass for content, and lead anywhere.
        if interaction.kind not in _READS:
            return FhirAnswer(status, answer.headers)  # it is written
        raise FhirError(502, "exception", "The provider answered with a Bundle instead of the resource asked for.")
    return FhirAnswer(status, answer.headers, body)


def unreadable(error: Unreadable) -> FhirError:
    """What the client is told of a provider's answer that can't be read."""
    return FhirError(502, "structure", f"The provider's answer was cut off, or can't be read: {error.problem}.")


def _without_outcome(answer: UpstreamAnswer) -> FhirError:
    """The provider's refusal in words, where it has none itself."""
    return FhirError(
        answer.status,
        _CODES.get(answer.status, "exception"),
        f"The provider answered {answer.status} without saying why.",
        _retry_after(answer),
    )


def _not_fhir(answer: UpstreamAnswer) -> FhirError:
    if answer.status in _OF_THE_REQUEST:
        return _without_outcome(answer)
    headers = _retry_after(answer)
    status = 504 if answer.status == 504 else 502
    return FhirError(
        status, "exception", f"The provider answered {answer.status} with something other than FHIR.", headers
    )


def _retry_after(answer: UpstreamAnswer) -> dict[str, str]:
    value = answer.headers.get("Retry-After", "")
    return {"Retry-After": value} if _SECONDS.fullmatch(value) else {}


def _redirect() -> FhirError:
    return FhirError(502, "exception", "The provider answered with a redirect, which the gateway does not follow.")
