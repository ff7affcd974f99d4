"""The public keys by which a client proves itself without a shared secret (SMART Backend Services; RFC 7517).

A client registers a JWK set, or the URL where it publishes one:

    {"keys": [{"kty": "EC", "crv": "P-384", "kid": "2026-11", "x": "...", "y": "...", "key_ops": ["verify"]}]}

People have a key as one JWK or in PEM as well: `key_set_text` makes the set of it.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

MAX_KEY_SET_BYTES = 30_000  # a column holds 32 Ki characters
KEY_ID = re.compile(r"[A-Za-z0-9_-]{43}")
ALGORITHMS = ("RS384", "ES384", "ES256", "RS256", "PS256")
"""The algorithms of assertions' signatures: the first two are SMART's own."""

_MAX_KEYS = 20
_TOO_LARGE = f"is larger than {MAX_KEY_SET_BYTES} bytes: leave out what is no key, such as x5c"
_KID = re.compile(r"[\x21-\x7e]{1,128}")
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_MAX_EXPONENT_BITS = 32  # 65537 has 17; to verify by one as long as the modulus takes 400 times as long
_OF_CURVE = {"P-256": "ES256", "P-384": "ES384"}
_CURVES = {"P-256": SECP256R1(), "P-384": SECP384R1()}
_OF_RSA = frozenset(name for name in ALGORITHMS if not name.startswith("ES"))
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_THUMBPRINTED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_PEM_PUBLIC = frozenset({"PUBLIC KEY", "RSA PUBLIC KEY"})
_PRIVATE_SIGN = re.compile(rf"PRIVATE KEY|(?<!\w)(?:{'|'.join(sorted(_PRIVATE))})[\"']?\s*:|\\")


class InvalidKeySet(Exception):
    """The message goes on from "the key set ...", and never shows a key."""


class PrivateKeyGiven(InvalidKeySet):
    """A private or a shared key stands where public ones belong: whoever has it is this client from now on."""


class ClientKey(Struct, frozen=True):
    """A public key. `id` is its SHA-256 thumbprint (RFC 7638), and stays that of this key whatever its `kid`.

    `jwk` is the JSON it was read from.
    """

    kid: str
    id: str
    algorithms: frozenset[str]
    public_key: RSAPublicKey | EllipticCurvePublicKey
    jwk: str

    @property
    def kind(self) -> str:
        """The key's type with its size or curve, such as "RSA, 2048 bits"."""
        size = self.public_key.key_size
        return f"RSA, {size} bits" if isinstance(self.public_key, RSAPublicKey) else f"EC, P-{size}"


def parse_key_set(text: str | bytes) -> tuple[ClientKey, ...]:
    """The keys of a JWK set. Raises InvalidKeySet for any key that is private, weak, symmetric or of another kind.

    Each has a `kid`, no two the same. A key with `alg` is good for that algorithm alone.
    """
    if len(text) > MAX_KEY_SET_BYTES:
        raise InvalidKeySet(_TOO_LARGE)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidKeySet("is not JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MAX_KEYS:
        raise InvalidKeySet(f"is not a JWK set: an object whose member keys lists 1 to {_MAX_KEYS} keys")
    for place, jwk in enumerate(listed, 1):
        if isinstance(jwk, dict) and _PRIVATE & jwk.keys():
            problem = "with a private part: register the public keys alone, and replace this one"
            raise PrivateKeyGiven(f"has a key, number {place}, {problem}")
    keys = tuple(_key(place, jwk) for place, jwk in enumerate(listed, 1))
    if len({key.kid for key in keys}) < len(keys):
        raise InvalidKeySet("has two keys of one kid: give each its own")
    return keys


def key_set_text(typed: str) -> str:
    """The JWK set that is meant by a JWK set, a single JWK or public keys in PEM; the set itself stays as it is.

    A key in PEM has its thumbprint for a `kid`. What is in the set is for `parse_key_set` to judge. Raises
    InvalidKeySet.
    """
    text = typed.strip("\ufeff \t\r\n")
    if len(text) > MAX_KEY_SET_BYTES:
        raise InvalidKeySet(_TOO_LARGE)
    if not text.startswith(("{", "[")) and "-----BEGIN" in text:
        return _set_of([json.dumps(jwk) for jwk in _jwks_of_pem(text)])
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        if _PRIVATE_SIGN.search(text):
            raise PrivateKeyGiven("is not JSON, and may hold a private key") from None
        raise InvalidKeySet("is neither JSON nor PEM that begins with -----BEGIN PUBLIC KEY-----") from None
    return _set_of([text]) if isinstance(document, dict) and "kty" in document else text


def joined(present: Iterable[ClientKey], added: Iterable[ClientKey]) -> str:
    """The JWK set with the keys `added` to those that are `present`. Raises InvalidKeySet for a `kid` of two keys."""
    keys = {key.kid: key for key in present}
    for key in added:
        if keys.setdefault(key.kid, key).id != key.id:
            raise InvalidKeySet(f"has another key of the kid {key.kid} than the client: give the new one a new kid")
    return key_set_of(keys.values())


def key_set_of(keys: Iterable[ClientKey]) -> str:
    """The JWK set of these keys, "" for none."""
    jwks = [key.jwk for key in keys]
    return _set_of(jwks) if jwks else ""


def may_hold_private_key(typed: str) -> bool:
    """Whether a text that was meant to be public keys had better not be shown again; False for plain JSON and PEM
    without any sign of a private key.
    """
    return not typed.lstrip("\ufeff \t\r\n").startswith(("{", "[", "-----BEGIN")) or bool(_PRIVATE_SIGN.search(typed))


def keys_changed(before: Iterable[ClientKey], after: Iterable[ClientKey]) -> str:
    """The keys that came and went by their ids, as a change's detail has them; "" for none."""
    old, new = ({key.id: key for key in keys} for keys in (before, after))
    told = {"added": new.keys() - old.keys(), "removed": old.keys() - new.keys()}
    return ", ".join(f"key {id} {word}" for word, ids in told.items() for id in sorted(ids))


def _set_of(jwks: Iterable[str]) -> str:
    return f'{{"keys": [{", ".join(jwks)}]}}'


def _jwks_of_pem(text: str) -> Iterable[Mapping[str, Any]]:
    if "PRIVATE KEY" in text:
        raise PrivateKeyGiven("holds a private key: register its public key alone, and replace this one")
    begun = text.count("-----BEGIN")
    blocks = list(_PEM.finditer(text)) if begun <= _MAX_KEYS else []
    if len(blocks) < begun:
        raise InvalidKeySet(f"is PEM of more than {_MAX_KEYS} keys, or of one without its last line")
    return [_jwk_of_pem(block[0], block[1]) for block in blocks]


def _jwk_of_pem(block: str, label: str) -> Mapping[str, Any]:
    if label not in _PEM_PUBLIC:
        raise InvalidKeySet(f"is PEM of a {label.lower()}: give the public key alone (openssl x509 -pubkey -noout)")
    import jwt  # here: a start has no time for it, and reads keys that are JWKs

    try:
        key = load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKeySet("is PEM that can't be read: copy it whole") from None
    try:
        jwk: dict[str, Any]
        if isinstance(key, RSAPublicKey):
            jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
        elif isinstance(key, EllipticCurvePublicKey):
            jwk = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
        else:
            raise InvalidKeySet("has a key that is neither of kty EC nor of RSA: make one of those")
    except jwt.InvalidKeyError:
        raise InvalidKeySet("has a key of another curve than P-256 and P-384") from None
    return {**jwk, "kid": _thumbprint(jwk)}


def _key(place: int, jwk: object) -> ClientKey:
    def refused(problem: str) -> InvalidKeySet:
        return InvalidKeySet(f"has a key, number {place}, {problem}")

    if not isinstance(jwk, dict):
        raise refused("that is no object")
    kid, kind = jwk.get("kid"), jwk.get("kty")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise refused("without a kid of 1 to 128 visible characters: name it there as its assertions do")
    if not isinstance(kind, str) or kind not in _THUMBPRINTED:
        raise refused("that is neither of kty EC nor of RSA: make one of those")
    uses = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        raise refused("that is not for signatures: its use must be sig, its key_ops verify, or left out")
    good = _OF_RSA if kind == "RSA" else frozenset(filter(None, [_OF_CURVE.get(str(jwk.get("crv")))]))
    if "alg" in jwk:
        good &= {str(jwk["alg"])}
    if not good:
        raise refused(f"for none of {', '.join(ALGORITHMS)}: see its alg, and its crv, which must be P-256 or P-384")
    public_key = _public_key(jwk)
    if public_key is None:
        raise refused("that can't be read: copy it whole")
    if isinstance(public_key, RSAPublicKey) and not _MIN_RSA_BITS <= public_key.key_size <= _MAX_RSA_BITS:
        raise refused(f"of RSA with other than {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits: make another one")
    if isinstance(public_key, RSAPublicKey) and public_key.public_numbers().e.bit_length() > _MAX_EXPONENT_BITS:
        raise refused(f"of RSA with an exponent of more than {_MAX_EXPONENT_BITS} bits: make one with 65537")
    return ClientKey(kid, _thumbprint(jwk), good, public_key, json.dumps(jwk))


def _public_key(jwk: Mapping[str, Any]) -> RSAPublicKey | EllipticCurvePublicKey | None:
    """The key by its numbers (RFC 7518 sections 6.2.1 and 6.3.1); None where they are not those of one."""
    try:
        if jwk["kty"] == "RSA":
            return RSAPublicNumbers(*(int.from_bytes(_decoded(jwk[name])) for name in ("e", "n"))).public_key()
        curve, x, y = _CURVES[jwk["crv"]], _decoded(jwk["x"]), _decoded(jwk["y"])
        if not len(x) == len(y) == curve.key_size // 8:
            return None
        return EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except (ValueError, TypeError, KeyError):
        return None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    # The members' names are sorted already, as RFC 7638 section 3 has them.
    members = {name: jwk[name] for name in _THUMBPRINTED[jwk["kty"]]}
    digest = hashlib.sha256(orjson.dumps(members)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
