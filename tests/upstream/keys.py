"""Keys in the forms in which a vault holds them."""

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def pem(key, format=PrivateFormat.PKCS8, encryption=None) -> str:
    """A private key as text."""
    return key.private_bytes(Encoding.PEM, format, encryption or NoEncryption()).decode()


def jwk(key, kid: str) -> dict[str, object]:
    """A key as a JWK, with its private part if it has one."""
    is_rsa = isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey)
    algorithm = jwt.algorithms.RSAAlgorithm if is_rsa else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key, as_dict=True), "kid": kid}
