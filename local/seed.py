"""The first content of the local stack's stores: a signing key, the hospitals' tenants, and the demo client.

Seeding again mends what is missing and brings the hospitals' URLs up to date; what a person added stays.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from local import secret_file
from local.demo_file import Demo
from local.hospitals.credentials import BasicPassword, ClientSecret
from local.hospitals.hospital import HILLCREST, LAKESIDE, NORTHGATE, RIVERSIDE, SEASIDE, Hospital
from local.hospitals.service import TOKEN_PATH
from shared.directory.client import matches, secret_id_of, vault_name
from shared.directory.client_registry import ClientRegistry
from shared.directory.errors import RowError, UnknownClient
from shared.directory.tenant_registry import TenantRegistry
from shared.oauth.signing_keys import SECRET_NAME, rotate
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, TENANTS, Table, table_service
from shared.stores.vault import Vault

TENANT_IDS = {
    RIVERSIDE: "43df2eeb-6c19-4333-b431-bb74ed281a8f",
    LAKESIDE: "f315c37a-b089-4e80-bad0-346dc8129ee7",
    NORTHGATE: "928090e4-94b7-4bc4-aeef-cf3cf141a6a8",
    HILLCREST: "0d6f0b0e-2c55-4b3a-9a0b-7a1f5e1c9d42",
    SEASIDE: "b7c1e6a4-58d9-4c0f-8f6e-3f2a90d41c77",
}
_CLIENT = ("Demo care coordination app", "Local stack")
_ACCOUNT = "gateway"

Credentials = Mapping[str, Mapping[str, str]]
"""The credentials of each hospital's callers, by the hospital's key."""


def hospital_credentials(file: Path) -> Credentials:
    """The credentials in the file, made once for each hospital."""
    known: dict[str, Mapping[str, str]] = json.loads(file.read_bytes()) if file.exists() else {}
    missing = [hospital for hospital in TENANT_IDS if hospital.key not in known]
    if missing:
        known |= {hospital.key: _new_credential(hospital) for hospital in missing}
        secret_file.write(file, json.dumps(known).encode())
    return known


def _new_credential(hospital: Hospital) -> Mapping[str, str]:
    if hospital.credential is BasicPassword:
        return {"username": _ACCOUNT, "password": secrets.token_urlsafe(24)}
    if hospital.credential is ClientSecret:
        return {"client_id": _ACCOUNT, "client_secret": secrets.token_urlsafe(24)}
    return {"key": secrets.token_hex(16)}


async def seed(
    settings: Settings,
    credentials: Credentials,
    ports: Mapping[str, int],
    known: Demo | None,
    say: Callable[[str], None],
) -> tuple[str, str]:
    """Puts into the stores what is missing there, and returns the demo client's id and secret.

    `ports` has the hospitals' by their keys; `known` are the credentials handed out before. Raises StoreUnavailable.
    """
    vault = Vault(settings)
    try:
        async with table_service(settings) as tables:
            await asyncio.gather(*(Table(tables, name).create() for name in ALL_TABLES))
            tenants = TenantRegistry(Table(tables, TENANTS), local=settings.local)
            hospitals = (
                _hospital(vault, tenants, hospital, ports[hospital.key], credentials[hospital.key], say)
                for hospital in TENANT_IDS
            )
            client, *_ = await asyncio.gather(
                _client(ClientRegistry(Table(tables, CLIENTS), vault), vault, known),
                _signing_key(vault, settings),
                asyncio.gather(*hospitals),
            )
            return client
    finally:
        await vault.close()


async def _signing_key(vault: Vault, settings: Settings) -> None:
    now = datetime.now(UTC)
    if not any(version.usable(now) for version in await vault.versions(SECRET_NAME)):
        await rotate(vault, settings)


async def _hospital(
    vault: Vault,
    tenants: TenantRegistry,
    hospital: Hospital,
    port: int,
    credentials: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    secret_name = f"demo-{hospital.key}"
    origin = f"http://127.0.0.1:{port}"
    columns, value = _access(hospital, origin, credentials)
    stored = await vault.get(secret_name)
    if stored is None or stored.value != value:
        await vault.set(secret_name, value)
    if not hospital.batch:
        columns["Batch"] = "split"
    columns |= {"Name": hospital.name, "BaseUrl": origin + hospital.base_path, "AuthSecret": secret_name}
    try:
        await tenants.set(TENANT_IDS[hospital], hospital.version, columns)
    except RowError as error:
        # Someone tries out what a row can hold.
        say(f"Left as it is: {error}")


def _access(hospital: Hospital, origin: str, credentials: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The columns that say how to get into a hospital, and the value of the secret they need."""
    if hospital.credential is BasicPassword:
        return {"Auth": "basic"}, f"{credentials['username']}:{credentials['password']}"
    if hospital.credential is ClientSecret:
        columns = {"AuthTokenUrl": origin + TOKEN_PATH, "AuthClientId": credentials["client_id"]}
        return {"Auth": "client_secret_basic", **columns}, credentials["client_secret"]
    return {"Auth": "header", "AuthHeader": "Ocp-Apim-Subscription-Key"}, credentials["key"]


async def _client(clients: ClientRegistry, vault: Vault, known: Demo | None) -> tuple[str, str]:
    """The demo client and a secret of it that works: the one known, or else a new one in its place."""
    if known is not None and await _works(clients, vault, known):
        return known.client_id, known.client_secret
    client_id, old = await _demo_client(clients, known)
    for secret_id in old:
        await clients.delete_secret(str(client_id), secret_id)
    made = await (clients.add_secret(client_id) if client_id else clients.create(*_CLIENT, "*"))
    return made.client_id, made.client_secret


async def _works(clients: ClientRegistry, vault: Vault, known: Demo) -> bool:
    secret_id = secret_id_of(known.client_secret)
    try:
        client = await clients.get(known.client_id)
    except (UnknownClient, RowError):
        return False
    if client.live_secret(secret_id) is None:
        return False
    stored = await vault.get(vault_name(client.id, secret_id))
    return stored is not None and matches(known.client_secret, stored.value, stored.tags)


async def _demo_client(clients: ClientRegistry, known: Demo | None) -> tuple[str | None, tuple[str, ...]]:
    """The demo client's id, if there is one, and its secrets that were handed out: all, if it isn't known which."""
    async for client_id, client in clients.list():
        if isinstance(client, RowError) or (client.name, client.owner) != _CLIENT:
            continue
        if known is not None and known.client_id == client_id:
            return client_id, (secret_id_of(known.client_secret),)
        return client_id, tuple(secret.id for secret in client.secrets)
    return None, ()
