"""The account that a provider's token endpoint knows the gateway by."""

from dataclasses import dataclass

from shared.upstream.credentials.secrets import Secrets


@dataclass(frozen=True, slots=True)
class ClientAccount:
    """A client ID, and the name of the Key Vault secret that proves it."""

    id: str
    secrets: Secrets
    secret_name: str

    async def secret(self) -> str:
        """The secret's value; raises CredentialError or StoreUnavailable."""
        return await self.secrets.value(self.secret_name)
