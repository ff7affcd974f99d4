"""Who the gateway is to Azure, and the tokens by which the stores let it in."""

import os
import time
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken

from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.sdk import translated
from shared.stores.sdk_transport import sdk_transport

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

_TOKEN_SECONDS = 240.0  # an identity hands out tokens that are good for five minutes at least
_STALE_SECONDS = 60.0


def azure_credential(settings: Settings) -> "AsyncTokenCredential":
    """The app's managed identity in Azure, the signed-in person elsewhere, the stand-in's token on a laptop.

    azure.identity is imported only here and only when needed: it costs 167 ms of a cold start.
    """
    if settings.local_vault is not None:
        return _StandInCredential((settings.local_vault / "token").read_text().strip())
    if "IDENTITY_ENDPOINT" in os.environ:
        from azure.identity.aio import ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"), transport=sdk_transport())
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


class _StandInCredential(AbstractAsyncContextManager["_StandInCredential", None]):
    """The fixed token that the local Key Vault stand-in asks for."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing is held open."""

    async def __aexit__(self, *raised: object) -> None:
        await self.close()


class Bearer:
    """What lets the gateway into a store: a token that is asked for anew beside the requests, before it ends."""

    def __init__(self, credential: "AsyncTokenCredential", scope: str) -> None:
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
        with translated("Azure"):
            return (await self._credential.get_token(scope)).token
