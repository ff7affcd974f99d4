"""Providers that want HTTP Basic, a fixed header, or nothing."""

import base64

import pytest
from aiohttp import web

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.credential import CredentialError


def demands(header: str, value: str):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers.get(header) == value else 401)

    return handler


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode("utf-8")).decode()


async def status(session, url, credential) -> int:
    async with session.get(url, headers=await credential.headers()) as response:
        return response.status


async def test_an_open_endpoint_gets_no_header(credentials, provider):
    credential = credentials.of(provider(ProviderAuth()))
    assert await credential.headers() == {}
    credential.reject({})


async def test_basic_sends_the_client_id_and_the_whole_secret_in_utf8(session, serve, credentials, vault, provider):
    vault.stored["password"] = "a:b:ç"
    url = await serve(demands("Authorization", basic("gateway:a:b:ç")))
    auth = ProviderAuth(AuthKind.BASIC, client_id="gateway", secret="password")
    assert await status(session, url, credentials.of(provider(auth))) == 200


async def test_basic_without_a_client_id_takes_both_from_the_secret(session, serve, credentials, vault, provider):
    vault.stored["pair"] = "gateway:a:b"
    url = await serve(demands("Authorization", basic("gateway:a:b")))
    assert await status(session, url, credentials.of(provider(ProviderAuth(AuthKind.BASIC, secret="pair")))) == 200


async def test_basic_without_any_user_is_an_error_that_does_not_show_the_secret(credentials, vault, provider):
    vault.stored["pair"] = "onlyapassword"
    with pytest.raises(CredentialError, match="pair must be user:password") as caught:
        await credentials.of(provider(ProviderAuth(AuthKind.BASIC, secret="pair"))).headers()
    assert "onlyapassword" not in str(caught.value)


async def test_a_fixed_header_carries_the_secret(session, serve, credentials, vault, provider):
    vault.stored["key"] = "\ufeff0123 abc\r\n"  # mark and line end are of the file it was uploaded from
    url = await serve(demands("Ocp-Apim-Subscription-Key", "0123 abc"))
    auth = ProviderAuth(AuthKind.HEADER, header="Ocp-Apim-Subscription-Key", secret="key")
    assert await status(session, url, credentials.of(provider(auth))) == 200


@pytest.mark.parametrize("value", ["a\r\nX-Admin: yes", "a\nb", "a\0b", "ключ"])
async def test_a_secret_that_no_header_can_carry_is_an_error(credentials, vault, provider, value):
    vault.stored["key"] = value
    credential = credentials.of(provider(ProviderAuth(AuthKind.HEADER, header="X-Key", secret="key")))
    with pytest.raises(CredentialError, match="secret key has characters"):
        await credential.headers()


async def test_a_rotated_password_is_read_again_after_a_401(session, serve, credentials, vault, provider):
    vault.stored["password"] = "old"
    url = await serve(demands("Authorization", basic("gateway:new")))
    credential = credentials.of(provider(ProviderAuth(AuthKind.BASIC, client_id="gateway", secret="password")))
    assert await status(session, url, credential) == 401
    vault.stored["password"] = "new"
    assert await status(session, url, credential) == 401
    credential.reject(await credential.headers())
    assert await status(session, url, credential) == 200


async def test_a_401_to_an_older_password_does_not_forget_the_newer_one(credentials, vault, provider):
    vault.stored["password"] = "old"
    credential = credentials.of(provider(ProviderAuth(AuthKind.BASIC, client_id="gateway", secret="password")))
    old = await credential.headers()
    vault.stored["password"] = "new"
    vault.forget("password")
    new = await credential.headers()
    vault.forgotten.clear()
    credential.reject(old)
    assert vault.forgotten == []
    credential.reject(new)
    assert vault.forgotten == ["password"]


async def test_a_secret_is_forgotten_at_most_once_in_a_while(credentials, vault, provider):
    vault.stored["password"] = "wrong"
    credential = credentials.of(provider(ProviderAuth(AuthKind.BASIC, client_id="gateway", secret="password")))
    for _ in range(20):
        credential.reject(await credential.headers())
    assert vault.forgotten == ["password"]


@pytest.mark.parametrize("stored", [{}, {"password": ""}, {"password": "\n"}])
async def test_a_missing_or_empty_secret_is_an_error_that_names_it(credentials, vault, provider, stored):
    vault.stored.update(stored)
    credential = credentials.of(provider(ProviderAuth(AuthKind.BASIC, client_id="gateway", secret="password")))
    with pytest.raises(CredentialError, match="Key Vault secret password is missing"):
        await credential.headers()
