"""A provider's token endpoint (RFC 6749, section 3.2), as its client sees it."""

import re
import ssl
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
import orjson
from yarl import URL

from shared.upstream.credentials.errors import CredentialError

_MAX_BYTES = 65_536
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")

# Whoever asks for a token bounds all of it, the reading of the secret included; the session's default must not.
_NO_TIMEOUT = aiohttp.ClientTimeout()


class TokenEndpoint:
    """Posts to `url`, with the client certificate that `client_context` gives if the provider wants one."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, client_context: Callable[[], Awaitable[ssl.SSLContext | None]]
    ) -> None:
        self.url = url
        self._session = session
        self._client_context = client_context

    async def post(
        self,
        *,
        form: Mapping[str, str] | None = None,
        json: Mapping[str, str] | None = None,
        authorization: str | None = None,
    ) -> Mapping[str, object]:
        """The JSON object of a 200; anything else is a CredentialError, with the `error` code if there is one."""
        # No compression: it would let a few bytes become many before they can be counted.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if authorization is not None:
            headers["Authorization"] = authorization
        context = await self._client_context()
        try:
            async with self._session.post(
                URL(self.url, encoded=True),
                data=form,
                json=json,
                headers=headers,
                ssl=True if context is None else context,
                allow_redirects=False,
                timeout=_NO_TIMEOUT,
            ) as response:
                status = response.status
                body = await _read(response.content)
        except aiohttp.ClientError as error:
            # Not chained: aiohttp's errors name the host.
            raise CredentialError(f"token endpoint can't be reached ({type(error).__name__})") from None
        answer = _json_object(body)
        if status != 200:
            raise CredentialError(f"token endpoint answered {status}{_error_code(answer)}")
        if answer is None:
            raise CredentialError("token endpoint answered 200 with something that is not a JSON object")
        return answer


async def _read(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise CredentialError(f"token endpoint answered with more than {_MAX_BYTES} bytes")
    return bytes(body)


def _json_object(body: bytes) -> Mapping[str, object] | None:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _error_code(answer: Mapping[str, object] | None) -> str:
    code = answer.get("error") if answer else None
    return f" {code}" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
