"""A deployment to be measured: Azurite, the vault stand-in, a client, and tenants that lead to the provider."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

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
    """The stores, one client of theirs, and what a functions host needs to use them.

    `assertion_keys` are the client's private keys by algorithm.
    """

    settings: Settings
    client: NewSecret
    assertion_keys: Mapping[str, Any]
    _tenants: TenantRegistry
    _tokens: AccessTokens
    _keys: SigningKeys

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
        return replace(self, settings=structs.replace(self.settings, tables=connection_string))

    async def tenant(self, base_url: str, **columns: str) -> str:
        """The GUID of a new tenant with this provider, STU3."""
        tenant = str(uuid4())
        await self._tenants.set(tenant, FhirVersion.STU3, {"BaseUrl": base_url, **columns})
        return tenant

    @property
    def jwks(self) -> str:
        """The client's public keys; the `kid` of each is its algorithm."""
        public = [
            {**jwt.get_algorithm_by_name(name).to_jwk(private.public_key(), as_dict=True), "kid": name}
            for name, private in self.assertion_keys.items()
        ]
        return json.dumps({"keys": public})

    @property
    def client_rows(self) -> list[dict[str, object]]:
        """The client's rows, with a secret and with keys."""
        key: dict[str, object] = {"PartitionKey": self.client.client_id}
        secret = {**key, "RowKey": f"secret-{self.client.secret_id}", "Created": datetime.now(UTC).isoformat()}
        client = {**key, "RowKey": "client", "Name": "Benchmark", "Tenants": "*", "Enabled": True, "Jwks": self.jwks}
        return [client, secret]

    async def token(self, tenant: str) -> str:
        """An access token for a tenant, known to the directory or not."""
        token, _ = await self._tokens.issue(Grant(self.client.client_id, self.client.secret_id, tenant, ()))
        return token

    def token_form(self, tenant: str) -> bytes:
        """The body of a token request for a tenant, with the client's secret in it."""
        form = {"client_id": self.client.client_id, "client_secret": self.client.client_secret}
        return urlencode({"grant_type": "client_credentials", "scope": tenant, **form}).encode()

    def assertion_form(self, tenant: str, algorithm: str) -> bytes:
        """The body of a token request for a tenant, with an assertion in it that is good once, for four minutes."""
        client_id = self.client.client_id
        claims = {"iss": client_id, "sub": client_id, "aud": PUBLIC_BASE_URL, "exp": int(time.time()) + 240}
        key, head = self.assertion_keys[algorithm], {"kid": algorithm}
        assertion = jwt.encode({**claims, "jti": uuid4().hex}, key, algorithm, head)
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        proof = {"client_assertion_type": kind, "client_assertion": assertion}
        return urlencode({"grant_type": "client_credentials", "scope": tenant, **proof}).encode()

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
        rs384, es384 = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())
        keys = SigningKeys(vault, settings)
        tenants = TenantRegistry(Table(service, TENANTS), local=True)
        own = {"RS384": rs384, "ES384": es384}
        deployment = Deployment(settings, client, own, tenants, AccessTokens(keys, settings), keys)
        await clients.change(client.client_id, jwks=deployment.jwks)
        yield deployment
