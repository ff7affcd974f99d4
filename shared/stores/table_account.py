"""The table service of a storage account over HTTP: requests signed, sent, and sent again where that does no harm.

The requests are the gateway's own, because those of Azure's SDK cost ten times the CPU, and a request that meets a cold
row waits for one.
"""

import asyncio
import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from shared.http_client import HttpClient
from shared.http_connection import HttpError
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.stores.identity import Bearer

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

_SCOPE = "https://storage.azure.com/.default"
_DEVELOPMENT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6"
    "IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;TableEndpoint=http://127.0.0.1:10002/devstoreaccount1"
)
_HEADERS = {
    "Accept": "application/json;odata=minimalmetadata",
    "DataServiceVersion": "3.0",
    "x-ms-version": "2019-02-02",
}
_SECONDS = 5.0  # until a response begins
_MAX_AT_ONCE = 100  # the rows of all tenants in use may be due together
_BODY_SECONDS = 20.0
_MAX_BYTES = 16 * 1_048_576  # of a response, which has 1,000 rows at most
_PAUSES = (0.0, 0.4)  # seconds before the second and the third attempt: a request waits
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_NOTHING_DONE = frozenset({429, 503})


class TableResponse(Struct, frozen=True):
    """A response of the table service, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"TableResponse({self.status})"


class TableAccount:
    """The table service at `url`, which has no slash at its end.

    What lets requests in is a token of the app's identity, the account's key, or a shared access signature.
    """

    def __init__(
        self, url: str, *, bearer: Bearer | None = None, key: "SharedKey | None" = None, signature: str = ""
    ) -> None:
        self.url = url
        self._path = urlsplit(url).path
        self._bearer = bearer
        self._key = key
        self._signature = signature
        self._client = HttpClient()
        self._slots = asyncio.Semaphore(_MAX_AT_ONCE)

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
        again, pauses = _AGAIN if repeatable else _NOTHING_DONE, iter(_PAUSES)
        told_anew = False
        while True:
            pause = next(pauses, None)
            try:
                response = await self._send(method, path, query, headers or {}, body, resend=repeatable)
            except (OSError, HttpError) as error:
                if pause is None or not repeatable:
                    raise StoreUnavailable(f"{store} did not answer ({type(error).__name__})") from error
            else:
                if response.status == 401 and self._bearer is not None and not told_anew:
                    told_anew, pause = True, 0.0  # the token ended before its time
                    self._bearer.expire()
                elif response.status not in again or pause is None or "Retry-After" in response.headers:
                    return response
            await asyncio.sleep(pause)

    async def _send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, *, resend: bool
    ) -> TableResponse:
        date = _http_date(int(time.time()))
        sent = {**_HEADERS, "x-ms-date": date, **headers}
        if self._bearer is not None:
            sent["Authorization"] = await self._bearer.authorization()
        elif self._key is not None:
            sent["Authorization"] = self._key.authorization(self._path + path, date)
        query = "&".join(filter(None, (query, self._signature)))
        url = f"{self.url}{path}?{query}" if query else self.url + path
        async with asyncio.timeout(_SECONDS) as limit, self._slots:
            with await self._client.request(method, url, sent, body, resend=resend) as response:
                limit.reschedule(asyncio.get_running_loop().time() + _BODY_SECONDS)
                return TableResponse(response.status, response.headers, await response.whole(_MAX_BYTES))


def table_service(settings: Settings, credential: "AsyncTokenCredential | None" = None) -> TableAccount:
    """The account that the settings name: by connection string, or by its endpoint and `credential`.

    The credential stays the caller's to close. Raises ValueError for a connection string that is none.
    """
    if "=" not in settings.tables:
        if credential is None:
            raise ValueError("an endpoint needs a credential")
        return TableAccount(settings.tables.rstrip("/"), bearer=Bearer(credential, _SCOPE))
    text = _DEVELOPMENT if settings.tables.lower() == "usedevelopmentstorage=true" else settings.tables
    parts = {name.lower(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
    account, key = parts.get("accountname", ""), parts.get("accountkey", "")
    scheme, suffix = parts.get("defaultendpointsprotocol", "https"), parts.get("endpointsuffix", "core.windows.net")
    url = parts.get("tableendpoint", f"{scheme}://{account}.table.{suffix}").rstrip("/")
    if account and key:
        return TableAccount(url, key=SharedKey(account, b64decode(key, validate=True)))
    if "sharedaccesssignature" not in parts:
        raise ValueError("neither AccountName with AccountKey nor SharedAccessSignature")
    return TableAccount(url, signature=parts["sharedaccesssignature"].removeprefix("?"))


class SharedKey(Struct, frozen=True):
    """An account's key, which signs the date and the path ("Shared Key Lite")."""

    account: str
    key: bytes

    def __repr__(self) -> str:
        return f"SharedKey({self.account!r})"

    def authorization(self, path: str, date: str) -> str:
        """The value of the header for a request's encoded path and its `x-ms-date`."""
        signature = hmac.digest(self.key, f"{date}\n/{self.account}{path}".encode(), "sha256")
        return f"SharedKeyLite {self.account}:{b64encode(signature).decode()}"


@lru_cache(1)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)
