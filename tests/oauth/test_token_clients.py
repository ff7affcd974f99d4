"""OAuth clients that others wrote, over HTTPS."""

import asyncio
import json
import os
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, replace
from functools import partial
from typing import Any

import pytest
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from authlib.oauth2.rfc7523 import PrivateKeyJWT  # type: ignore[import-untyped]
from joserfc.jwk import ECKey
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from shared.directory.client_keys import parse_key_set
from shared.directory.client_registry import ClientRegistry
from shared.stores.tables import CLIENTS as CLIENTS_TABLE
from tests.clients.installation import CLIENTS, node
from tests.conformance.servers import OTHERS_PYTHON, Unavailable, fhirstarter
from tests.deployment import Credentials, Deployment
from tests.oauth.conftest import Endpoint
from tests.oauth.keyed_app import P384, KeyedApp, jwk, key_set


@pytest.fixture
async def app(server: Deployment, tenant: str) -> KeyedApp:
    """A client of one tenant, which has a key and no secret."""
    registry = ClientRegistry(server.table(CLIENTS_TABLE), server.vault, local=True)
    client_id = await registry.create_with_keys("Bulk", "ada", tenant, jwks=key_set(jwk(P384)))
    return KeyedApp(server, client_id, tenant)


@pytest.fixture
def wrong(client: Credentials) -> Credentials:
    return replace(client, client_secret=f"{client.secret_id}.{'A' * 43}")


async def run(program: Sequence[str], asked: object, **environment: str) -> dict[str, Any]:
    """What a program writes in JSON; one that fails shows why."""
    process = await asyncio.create_subprocess_exec(
        *program, cwd=CLIENTS, stdin=PIPE, stdout=PIPE, env={"PATH": os.environ["PATH"], **environment}
    )
    try:
        written, _ = await asyncio.wait_for(process.communicate(json.dumps(asked).encode()), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    return dict(json.loads(written))


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
        urls = {"issuer": endpoint.issuer, "discovery": discovery}
        named = {"client_id": who.client_id, "client_secret": who.client_secret, "scope": tenant, "method": method}
        return await run((node(), "oauth4webapi.mjs"), urls | named, NODE_EXTRA_CA_CERTS=endpoint.ca)

    good = await fetch(client)
    assert good["answer"]["expires_in"] == 3600
    assert good["claims"]["scope"] == tenant
    assert good["claims"]["client_id"] == client.client_id
    assert (await fetch(wrong))["error"] == "OAUTH_WWW_AUTHENTICATE_CHALLENGE"


async def by_node(endpoint: Endpoint, app: KeyedApp, library: str, discovery: str) -> dict[str, Any]:
    named = {"issuer": endpoint.issuer, "discovery": discovery, "client_id": app.client_id, "jwk": app.private_jwk}
    asked = {"library": library, "resource": f"{endpoint.issuer}/tenant/{app.tenant}", **named}
    return await run((node(), "private_key_jwt.mjs"), asked, NODE_EXTRA_CA_CERTS=endpoint.ca)


async def by_authlib(endpoint: Endpoint, app: KeyedApp) -> dict[str, Any]:
    def sign(auth: object, *sent: object) -> object:
        """Its own assertions end in an hour, and with claims of ours have one `jti` until they are made anew."""
        claims = {"exp": int(time.time()) + 240}
        return PrivateKeyJWT(claims=claims, headers={"kid": "one"}, alg="ES384", token_endpoint=token_url)(auth, *sent)

    token_url = f"{endpoint.issuer}/oauth2/token"

    def ask() -> dict[str, Any]:
        metadata = endpoint.metadata()
        url, key = metadata["token_endpoint"], ECKey.import_key(app.private_jwk)
        methods = {f"{name}_endpoint_auth_method": "private_key_jwt" for name in ("token", "revocation")}
        with AuthlibSession(app.client_id, key, **methods) as session:
            session.register_client_auth_method(("private_key_jwt", sign))
            resource = f"urn:uuid:{app.tenant}"
            form = {"scope": "system/*.rs", "resource": resource, "verify": endpoint.ca}
            token = dict(session.fetch_token(url, grant_type="client_credentials", **form))
            about = [metadata["introspection_endpoint"], token["access_token"]]
            before = session.introspect_token(*about, verify=endpoint.ca).json()
            session.revoke_token(metadata["revocation_endpoint"], token["access_token"], verify=endpoint.ca)
            return {
                "token": token,
                "before": before,
                "after": session.introspect_token(*about, verify=endpoint.ca).json(),
            }

    return await asyncio.to_thread(ask)


async def by_cumulus(endpoint: Endpoint, app: KeyedApp) -> dict[str, Any]:
    asked = {"base": f"{endpoint.issuer}/r4", "client_id": app.client_id, "jwk": app.private_jwk}
    try:
        fhirstarter()
    except Unavailable as reason:
        pytest.skip(str(reason))
    return await run((str(OTHERS_PYTHON), "smart_backend_client.py"), asked, SSL_CERT_FILE=endpoint.ca)


@pytest.mark.parametrize(
    "get",
    [
        *(partial(by_node, library="openid-client", discovery=discovery) for discovery in ("oauth2", "oidc")),
        partial(by_node, library="oauth4webapi", discovery="oauth2"),
        by_authlib,
        by_cumulus,
    ],
    ids=["openid-client", "openid-client by OpenID's discovery", "oauth4webapi", "authlib", "cumulus-fhir-support"],
)
async def test_clients_with_a_key_get_ask_about_and_end_a_token_by_configuration_alone(
    endpoint: Endpoint, app: KeyedApp, get: Callable[[Endpoint, KeyedApp], Awaitable[dict[str, Any]]]
) -> None:
    found = await get(endpoint, app)
    grant = await endpoint.instance.application.tokens.verify(found["token"]["access_token"])
    (key,) = parse_key_set(key_set(jwk(P384)))
    assert (grant.client_id, grant.tenant, grant.credential_id) == (app.client_id, app.tenant, key.id)
    if "after" in found:
        assert (found["before"]["active"], found["after"]) == (True, {"active": False})
