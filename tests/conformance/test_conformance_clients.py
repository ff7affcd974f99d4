"""Clients that others wrote get a token, page to the end of a search, and read a patient, over real HTTP."""

import asyncio
import json

import fhirpy
import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from fhirclient.models.observation import Observation  # type: ignore[import-untyped]
from fhirclient.models.patient import Patient  # type: ignore[import-untyped]
from fhirclient.server import FHIRNotFoundException, FHIRServer  # type: ignore[import-untyped]
from fhirpy.base.exceptions import ResourceNotFound
from oauthlib.oauth2 import BackendApplicationClient  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from shared.directory.provider import BatchMode
from tests.clients import installation
from tests.conformance.conftest import Gateway
from tests.conformance.interactions import batch
from tests.conformance.servers import OBSERVATIONS, R4, Server


def by_authlib(gateway: Gateway, tenant: str) -> str:
    with AuthlibSession(gateway.client_id, gateway.client_secret, scope=tenant) as session:
        return str(session.fetch_token(gateway.token_url, grant_type="client_credentials")["access_token"])


def by_requests_oauthlib(gateway: Gateway, token_url: str, tenant: str) -> str:
    with OAuth2Session(client=BackendApplicationClient(gateway.client_id, scope=[tenant])) as session:
        return str(session.fetch_token(token_url, client_secret=gateway.client_secret)["access_token"])


async def test_fhirpy(server: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "true")
    tenant = gateway.tenants[server.key, BatchMode.NATIVE]
    token = await asyncio.to_thread(by_authlib, gateway, tenant)
    client = fhirpy.AsyncFHIRClient(gateway.base(server), authorization=f"Bearer {token}")
    found = [observation["id"] async for observation in client.resources("Observation").limit(25)]
    assert len(set(found)) == len(found) == OBSERVATIONS
    assert (await client.reference("Patient", "1001").to_resource())["id"] == "1001"
    with pytest.raises(ResourceNotFound):
        await client.reference("Patient", "nobody").to_resource()


async def test_fhirclient(server: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    if server.version is not R4:
        pytest.skip("fhirclient speaks R4")
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    tenant = gateway.tenants[server.key, BatchMode.NATIVE]

    def use() -> None:
        smart = FHIRServer(None, gateway.base(server))
        smart.get_capability()
        smart.auth.access_token = by_requests_oauthlib(gateway, smart.auth._token_uri, tenant)
        found = [observation.id for observation in Observation.where({"_count": "25"}).perform_resources_iter(smart)]
        assert len(set(found)) == len(found) == OBSERVATIONS
        assert Patient.read("1001", smart).id == "1001"
        with pytest.raises(FHIRNotFoundException):
            Patient.read("nobody", smart)

    await asyncio.to_thread(use)


async def test_fhir_kit_client(server: Server, gateway: Gateway) -> None:
    node = await asyncio.to_thread(installation.node)
    asked = {
        "base_url": gateway.base(server),
        "client_id": gateway.client_id,
        "client_secret": gateway.client_secret,
        "tenant": gateway.tenants[server.key, BatchMode.SPLIT],
        "batch": batch(gateway.base(server)),
    }
    process = await asyncio.create_subprocess_exec(
        node,
        "fhir_kit_client.mjs",
        cwd=installation.CLIENTS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(json.dumps(asked).encode())
    read = json.loads(output)
    assert read["fhirVersion"] == server.version.number
    assert len(set(read["ids"])) == len(read["ids"]) == OBSERVATIONS
    assert read["patient"] == "1001"
    assert read["batch"] == ["200", "200", "200", "200", "200", "404"]
    assert read["missing"] == {"status": 404, "body": "OperationOutcome"}
