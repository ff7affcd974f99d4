"""Who the gateway is towards Azure."""

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken

from shared.settings import Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


def azure_credential(settings: Settings) -> "AsyncTokenCredential":
    """The app's managed identity in Azure, the signed-in person elsewhere, the stand-in's token on a laptop.

    azure.identity is imported only here and only when needed: it costs 167 ms of a cold start.
    """
    if settings.local_vault is not None:
        return _StandInCredential((settings.local_vault / "token").read_text().strip())
    if "IDENTITY_ENDPOINT" in os.environ:
        from azure.identity.aio import ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


class _StandInCredential:
    """The fixed token that the local Key Vault stand-in asks for."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing is held open."""

    async def __aenter__(self) -> "_StandInCredential":
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()
