"""Which credential a provider gets, and how long it keeps it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from msgspec import structs

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.credential import CredentialError

COMPLETE = ProviderAuth(
    AuthKind.NONE, token_url="https://login.example.com/t/token", client_id="gateway", header="X-Key", secret="secret"
)


@pytest.mark.parametrize("kind", list(AuthKind))
def test_a_provider_keeps_its_credential_until_its_row_changes(credentials, provider, kind):
    row = provider(structs.replace(COMPLETE, kind=kind))
    credential = credentials.of(row)
    assert credentials.of(structs.replace(row, name="Renamed")) is credential
    for changed in (
        structs.replace(row, auth=structs.replace(row.auth, secret="another")),
        structs.replace(row, base_url="https://moved.example.com"),
        structs.replace(row, tenant="33333333-3333-3333-3333-333333333333"),
    ):
        assert credentials.of(changed) is not credential


ACCOUNT = {"client_id": "AuthClientId", "secret": "AuthSecret"}
NEEDED = {
    AuthKind.BASIC: {"secret": "AuthSecret"},
    AuthKind.HEADER: {"header": "AuthHeader", "secret": "AuthSecret"},
    AuthKind.ENTRA: ACCOUNT,
    AuthKind.CLIENT_SECRET_POST: ACCOUNT | {"token_url": "AuthTokenUrl"},
    AuthKind.CLIENT_SECRET_BASIC: ACCOUNT | {"token_url": "AuthTokenUrl"},
    AuthKind.PRIVATE_KEY_JWT: ACCOUNT | {"token_url": "AuthTokenUrl"},
    AuthKind.REDOX_LEGACY: ACCOUNT | {"token_url": "AuthTokenUrl"},
}


@pytest.mark.parametrize(
    ("kind", "field", "column"), [(kind, *needed) for kind, columns in NEEDED.items() for needed in columns.items()]
)
def test_a_row_that_lacks_what_its_kind_needs_names_the_column(credentials, provider, kind, field, column):
    with pytest.raises(CredentialError, match=f"has no {column}"):
        credentials.of(provider(structs.replace(COMPLETE, kind=kind, **{field: None})))


async def test_closing_ends_the_token_requests_under_way(serve, credentials, vault, provider):
    asked = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        asked.set()
        return await asyncio.Event().wait()

    vault.stored["secret"] = "s3cret"
    row = provider(structs.replace(COMPLETE, kind=AuthKind.CLIENT_SECRET_POST, token_url=await serve(handler)))
    waiting = asyncio.create_task(credentials.of(row).headers())
    await asked.wait()
    await credentials.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_azure_identity_is_not_imported_before_it_is_needed():
    code = "import sys, shared.upstream.credentials.factory; sys.exit('azure.identity' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0
