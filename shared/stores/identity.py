"""Who the gateway is to Azure, and the tokens by which the stores let it in."""

import asyncio
import os
import time
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import orjson

from shared.http_client import HttpClient
from shared.http_connection import HttpError
from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.errors import StoreUnavailable

_IDENTITY = "the managed identity"
_TOKEN_SECONDS = 240.0  # an identity hands out tokens that are good for five minutes at least
_STALE_SECONDS = 60.0
_SECONDS = 5.0
_MAX_BYTES = 1_048_576


class Token(NamedTuple):
    """A token, and when it ends in seconds since 1970."""

    token: str
    expires_on: int


class Credential(Protocol):
    """Gives tokens for a scope such as `https://vault.azure.net/.default`, as azure-identity's credentials do."""

    async def get_token(self, *scopes: str, **options: Any) -> Token:
        """A token. Raises StoreUnavailable, which shows nothing of a response."""

    async def close(self) -> None:
        """Ends what it holds open."""


def azure_credential(settings: Settings) -> Credential:
    """The app's managed identity in Azure, the signed-in person elsewhere, the stand-in's token on a laptop."""
    if settings.local_vault is not None:
        return _StandInCredential((settings.local_vault / "token").read_text().strip())
    if "IDENTITY_ENDPOINT" in os.environ and "IDENTITY_HEADER" in os.environ:
        identity = os.environ["IDENTITY_ENDPOINT"], os.environ["IDENTITY_HEADER"], os.environ.get("AZURE_CLIENT_ID")
        return ManagedIdentityCredential(*identity)
    return _SignedInCredential()


class _SignedInCredential:
    """Whoever is signed in to Azure on this machine, as azure-identity finds out. It is imported here only."""

    def __init__(self) -> None:
        from azure.identity.aio import DefaultAzureCredential

        self._credential = DefaultAzureCredential()

    async def get_token(self, *scopes: str, **options: Any) -> Token:
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        try:
            found = await self._credential.get_token(*scopes, **options)
        except ClientAuthenticationError as error:
            raise StoreUnavailable("Azure: nobody is signed in, or not allowed") from error
        except (AzureError, OSError) as error:
            raise StoreUnavailable(f"Azure did not answer ({type(error).__name__})") from error
        return Token(found.token, found.expires_on)

    async def close(self) -> None:
        """Ends its connections."""
        await self._credential.close()


class _StandInCredential:
    """The fixed token that the local Key Vault stand-in asks for."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **options: Any) -> Token:
        return Token(self._token, int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing is held open."""


class ManagedIdentityCredential:
    """The app's managed identity, by App Service's endpoint for it; `client_id` is the user-assigned one.

    https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference. azure-identity
    does the same, and costs a cold start 167 ms to import.
    """

    def __init__(self, endpoint: str, header: str, client_id: str | None) -> None:
        self._endpoint = endpoint
        self._header = header
        self._client_id = client_id
        self._client = HttpClient()

    async def get_token(self, *scopes: str, **options: Any) -> Token:
        resource = scopes[0].removesuffix("/.default")
        query = {"api-version": "2019-08-01", "resource": resource}
        query |= {"client_id": self._client_id} if self._client_id else {}
        url = f"{self._endpoint}?{urlencode(query)}"
        try:
            async with asyncio.timeout(_SECONDS):
                with await self._client.request("GET", url, {"X-IDENTITY-HEADER": self._header}) as response:
                    content = await response.whole(_MAX_BYTES)
        except (OSError, HttpError) as error:
            raise StoreUnavailable(f"{_IDENTITY} did not answer ({type(error).__name__})") from error
        if response.status != 200:
            raise StoreUnavailable(f"{_IDENTITY} answered {response.status}")
        try:
            found = orjson.loads(content)
            return Token(str(found["access_token"]), int(found["expires_on"]))
        except (ValueError, KeyError, TypeError):
            raise StoreUnavailable(f"{_IDENTITY} answered with something else than a token") from None

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.close()


class Bearer:
    """What lets the gateway into a store: a token that is asked for anew beside the requests, before it ends."""

    def __init__(self, credential: Credential, scope: str) -> None:
        self._credential = credential
        self._scope = scope
        self._tokens: Cache[str, str] = Cache(
            self._load, fresh_seconds=_TOKEN_SECONDS, stale_seconds=_STALE_SECONDS, size=1
        )

    async def authorization(self) -> str:
        """The value of the header. Raises StoreUnavailable."""
        return f"Bearer {await self._tokens.get(self._scope)}"

    def expire(self) -> None:
        """Has the next request ask for another token: the store took this one no more."""
        self._tokens.expire(self._scope)

    async def _load(self, scope: str) -> str:
        return (await self._credential.get_token(scope)).token
