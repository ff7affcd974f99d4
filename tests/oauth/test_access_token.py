"""Access tokens as RFC 9068 and DESIGN have them, and every forgery that must fail."""

import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.fhir.scopes import parse_scope
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
        "iss": GATEWAY,
        "aud": GATEWAY,
        "sub": "client-1",
        "client_id": "client-1",
        "iat": now(),
        "exp": now() + 60,
        "jti": uuid.uuid4().hex,
        "scope": TENANT,
        "sid": "secret1",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


@pytest.fixture
def tokens(server: Deployment) -> AccessTokens:
    return server.application.tokens


@pytest.fixture
async def key(server: Deployment) -> SigningKey:
    return (await server.application.signing_keys.ring()).keys[0]


def signed(key: SigningKey, body: dict[str, Any], **header: str | None) -> str:
    headers = {"typ": "at+jwt", "kid": key.kid, **header}
    return jwt.encode(body, key.private_key, algorithm="ES256", headers=headers)


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


async def is_refused(tokens: AccessTokens, token: str) -> bool:
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
    assert body == {
        "iss": GATEWAY,
        "aud": GATEWAY,
        "sub": client.client_id,
        "client_id": client.client_id,
        "iat": body["iat"],
        "exp": body["iat"] + 3600,
        "jti": body["jti"],
        "scope": f"{tenant} system/Patient.read",
        "sid": client.secret_id,
    }
    assert earliest <= body["iat"] <= now()
    assert type(body["iat"]) is int
    assert body["jti"] != jwt.decode(second, options={"verify_signature": False})["jti"]
    assert client.client_secret not in base64.urlsafe_b64decode(first.split(".")[1] + "==").decode()


async def test_what_was_granted_comes_back_from_the_token(tokens: AccessTokens) -> None:
    scopes = tuple(scope for name in ("system/Patient.read", "system/*.rs") if (scope := parse_scope(name)))
    for grant in (GRANT, Grant("client-1", "secret1", TENANT, scopes)):
        token, lifetime = await tokens.issue(grant)
        assert lifetime == 3600
        assert await tokens.verify(token) == grant
        assert await tokens.verify(token) == grant


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
    "change",
    [
        {"iss": "https://gateway.example.evil"},
        {"iss": f"{GATEWAY}/"},
        {"iss": [GATEWAY]},
        {"aud": f"{GATEWAY}/demo"},
        {"aud": GATEWAY[:-1]},
        {"aud": "https://gateway.example2"},
        {"aud": [GATEWAY]},
        {"aud": [GATEWAY, "https://other.example"]},
        {"aud": ""},
        {"exp": 0},
        {"exp": lambda: now() - 60},
        {"exp": "tomorrow"},
        {"iat": lambda: now() + 60},
        {"iat": "today"},
        {"nbf": lambda: now() + 60},
        {"sub": "client-2"},
        {"client_id": "client-2"},
        {"client_id": 1, "sub": 1},
        {"client_id": ["client-1"], "sub": ["client-1"]},
        {"sid": 1},
        {"scope": [TENANT]},
        {"scope": f"{TENANT} openid"},
        {"scope": f"{TENANT}  system/Patient.read"},
        *({name: None} for name in claims()),
    ],
    ids=" and ".join,
)
async def test_a_claim_that_is_wrong_or_missing_is_refused(
    tokens: AccessTokens, key: SigningKey, change: dict[str, Any]
) -> None:
    change = {name: value() if callable(value) else value for name, value in change.items()}
    body = {name: value for name, value in claims(**change).items() if value is not None}
    header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}
    # Not by jwt.encode, which refuses some of these itself.
    token = jwt.PyJWS().encode(json.dumps(body).encode(), key.private_key, algorithm="ES256", headers=header)
    assert await is_refused(tokens, token)
    assert await tokens.verify(signed(key, claims())) == GRANT


def none(key: SigningKey) -> str:
    return f"{part({'alg': 'none', 'typ': 'at+jwt', 'kid': key.kid})}.{part(claims())}."


def keyed_with_the_public_key(key: SigningKey) -> str:
    import hashlib
    import hmac

    pem = key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    message = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key.kid})}.{part(claims())}"
    return f"{message}.{part(hmac.new(pem, message.encode(), hashlib.sha256).digest())}"


def unsigned_es256(key: SigningKey) -> str:
    return f"{part({'alg': 'ES256', 'typ': 'at+jwt', 'kid': key.kid})}.{part(claims())}.{part(bytes(64))}"


def of_another_key(key: SigningKey, **header: object) -> str:
    other = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims(), other, algorithm="ES256", headers={"typ": "at+jwt", "kid": key.kid, **header})


def with_its_own_key(key: SigningKey) -> str:
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    return of_another_key(key, jwk=jwk)


def with_another_claim_put_in(key: SigningKey) -> str:
    header, _, signature = signed(key, claims()).split(".")
    return f"{header}.{part(claims(scope=str(uuid.uuid4())))}.{signature}"


def cut_short(key: SigningKey) -> str:
    return signed(key, claims())[:-2]


def too_long(key: SigningKey) -> str:
    return signed(key, claims(padding="x" * 4000))


def with_header(**header: object) -> Callable[[SigningKey], str]:
    def forge(key: SigningKey) -> str:
        headers = {"typ": "at+jwt", "kid": key.kid, **header}
        return jwt.encode(claims(), key.private_key, algorithm="ES256", headers=headers)

    return forge


@pytest.mark.parametrize(
    "forge",
    [
        none,
        keyed_with_the_public_key,
        unsigned_es256,
        of_another_key,
        with_its_own_key,
        with_another_claim_put_in,
        cut_short,
        too_long,
        *(with_header(typ=typ) for typ in ("JWT", "id+jwt", None)),
        *(with_header(kid=kid) for kid in ("0" * 32, "../secrets/other", "")),
        with_header(crit=["x"], x=1),
    ],
)
async def test_a_forged_token_is_refused(
    tokens: AccessTokens, key: SigningKey, forge: Callable[[SigningKey], str]
) -> None:
    assert await is_refused(tokens, forge(key))
    assert await tokens.verify(signed(key, claims())) == GRANT


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "\udcff.\udcff.\udcff",
        "x" * 5000,
        f"{part(b'[' * 2900)}.e30.e30",
        "e30.e30.e30",
    ],
)
async def test_what_is_no_token_is_refused(tokens: AccessTokens, token: str) -> None:
    assert await is_refused(tokens, token)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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
    assert await is_refused(tokens, f"{part(header)}.{rest}")
    assert await is_refused(tokens, rest)


async def test_a_remembered_token_ends_when_it_expires(tokens: AccessTokens, key: SigningKey) -> None:
    token = signed(key, claims(exp=now() - 3))  # two of the five seconds of leeway are left
    assert await tokens.verify(token) == GRANT

    async def ended() -> bool:
        return await is_refused(tokens, token)

    await until(ended, "the token has expired")
