"""JSON Web Signatures in their compact serialization (RFC 7515 section 7.1): `eyJhbGciOiJFUzI1NiIs.eyJpc3MiOi.c2lnbg`.

Of PyJWT, which takes a cold start 20 ms to import, only assertions need more than this.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

_ES256 = ECDSA(SHA256())
_BYTES = 32  # of each of the two numbers that a signature is


def encoded(content: bytes) -> bytes:
    """Bytes in base64url, without padding (section 2)."""
    return urlsafe_b64encode(content).rstrip(b"=")


def decoded(part: bytes) -> bytes:
    """The bytes of a part, which can be spelt in one way. Raises ValueError."""
    content = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    if encoded(content) != part:
        raise ValueError("not base64url")
    return content


def signed_by_es256(signed: bytes, key: EllipticCurvePrivateKey) -> bytes:
    """Header and payload with their signature, by a key of P-256 (RFC 7518 section 3.4)."""
    r, s = decode_dss_signature(key.sign(signed, _ES256))
    return signed + b"." + encoded(r.to_bytes(_BYTES) + s.to_bytes(_BYTES))


def is_by_es256(signed: bytes, signature: bytes, key: EllipticCurvePublicKey) -> bool:
    """Whether header and payload have the signature, which is decoded, of this key of P-256."""
    if len(signature) != 2 * _BYTES:
        return False
    r, s = int.from_bytes(signature[:_BYTES]), int.from_bytes(signature[_BYTES:])
    try:
        key.verify(encode_dss_signature(r, s), signed, _ES256)
    except InvalidSignature:
        return False
    return True
