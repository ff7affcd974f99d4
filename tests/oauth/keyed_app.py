"""A client that proves itself by a key of its own, and what it sends."""

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.message import Response
from tests.deployment import GATEWAY, Deployment

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
P384, P256 = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {"ES384": P384, "ES256": P256, **dict.fromkeys(("RS384", "RS256", "PS256"), RSA)}


def jwk(key: Any, kid: str = "one", **more: object) -> dict[str, Any]:
    """The public key as a JWK."""
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    algorithm: Any = jwt.algorithms.RSAAlgorithm if is_rsa else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def key_set(*keys: object) -> str:
    return json.dumps({"keys": keys})


@dataclass
class KeyedApp:
    """A client with its own key."""

    server: Deployment
    client_id: str
    tenant: str
    key: Any = field(default_factory=lambda: P384)
    gateway: str = GATEWAY

    @property
    def private_jwk(self) -> dict[str, Any]:
        """The key, as its owner's programs have it."""
        private = jwt.algorithms.ECAlgorithm.to_jwk(self.key, as_dict=True)
        return {**private, "kid": "one", "alg": "ES384", "key_ops": ["sign"]}

    def claims(self, **changes: object) -> dict[str, Any]:
        claims: dict[str, Any] = dict.fromkeys(("iss", "sub"), self.client_id)
        claims |= {
            "aud": f"{self.gateway}/oauth2/token",
            "exp": int(time.time()) + 240,
            "jti": uuid.uuid4().hex,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def assertion(self, algorithm: str = "ES384", *, key: Any = None, head: Any = None, **claims: object) -> str:
        header = {"kid": "one", **(head or {})}
        return jwt.encode(self.claims(**claims), key or self.key, algorithm, {k: v for k, v in header.items() if v})

    def form(self, assertion: str | None = None, **more: str) -> dict[str, str]:
        """The fields of a token request, by a new assertion if none is given."""
        proof = {"client_assertion_type": TYPE, "client_assertion": assertion or self.assertion()}
        return {"grant_type": "client_credentials", "scope": self.tenant, **proof, **more}

    async def ask(self, assertion: str, on: Deployment | None = None, **more: str) -> Response:
        return await (on or self.server).oauth(urlencode(self.form(assertion, **more)))
