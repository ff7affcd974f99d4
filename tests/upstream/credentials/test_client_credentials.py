"""Token requests to real servers: what is sent, what is kept, and what an operator is told when they fail."""

import asyncio
import gzip
import json
import socket
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.client_credentials import signed_assertion
from shared.upstream.credentials.credential import CredentialError
from tests.upstream.keys import jwk, pem

TOKEN_URL = "https://login.example.com/oauth2/token?tenant=a%2Fb"
RSA_KEY = rsa.generate_private_key(65537, 2048)
P384_KEY = ec.generate_private_key(ec.SECP384R1())


def auth_at(url: str, kind: AuthKind = AuthKind.CLIENT_SECRET_POST) -> ProviderAuth:
    return ProviderAuth(kind, token_url=f"{url}/token", client_id="gateway", secret="client-secret")


@pytest.fixture(autouse=True)
def stored_secret(vault):
    vault.stored["client-secret"] = "s3cret"


async def test_a_hundred_requests_make_one_token_request_and_a_401_makes_one_more(
    session, serve, credentials, provider
):
    issued: list[str] = []
    revoked: set[str] = set()

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/token":
            form = await request.post()
            grant = {"grant_type": "client_credentials"}
            assert dict(form) == {**grant, "client_id": "gateway", "client_secret": "s3cret"}
            issued.append(f"token-{len(issued) + 1}")
            await asyncio.sleep(0.01)
            return web.json_response({"access_token": issued[-1], "token_type": "Bearer", "expires_in": 3600})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return web.Response(status=200 if token in issued and token not in revoked else 401)

    url = await serve(handler)
    credential = credentials.of(provider(auth_at(url)))

    async def read_patient() -> int:
        headers = await credential.headers()
        async with session.get(f"{url}/Patient/1", headers=headers) as response:
            if response.status == 401:
                credential.reject(headers)
            return response.status

    async def read_a_hundred() -> set[int]:
        return set(await asyncio.gather(*(read_patient() for _ in range(100))))

    assert (await read_a_hundred(), issued) == ({200}, ["token-1"])
    revoked.add("token-1")
    assert (await read_a_hundred(), await read_a_hundred()) == ({401}, {200})
    assert issued == ["token-1", "token-2"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, '{"error": "invalid_client", "x": "s3cret"}', "token endpoint answered 401 invalid_client"),
        (400, '{"error": "s3cret!"}', "token endpoint answered 400"),
        (400, '{"error": {"code": "x"}}', "token endpoint answered 400"),
        (500, "<html>s3cret</html>", "token endpoint answered 500"),
        (302, "", "token endpoint answered 302"),
        (200, "", "token endpoint answered 200 with something that is not a JSON object"),
        (200, "[1]", "token endpoint answered 200 with something that is not a JSON object"),
        (200, "{}", "token endpoint answered without a usable access token"),
        (200, '{"access_token": "' + "x" * 65_536 + '"}', "token endpoint answered with more than 65536 bytes"),
    ],
)
async def test_a_failure_says_what_happened_and_nothing_secret(serve, credentials, provider, status, body, message):
    async def handler(request: web.Request) -> web.Response:
        if request.path != "/token":
            return web.json_response({"access_token": "of-another-host", "token_type": "bearer"})
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"})

    credential = credentials.of(provider(auth_at(await serve(handler))))
    with pytest.raises(CredentialError) as caught:
        await credential.headers()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("coding", "size", "message"),
    [
        ("gzip", 10, ""),
        ("gzip", 10_000_000, "token endpoint answered with more than 65536 bytes"),
        ("br", 10, "token endpoint answered in a content coding that can't be read"),
    ],
)
async def test_a_coded_answer_is_read_within_bounds(serve, credentials, provider, coding, size, message):
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        body = gzip.compress(b'{"access_token": "' + b"x" * size + b'", "token_type": "bearer"}')
        return web.Response(body=body, headers={"Content-Encoding": coding})

    credential = credentials.of(provider(auth_at(await serve(handler))))
    if message:
        with pytest.raises(CredentialError, match=f"^{message}$"):
            await credential.headers()
    else:
        assert await credential.headers() == {"Authorization": "Bearer xxxxxxxxxx"}


async def test_an_unreachable_token_endpoint_is_not_named(credentials, provider):
    with socket.socket() as bound:  # so that nobody else gets the port, on which nobody listens
        bound.bind(("127.0.0.1", 0))
        credential = credentials.of(provider(auth_at(f"http://127.0.0.1:{bound.getsockname()[1]}")))
        with pytest.raises(CredentialError) as caught:
            await credential.headers()
    assert str(caught.value) == "token endpoint can't be reached (ConnectionRefusedError)"
    assert caught.value.__suppress_context__


async def test_redox_takes_its_key_and_secret_as_json(serve, credentials, vault, provider):
    async def handler(request: web.Request) -> web.Response:
        if request.content_type != "application/json" or await request.json() != {"apiKey": "k", "secret": "s"}:
            return web.Response(status=401, text="Invalid API key")
        expires = datetime.now(UTC) + timedelta(hours=24)
        return web.json_response({"accessToken": "redox-token", "expires": expires.isoformat()})

    url = await serve(handler)
    vault.stored.update({"right": "s", "wrong": "S"})
    right, wrong = (
        provider(ProviderAuth(AuthKind.REDOX_LEGACY, f"{url}/auth/authenticate", client_id="k", secret=secret))
        for secret in ("right", "wrong")
    )
    assert await credentials.of(right).headers() == {"Authorization": "Bearer redox-token"}
    with pytest.raises(CredentialError, match=r"^token endpoint answered 401$"):
        await credentials.of(wrong).headers()


@pytest.mark.parametrize(
    ("key", "text", "algorithm"),
    [
        (RSA_KEY, pem(RSA_KEY), "RS384"),
        (RSA_KEY, pem(RSA_KEY, PrivateFormat.TraditionalOpenSSL), "RS384"),
        (RSA_KEY, json.dumps(jwk(RSA_KEY, "of-the-jwk")), "RS384"),
        (P384_KEY, pem(P384_KEY), "ES384"),
        (P384_KEY, "\n" + json.dumps(jwk(P384_KEY, "of-the-jwk")), "ES384"),
    ],
)
def test_an_assertion_says_who_to_whom_and_for_how_long(key, text, algorithm):
    assertion = signed_assertion(text, "gateway", TOKEN_URL, "key-1")
    assert jwt.get_unverified_header(assertion) == {"alg": algorithm, "kid": "key-1", "typ": "JWT"}
    claims = jwt.decode(assertion, key.public_key(), algorithms=[algorithm], audience=TOKEN_URL)
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("gateway", "gateway", TOKEN_URL)
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert set(claims) == {"iss", "sub", "aud", "jti", "iat", "exp"}
    again = jwt.decode(signed_assertion(text, "gateway", TOKEN_URL, None), options={"verify_signature": False})
    assert claims["jti"] != again["jti"]


PUBLIC = P384_KEY.public_key()


@pytest.mark.parametrize(
    "text",
    [
        *("s3cret", "{", "{}", "[]", '{"kty": "oct", "k": "c2VjcmV0"}'),
        json.dumps(jwk(PUBLIC, "of-the-jwk")),
        PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        pem(P384_KEY, encryption=BestAvailableEncryption(b"password")),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP521R1())),
        json.dumps({**jwk(RSA_KEY, "of-the-jwk"), "d": 7}),
    ],
)
def test_a_key_that_can_not_sign_is_an_error_without_its_text(text):
    with pytest.raises(ValueError, match="private key") as caught:
        signed_assertion(text, "gateway", TOKEN_URL, None)
    assert text not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text() | st.text().map(lambda text: json.dumps({"kty": "EC", "crv": "P-384", "x": text})))
def test_any_other_text_is_a_value_error(text):
    with pytest.raises(ValueError, match="private key"):
        signed_assertion(text, "gateway", TOKEN_URL, None)
