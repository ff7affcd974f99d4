"""A client's public keys, as its owner registers, replaces, tests and removes them in the portal."""

import html
import json
import logging
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from shared.directory.client_keys import parse_key_set
from shared.directory.client_registry import ClientRegistry
from tests.directory.test_client_keys import PRIVATE, pem, private_jwk, private_pem
from tests.oauth.conftest import until
from tests.oauth.keyed_app import P256, P384, RSA, KeyedApp, jwk, key_set
from tests.oauth.test_client_assertion import KeyServer, key_server
from tests.portal.conftest import Changes, Page, Person, Portal
from tests.portal.test_portal_clients import NEW, created, path_of

__all__ = ["key_server"]

GATEWAY = "http://127.0.0.1:7071"
(ONE,) = parse_key_set(key_set(jwk(P384)))
(TWO,) = parse_key_set(key_set(jwk(RSA)))


async def path_of_new(person: Person) -> str:
    return path_of(await created(person))


async def save(person: Person, path: str, **values: str) -> Page:
    """What comes of the form of a client's keys."""
    form = await person.get(f"{path}/keys")
    return await person.post(f"{path}/keys", {"etag": form.field("etag"), **values})


async def kids(portal: Portal, path: str) -> list[str]:
    return [key.kid for key in (await portal.clients.get(path.rpartition("/")[2])).keys]


async def test_keys_come_beside_others_or_in_their_place_and_go_one_by_one_and_that_is_audited(
    portal: Portal, changes: Changes
) -> None:
    owner = await portal.owner()
    path = await path_of_new(owner)
    client_id, pem_id = path.rpartition("/")[2], TWO.id
    assert "Add a key instead" in (await owner.get(path)).words
    for pasted, mode, expected in (
        (key_set(jwk(P384)), "", ["one"]),
        (pem(RSA), "beside", ["one", pem_id]),
        (json.dumps(jwk(P256, "three")), "instead", ["three"]),
        (key_set(jwk(P384), jwk(RSA, "two")), "beside", ["three", "one", "two"]),
    ):
        page = await save(owner, path, jwks=pasted, mode=mode)
        assert page.location == f"{path}?done=keys-saved"
        assert await kids(portal, path) == expected
    shown = await owner.get(path)
    for told in ("one", ONE.id, "EC, P-384", "ES384", "two", "RSA, 2048 bits", "PS256, RS256, RS384"):
        assert told in shown.words
    assert "not known" not in shown.words  # the log has since when each is there
    asked = await owner.get(f"{path}/keys/{ONE.id}/remove")
    assert "Remove the key one?" in asked.words
    assert "within 60 seconds the tokens obtained with it" in asked.words
    assert "The client has other keys" in asked.words
    await owner.post(f"{path}/keys/{ONE.id}/remove", {"etag": asked.field("etag")})
    assert await kids(portal, path) == ["three", "two"]
    asked = await owner.get(f"{path}/keys/remove")
    assert "The client then signs in with a secret: one works" in asked.words
    (secret,) = (await portal.clients.get(client_id)).secrets
    await portal.clients.delete_secret(client_id, secret.id)
    asked = await owner.get(f"{path}/keys/remove")
    assert "can't sign in any more" in asked.words
    assert (await owner.post(f"{path}/keys/remove", {"etag": asked.field("etag")})).location.endswith("keys-removed")
    assert await kids(portal, path) == []
    for gone in ("keys/remove", f"keys/{ONE.id}/remove"):
        assert (await owner.get(f"{path}/{gone}")).status == 404
    three = parse_key_set(key_set(jwk(P256)))[0].id
    added = sorted((ONE.id, TWO.id))
    assert changes()[1:] == [
        ("ada@example.com", f"client.{action}", client_id, f"Jwks, {detail}")
        for action, detail in (
            ("set-keys", f"key {ONE.id} added"),
            ("set-keys", f"key {TWO.id} added"),
            ("set-keys", f"key {three} added, key {added[0]} removed, key {added[1]} removed"),
            ("set-keys", f"key {added[0]} added, key {added[1]} added"),
            ("remove-keys", f"key {ONE.id} removed"),
            ("remove-keys", ", ".join(f"key {id} removed" for id in sorted((TWO.id, three)))),
        )
    ]


REFUSED = [
    ({}, "jwks", "Paste public keys, or give their URL"),
    ({"jwks": "{"}, "jwks", "neither JSON nor PEM"),
    ({"jwks": "MIIBIjANBg"}, "jwks", "What was pasted is not shown again, as it may hold a private key"),
    ({"jwks": key_set(jwk(P384, "b"), jwk(P256, "b"))}, "jwks", "two keys of one kid"),
    ({"jwks": key_set({**jwk(P384), "kid": ""})}, "jwks", "without a kid"),
    ({"jwks": key_set(jwk(P256))}, "jwks", "another key of the kid one than the client"),
    ({"jwks": pem(P384)[:90]}, "jwks", "without its last line"),
    ({"jwks": key_set(jwk(P384, "b", x5c=["A" * 30_000]))}, "jwks", "larger than 30000 bytes"),
    ({"jwks_url": "http://app.example.com/jwks"}, "jwks_url", "must begin with https://"),
    ({"jwks_url": "https://10.0.0.1/jwks"}, "jwks_url", "must name a public host"),
    ({"jwks_url": "not a URL"}, "jwks_url", "is no URL"),
    ({"jwks": "{", "jwks_url": "https://app.example.com/"}, "jwks_url", "not both"),
]


def wrong(page: Page, field: str) -> str:
    """What a page says is wrong at a field."""
    found = page.text.split(f'id="{field}-error"')[1].split("</p>")[0]
    assert f'href="#{field}"' in page.text
    return html.unescape(found)


async def test_each_refusal_stands_at_its_field_and_what_was_typed_stays(portal: Portal) -> None:
    owner = await portal.owner()
    path = await path_of_new(owner)
    await save(owner, path, jwks=key_set(jwk(P384)))
    for values, field, said in REFUSED:
        page = await save(owner, path, mode="beside", **values)
        assert page.status == 422
        assert said in wrong(page, field), page.words
        for name, typed in values.items():
            assert page.field(name) == ("" if "not shown again" in said else typed)
    assert await kids(portal, path) == ["one"]


@pytest.mark.parametrize("key", PRIVATE, ids=lambda key: type(key).__name__)
async def test_a_private_key_is_neither_kept_nor_shown_again_and_counts_as_exposed(
    portal: Portal, key: Any, caplog: pytest.LogCaptureFixture
) -> None:
    owner = await portal.owner()
    path, private = await path_of_new(owner), private_jwk(key)
    hidden = {private["d"][:40], *private_pem(key).splitlines()[1:-1]}
    for pasted in (private_pem(key), pem(P256) + private_pem(key), json.dumps(private), key_set({}, private)):
        with caplog.at_level(logging.DEBUG):
            pages = [
                await save(owner, path, jwks=pasted),
                await save(owner, path, jwks=pasted, jwks_url="https://app.example.com/"),
                await owner.post(NEW, {"name": "", "proof": "keys", "jwks": pasted}),
                await owner.post(f"{path}/keys", {"etag": "old", "jwks": pasted}),
            ]
        assert [page.status for page in pages] == [422, 422, 422, 409]
        for page in pages:
            assert "counts as exposed: make a new pair" in wrong(page, "jwks")
            assert page.field("jwks") == ""
            for text in (page.text, caplog.text):
                assert not [part for part in hidden if part in text]
    assert await kids(portal, path) == []


async def test_a_key_set_at_its_url_is_shown_with_when_it_was_fetched_and_what_is_wrong(
    portal: Portal, key_server: KeyServer
) -> None:
    owner = await Portal(portal.deployment.instance(CACHE_SECONDS="1")).owner()
    path = await path_of_new(owner)
    key_server.keys = "<html>"
    assert (await save(owner, path, jwks_url=key_server.url)).status == 303
    page = await owner.get(path)
    for told in (key_server.url, "Can't be used", "The key set is not JSON", "gets no tokens by its keys"):
        assert told in page.words
    key_server.keys, fresh = key_set(jwk(P384)), await Portal(portal.deployment.instance(CACHE_SECONDS="1")).owner()
    page = await fresh.get(path)
    for told in (ONE.id, "Fetched on", "EC, P-384"):
        assert told in page.words
    key_server.respond = lambda: web.Response(status=302, headers={"Location": "/"})

    async def old() -> bool:
        page = await fresh.get(path)
        return ONE.id in page.words and "redirects (status 302) are not followed" in page.words and "Old" in page.words

    await until(old, "the page says that the keys are old")
    asked = await fresh.get(f"{path}/keys/remove")
    assert "fetches no keys from" in asked.words
    await fresh.post(f"{path}/keys/remove", {"etag": asked.field("etag")})
    assert not (await portal.clients.get(path.rpartition("/")[2])).has_keys
    await save(fresh, path, jwks_url=key_server.url)
    prefilled = (await fresh.get(f"{path}/keys")).field("jwks_url")
    assert (await save(fresh, path, jwks=key_set(jwk(RSA, "mine")), jwks_url=prefilled)).status == 303
    client = await portal.clients.get(path.rpartition("/")[2])
    assert (client.jwks_url, [key.kid for key in client.keys]) == ("", ["mine"])


async def test_the_second_of_two_who_change_keys_is_told_and_keeps_the_text(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the other one saves between the portal's reading and its writing."""
    admin = await portal.admin()
    path, change = await path_of_new(admin), ClientRegistry.change
    pasted = {"jwks": key_set(jwk(P384))}
    etag = (await admin.get(f"{path}/keys")).field("etag")
    await save(admin, path, jwks=key_set(jwk(RSA, "theirs")))
    page = await admin.post(f"{path}/keys", {"etag": etag, **pasted})
    assert (page.status, page.field("jwks"), await kids(portal, path)) == (409, pasted["jwks"], ["theirs"])
    assert "Someone else changed this client meanwhile" in page.words
    assert "theirs" in page.words
    assert (await admin.post(f"{path}/keys/remove", {"etag": etag})).status == 409

    async def change_late(self: ClientRegistry, client_id: str, **changes: str) -> None:
        monkeypatch.setattr(ClientRegistry, "change", change)
        await portal.clients.change(client_id, name="Later")
        await self.change(client_id, **changes)

    monkeypatch.setattr(ClientRegistry, "change", change_late)
    page = await admin.post(f"{path}/keys", {"etag": page.field("etag"), **pasted})
    assert (page.status, await kids(portal, path)) == (409, ["theirs"])
    await admin.post(f"{path}/keys", {"etag": page.field("etag"), **pasted, "mode": "beside"})
    assert await kids(portal, path) == ["theirs", "one"]


async def app_with_keys(portal: Portal, owner: Person, tenant: str) -> KeyedApp:
    """The app of a client that its owner made in the portal, without a secret."""
    page = await owner.post(NEW, {"name": "Bulk app", "proof": "keys", "jwks": key_set(jwk(P384))})
    assert page.status == 303, page.words
    client_id = page.location.partition("?")[0].rpartition("/")[2]
    await portal.clients.change(client_id, tenants=tenant)
    return KeyedApp(portal.deployment, client_id, tenant, P384, GATEWAY)


async def test_a_client_is_made_without_a_secret_and_all_mistakes_are_told_at_once(portal: Portal) -> None:
    name = f"{uuid4()}@example.com"
    owner, tenant = await portal.owner(name), (await portal.tenant())[0]
    form = {"name": " ", "proof": "keys", "jwks": "{", "jwks_url": "https://app.example.com/", "lifetime": "90"}
    page = await owner.post(NEW, form)
    assert page.status == 422
    assert ["printable" in wrong(page, "name"), "JSON" in wrong(page, "jwks"), "both" in wrong(page, "jwks_url")] == [
        True
    ] * 3
    page = await owner.post(NEW, {"name": " ", "proof": "secret", "label": "\x00", "lifetime": "1"})
    assert [field for field in ("name", "label", "lifetime") if wrong(page, field)] == ["name", "label", "lifetime"]
    app = await app_with_keys(portal, owner, tenant)
    client = await portal.clients.get(app.client_id)
    assert (client.owner, client.secrets, [key.kid for key in client.keys]) == (name, (), ["one"])
    assert client.owner_id
    assert (await app.ask(app.assertion())).status == 200
    await portal.application.usage.close()
    assert ":00 UTC" in (await owner.get(f"/portal/clients/{app.client_id}")).words
    assert "none, own keys" in (await owner.get("/portal/clients")).words


def wrong_assertions(app: KeyedApp) -> list[tuple[str, str]]:
    """Assertions that are no good, each with what the portal says of it."""
    now, other = int(time.time()), ec.generate_private_key(ec.SECP384R1())
    header, claims, signature = app.assertion().split(".")
    return [
        (app.assertion(exp=now - 60), "has expired: its exp has passed"),
        (app.assertion(exp=now + 600), "has an exp that is more than 300 seconds ahead"),
        (app.assertion(iat=now + 120), "has an iat or nbf that is still to come"),
        (app.assertion(aud="https://x.example"), f"has another aud than {GATEWAY}/oauth2/token or {GATEWAY}"),
        (app.assertion(aud=[GATEWAY, "https://x.example"]), "has another aud than"),
        (app.assertion(key=other), "is signed by another key than the one that is registered under its kid"),
        (f"{header}.{claims}.{signature[:-8]}AAAAAAAA", "is signed by another key"),
        (app.assertion(head={"kid": "two"}), "has a kid that is none of the client's keys; those are one"),
        (app.assertion(head={"kid": None}), "has no kid in its header"),
        (app.assertion("ES256", key=P256), "is signed by ES256, but its key is good for ES384 alone"),
        (app.assertion("HS256", key="x" * 32), "has another alg in its header than RS384, ES384"),
        (app.assertion(head={"crit": ["b64"], "b64": True}), "has a header that nobody here understands"),
        (app.assertion(sub=str(uuid4())), "does not have the client's ID in both iss and sub"),
        (
            replace(app, client_id="another").assertion(),
            f"names another client in iss and sub than this one, {app.client_id}",
        ),
        *((app.assertion(**claim), "has a claim of another type") for claim in ({"exp": []}, {"nbf": {}})),
        (app.assertion(exp=str(now + 120)), "has an exp that is no number"),
        *((app.assertion(jti=jti), "has a jti that is no text of 1 to 255 characters") for jti in (7, "x" * 256)),
        *((app.assertion(**{name: None}), f"has no {name}") for name in ("exp", "jti", "aud")),
        ("x.y", "is no signed JWT"),
        (app.assertion(x="y" * 9000), "has more than 8192 characters"),
    ]


async def test_an_assertion_is_judged_as_by_the_token_endpoint_and_not_used_up(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    owner, tenant = await portal.owner(), (await portal.tenant())[0]
    app = await app_with_keys(portal, owner, tenant)
    path = f"/portal/clients/{app.client_id}/test"
    page = await owner.get(path)
    assert "One of the client's secrets" not in page.words
    for told in ("Issuer " + GATEWAY, f"{GATEWAY}/oauth2/token", "ES384", "one", "jwt-bearer"):
        assert told in page.words

    async def told(assertion: str) -> str:
        with caplog.at_level(logging.DEBUG):
            page = await owner.post(f"{path}/assertion", {"assertion": f"\n{assertion} "})
        assert page.status == 200
        for text in (page.text, caplog.text):
            assert assertion not in text
        return page.words

    good = app.assertion()
    for _ in range(2):
        assert "The assertion is good" in await told(good)
    assert (await app.ask(good)).status == 200
    assert "was sent already" in await told(good)
    for assertion, reason in wrong_assertions(app):
        assert f"The assertion {reason}" in await told(assertion), reason
    assert "Paste an assertion" in (await owner.post(f"{path}/assertion", {"assertion": " "})).words
    await portal.clients.set_enabled(app.client_id, False)
    assert "the client is disabled" in await told(app.assertion())


async def test_how_to_connect_tells_what_to_configure_for_a_client_with_keys(portal: Portal) -> None:
    owner, tenant = await portal.owner(), (await portal.tenant())[0]
    app = await app_with_keys(portal, owner, tenant)
    words = (await owner.get(f"/portal/connect?client={app.client_id}")).words
    for told in ("Signing in with its own key", "private_key_jwt", "Issuer " + GATEWAY, "It has no secret", "ES384"):
        assert told in words
    secret = await created(owner)
    assert "Signing in with its own key" not in (await owner.get(f"/portal/connect?client={secret.client_id}")).words
