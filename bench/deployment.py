"""A deployment to be measured: Azurite, the vault stand-in, a client, and tenants that lead to the provider."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.directory.client_registry import ClientRegistry, NewSecret
from shared.directory.tenant_registry import TenantRegistry
from shared.fhir.versions import FhirVersion
from shared.oauth.access_token import AccessTokens, Grant
from shared.oauth.signing_keys import SigningKeys, rotate
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, TENANTS, Table, table_service
from shared.stores.vault import Vault

PUBLIC_BASE_URL = "https://gateway.example.com"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The stores, one client of theirs, and what a functions host needs to use them."""

    settings: Settings
    client: NewSecret
    _tenants: TenantRegistry
    _tokens: AccessTokens
    _keys: SigningKeys
    _clients: ClientRegistry

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a functions host."""
        return {
            "PUBLIC_BASE_URL": self.settings.public_base_url,
            "KEY_VAULT_URL": self.settings.key_vault_url,
            "TABLES_CONNECTION_STRING": self.settings.tables,
            "LOCAL_VAULT": str(self.settings.local_vault),
        }

    def with_tables(self, connection_string: str) -> "Deployment":
        """The same with other tables."""
        return replace(self, settings=replace(self.settings, tables=connection_string))

    async def tenant(self, base_url: str, **columns: str) -> str:
        """The GUID of a new tenant with this provider, STU3."""
        tenant = str(uuid4())
        await self._tenants.set(tenant, FhirVersion.STU3, {"BaseUrl": base_url, **columns})
        return tenant

    async def client_with_keys(self, jwks: str) -> str:
        """The id of a new client with this key set and no secret."""
        return await self._clients.create_with_keys("Benchmark", "bench", "*", jwks=jwks)

    async def token(self, tenant: str) -> str:
        """An access token for a tenant, known to the directory or not."""
        token, _ = await self._tokens.issue(Grant(self.client.client_id, self.client.secret_id, tenant, ()))
        return token

    def token_form(self, tenant: str) -> bytes:
        """The body of a token request for a tenant, with the client's secret in it."""
        form = {"client_id": self.client.client_id, "client_secret": self.client.client_secret}
        return urlencode({"grant_type": "client_credentials", "scope": tenant, **form}).encode()

    async def public_key(self) -> bytes:
        """The key that verifies the tokens, PEM."""
        ring = await self._keys.ring()
        return ring.keys[0].public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[Deployment]:
    """Starts the stores in `folder` and seeds them."""
    async with AsyncExitStack() as parts:
        tables = await TableService.start(folder / "tables")
        parts.push_async_callback(tables.stop)
        vault_server = await VaultServer.start(folder / "vault")
        parts.push_async_callback(vault_server.stop)
        environment = {"PUBLIC_BASE_URL": PUBLIC_BASE_URL, "KEY_VAULT_URL": vault_server.url}
        environment |= {"TABLES_CONNECTION_STRING": tables.connection_string, "LOCAL_VAULT": str(vault_server.folder)}
        settings = Settings.from_environment(environment)
        vault = Vault(settings)
        parts.push_async_callback(vault.close)
        service = await parts.enter_async_context(table_service(settings))
        for name in ALL_TABLES:
            await Table(service, name).create()
        await rotate(vault, settings)
        clients = ClientRegistry(Table(service, CLIENTS), vault)
        client = await clients.create("Benchmark", "bench", "*")
        keys = SigningKeys(vault, settings)
        tenants = TenantRegistry(Table(service, TENANTS), local=True)
        yield Deployment(settings, client, tenants, AccessTokens(keys, settings), keys, clients)
