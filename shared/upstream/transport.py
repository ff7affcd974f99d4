"""HTTP to the providers: bounded in time, in size and in repetition."""

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct
from multidict import MultiMapping

from shared.content_coding import Decoder, TooLarge, Undecodable
from shared.error_kind import ErrorKind
from shared.fhir.errors import FhirError
from shared.http_client import HttpClient
from shared.http_connection import HttpError, HttpResponse, IncompleteResponse

_MAX_ATTEMPTS = 3
_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 5.0
_TRANSIENT = frozenset({429, 502, 503, 504})
_LARGE_BYTES = 8 * 1_048_576
_USER_AGENT = "fhir-interop-gateway"
_UNCODED = Decoder("", 0)


class UpstreamRequest(Struct, frozen=True):
    """One request to a provider. `url` is sent byte for byte; `repeatable` says that sending it twice does no harm."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    repeatable: bool


class UpstreamResponse(Struct, frozen=True):
    """A provider's whole response, decompressed. Header names match in any case."""

    status: int
    headers: MultiMapping[str]
    body: bytes


class NoResponse(FhirError):
    """The provider can't be reached, does not respond in time, cuts its response off or does not speak HTTP."""


class Transport:
    """Sends requests to providers. `client` is for the token requests that they ask for."""

    def __init__(self, max_response_bytes: int) -> None:
        self.client = HttpClient(_USER_AGENT)
        self._max_response_bytes = max_response_bytes

    async def close(self) -> None:
        """Ends all connections."""
        await self.client.close()

    async def send(
        self,
        request: UpstreamRequest,
        *,
        deadline: float,
        tls: ssl.SSLContext | None,
        count: Callable[[int], None] = lambda size: None,
    ) -> UpstreamResponse:
        """The provider's response, by `deadline` (the event loop's time).

        A repeatable request is sent up to three times: after a failed connection, 429 and 502 to 504, honouring
        Retry-After where the deadline leaves room for it. `count` gets the size of every piece of a response before it
        is kept, negative when it is dropped, and may refuse it by raising. Raises NoResponse: 504 when time runs out,
        502 when the provider can't be reached or cuts its response off; FhirError (502) for more than the limit.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await self._send(request, deadline, tls, count)
        except TimeoutError:
            raise NoResponse(504, "timeout", "The provider did not answer in time.") from None
        except IncompleteResponse:
            raise NoResponse(502, "incomplete", "The provider's answer was cut off.") from None
        except OSError:
            text = "The provider could not be reached."
            raise NoResponse(502, "transient", text, kind=ErrorKind.UNREACHABLE) from None
        except HttpError:
            raise NoResponse(502, "exception", "The provider's answer was not valid HTTP.") from None

    async def _send(
        self, request: UpstreamRequest, deadline: float, tls: ssl.SSLContext | None, count: Callable[[int], None]
    ) -> UpstreamResponse:
        delay = _FIRST_DELAY_SECONDS
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            last = attempt == _MAX_ATTEMPTS or not request.repeatable
            try:
                # A write must not ride on a kept connection: when the provider has just closed it, nobody can tell
                # whether the write was taken.
                with await self.client.request(
                    request.method,
                    request.url,
                    request.headers,
                    request.body or b"",
                    tls=tls,
                    fresh=not request.repeatable,
                ) as response:
                    body = await self._read(response, count)
            except OSError as error:
                # Frames of its cause hold on to it: a ring that would keep the request's body until a collection.
                for each in (error, error.__cause__ or error):
                    each.__traceback__ = None
                if last or isinstance(error, TimeoutError | ssl.SSLError):
                    raise
                wait = _jittered(delay)
            else:
                answer = UpstreamResponse(response.status, response.headers, body)
                if last or response.status not in _TRANSIENT:
                    return answer
                wait = max(_jittered(delay), retry_after_seconds(response.headers.get("Retry-After")))
                if not _fits(wait, deadline):
                    return answer
                count(-len(body))
            await asyncio.sleep(wait)
            delay *= 4
        raise AssertionError("the last attempt returns or raises")

    async def _read(self, response: HttpResponse, count: Callable[[int], None]) -> bytes:
        if int(response.headers.get("Content-Length", 0)) > self._max_response_bytes:
            raise _too_large()
        chunks: list[bytes] = []
        size = received = 0
        try:
            codings = response.headers.getall("Content-Encoding", [])
            decoder = Decoder(",".join(codings), self._max_response_bytes) if codings else _UNCODED
            while data := await response.read():
                received += len(data)
                for number, chunk in enumerate(decoder.decode(data)):
                    if number:
                        await asyncio.sleep(0)
                    count(len(chunk))
                    size += len(chunk)
                    if size > self._max_response_bytes or received > self._max_response_bytes:
                        raise _too_large()
                    chunks.append(chunk)
            decoder.end()
        except BaseException as error:
            count(-size)
            match error:
                case TooLarge():
                    raise _too_large() from None
                case Undecodable():
                    raise NoResponse(502, "incomplete", "The provider's answer was cut off, or is miscoded.") from None
            raise
        if len(chunks) == 1:
            return chunks[0]
        body = b"".join(chunks)
        if size > _LARGE_BYTES:
            await asyncio.sleep(0)  # the copy alone takes half of the time for which others may wait
        return body


def retry_after_seconds(value: str | None) -> float:
    """Retry-After in seconds from now (RFC 9110 section 10.2.3); 0 when there is none or it can't be read."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)


def _fits(wait: float, deadline: float) -> bool:
    left = deadline - asyncio.get_running_loop().time()
    return wait <= _MAX_DELAY_SECONDS and wait < left / 2


def _too_large() -> FhirError:
    text = "The provider's answer is larger than this gateway passes on."
    return FhirError(502, "too-costly", text, kind=ErrorKind.TOO_LARGE)
