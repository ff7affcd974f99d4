"""The content of a Binary as it is, in place of the resource (http://hl7.org/fhir/R4/binary.html#rest)."""

import re
from collections.abc import Mapping

from shared.message import Response
from shared.upstream.transport import UpstreamAnswer

# Whatever a hospital stores, no browser shows it as a page of the gateway's.
SAFE: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Content-Disposition": "attachment",
}
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:[ \t]*;[\t\x20-\x7e]*)?", re.ASCII)


def content_response(answer: UpstreamAnswer, accept: str | None, headers: Mapping[str, str]) -> Response | None:
    """An answer that is not FHIR, as the content that was asked for by `accept`; None if it can't be that.

    A page of HTML is one only for who names HTML: otherwise it is a sign-in page or an error. `headers` are those that
    come down.
    """
    content_type = answer.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if accept is None or answer.status != 200 or "fhir" in media_type or not _MEDIA_TYPE.fullmatch(content_type):
        return None
    if media_type in _PAGES and media_type not in accept.lower():
        return None
    return Response(200, {**headers, **SAFE, "Content-Type": content_type}, answer.body)
