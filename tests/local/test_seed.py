"""What is in the stores after seeding, and after seeding again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local.azurite.table_service import TableService
from local.demo_file import Demo
from local.hospitals.hospital import HOSPITALS, LAKESIDE, RIVERSIDE, Hospital
from local.seed import TENANT_IDS, Credentials, hospital_credentials, seed
from local.vault.server import VaultServer
from shared.directory.client import secret_id_of
from shared.directory.client_registry import ClientRegistry
from shared.directory.provider import AuthKind, BatchMode, Provider
from shared.directory.tenant_registry import TenantRegistry
from shared.oauth.signing_keys import SECRET_NAME
from shared.settings import Settings
from shared.stores.tables import CLIENTS, TENANTS, Table, table_service
from shared.stores.vault import Vault

PORTS = {hospital.key: port for port, hospital in enumerate(HOSPITALS, 8101)}


@dataclass(frozen=True)
class Stores:
    settings: Settings
    credentials: Credentials
    vault: Vault
    tenants: TenantRegistry
    tenants_table: Table
    clients: ClientRegistry
    said: list[str] = field(default_factory=list)

    async def seed(self, known: Demo | None = None, **ports: int) -> Demo:
        client = await seed(self.settings, self.credentials, PORTS | ports, known, self.said.append)
        return Demo(self.settings.public_base_url, *client, (), None)

    async def provider(self, hospital: Hospital) -> Provider:
        provider = await self.tenants.get(TENANT_IDS[hospital], hospital.version)
        assert provider is not None
        return provider


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    """Stores of its own for each test: seeding is for a whole account."""
    tables = await TableService.start(tmp_path / "tables")
    server = await VaultServer.start(tmp_path / "vault")
    environment = {"PUBLIC_BASE_URL": "http://127.0.0.1:7071", "KEY_VAULT_URL": server.url}
    environment |= {"LOCAL_VAULT": str(server.folder), "TABLES_CONNECTION_STRING": tables.connection_string}
    settings = Settings.from_environment(environment)
    vault = Vault(settings)
    try:
        async with table_service(settings) as service:
            tenants, clients = Table(service, TENANTS), ClientRegistry(Table(service, CLIENTS), vault)
            credentials = hospital_credentials(tmp_path / "hospitals.json")
            yield Stores(settings, credentials, vault, TenantRegistry(tenants, local=True), tenants, clients)
    finally:
        await vault.close()
        await server.stop()
        await tables.stop()


async def test_each_hospital_is_a_tenant_with_its_own_way_in_and_seeding_again_changes_nothing(stores: Stores) -> None:
    demo = await stores.seed()
    assert await stores.seed(demo) == demo
    found = [await stores.provider(hospital) for hospital in HOSPITALS]
    assert [(provider.auth.kind, provider.base_url, provider.batch) for provider in found] == [
        (AuthKind.BASIC, "http://127.0.0.1:8101/baseDstu2", BatchMode.NATIVE),
        (AuthKind.CLIENT_SECRET_BASIC, "http://127.0.0.1:8102/stu3/fhir", BatchMode.NATIVE),
        (AuthKind.HEADER, "http://127.0.0.1:8103/r4", BatchMode.SPLIT),
        (AuthKind.BASIC, "http://127.0.0.1:8104/fhir/r4b", BatchMode.SPLIT),
        (AuthKind.HEADER, "http://127.0.0.1:8105/R5", BatchMode.NATIVE),
    ]
    assert found[1].auth.token_url == "http://127.0.0.1:8102/oauth2/token"
    assert found[2].auth.header == "Ocp-Apim-Subscription-Key"
    secret = await stores.vault.get("demo-northgate")
    assert secret is not None
    assert secret.value == stores.credentials["northgate"]["key"]
    for name in (SECRET_NAME, *(f"demo-{hospital.key}" for hospital in HOSPITALS)):
        assert len(await stores.vault.versions(name)) == 1
    assert [client_id async for client_id, _ in stores.clients.list()] == [demo.client_id]


async def test_rows_follow_the_ports_and_keep_what_a_person_set_or_broke(stores: Stores) -> None:
    await stores.seed()
    await stores.tenants.set(TENANT_IDS[LAKESIDE], LAKESIDE.version, {"TimeoutSeconds": "2", "Enabled": "false"})
    other = "11111111-2222-4333-8444-555555555555"
    await stores.tenants.set(other, LAKESIDE.version, {"BaseUrl": "https://fhir.example.org"})
    key = (TENANT_IDS[RIVERSIDE], RIVERSIDE.version.value)
    row = await stores.tenants_table.get(*key)
    assert row is not None
    await stores.tenants_table.put({**row, "Timeout": "2"})

    await stores.seed(lakeside=9102, riverside=9101)

    lakeside = await stores.provider(LAKESIDE)
    assert lakeside.base_url == "http://127.0.0.1:9102/stu3/fhir"
    assert lakeside.auth.token_url == "http://127.0.0.1:9102/oauth2/token"
    assert (lakeside.timeout_seconds, lakeside.enabled) == (2.0, False)
    kept = await stores.tenants.get(other, LAKESIDE.version)
    assert kept is not None
    assert kept.base_url == "https://fhir.example.org"
    (line,) = stores.said
    assert "column Timeout" in line
    left = await stores.tenants_table.get(*key)
    assert left is not None
    assert left["BaseUrl"] == "http://127.0.0.1:8101/baseDstu2"


async def test_a_secret_that_is_lost_or_ended_is_replaced_and_a_persons_own_stays(stores: Stores) -> None:
    lost = await stores.seed()
    found = await stores.seed(None)
    assert (found.client_id, found.client_secret != lost.client_secret) == (lost.client_id, True)
    client = await stores.clients.get(found.client_id)
    assert [secret.id for secret in client.secrets] == [secret_id_of(found.client_secret)]

    own = await stores.clients.add_secret(found.client_id)
    await stores.clients.delete_secret(found.client_id, secret_id_of(found.client_secret))
    again = await stores.seed(found)
    assert again.client_id == found.client_id
    client = await stores.clients.get(again.client_id)
    assert {secret.id for secret in client.secrets} == {own.secret_id, secret_id_of(again.client_secret)}

    unknown = Demo("", "00000000-0000-4000-8000-000000000000", "a.b", (), None)
    assert (await stores.seed(unknown)).client_secret != unknown.client_secret
