"""HTTP for the Azure SDKs by the gateway's own client: aiohttp, theirs, takes a cold start 100 ms to import."""

import asyncio
import json
import ssl
from collections.abc import MutableMapping
from typing import Any
from urllib.request import getproxies

from azure.core.exceptions import ServiceRequestError, ServiceResponseError, ServiceResponseTimeoutError
from azure.core.pipeline.transport import AsyncHttpResponse, AsyncHttpTransport
from azure.core.rest import HttpRequest

from shared.http_client import HttpClient
from shared.http_connection import HttpError

_SECONDS = 5.0
_MAX_AT_ONCE = 100
_MAX_BYTES = 4 * 1_048_576  # of a response: a page of a list has 25 secrets


def sdk_transport(tls: ssl.SSLContext | None = None) -> "SdkTransport | None":
    """A transport whose servers `tls` verifies, by default the system's authorities.

    None, which has an SDK take its own, where the environment names a proxy: the gateway's client uses none.
    """
    return None if "https" in getproxies() else SdkTransport(tls)


class SdkTransport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """Sends an SDK's requests; it belongs to one event loop."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._client = HttpClient()
        self._slots = asyncio.Semaphore(_MAX_AT_ONCE)
        self._tls = tls

    async def open(self) -> None:
        """Connections are opened by the requests."""

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.close()

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def send(self, request: HttpRequest, **_: object) -> AsyncHttpResponse:
        """The whole response, within five seconds; no redirect is followed. Raises AzureError."""
        content = request.content or b""
        body = content.encode() if isinstance(content, str) else content
        headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
        try:
            async with asyncio.timeout(_SECONDS), self._slots:
                sent = self._client.request(request.method, request.url, headers, body, tls=self._tls)
                with await sent as response:
                    return _Response(request, response.status, response.headers, await response.whole(_MAX_BYTES))
        except TimeoutError as error:
            raise ServiceResponseTimeoutError(error, error=error) from error
        except HttpError as error:
            raise ServiceResponseError(error, error=error) from error
        except (OSError, ValueError) as error:  # ValueError: a URL or header that can't be sent
            raise ServiceRequestError(error, error=error) from error


class _Response(AsyncHttpResponse):
    """A response that is read already. `request` is of azure.core.rest, which their annotations do not name here."""

    def __init__(self, request: Any, status: int, headers: MutableMapping[str, str], body: bytes) -> None:
        super().__init__(request, None)
        self.status_code = status
        self.headers = headers
        self.content_type = headers.get("Content-Type")
        self._body = body

    def body(self) -> bytes:
        return self._body

    def json(self) -> Any:
        """The body's value, for the clients of Azure's services. Raises ValueError when it is no JSON."""
        return json.loads(self.text())
