"""Providers that want HTTP Basic, a fixed header, or nothing."""

import base64

import pytest
from aiohttp import web

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.credential import CredentialError


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode("utf-8")).decode()


PASSWORD = ProviderAuth(AuthKind.BASIC, client_id="gateway", secret="s")


async def test_an_open_endpoint_gets_no_header(credentials, provider):
    credential = credentials.of(provider(ProviderAuth()))
    assert await credential.headers() == {}
    credential.reject({})


@pytest.mark.parametrize(
    ("auth", "secret", "header", "value"),
    [
        (PASSWORD, "a:b:ç", "Authorization", basic("gateway:a:b:ç")),
        (ProviderAuth(AuthKind.BASIC, secret="s"), "gateway:a:b", "Authorization", basic("gateway:a:b")),
        # A mark and a line end are of the file that the secret was uploaded from.
        (ProviderAuth(AuthKind.HEADER, header="X-Key", secret="s"), "\ufeff0123 abc\r\n", "X-Key", "0123 abc"),
    ],
)
async def test_the_server_gets_the_header(session, serve, credentials, vault, provider, auth, secret, header, value):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers.get(header) == value else 401)

    vault.stored["s"] = secret
    async with session.get(await serve(handler), headers=await credentials.of(provider(auth)).headers()) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("auth", "secret", "problem"),
    [
        (ProviderAuth(AuthKind.BASIC, secret="s"), "onlyapassword", "secret s must be user:password"),
        *(
            (ProviderAuth(AuthKind.HEADER, header="X-Key", secret="s"), value, "secret s has characters")
            for value in ("a\r\nX-Admin: yes", "a\nb", "a\0b", "ключ")
        ),
        *((PASSWORD, value, "Key Vault secret s is missing") for value in (None, "", "\n")),
    ],
)
async def test_a_secret_that_can_not_be_sent_is_not_shown(credentials, vault, provider, auth, secret, problem):
    vault.stored.update({} if secret is None else {"s": secret})
    with pytest.raises(CredentialError, match=problem) as caught:
        await credentials.of(provider(auth)).headers()
    assert not secret or not secret.strip() or secret not in str(caught.value)


async def test_a_401_to_an_older_password_does_not_forget_the_newer_one(credentials, vault, provider):
    vault.stored["s"] = "old"
    credential = credentials.of(provider(PASSWORD))
    old = await credential.headers()
    vault.stored["s"] = "new"
    vault.expire("s")
    new = await credential.headers()
    vault.forgotten.clear()
    credential.reject(old)
    assert vault.forgotten == []
    for _ in range(20):  # at most once in a while
        credential.reject(new)
    assert vault.forgotten == ["s"]
