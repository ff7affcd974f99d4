"""Microsoft Entra: client credentials, and the managed identity of the gateway itself."""

import re
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from shared.upstream.credentials.access_token import IssuedToken, token_value
from shared.upstream.credentials.client_credentials import ClientAccount
from shared.upstream.credentials.credential import CredentialError

# azure.identity takes longer to import than all else a cold start does, and few providers need it.
if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

_PUBLIC_CLOUD = "https://login.microsoftonline.com"
_TENANT = re.compile(r"[0-9A-Za-z.-]+")
_ENTRA_ERROR = re.compile(r"AADSTS\d{4,8}")


def authority_and_tenant(token_url: str | None, tenant: str) -> tuple[str, str]:
    """The origin and the first segment of `token_url`; the public cloud and `tenant` without one.

    Raises CredentialError when `token_url` is not like https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token.
    """
    if token_url is None:
        return _PUBLIC_CLOUD, tenant
    parts = urlsplit(token_url)
    segment = parts.path.strip("/").partition("/")[0]
    if parts.scheme != "https" or not _TENANT.fullmatch(segment):
        raise CredentialError("AuthTokenUrl must be like https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token")
    return f"https://{parts.netloc}", segment


class EntraClientSecret(Struct, frozen=True):
    """An app registration with a client secret (`entra`)."""

    client: ClientAccount
    authority: str
    tenant: str
    scope: str

    async def issue(self) -> IssuedToken:
        """A token for the app registration; raises CredentialError or StoreUnavailable."""
        from azure.identity.aio import ClientSecretCredential

        make = partial(
            ClientSecretCredential,
            self.tenant,
            self.client.id,
            await self.client.secret.value(),
            authority=self.authority,
            disable_instance_discovery=True,
        )
        return await _issue("Entra", make, self.scope)


class ManagedIdentity(Struct, frozen=True):
    """The identity of the function app: `client_id` is the user-assigned one, None the system-assigned one."""

    client_id: str | None
    scope: str

    async def issue(self) -> IssuedToken:
        """A token for the identity; raises CredentialError."""
        from azure.identity.aio import ManagedIdentityCredential

        return await _issue(
            "managed identity", partial(ManagedIdentityCredential, client_id=self.client_id), self.scope
        )


async def _issue(who: str, make: "Callable[..., AsyncTokenCredential]", scope: str) -> IssuedToken:
    """One token from a credential made for it: azure-identity's own cache would give a rejected token again."""
    from azure.core.pipeline.transport import AioHttpTransport

    try:
        async with AioHttpTransport(use_env_settings=False) as transport:  # no proxies of the environment
            token = await make(transport=transport, retry_total=1).get_token(*scope.split())
    except Exception as error:
        # An odd response comes out of azure-identity as a KeyError or ValueError too. Its messages hold the response.
        status, code = getattr(error, "status_code", None), _ENTRA_ERROR.search(str(error))
        told = f"answered {status}" if status is not None else f"gave no token ({type(error).__name__})"
        raise CredentialError(f"{who} {told}" + (f" {code.group()}" if status and code else "")) from None
    return IssuedToken(token_value(token.token), token.expires_on - time.time())
