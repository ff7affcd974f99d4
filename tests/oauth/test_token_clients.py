"""OAuth clients that others wrote, over HTTPS."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url  # type: ignore[import-untyped]
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from local.ports import free_port
from local.vault.certificates import server_context
from shared.message import Request
from tests.clients.installation import CLIENTS, node
from tests.deployment import Credentials, Deployment


@dataclass(frozen=True)
class Endpoint:
    issuer: str
    ca: str
    instance: Deployment

    def metadata(self) -> AuthorizationServerMetadata:
        """The discovered metadata, as authlib validates it but for its want of a response type: nobody signs in."""
        found = requests.get(get_well_known_url(self.issuer, external=True), verify=self.ca, timeout=30).json()
        metadata = AuthorizationServerMetadata(found)
        for key in set(metadata.REGISTRY_KEYS) - {"response_types_supported"}:
            getattr(metadata, f"validate_{key}")()
        return metadata


@pytest.fixture(scope="module")
async def endpoint(server: Deployment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Endpoint]:
    port = free_port()
    instance = server.instance(PUBLIC_BASE_URL=f"https://127.0.0.1:{port}")

    async def serve(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        path, _, query = request.raw_path.partition("?")
        sent = Request(request.method, path, query, headers, await request.read())
        application = instance.application
        response = await (application.oauth if path.startswith("/oauth2/") else application.documents)(sent)
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    folder: Path = tmp_path_factory.mktemp("tls")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=server_context(folder)).start()
    yield Endpoint(instance.settings.public_base_url, str(folder / "ca.pem"), instance)
    await runner.cleanup()


@pytest.fixture
def wrong(client: Credentials) -> Credentials:
    return replace(client, client_secret=f"{client.secret_id}.{'A' * 43}")


def authlib(url: str, ca: str, who: Credentials, tenant: str, in_body: bool) -> dict[str, Any]:
    method = "client_secret_post" if in_body else "client_secret_basic"
    with AuthlibSession(*astuple(who), scope=tenant, token_endpoint_auth_method=method) as session:
        return dict(session.fetch_token(url, grant_type="client_credentials", verify=ca))


def requests_oauthlib(url: str, ca: str, who: Credentials, tenant: str, in_body: bool) -> dict[str, Any]:
    """It fails when it gets another scope than it asked for."""
    scope = [f"{{{tenant.upper()}}}" if in_body else tenant, "system/Patient.read", "system/Patient.rs"]
    ways: dict[str, Any] = {"include_client_id": True, "auth": False} if in_body else {}
    with OAuth2Session(client=BackendApplicationClient(who.client_id, scope=scope)) as session:
        named = {"client_id": who.client_id, "client_secret": who.client_secret}
        return dict(session.fetch_token(url, **named, **ways, verify=ca))


@pytest.mark.parametrize("in_body", [False, True])
@pytest.mark.parametrize("fetch", [authlib, requests_oauthlib])
async def test_clients_of_python_get_a_token_and_say_what_is_wrong(
    endpoint: Endpoint,
    client: Credentials,
    wrong: Credentials,
    tenant: str,
    fetch: Callable[..., dict[str, Any]],
    in_body: bool,
) -> None:
    at = (await asyncio.to_thread(endpoint.metadata))["token_endpoint"], endpoint.ca
    response = await asyncio.to_thread(fetch, *at, client, tenant, in_body)
    assert (response["token_type"], response["expires_in"]) == ("Bearer", 3600)
    grant = await endpoint.instance.application.tokens.verify(response["access_token"])
    assert (grant.client_id, grant.tenant) == (client.client_id, tenant)
    with pytest.raises((OAuthError, InvalidClientError), match="invalid_client"):
        await asyncio.to_thread(fetch, *at, wrong, tenant, in_body)


@pytest.mark.parametrize(("method", "discovery"), [("ClientSecretBasic", "oauth2"), ("ClientSecretPost", "oidc")])
async def test_oauth4webapi_which_also_validates_the_token_by_the_published_keys(
    endpoint: Endpoint, client: Credentials, wrong: Credentials, tenant: str, method: str, discovery: str
) -> None:
    async def fetch(who: Credentials) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(node(), "oauth4webapi.mjs"),
            cwd=CLIENTS,
            stdin=PIPE,
            stdout=PIPE,
            env={"NODE_EXTRA_CA_CERTS": endpoint.ca},
        )
        urls = {"issuer": endpoint.issuer, "discovery": discovery}
        named = {"client_id": who.client_id, "client_secret": who.client_secret, "scope": tenant, "method": method}
        try:
            written, _ = await asyncio.wait_for(process.communicate(json.dumps(urls | named).encode()), 30)
        finally:
            if process.returncode is None:
                process.kill()
        return dict(json.loads(written))

    good = await fetch(client)
    assert good["answer"]["expires_in"] == 3600
    assert good["claims"]["scope"] == tenant
    assert good["claims"]["client_id"] == client.client_id
    assert (await fetch(wrong))["error"] == "OAUTH_WWW_AUTHENTICATE_CHALLENGE"
