"""Entra client credentials and managed identity: azure-identity against stand-ins that speak the wire protocols."""

import ssl
import time

import aiohttp
import pytest
import trustme
from aiohttp import web

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.credential import CredentialError
from shared.upstream.credentials.entra import authority_and_tenant
from shared.upstream.credentials.factory import Credentials
from tests.upstream.rows import is_current

TENANT = "22222222-2222-2222-2222-222222222222"
US = "https://login.microsoftonline.us"
FHIR = "https://hospital.fhir.azurehealthcareapis.com"


@pytest.fixture
async def entra(serve, monkeypatch):
    """The address of an authority, which the process trusts, and the scopes it was asked for."""
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    scopes: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        form = await request.post()
        expected = {"client_id": "app", "client_secret": "s3cret", "grant_type": "client_credentials"}
        if request.path != f"/{TENANT}/oauth2/v2.0/token" or expected.items() - form.items():
            description = "AADSTS7000215: Invalid client secret provided for app 'app'. Trace ID: 1"
            return web.json_response({"error": "invalid_client", "error_description": description}, status=401)
        scopes.append(str(form["scope"]))
        return web.json_response({"access_token": f"entra-{len(scopes)}", "token_type": "Bearer", "expires_in": 3599})

    url = await serve(handler, server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", client)  # made when aiohttp was imported
    return url, scopes


def entra_auth(url: str, scope: str | None = None) -> ProviderAuth:
    token_url = f"{url}/{TENANT}/oauth2/v2.0/token"
    return ProviderAuth(AuthKind.ENTRA, token_url=token_url, client_id="app", secret="secret", scope=scope)


@pytest.mark.parametrize(("scope", "asked"), [(None, f"{FHIR}/.default"), ("api://x/.default", "api://x/.default")])
async def test_entra_issues_a_token_and_a_new_one_for_one_that_was_rejected(
    entra, credentials, vault, provider, scope, asked
):
    url, scopes = entra
    vault.stored["secret"] = "s3cret"
    credential = credentials.of(provider(entra_auth(url, scope), FHIR))
    for _ in range(2):
        assert await credential.headers() == {"Authorization": "Bearer entra-1"}
    credential.reject(await credential.headers())
    assert await credential.headers() == {"Authorization": "Bearer entra-2"}
    assert scopes == [asked] * 2


async def test_a_failure_is_reported_by_its_number_alone(entra, client, vault, provider, monkeypatch):
    url, scopes = entra
    for secret, problem in (("wrong", "Entra answered 401 AADSTS7000215"), ("s3cret", "Entra gave no token")):
        vault.stored["secret"] = secret
        credentials = Credentials(client, vault, is_current)
        with pytest.raises(CredentialError) as caught:
            await credentials.of(provider(entra_auth(url), FHIR)).headers()
        assert str(caught.value).partition(" (")[0] == problem
        vault.expire("secret")
        monkeypatch.undo()  # the authority is no longer trusted
    assert scopes == []


def test_the_authority_and_tenant_are_the_token_urls_or_else_the_public_clouds():
    assert authority_and_tenant(f"{US}/contoso.com/oauth2/v2.0/token", TENANT) == (US, "contoso.com")
    assert authority_and_tenant(None, TENANT) == ("https://login.microsoftonline.com", TENANT)
    for url in (
        "http://127.0.0.1/t/oauth2/v2.0/token",
        "https://login.microsoftonline.com",
        "https://x.example/a%2Fb/x",
    ):
        with pytest.raises(CredentialError, match="AuthTokenUrl must be like"):
            authority_and_tenant(url, TENANT)


@pytest.fixture
async def identity_endpoint(serve, monkeypatch):
    """App Service's identity endpoint: the queries it has answered."""
    queries: list[dict[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        if request.headers.get("X-IDENTITY-HEADER") != "of-this-app" or "Metadata" in request.headers:
            return web.Response(status=401)
        if request.query.get("client_id") == "unknown":
            return web.json_response({"statusCode": 400, "message": "No User Assigned Identity found"}, status=400)
        queries.append(dict(request.query))
        token = {"access_token": f"identity-{len(queries)}", "expires_on": str(int(time.time()) + 86_400)}
        return web.json_response({**token, "resource": request.query["resource"], "token_type": "Bearer"})

    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{await serve(handler)}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "of-this-app")
    return queries


@pytest.mark.parametrize(("client_id", "also_asked"), [(None, {}), ("user-assigned", {"client_id": "user-assigned"})])
async def test_managed_identity_gets_a_token(identity_endpoint, credentials, provider, client_id, also_asked):
    credential = credentials.of(provider(ProviderAuth(AuthKind.MANAGED_IDENTITY, client_id=client_id), FHIR))
    assert await credential.headers() == {"Authorization": "Bearer identity-1"}
    assert await credential.headers() == {"Authorization": "Bearer identity-1"}
    assert identity_endpoint == [{"api-version": "2019-08-01", "resource": FHIR, **also_asked}]
    credential.reject(await credential.headers())
    assert await credential.headers() == {"Authorization": "Bearer identity-2"}


async def test_an_identity_that_the_app_does_not_have_is_reported(identity_endpoint, credentials, provider):
    auth = ProviderAuth(AuthKind.MANAGED_IDENTITY, client_id="unknown")
    with pytest.raises(CredentialError, match=r"^managed identity answered 400$"):
        await credentials.of(provider(auth, FHIR)).headers()
