"""The public keys by which a client proves itself without a shared secret (SMART Backend Services; RFC 7517).

A client registers a JWK set, or the URL where it publishes one:

    {"keys": [{"kty": "EC", "crv": "P-384", "kid": "2026-11", "x": "...", "y": "...", "key_ops": ["verify"]}]}
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_KEY_SET_BYTES = 30_000  # a column holds 32 Ki characters
KEY_ID = re.compile(r"[A-Za-z0-9_-]{43}")
ALGORITHMS = ("RS384", "ES384", "ES256", "RS256", "PS256")
"""The algorithms of assertions' signatures: the first two are SMART's own."""

_MAX_KEYS = 20
_KID = re.compile(r"[\x21-\x7e]{1,128}")
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_MAX_EXPONENT_BITS = 32  # 65537 has 17; to verify by one as long as the modulus takes 400 times as long
_OF_CURVE = {"P-256": "ES256", "P-384": "ES384"}
_OF_RSA = frozenset(name for name in ALGORITHMS if not name.startswith("ES"))
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_THUMBPRINTED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}


class InvalidKeySet(Exception):
    """The message goes on from "the key set ...", and never shows a key."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A public key. `id` is its SHA-256 thumbprint (RFC 7638), and stays that of this key whatever its `kid`."""

    kid: str
    id: str
    algorithms: frozenset[str]
    public_key: RSAPublicKey | EllipticCurvePublicKey = field(repr=False)


def parse_key_set(text: str | bytes) -> tuple[ClientKey, ...]:
    """The keys of a JWK set. Raises InvalidKeySet for any key that is private, weak, symmetric or of another kind.

    Each has a `kid`, no two the same. A key with `alg` is good for that algorithm alone.
    """
    if len(text) > MAX_KEY_SET_BYTES:
        raise InvalidKeySet(f"is larger than {MAX_KEY_SET_BYTES} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidKeySet("is not JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MAX_KEYS:
        raise InvalidKeySet(f"is not a JWK set: an object whose member keys lists 1 to {_MAX_KEYS} keys")
    keys = tuple(_key(place, jwk) for place, jwk in enumerate(listed, 1))
    if len({key.kid for key in keys}) < len(keys):
        raise InvalidKeySet("has two keys of one kid")
    return keys


def _key(place: int, jwk: object) -> ClientKey:
    def refused(problem: str) -> InvalidKeySet:
        return InvalidKeySet(f"has a key, number {place}, {problem}")

    if not isinstance(jwk, dict):
        raise refused("that is no object")
    if _PRIVATE & jwk.keys():
        raise refused("with a private part: register the public keys alone, and replace this one")
    kid, kind = jwk.get("kid"), jwk.get("kty")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise refused("without a kid of 1 to 128 visible characters")
    if not isinstance(kind, str) or kind not in _THUMBPRINTED:
        raise refused("that is neither of kty EC nor of RSA")
    uses = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        raise refused("that is not for signatures")
    good = _OF_RSA if kind == "RSA" else frozenset(filter(None, [_OF_CURVE.get(str(jwk.get("crv")))]))
    if "alg" in jwk:
        good &= {str(jwk["alg"])}
    if not good:
        raise refused(f"for none of {', '.join(ALGORITHMS)}")
    public_key = _public_key(jwk, min(good))
    if public_key is None:
        raise refused("that can't be read")
    if isinstance(public_key, RSAPublicKey) and not _MIN_RSA_BITS <= public_key.key_size <= _MAX_RSA_BITS:
        raise refused(f"of RSA with other than {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits")
    if isinstance(public_key, RSAPublicKey) and public_key.public_numbers().e.bit_length() > _MAX_EXPONENT_BITS:
        raise refused(f"of RSA with an exponent of more than {_MAX_EXPONENT_BITS} bits")
    return ClientKey(kid, _thumbprint(jwk), good, public_key)


def _public_key(jwk: Mapping[str, Any], algorithm: str) -> RSAPublicKey | EllipticCurvePublicKey | None:
    try:
        key = jwt.PyJWK(dict(jwk), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAPublicKey | EllipticCurvePublicKey) else None


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    # The members' names are sorted already, as RFC 7638 section 3 has them.
    members = {name: jwk[name] for name in _THUMBPRINTED[jwk["kty"]]}
    digest = hashlib.sha256(orjson.dumps(members)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
