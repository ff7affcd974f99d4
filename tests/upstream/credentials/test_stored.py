"""Credentials are looked at before they are stored: what can't be one is refused with what is expected."""

import json
from uuid import uuid4

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PublicFormat

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.stored import MAX_BYTES, expected, refusal
from tests.upstream.keys import jwk, pem

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP384R1())
CERTIFICATE = trustme.CA().issue_cert("gateway.example.com")
PAIR = CERTIFICATE.private_key_and_cert_chain_pem.bytes().decode()
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
LINES = ["s3cret", "a:b", "{}", "pässword", "x" * MAX_BYTES]
NO_LINES = ["a\nb", "a\tb", "a\0", pem(RSA), PAIR]


@pytest.mark.parametrize(
    ("auth", "good", "bad"),
    [
        (ProviderAuth(AuthKind.BASIC, secret="s", client_id="us"), LINES, NO_LINES),
        (ProviderAuth(AuthKind.BASIC, secret="s"), ["us:s3cret", "us:", "us:a:b"], ["s3cret", ":s3cret", "a:b\nc"]),
        (ProviderAuth(AuthKind.HEADER, secret="s"), ["Bearer x", "k"], ["ключ", *NO_LINES]),
        (ProviderAuth(AuthKind.CLIENT_SECRET_POST, secret="s"), LINES, NO_LINES),
        (ProviderAuth(AuthKind.CLIENT_SECRET_BASIC, secret="s"), [*LINES, str(uuid4())], NO_LINES),
        (ProviderAuth(AuthKind.REDOX_LEGACY, secret="s"), LINES, NO_LINES),
        (ProviderAuth(AuthKind.ENTRA, secret="s"), LINES, [str(uuid4()), str(uuid4()).upper(), *NO_LINES]),
        (
            ProviderAuth(AuthKind.PRIVATE_KEY_JWT, secret="s"),
            [pem(RSA), pem(EC), PAIR, json.dumps(jwk(RSA, "1")), json.dumps(jwk(EC, "1"))],
            [
                *("s3cret", "{}", "[]", PUBLIC, json.dumps(jwk(RSA.public_key(), "1")), pem(RSA)[:200]),
                *(pem(ed25519.Ed25519PrivateKey.generate()), pem(RSA, encryption=BestAvailableEncryption(b"x"))),
            ],
        ),
        (
            ProviderAuth(secret=None, certificate="s"),
            [PAIR],
            ["s3cret", pem(RSA), CERTIFICATE.cert_chain_pems[0].bytes().decode(), "-----BEGIN CERTIFICATE-----"],
        ),
    ],
    ids=lambda value: value.kind.value if isinstance(value, ProviderAuth) else "",
)
def test_what_can_be_a_kinds_credential_is_taken_and_anything_else_is_told_what_is_expected(
    auth: ProviderAuth, good: list[str], bad: list[str]
) -> None:
    assert [refusal(auth, "s", value) for value in good] == [""] * len(good)
    for value in [*bad, "", "x" * (MAX_BYTES + 1)]:
        told = refusal(auth, "s", value)
        assert told.startswith(f"must be {expected(auth, 's')}")
        assert len(value) < 4 or value[:20] not in told
