"""Rotation of the signing keys without a token lost, and the keys as they are published."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from shared.message import Request, Response
from shared.oauth.access_token import Grant, InvalidToken
from shared.oauth.signing_keys import SECRET_NAME, KeyRing, SigningKey, rotate
from tests.deployment import GATEWAY, Deployment, SwitchedVault
from tests.oauth.conftest import Start, granted, refused, until

GRANT = Grant("client-1", "secret1", "72f988bf-86f1-41af-91ab-2d7cd011db47", ())


def pem(key: PrivateKeyTypes, password: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


async def signer(instance: Deployment) -> str:
    token, _ = await instance.application.tokens.issue(GRANT)
    return str(jwt.get_unverified_header(token)["kid"])


async def published(instance: Deployment) -> list[str]:
    response = await instance.oauth(method="GET", path="/oauth2/keys")
    return [key["kid"] for key in json.loads(response.body)["keys"]]


async def is_signer(instance: Deployment, version: str) -> bool:
    return await signer(instance) == version


async def are_published(instance: Deployment, versions: set[str]) -> bool:
    return set(await published(instance)) == versions


async def test_the_public_keys_verify_a_token_and_hold_nothing_private(server: Deployment) -> None:
    client, tenant = await server.client(), await server.tenant()
    token = await server.token(tenant, client=client)

    response = await server.oauth(method="GET", path="/oauth2/keys", content_type=None)

    assert response.status == 200
    assert response.headers == {"Content-Type": "application/json", "Cache-Control": "public, max-age=60"}
    keys = json.loads(response.body)["keys"]
    assert [set(key) for key in keys] == [{"kty", "crv", "x", "y", "kid", "alg", "use"}] * len(keys)
    found = jwt.PyJWKSet.from_dict({"keys": keys})[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, found, algorithms=["ES256"], audience=GATEWAY)["scope"] == tenant
    head = await server.oauth(method="HEAD", path="/oauth2/keys", content_type=None)
    assert head == Response(200, response.headers, b"")


async def test_the_keys_take_no_other_method(server: Deployment) -> None:
    for path in ("/oauth2/keys", "/oauth2/keys/", "/OAuth2/Keys"):
        response = await server.oauth(method="POST", path=path)
        assert refused(response) == (405, "invalid_request")
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
        options = await server.oauth(method="OPTIONS", path=path)
        assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_the_first_key_signs_at_once_and_the_next_is_published_before_it_signs(start: Start) -> None:
    instance = start(CACHE_SECONDS="1")
    first = await rotate(instance.vault, instance.settings)
    assert await signer(instance) == first.version

    second = await rotate(instance.vault, instance.settings)
    assert second.active_from >= second.created + timedelta(seconds=1)  # twice the cache time, in whole seconds

    await until(lambda: are_published(instance, {first.version, second.version}), "the new key is published")
    if datetime.now(UTC) < second.active_from - timedelta(seconds=0.5):
        assert await signer(instance) == first.version

    await until(lambda: is_signer(instance, second.version), "the new key signs")
    assert datetime.now(UTC) >= second.active_from
    assert set(await published(instance)) == {first.version, second.version}


async def test_a_token_of_a_new_key_is_good_on_an_instance_that_has_not_seen_it(start: Start) -> None:
    one, other = start(CACHE_SECONDS="3600"), start(CACHE_SECONDS="3600")
    await rotate(one.vault, one.settings)
    earlier, _ = await one.application.tokens.issue(GRANT)
    assert await other.application.tokens.verify(earlier) == GRANT
    private = ec.generate_private_key(ec.SECP256R1())
    new = await one.vault.set(SECRET_NAME, pem(private))

    body = jwt.decode(earlier, options={"verify_signature": False})
    token = jwt.encode(body, private, algorithm="ES256", headers={"typ": "at+jwt", "kid": new.version})

    async def good() -> bool:
        with suppress(InvalidToken):
            return await other.application.tokens.verify(token) == GRANT
        return False

    await until(good, "the other instance looked again")


async def test_unknown_keys_make_an_instance_look_again_at_most_every_other_second(
    start: Start, own_vault: SwitchedVault
) -> None:
    instance = start(CACHE_SECONDS="3600")
    await rotate(instance.vault, instance.settings)
    key = ec.generate_private_key(ec.SECP256R1())
    await instance.application.signing_keys.ring()
    own_vault.asked.clear()
    for number in range(200):
        token = jwt.encode({}, key, algorithm="ES256", headers={"typ": "at+jwt", "kid": str(number)})
        with pytest.raises(InvalidToken):
            await instance.application.tokens.verify(token)
    assert len(own_vault.asked) <= 1


async def test_a_retired_key_is_not_published_and_a_token_of_it_refused_within_the_cache_time(start: Start) -> None:
    instance = start(CACHE_SECONDS="1", TOKEN_LIFETIME_SECONDS="60")
    old = await rotate(instance.vault, instance.settings)
    token, lifetime = await instance.application.tokens.issue(GRANT)
    body = jwt.decode(token, options={"verify_signature": False})
    assert lifetime == body["exp"] - body["iat"] == 60
    assert await instance.application.tokens.verify(token) == GRANT  # and is remembered
    new = await rotate(instance.vault, instance.settings)

    await instance.vault.disable(SECRET_NAME, old.version)

    await until(lambda: are_published(instance, {new.version}), "the retired key is gone")
    with pytest.raises(InvalidToken):
        await instance.application.tokens.verify(token)
    # It is the only one left, so it signs though its time has not come.
    assert await signer(instance) == new.version


async def test_a_version_that_is_no_key_is_passed_over_and_named_in_the_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    instance = start()
    good = await rotate(instance.vault, instance.settings)
    p256 = ec.generate_private_key(ec.SECP256R1())
    others = (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048))
    values = ["", pem(p256)[:-60], *map(pem, others), pem(p256, b"x")]
    bad = [await instance.vault.set(SECRET_NAME, value) for value in values]
    await instance.vault.set(SECRET_NAME, pem(p256), expires=datetime.now(UTC) - timedelta(minutes=1))

    assert await published(instance) == [good.version]
    assert await signer(instance) == good.version
    assert all(version.version in caplog.text for version in bad)
    assert not any(value and value in caplog.text for value in values)


@pytest.mark.parametrize("value", [None, "no key"])
async def test_without_a_key_the_response_is_503_until_one_is_made(start: Start, value: str | None) -> None:
    instance = start(CACHE_SECONDS="1")
    if value is not None:
        await instance.vault.set(SECRET_NAME, value)
    client, tenant = await instance.client(), await instance.tenant()
    keys = await instance.oauth(method="GET", path="/oauth2/keys")
    for response in (await instance.request_token(client, tenant), keys):
        assert refused(response) == (503, "temporarily_unavailable")
        assert response.headers["Retry-After"] == "5"
    assert refused(await instance.oauth("grant_type=client_credentials")) == (401, "invalid_client")
    health = Request("GET", "/health")
    assert json.loads((await instance.application.health(health)).body)["checks"]["key_vault"] == "unavailable"

    await rotate(instance.vault, instance.settings)

    async def served() -> Response | None:
        response = await instance.request_token(client, tenant)
        healthy = (await instance.application.health(health)).status == 200
        return response if response.status == 200 and healthy else None

    granted(await until(served, "the key is seen"))


def test_the_newest_active_key_signs_and_the_oldest_when_none_is_active_yet() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    at = datetime(2030, 1, 1, tzinfo=UTC)
    times = {"new": at + timedelta(hours=2), "middle": at + timedelta(hours=1), "old": at}
    ring = KeyRing(tuple(SigningKey(kid, time, private, private.public_key()) for kid, time in times.items()))
    for seconds, kid in ((10_800, "new"), (7200, "new"), (7199, "middle"), (60, "old"), (-60, "old")):
        assert ring.signer(at + timedelta(seconds=seconds)).kid == kid
    middle = ring.find("middle")
    assert middle is not None
    assert middle.kid == "middle"
    assert ring.find("none") is None


async def test_the_key_that_signs_stays_however_often_it_is_rotated(start: Start) -> None:
    instance = start(CACHE_SECONDS="60")
    first = await rotate(instance.vault, instance.settings)
    for _ in range(8):
        await rotate(instance.vault, instance.settings)
    assert await signer(instance) == first.version
