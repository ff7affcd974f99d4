"""Public keys as people have them, and what must never be shown again of what they paste."""

import itertools
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from shared.directory.client_keys import (
    InvalidKeySet,
    PrivateKeyGiven,
    joined,
    key_set_of,
    key_set_text,
    keys_changed,
    may_hold_private_key,
    parse_key_set,
)
from tests.oauth.keyed_app import P256, P384, RSA, jwk, key_set

ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE = [P256, P384, RSA, ED]


def pem(key: Any) -> str:
    """The public key in PEM."""
    found: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found.decode()


def private_pem(key: Any) -> str:
    found: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return found.decode()


def private_jwk(key: Any) -> dict[str, Any]:
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ed25519.Ed25519PrivateKey: OKPAlgorithm}
    algorithm: Any = next((found for kind, found in kinds.items() if isinstance(key, kind)), ECAlgorithm)
    return {**algorithm.to_jwk(key, as_dict=True), "kid": "one"}


@pytest.mark.parametrize(
    ("typed", "kids", "kinds"),
    [
        (key_set(jwk(P384), jwk(RSA, "two")), ["one", "two"], ["EC, P-384", "RSA, 2048 bits"]),
        (f"\ufeff {json.dumps(jwk(P256))}\r\n", ["one"], ["EC, P-256"]),
        (pem(P384), [None], ["EC, P-384"]),
        (f"read EC key\n{pem(RSA)}\n{pem(P256)}", [None, None], ["RSA, 2048 bits", "EC, P-256"]),
        (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode(), [None], ["RSA, 2048 bits"]),
    ],
)
def test_keys_are_taken_as_a_set_as_one_jwk_and_in_pem_whose_kid_is_the_thumbprint(
    typed: str, kids: list[str | None], kinds: list[str]
) -> None:
    keys = parse_key_set(key_set_text(typed))
    assert [key.kid for key in keys] == [kid or key.id for kid, key in zip(kids, keys, strict=True)]
    assert [key.kind for key in keys] == kinds
    assert not may_hold_private_key(typed) or typed.startswith("read")
    assert parse_key_set(key_set_of(keys)) == keys


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "neither JSON nor PEM"),
        ("ssh-rsa AAAA ada@laptop", "neither JSON nor PEM"),
        ('{"keys": [', "neither JSON nor PEM"),
        ("[" * 20_000, "neither JSON nor PEM"),
        ("[]", "not a JWK set"),
        (pem(RSA)[:80], "without its last line"),
        ("-----BEGIN PUBLIC KEY-----\n" * 21, "more than 20 keys"),
        (pem(RSA).replace("MII", "AAA"), "PEM that can't be read"),
        ("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", "certificate: give the public key alone"),
        (pem(ED), "neither of kty EC nor of RSA"),
        (pem(ec.generate_private_key(ec.SECP521R1())), "for none of RS384"),
        (pem(ec.generate_private_key(ec.BrainpoolP256R1())), "another curve"),
        (json.dumps({**jwk(P384), "kid": None}), "without a kid"),
        (pem(P384) * 2, "two keys of one kid"),
        (key_set(jwk(P384, x5c=["A" * 30_000])), "larger than 30000 bytes"),
    ],
    ids=itertools.count(),  # keys are other ones in each process
)
def test_what_is_no_public_key_is_refused_in_words(typed: str, said: str) -> None:
    with pytest.raises(InvalidKeySet, match=said) as raised:
        parse_key_set(key_set_text(typed))
    assert not isinstance(raised.value, PrivateKeyGiven)


@given(st.sampled_from(PRIVATE), st.sampled_from(["", "\ufeff", " \n", "key: "]), st.integers(0, 200), st.data())
def test_no_text_with_a_private_key_is_taken_or_shown_again(
    key: Any, before: str, cut: int, data: st.DataObject
) -> None:
    """Wherever it stands among public ones, whole or cut off."""
    private = private_jwk(key)
    spaces = data.draw(st.sampled_from([None, 2]))
    whole = data.draw(
        st.sampled_from(
            [
                private_pem(key),
                pem(P256) + private_pem(key),
                json.dumps(private, indent=spaces),
                json.dumps({"keys": [{}, private]}, indent=spaces),
                json.dumps({"key": {"jwk": private}}, indent=spaces),
                repr(private),
                json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]}),
                json.dumps(private).replace('"d"', '"\\u0064"'),
            ]
        )
    )
    text = before + whole
    assert may_hold_private_key(text)
    with pytest.raises(InvalidKeySet):
        parse_key_set(key_set_text(text))
    # A text that lost its end has what came before it.
    shown = text[: len(text) - cut]
    if not may_hold_private_key(shown):
        assert private["d"] not in shown


def test_a_private_key_is_found_before_what_else_is_wrong() -> None:
    with pytest.raises(PrivateKeyGiven, match="number 3"):
        parse_key_set(key_set({}, jwk(RSA), private_jwk(P384)))


def test_keys_are_added_beside_others_of_another_kid() -> None:
    first, second = parse_key_set(key_set(jwk(P384, x5t="x"))), parse_key_set(key_set(jwk(RSA, "two"), jwk(P384)))
    both = parse_key_set(joined(first, second))
    assert [key.kid for key in both] == ["one", "two"]
    assert json.loads(both[0].jwk)["x5t"] == "x"
    assert keys_changed(first, both) == f"key {both[1].id} added"
    assert keys_changed(both, first) == f"key {both[1].id} removed"
    assert keys_changed(first, first) == key_set_of(()) == ""
    with pytest.raises(InvalidKeySet, match="another key of the kid one"):
        joined(first, parse_key_set(key_set(jwk(P256))))
