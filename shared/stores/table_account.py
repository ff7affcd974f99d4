"""The table service of a storage account over HTTP: requests signed, sent, and sent again where that does no harm.

The requests are the gateway's own, because those of Azure's SDK cost ten times the CPU, and a request that meets a cold
row waits for one.
"""

import asyncio
import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from wsgiref.handlers import format_date_time

from shared.http_client import HttpClient, HttpError
from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.errors import StoreUnavailable
from shared.stores.sdk import translated

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

_SCOPE = "https://storage.azure.com/.default"
_TOKEN_SECONDS = 240.0  # an identity hands out tokens that are good for five minutes at least
_DEVELOPMENT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6"
    "IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;TableEndpoint=http://127.0.0.1:10002/devstoreaccount1"
)
_HEADERS = {
    "Accept": "application/json;odata=minimalmetadata",
    "DataServiceVersion": "3.0",
    "x-ms-version": "2019-02-02",
}
_SECONDS = 5.0  # without a byte of a response
_PAUSES = (0.0, 0.4)  # seconds before the second and the third attempt: a request waits
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_NOTHING_DONE = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class TableResponse:
    """A response of the table service, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


Authorization = Callable[[str, str], Awaitable[str]]
"""Makes the value of `Authorization` for a request's path and date."""


class TableAccount:
    """The table service at `url`, which has no slash at its end; what lets requests in is in a header or the query."""

    def __init__(self, url: str, authorization: Authorization | None, query: str = "") -> None:
        self.url = url
        self._path = urlsplit(url).path
        self._authorization = authorization
        self._query = query
        self._client = HttpClient()

    async def __aenter__(self) -> "TableAccount":
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.close()

    async def send(
        self,
        store: str,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        repeatable: bool,
    ) -> TableResponse:
        """The response to a request, whose `path` and `query` are encoded; no redirect is followed.

        One that failed is sent again twice: a `repeatable` one whatever became of it, another one only when the service
        says that it did nothing. Raises StoreUnavailable, which names the `store`, when there is no response.
        """
        again = _AGAIN if repeatable else _NOTHING_DONE
        for pause in (*_PAUSES, None):
            try:
                response = await self._send(method, path, query, headers or {}, body)
                if response.status not in again or pause is None or "Retry-After" in response.headers:
                    return response
            except (OSError, HttpError) as error:
                if pause is None or not repeatable:
                    raise StoreUnavailable(f"{store} did not answer ({type(error).__name__})") from error
            await asyncio.sleep(pause)
        raise AssertionError

    async def _send(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> TableResponse:
        date = _http_date(int(time.time()))
        sent = {**_HEADERS, "x-ms-date": date, **headers}
        if self._authorization is not None:
            sent["Authorization"] = await self._authorization(self._path + path, date)
        query = "&".join(filter(None, (query, self._query)))
        url = f"{self.url}{path}?{query}" if query else self.url + path
        async with asyncio.timeout(_SECONDS) as limit:
            with await self._client.request(method, url, sent, body) as response:
                parts: list[bytes] = []
                while part := await response.read():
                    if parts:
                        limit.reschedule(asyncio.get_running_loop().time() + _SECONDS)
                    parts.append(part)
                return TableResponse(response.status, response.headers, b"".join(parts))


def table_service(settings: Settings, credential: "AsyncTokenCredential | None" = None) -> TableAccount:
    """The account that the settings name: by connection string, or by its endpoint and `credential`.

    The credential stays the caller's to close. Raises ValueError for a connection string that is none.
    """
    if "=" not in settings.tables:
        if credential is None:
            raise ValueError("an endpoint needs a credential")
        return TableAccount(settings.tables.rstrip("/"), _Bearer(credential).authorization)
    text = _DEVELOPMENT if settings.tables.lower() == "usedevelopmentstorage=true" else settings.tables
    parts = {name.lower(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
    account, key = parts.get("accountname", ""), parts.get("accountkey", "")
    scheme, suffix = parts.get("defaultendpointsprotocol", "https"), parts.get("endpointsuffix", "core.windows.net")
    url = parts.get("tableendpoint", f"{scheme}://{account}.table.{suffix}").rstrip("/")
    if account and key:
        return TableAccount(url, _SharedKey(account, b64decode(key, validate=True)).authorization)
    if "sharedaccesssignature" not in parts:
        raise ValueError("neither AccountName with AccountKey nor SharedAccessSignature")
    return TableAccount(url, None, parts["sharedaccesssignature"].removeprefix("?"))


@dataclass(frozen=True, slots=True)
class _SharedKey:
    """An account's key, which signs the date and the path ("Shared Key Lite")."""

    account: str
    key: bytes = field(repr=False)

    async def authorization(self, path: str, date: str) -> str:
        signature = hmac.digest(self.key, f"{date}\n/{self.account}{path}".encode(), "sha256")
        return f"SharedKeyLite {self.account}:{b64encode(signature).decode()}"


class _Bearer:
    """A token of the app's identity, which is asked for the next one beside the requests, before it is needed."""

    def __init__(self, credential: "AsyncTokenCredential") -> None:
        self._credential = credential
        self._tokens: Cache[str, str] = Cache(self._load, fresh_seconds=_TOKEN_SECONDS, stale_seconds=60, size=1)

    async def authorization(self, path: str, date: str) -> str:
        return f"Bearer {await self._tokens.get(_SCOPE)}"

    async def _load(self, scope: str) -> str:
        with translated("Table Storage"):
            return (await self._credential.get_token(scope)).token


@lru_cache(1)
def _http_date(second: int) -> str:
    return format_date_time(second)
