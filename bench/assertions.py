"""A token by a signed assertion beside one by a secret: an assertion is good once, so each request has its own."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlencode
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from bench.comparison import FORM
from bench.deployment import Deployment
from shared.application import Application
from shared.message import Request

_AT_ONCE = 32
_KID = "bench"


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Microseconds of this process's CPU for a token, without a functions host."""

    by_secret: float
    by_assertion: float

    @property
    def added(self) -> float:
        """By how much an assertion costs more."""
        return self.by_assertion - self.by_secret


async def token_cost(deployment: Deployment, requests: int, rounds: int = 5) -> TokenCost:
    """The medians of rounds of `requests` by secret, and right after as many by assertion, 32 in flight."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    client_id = await deployment.client_with_keys(json.dumps({"keys": [{**public, "kid": _KID}]}))
    tenant = await deployment.tenant("https://hospital.example/fhir")

    def by_assertion() -> bytes:
        named = {"iss": client_id, "sub": client_id, "aud": deployment.settings.public_base_url}
        claims = {**named, "exp": int(time.time()) + 240, "jti": uuid4().hex}
        assertion = jwt.encode(claims, key, "ES256", {"kid": _KID})
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        proof = {"client_assertion_type": kind, "client_assertion": assertion}
        return urlencode({"grant_type": "client_credentials", "scope": tenant, **proof}).encode()

    application = Application(deployment.settings)
    try:
        secrets, assertions = list[float](), list[float]()
        for _ in range(rounds):
            secrets.append(await _cpu(application, [deployment.token_form(tenant)] * requests))
            assertions.append(await _cpu(application, [by_assertion() for _ in range(requests)]))
        return TokenCost(median(secrets), median(assertions))
    finally:
        await application.close()


async def _cpu(application: Application, bodies: Sequence[bytes]) -> float:
    async def ask(body: bytes) -> None:
        response = await application.oauth(Request("POST", "/oauth2/token", "", {"content-type": FORM}, body))
        if response.status != 200:
            raise ValueError(f"response {response.status}")

    began = time.process_time()
    for first in range(0, len(bodies), _AT_ONCE):
        await asyncio.gather(*map(ask, bodies[first : first + _AT_ONCE]))
    return (time.process_time() - began) / len(bodies) * 1e6
