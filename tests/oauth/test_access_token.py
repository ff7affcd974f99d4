"""Access tokens as RFC 9068 and DESIGN have them, and every forgery that must fail."""

import base64
import hmac
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared.oauth.access_token import AccessTokens, Grant, InvalidToken
from shared.oauth.signing_keys import SigningKey
from tests.deployment import GATEWAY, Deployment
from tests.oauth.conftest import until

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
GRANT = Grant("client-1", "secret1", TENANT, ())


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token; a change to None leaves one out."""
    good = {
        "iss": GATEWAY, "aud": GATEWAY, "sub": "client-1", "client_id": "client-1", "iat": now(), "exp": now() + 60,
        "jti": uuid.uuid4().hex, "scope": TENANT, "sid": "secret1",
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


@pytest.fixture
def tokens(server: Deployment) -> AccessTokens:
    return server.application.tokens


@pytest.fixture
async def key(server: Deployment) -> SigningKey:
    return (await server.application.signing_keys.ring()).keys[0]


def signed(key: SigningKey, body: dict[str, Any], private: Any = None, **header: object) -> str:
    """The claims signed by that key, or by another under its name; None leaves a header out."""
    headers = {"typ": "at+jwt", "kid": key.kid, **header}
    return jwt.encode(body, private or key.private_key, algorithm="ES256", headers=headers)


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


async def refuses(tokens: AccessTokens, token: str) -> bool:
    try:
        await tokens.verify(token)
    except InvalidToken:
        return True
    return False


async def test_header_and_claims_are_those_of_rfc_9068(server: Deployment, key: SigningKey) -> None:
    client, tenant = await server.client(), await server.tenant()
    earliest = now()
    first, second = [await server.token(f"{tenant} system/Patient.read", client=client) for _ in range(2)]

    assert jwt.get_unverified_header(first) == {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}
    body = jwt.decode(first, key.public_key, algorithms=["ES256"], audience=GATEWAY)
    of_client = {"sub": client.client_id, "client_id": client.client_id, "sid": client.secret_id}
    of_time = {"iat": body["iat"], "exp": body["iat"] + 3600, "jti": body["jti"]}
    scope = f"{tenant} system/Patient.read"
    assert body == {"iss": GATEWAY, "aud": GATEWAY, "scope": scope, **of_client, **of_time}
    assert earliest <= body["iat"] <= now()
    assert type(body["iat"]) is int
    assert body["jti"] != jwt.decode(second, options={"verify_signature": False})["jti"]
    for token in (first, first):  # the second time from memory
        grant = await server.application.tokens.verify(token)
        assert (grant.client_id, grant.credential_id, grant.scope()) == (client.client_id, client.secret_id, scope)
    assert client.client_secret not in base64.urlsafe_b64decode(first.split(".")[1] + "==").decode()


async def test_the_longest_scope_that_is_granted_makes_a_token_that_verifies(server: Deployment) -> None:
    client, scope = await server.client(), await server.tenant()
    longest = ""
    for letter in (f"system/{'A' * 30}{chr(97 + n // 26)}{chr(97 + n % 26)}.read" for n in range(100)):
        scope += f" {letter}"
        response = await server.request_token(client, scope)
        if response.status != 200:
            break
        longest = json.loads(response.body)["access_token"]
    assert json.loads(response.body)["error"] == "invalid_scope"
    assert len((await server.application.tokens.verify(longest)).scopes) > 20


async def test_a_good_token_of_ours_is_good_whatever_else_it_claims(tokens: AccessTokens, key: SigningKey) -> None:
    assert await tokens.verify(signed(key, claims(extra=[1]))) == GRANT
    assert await tokens.verify(signed(key, claims(iat=now() + 3, nbf=now() + 3))) == GRANT
    assert await tokens.verify(signed(key, claims(exp=now() - 3))) == GRANT


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        ("iss", ["https://gateway.example.evil", f"{GATEWAY}/", [GATEWAY]]),
        (
            "aud",
            [
                f"{GATEWAY}/demo",
                GATEWAY[:-1],
                "https://gateway.example2",
                [GATEWAY],
                [GATEWAY, "https://b.example"],
                "",
            ],
        ),
        ("exp", [0, lambda: now() - 60, "tomorrow"]),
        ("iat", [lambda: now() + 60, "today"]),
        ("nbf", [lambda: now() + 60]),
        ("sub", ["client-2"]),
        ("client_id", ["client-2"]),
        ("client_id sub", [1, ["client-1"]]),
        ("sid", [1]),
        ("scope", [[TENANT], f"{TENANT} openid", f"{TENANT}  system/Patient.read"]),
        ("jti", []),
    ],
)
async def test_a_claim_that_is_wrong_or_missing_is_refused(
    tokens: AccessTokens, key: SigningKey, claim: str, values: list[Any]
) -> None:
    header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}
    for value in (*values, *([] if claim == "nbf" else [None])):
        changes = dict.fromkeys(claim.split(), value() if callable(value) else value)
        # Not by jwt.encode, which refuses some of these itself.
        body = json.dumps(claims(**changes)).encode()
        token = jwt.PyJWS().encode(body, key.private_key, algorithm="ES256", headers=header)
        assert await refuses(tokens, token), changes
    assert await tokens.verify(signed(key, claims())) == GRANT


async def test_a_forged_token_is_refused(tokens: AccessTokens, key: SigningKey) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    header, body, signature = signed(key, claims()).split(".")

    def head(algorithm: str) -> str:
        return part({"alg": algorithm, "typ": "at+jwt", "kid": key.kid})

    pem = key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = key.private_key.sign(f"{header}.{body}".encode(), ec.ECDSA(SHA256()))
    by_hmac = f"{head('HS256')}.{body}"
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(other.public_key(), as_dict=True)
    forged = {
        "no algorithm": f"{head('none')}.{body}.",
        "no algorithm, with its signature": f"{head('none')}.{body}.{signature}",
        "keyed with the public key": f"{by_hmac}.{part(hmac.digest(pem, by_hmac.encode(), 'sha256'))}",
        "a signature of zeros": f"{head('ES256')}.{body}.{part(bytes(64))}",
        "signed by another key": signed(key, claims(), other),
        "signed by a key that it brings": signed(key, claims(), other, jwk=jwk),
        "another claim put in": f"{header}.{part(claims(scope=str(uuid.uuid4())))}.{signature}",
        "cut short": signed(key, claims())[:-2],
        "too long": signed(key, claims(padding="x" * 4000)),
        **{f"type {typ}": signed(key, claims(), typ=typ) for typ in ("JWT", "id+jwt", None)},
        **{f"key {kid}": signed(key, claims(), kid=kid) for kid in ("0" * 32, "../secrets/other", "")},
        "a critical header": signed(key, claims(), crit=["x"], x=1),
        "a header that has more": signed(key, claims(), x=1),
        "spelt otherwise": f"{header}.{body}.{signature}==",
        "a signature in DER": f"{header}.{body}.{part(der)}",
        "four parts": f"{header}.{body}.{body}.{signature}",
    }
    for problem, token in forged.items():
        assert await refuses(tokens, token), problem
    for token in ("", "..", "é.é.é", "\udcff.\udcff.\udcff", "e30.e30.e30", f"{part(b'[' * 2900)}.e30.e30"):
        assert await refuses(tokens, token)
    assert await tokens.verify(signed(key, claims())) == GRANT


@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "x"]),
        st.sampled_from(["ES256", "at+jwt", "none", True, None, ["b64"], {}, 1.5]) | st.text(max_size=5),
    )
    | st.lists(st.none(), max_size=2),
    rest=st.text(max_size=40) | st.binary(max_size=40).map(part).map(lambda text: f"{text}.{text}"),
)
async def test_no_text_is_taken_for_a_token_or_breaks_the_verifier(
    tokens: AccessTokens, header: object, rest: str
) -> None:
    assert await refuses(tokens, f"{part(header)}.{rest}")
    assert await refuses(tokens, rest)


async def test_a_remembered_token_ends_when_it_expires(tokens: AccessTokens, key: SigningKey) -> None:
    token = signed(key, claims(exp=now() - 3))  # two of the five seconds of leeway are left
    assert await tokens.verify(token) == GRANT

    async def ended() -> bool:
        return await refuses(tokens, token)

    await until(ended, "the token has expired")
