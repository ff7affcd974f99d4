"""OAuth client credentials against a certified authorization server: npm's oidc-provider."""

import json

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.credential import CredentialError
from tests.upstream.keys import jwk, pem

SCOPE = "system/Patient.read"
SECRET = "a:b+c%d/e=f&g~" + "x" * 20
RSA_KEY = rsa.generate_private_key(65537, 2048)
P384_KEY = ec.generate_private_key(ec.SECP384R1())
P256_KEY = ec.generate_private_key(ec.SECP256R1())


def signing_client(client_id: str, key, kid: str, algorithm: str) -> dict[str, object]:
    return {
        "client_id": client_id,
        "scope": SCOPE,
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": algorithm,
        "jwks": {"keys": [jwk(key.public_key(), kid)]},
    }


@pytest.fixture
async def issuer(run_node) -> str:
    secret = {"client_secret": SECRET, "scope": SCOPE}
    # A decoy key makes the server choose by `kid`.
    rsa_client = signing_client("signs-rs384", RSA_KEY, "rsa-1", "RS384")
    rsa_client["jwks"]["keys"].append(jwk(rsa.generate_private_key(65537, 2048).public_key(), "rsa-2"))
    clients = [
        {"client_id": "posts", "token_endpoint_auth_method": "client_secret_post", **secret},
        {"client_id": "basic: app", "token_endpoint_auth_method": "client_secret_basic", **secret},
        {"client_id": "checks", "token_endpoint_auth_method": "client_secret_post", **secret},
        rsa_client,
        signing_client("signs-es384", P384_KEY, "p384", "ES384"),
        signing_client("signs-es256", P256_KEY, "p256", "ES256"),
    ]
    issuer = await run_node("oidc_provider.mjs", json.dumps(clients).encode())
    assert issuer.startswith("http://127.0.0.1:")
    return issuer


async def introspect(session: aiohttp.ClientSession, issuer: str, headers) -> dict[str, object]:
    form = {"client_id": "checks", "client_secret": SECRET, "token": headers["Authorization"].removeprefix("Bearer ")}
    async with session.post(f"{issuer}/token/introspection", data=form) as response:
        return await response.json()


async def test_every_kind_gets_a_token_with_its_scope(issuer, session, credentials, vault, provider):
    es384 = json.dumps(jwk(P384_KEY, "p384"))
    vault.stored.update({"secret": SECRET, "rs384": pem(RSA_KEY), "es384": es384, "es256": pem(P256_KEY)})
    for kind, client_id, secret, key_id in [
        (AuthKind.CLIENT_SECRET_POST, "posts", "secret", None),
        (AuthKind.CLIENT_SECRET_BASIC, "basic: app", "secret", None),
        (AuthKind.PRIVATE_KEY_JWT, "signs-rs384", "rs384", "rsa-1"),
        (AuthKind.PRIVATE_KEY_JWT, "signs-es384", "es384", None),
        (AuthKind.PRIVATE_KEY_JWT, "signs-es256", "es256", "p256"),
    ]:
        auth = ProviderAuth(
            kind, token_url=f"{issuer}/token", client_id=client_id, scope=SCOPE, secret=secret, key_id=key_id
        )
        known = await introspect(session, issuer, await credentials.of(provider(auth)).headers())
        assert (known["active"], known["client_id"], known["scope"]) == (True, client_id, SCOPE)


@pytest.mark.parametrize(
    ("kind", "client_id", "secret"),
    [
        (AuthKind.CLIENT_SECRET_POST, "posts", "wrong"),
        (AuthKind.CLIENT_SECRET_BASIC, "basic: app", "wrong"),
        (AuthKind.PRIVATE_KEY_JWT, "signs-rs384", pem(rsa.generate_private_key(65537, 2048))),
        (AuthKind.PRIVATE_KEY_JWT, "signs-es384", pem(ec.generate_private_key(ec.SECP384R1()))),
        (AuthKind.PRIVATE_KEY_JWT, "signs-es384", pem(P256_KEY)),
    ],
)
async def test_a_wrong_secret_or_key_is_refused(issuer, credentials, vault, provider, kind, client_id, secret):
    vault.stored["secret"] = secret
    auth = ProviderAuth(kind, token_url=f"{issuer}/token", client_id=client_id, scope=SCOPE, secret="secret")
    with pytest.raises(CredentialError, match=r"^token endpoint answered 40[01] invalid_client$"):
        await credentials.of(provider(auth)).headers()
