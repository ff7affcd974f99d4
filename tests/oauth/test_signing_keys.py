"""Rotation of the signing keys without a token lost, and the keys as they are published."""

import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from shared.message import Request, Response
from shared.oauth.access_token import Grant, InvalidToken
from shared.oauth.signing_keys import SECRET_NAME, KeyRing, SigningKey, rotate
from tests.oauth.conftest import GATEWAY, Instance, Start, WatchedVault, granted, refused, until

GRANT = Grant("client-1", "secret1", "72f988bf-86f1-41af-91ab-2d7cd011db47", ())


def pem(key: PrivateKeyTypes, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


async def signer(instance: Instance) -> str:
    token, _ = await instance.application.tokens.issue(GRANT)
    return str(jwt.get_unverified_header(token)["kid"])


async def published(instance: Instance) -> list[str]:
    answer = await instance.send(method="GET", path="/oauth2/keys")
    return [key["kid"] for key in json.loads(answer.body)["keys"]]


async def test_the_public_keys_verify_a_token_and_hold_nothing_private(server: Instance) -> None:
    client, tenant = await server.client(), await server.tenant()
    token = await server.token(client, tenant)

    answer = await server.send(method="GET", path="/oauth2/keys", content_type=None)

    assert answer.status == 200
    assert answer.headers == {"Content-Type": "application/json", "Cache-Control": "public, max-age=60"}
    keys = json.loads(answer.body)["keys"]
    assert [set(key) for key in keys] == [{"kty", "crv", "x", "y", "kid", "alg", "use"}] * len(keys)
    found = jwt.PyJWKSet.from_dict({"keys": keys})[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, found, algorithms=["ES256"], audience=GATEWAY)["scope"] == tenant
    head = await server.send(method="HEAD", path="/oauth2/keys", content_type=None)
    assert head == Response(200, answer.headers, b"")


@pytest.mark.parametrize("path", ["/oauth2/keys", "/oauth2/keys/", "/OAuth2/Keys"])
async def test_the_keys_take_no_other_method(server: Instance, path: str) -> None:
    answer = await server.send(method="POST", path=path)
    assert refused(answer) == (405, "invalid_request")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    options = await server.send(method="OPTIONS", path=path)
    assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_the_first_key_signs_at_once_and_the_next_is_published_before_it_signs(start: Start) -> None:
    instance = start(CACHE_SECONDS="1")
    first = await rotate(instance.vault, instance.settings)
    assert await signer(instance) == first.version

    second = await rotate(instance.vault, instance.settings)
    assert second.active_from > second.created

    async def both() -> bool:
        return len(await published(instance)) == 2

    await until(both, "the new key is published")
    if datetime.now(UTC) < second.active_from - timedelta(seconds=0.5):
        assert await signer(instance) == first.version

    async def signs() -> bool:
        return await signer(instance) == second.version

    await until(signs, "the new key signs")
    assert datetime.now(UTC) >= second.active_from
    assert set(await published(instance)) == {first.version, second.version}


async def test_a_new_key_waits_until_every_instance_has_it(start: Start) -> None:
    instance = start(CACHE_SECONDS="60")
    await rotate(instance.vault, instance.settings)
    before = datetime.now(UTC).replace(microsecond=0)
    version = await rotate(instance.vault, instance.settings)
    assert version.active_from >= before + timedelta(seconds=120)


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
        try:
            return await other.application.tokens.verify(token) == GRANT
        except InvalidToken:
            return False

    await until(good, "the other instance looked again")


async def test_unknown_keys_make_an_instance_look_again_at_most_every_other_second(
    start: Start, watched_vault: WatchedVault
) -> None:
    instance = start(CACHE_SECONDS="3600")
    await rotate(instance.vault, instance.settings)
    key = ec.generate_private_key(ec.SECP256R1())
    await instance.application.signing_keys.ring()
    watched_vault.asked.clear()
    for number in range(200):
        token = jwt.encode({}, key, algorithm="ES256", headers={"typ": "at+jwt", "kid": str(number)})
        with pytest.raises(InvalidToken):
            await instance.application.tokens.verify(token)
    assert len(watched_vault.asked) <= 1


async def test_a_retired_key_is_not_published_and_a_token_of_it_refused_within_the_cache_time(start: Start) -> None:
    instance = start(CACHE_SECONDS="1")
    old = await rotate(instance.vault, instance.settings)
    token, _ = await instance.application.tokens.issue(GRANT)
    new = await rotate(instance.vault, instance.settings)

    await instance.vault.disable(SECRET_NAME, old.version)

    async def only_new() -> bool:
        return await published(instance) == [new.version]

    await until(only_new, "the retired key is gone")
    with pytest.raises(InvalidToken):
        await instance.application.tokens.verify(token)
    # It is the only one left, so it signs though its time has not come.
    assert await signer(instance) == new.version


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-----BEGIN PRIVATE KEY-----",
        "\ud800",
        pem(ec.generate_private_key(ec.SECP256R1()))[:-60],
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 2048)),
        pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"x")),
    ],
    ids=["empty", "cut to a line", "surrogate", "cut", "P-384", "RSA", "encrypted"],
)
async def test_a_version_that_is_no_key_is_passed_over_and_named_in_the_log(
    start: Start, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    instance = start()
    good = await rotate(instance.vault, instance.settings)
    bad = await instance.vault.set(SECRET_NAME, value)

    assert await published(instance) == [good.version]
    assert await signer(instance) == good.version
    assert bad.version in caplog.text
    assert not value or value not in caplog.text


async def test_an_expired_version_is_passed_over(start: Start) -> None:
    instance = start()
    good = await rotate(instance.vault, instance.settings)
    key = pem(ec.generate_private_key(ec.SECP256R1()))
    await instance.vault.set(SECRET_NAME, key, expires=datetime.now(UTC) - timedelta(minutes=1))
    assert await published(instance) == [good.version]


@pytest.mark.parametrize("value", [None, "no key"])
async def test_without_a_key_the_answer_is_503(start: Start, value: str | None) -> None:
    instance = start()
    if value is not None:
        await instance.vault.set(SECRET_NAME, value)
    client, tenant = await instance.client(), await instance.tenant()
    for answer in (await instance.ask(client, tenant), await instance.send(method="GET", path="/oauth2/keys")):
        assert refused(answer) == (503, "temporarily_unavailable")
        assert answer.headers["Retry-After"] == "5"
    refusal = await instance.send("grant_type=client_credentials")
    assert refused(refusal) == (401, "invalid_client")


async def test_a_key_made_later_is_seen_within_the_cache_time(start: Start) -> None:
    instance = start(CACHE_SECONDS="1")
    client, tenant = await instance.client(), await instance.tenant()
    assert (await instance.ask(client, tenant)).status == 503
    await rotate(instance.vault, instance.settings)

    async def served() -> Response | None:
        answer = await instance.ask(client, tenant)
        return answer if answer.status == 200 else None

    granted(await until(served, "the key is seen"))


def test_the_newest_active_key_signs_and_the_oldest_when_none_is_active_yet() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    at = datetime(2030, 1, 1, tzinfo=UTC)
    new, middle, old = (
        SigningKey(kid, at + timedelta(hours=hours), private, private.public_key())
        for kid, hours in (("new", 2), ("middle", 1), ("old", 0))
    )
    ring = KeyRing((new, middle, old))
    assert ring.signer(at + timedelta(hours=3)) is new
    assert ring.signer(at + timedelta(hours=2)) is new
    assert ring.signer(at + timedelta(hours=2, seconds=-1)) is middle
    assert ring.signer(at + timedelta(minutes=1)) is old
    assert ring.signer(at - timedelta(minutes=1)) is old
    assert ring.find("middle") is middle
    assert ring.find("none") is None


async def test_the_key_that_signs_stays_however_often_it_is_rotated(start: Start) -> None:
    instance = start(CACHE_SECONDS="60")
    first = await rotate(instance.vault, instance.settings)
    for _ in range(8):
        await rotate(instance.vault, instance.settings)
    assert await signer(instance) == first.version


async def test_a_deployment_without_a_signing_key_is_not_healthy(start: Start) -> None:
    instance = start()
    health = Request("GET", "/health")
    assert json.loads((await instance.application.health(health)).body)["checks"]["key_vault"] == "unavailable"
    await rotate(instance.vault, instance.settings)

    async def healthy() -> bool:
        return (await instance.application.health(health)).status == 200

    await until(healthy, "the new key is found")
