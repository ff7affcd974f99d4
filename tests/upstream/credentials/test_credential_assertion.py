"""The JWT that a client signs (RFC 7523, SMART Backend Services)."""

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from shared.upstream.credentials.private_key_jwt import signed_assertion

TOKEN_URL = "https://login.example.com/oauth2/token?tenant=a%2Fb"
RSA_KEY = rsa.generate_private_key(65537, 2048)
P384_KEY = ec.generate_private_key(ec.SECP384R1())


def pem(key, format=PrivateFormat.PKCS8, encryption=None) -> str:
    return key.private_bytes(Encoding.PEM, format, encryption or NoEncryption()).decode()


def jwk(key) -> dict[str, object]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key, as_dict=True), "kid": "of-the-jwk"}


@pytest.mark.parametrize(
    ("key", "text", "algorithm"),
    [
        (RSA_KEY, pem(RSA_KEY), "RS384"),
        (RSA_KEY, pem(RSA_KEY, PrivateFormat.TraditionalOpenSSL), "RS384"),
        (RSA_KEY, json.dumps(jwk(RSA_KEY)), "RS384"),
        (P384_KEY, pem(P384_KEY), "ES384"),
        (P384_KEY, "\n" + json.dumps(jwk(P384_KEY)), "ES384"),
    ],
)
def test_an_assertion_says_who_to_whom_and_for_how_long(key, text, algorithm):
    assertion = signed_assertion(text, "gateway", TOKEN_URL, "key-1")
    assert jwt.get_unverified_header(assertion) == {"alg": algorithm, "kid": "key-1", "typ": "JWT"}
    claims = jwt.decode(assertion, key.public_key(), algorithms=[algorithm], audience=TOKEN_URL)
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("gateway", "gateway", TOKEN_URL)
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert set(claims) == {"iss", "sub", "aud", "jti", "iat", "exp"}


def test_no_two_assertions_have_the_same_id():
    first, second = (signed_assertion(pem(P384_KEY), "gateway", TOKEN_URL, None) for _ in range(2))
    assert jwt_id(first) != jwt_id(second)


def jwt_id(assertion: str) -> str:
    return jwt.decode(assertion, options={"verify_signature": False})["jti"]


def test_the_key_id_is_the_rows_then_the_jwks_then_none():
    def kid(text: str, key_id: str | None) -> object:
        return jwt.get_unverified_header(signed_assertion(text, "gateway", TOKEN_URL, key_id)).get("kid")

    assert kid(json.dumps(jwk(P384_KEY)), "of-the-row") == "of-the-row"
    assert kid(json.dumps(jwk(P384_KEY)), None) == "of-the-jwk"
    assert kid(pem(P384_KEY), None) is None


def unusable_keys() -> list[str]:
    public = P384_KEY.public_key()
    return [
        "s3cret",
        "{",
        "{}",
        "[]",
        '{"kty": "oct", "k": "c2VjcmV0"}',
        json.dumps(jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        pem(P384_KEY, encryption=BestAvailableEncryption(b"password")),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP521R1())),
        json.dumps({**jwk(RSA_KEY), "d": 7}),
    ]


@pytest.mark.parametrize("text", unusable_keys())
def test_a_key_that_can_not_sign_is_an_error_without_its_text(text):
    with pytest.raises(ValueError, match="private key") as caught:
        signed_assertion(text, "gateway", TOKEN_URL, None)
    assert text not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text() | st.text().map(lambda text: json.dumps({"kty": "EC", "crv": "P-384", "x": text})))
def test_any_other_text_is_a_value_error(text):
    with pytest.raises(ValueError, match="private key"):
        signed_assertion(text, "gateway", TOKEN_URL, None)
