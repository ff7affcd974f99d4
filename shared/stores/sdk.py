"""The Azure SDKs: the identity that the gateway has towards them, their patience, and their exceptions as its own."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from shared.settings import Settings
from shared.stores.errors import StoreConflict, StoreUnavailable

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

_CONFLICTS = (409, 412)  # a transaction's failures have no class of their own

# A request waits for the store, so the SDK's patience is short: the caches retry, and serve what they have meanwhile.
CLIENT_OPTIONS: Mapping[str, Any] = {
    "retry_total": 2,
    "retry_backoff_factor": 0.2,
    "connection_timeout": 3,
    "read_timeout": 5,
}


@contextmanager
def translated(store: str) -> Iterator[None]:
    """Raises StoreConflict or StoreUnavailable for what the SDK raises; ResourceNotFoundError is left as it is.

    The messages name the store and the status, never a URL or a body.
    """
    try:
        yield
    except ResourceNotFoundError:
        raise
    except (ResourceModifiedError, ResourceExistsError) as error:
        raise StoreConflict(store) from error
    except ClientAuthenticationError as error:
        # Of a sign-in that failed there is no response of the store's, and so no status.
        problem = f" answered {error.status_code}" if error.status_code else ": nobody is signed in, or not allowed"
        raise StoreUnavailable(f"{store}{problem}") from error
    except HttpResponseError as error:
        if error.status_code in _CONFLICTS:
            raise StoreConflict(store) from error
        raise StoreUnavailable(f"{store} answered {error.status_code}") from error
    except (AzureError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"{store} did not answer ({type(error).__name__})") from error


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
