"""Attacks on the authorization server by who has credentials of its own: assertions, others' tokens, others' tenants.

All over HTTP, on two instances. A refusal is one wording outside, and told apart in the audit log.
"""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.directory.client_registry import ClientRegistry
from shared.stores.tables import ASSERTIONS, CLIENTS
from tests.deployment import GATEWAY, Credentials, Deployment
from tests.faults import page
from tests.host import App, Host, HttpResponse
from tests.oauth.keyed_app import P256, P384, TYPE, KeyedApp, jwk, key_set

_TOKEN, _REVOKE, _INTROSPECT = "/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"


@dataclass(frozen=True)
class Attacker:
    """A client of one tenant that attacks: what is its own, what is a stranger's, and where to send it."""

    keyed: KeyedApp
    stranger: KeyedApp
    here: App
    there: App

    async def token_request(self, form: dict[str, str], app: App | None = None) -> HttpResponse:
        return await (app or self.here).request("POST", _TOKEN, data=form)


@pytest.fixture(scope="module")
async def second(stack: Deployment) -> Host:
    """Another instance on the same stores."""
    return await stack.host()


@pytest.fixture
async def attacker(stack: Deployment, own_app: App, second: Host) -> AsyncIterator[Attacker]:
    registry, apps = ClientRegistry(stack.table(CLIENTS), stack.vault), []
    for key, kid in ((P384, "one"), (P256, "two")):
        tenant = await stack.tenant("http://127.0.0.1:1/fhir")
        client_id = await registry.create_with_keys("Bulk", "ada", tenant, jwks=key_set(jwk(key, kid)))
        apps.append(KeyedApp(stack, client_id, tenant, key))
    async with stack.app(second) as there:
        yield Attacker(*apps, own_app, there)


def encoded(part: object) -> str:
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(app: KeyedApp, claims: str) -> str:
    """An assertion whose claims are this very text."""
    return jwt.PyJWS().encode(claims.encode(), app.key, "ES384", {"kid": "one"})


def by_hmac(app: KeyedApp, algorithm: str, secret: bytes) -> str:
    """An assertion whose secret is the public key, which anybody has."""
    head = encoded({"alg": algorithm, "kid": "one"}) + "." + encoded(app.claims())
    return f"{head}.{encoded(hmac.digest(secret, head.encode(), hashlib.sha384))}"


def assertions(own: KeyedApp, stranger: KeyedApp) -> dict[str, tuple[str, str]]:
    """Assertions that are no good, by what is wrong, and what the audit log calls it."""
    times, malformed, unknown = "assertion-times", "assertion-malformed", "assertion-key-unknown"
    audience, signature = "assertion-audience", "assertion-signature"
    now, new = int(time.time()), ec.generate_private_key(ec.SECP384R1())
    head, claims, mark = own.assertion().split(".")
    public = own.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = json.dumps(own.claims())
    stranger_claims = {"iss": stranger.client_id, "sub": stranger.client_id}
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "expired": ({"exp": now - 60}, times),
        "for longer than five minutes": ({"exp": now + 600}, times),
        "for ever": ({"exp": 10**300}, times),
        "not yet good": ({"nbf": now + 120}, times),
        "issued in the future": ({"iat": now + 120}, times),
        **{
            f"{name} is {value!r}": ({name: value}, malformed)
            for name, value in (("exp", []), ("exp", "soon"), ("exp", str(now + 120)), ("nbf", {}), ("jti", 7))
        },
        **{f"jti of {length} characters": ({"jti": "x" * length}, malformed) for length in (0, 256)},
        **{f"without {name}": ({name: None}, malformed) for name in ("iss", "sub", "exp", "jti", "aud")},
        **{
            f"for {value!r}": ({"aud": value}, audience)
            for value in (
                *("https://elsewhere.example", f"{GATEWAY}/", f"{GATEWAY}/oauth2/token/", f"{GATEWAY}/oauth2/revoke"),
                *(GATEWAY.upper(), GATEWAY.replace("https", "http"), [GATEWAY, "https://elsewhere.example"], [], {}),
            )
        },
        "by one client about another": ({"sub": stranger.client_id}, malformed),
        "by another client": ({"iss": stranger.client_id}, malformed),
        "of a list of clients": ({"iss": [own.client_id], "sub": [own.client_id]}, malformed),
        "of the stranger, by its kid": (stranger_claims, unknown),
        "huge": ({"x": "y" * 9000}, malformed),
    }
    heads: dict[str, tuple[dict[str, Any], str]] = {
        **{f"kid {kid[:20]!r}": ({"kid": kid}, unknown) for kid in (
            "two", "ONE", " one", "one\0", "../one", "/dev/null", "' OR 1=1 --", "http://127.0.0.1/", "k" * 4000
        )},
        "no kid": ({"kid": ""}, malformed),
        "its own key in the head": ({"jwk": jwk(new)}, signature),
        "the address of its own keys in the head": ({"jku": "https://127.0.0.1/x", "x5u": "https://x"}, signature),
        "a certificate in the head": ({"x5c": ["MIIB"]}, signature),
        "what must be understood": ({"crit": ["b64"], "b64": True}, malformed),
    }  # fmt: skip
    return {
        **{name: (signed(own, json.dumps(own.claims(**changed))), kind) for name, (changed, kind) in cases.items()},
        **{name: (own.assertion(key=new, head=more), kind) for name, (more, kind) in heads.items()},
        **{
            f"alg {name}": (f"{encoded({'alg': name, 'kid': 'one'})}.{claims}.{given}", malformed)
            for name in ("none", "None", "nOnE", "", "ES512", "EdDSA", "dir")
            for given in ("", mark)
        },
        **{
            f"{algorithm} with the public key as {form}": (by_hmac(own, algorithm, secret), malformed)
            for algorithm in ("HS256", "HS384")
            for form, secret in (("PEM", pem), ("JWK", json.dumps(jwk(own.key)).encode()))
        },
        "by an algorithm that its key is not for": (own.assertion("ES256", key=P256), signature),
        "by the stranger's key": (own.assertion("ES256", key=P256, head={"kid": "two"}), unknown),
        "by a new key": (own.assertion(key=new), signature),
        "signed by nothing": (f"{head}.{claims}.{encoded(bytes(96))}", signature),
        "with half of a signature": (f"{head}.{claims}.{mark[:64]}", signature),
        **{
            f"signature with {more!r} {where}": (f"{head}.{claims}.{mark[:place]}{more}{mark[place:]}", malformed)
            for where, place in (("in it", 64), ("behind it", len(mark)))
            for more in ("=", "==", " ", "+", "!!!!")
        },
        "with other claims": (f"{head}.{encoded(own.claims())}.{mark}", signature),
        "the stranger's id behind its own": (
            signed(own, f'{text[:-1]},"iss":"{stranger.client_id}","sub":"{stranger.client_id}"}}'), unknown,
        ),
        **{
            f"exp {value}": (signed(own, text.replace(f'"exp": {json.loads(text)["exp"]}', f'"exp": {value}')), kind)
            for value, kind in (("NaN", malformed), ("Infinity", malformed), ("-1e400", malformed), ("true", times))
        },
        "nested 2,500 deep": (signed(own, f'{text[:-1]},"x":{"[" * 2500}{"]" * 2500}}}'), malformed),
        **{
            f"shaped as {shape[:12]!r}": (shape, malformed)
            for shape in ("x", "x.y", "..", f"{head}.{claims}", f"{head}.{claims}.{mark}.{mark}.{mark}", "{}", text)
        },
    }  # fmt: skip


async def test_no_assertion_that_is_wrong_gets_a_token(attacker: Attacker) -> None:
    cases = assertions(attacker.keyed, attacker.stranger)
    secret = {"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}
    refusal = await attacker.token_request(secret)
    given = await asyncio.gather(*(attacker.token_request(attacker.keyed.form(made)) for made, _ in cases.values()))
    told = dict(zip(cases, given, strict=True))
    assert {(name, response.status) for name, response in told.items()} == {(name, 401) for name in cases}
    assert {response.body for response in given} == {refusal.body}
    lines = dict(zip(cases, attacker.here.host.audited(*given), strict=True))
    assert {name: line["kind"] for name, line in lines.items()} == {name: kind for name, (_, kind) in cases.items()}
    own, tenants = attacker.keyed, {line["tenant"] for line in lines.values()}
    assert tenants == {""}
    assert {line["client"] for line in lines.values()} <= {"", own.client_id, attacker.stranger.client_id}
    assert (await attacker.token_request(own.form())).status == 200
    page.note(
        "attacks", "client assertions: claims, heads, keys and shapes that are wrong", len(cases), "401, one body"
    )


async def test_no_request_proves_its_client_in_two_ways_or_in_its_url(attacker: Attacker, stack: Deployment) -> None:
    own, here = attacker.keyed, attacker.here
    other = await stack.client()
    assertion = own.assertion()
    form = own.form(assertion)
    query = "&".join(f"{name}={value}" for name, value in form.items())
    body = {**form, "resource": ""}
    attempts: dict[str, tuple[str, str, dict[str, Any]]] = {
        "an assertion and a secret": ("POST", _TOKEN, {"data": {**body, **other.form(own.tenant)}}),
        "an assertion and HTTP Basic": ("POST", _TOKEN, {"data": body, "headers": {"Authorization": other.basic()}}),
        "two assertions": ("POST", _TOKEN, {"data": [*body.items(), ("client_assertion", own.assertion())]}),
        "the same one twice": ("POST", _TOKEN, {"data": [*body.items(), ("client_assertion", assertion)]}),
        "two types": ("POST", _TOKEN, {"data": [*body.items(), ("client_assertion_type", TYPE)]}),
        "another type": ("POST", _TOKEN, {"data": {**body, "client_assertion_type": TYPE.replace("jwt", "saml2")}}),
        "a list in JSON": ("POST", _TOKEN, {"json": {**form, "client_assertion": [assertion]}}),
        "in the URL": ("POST", f"{_TOKEN}?{query}", {"data": {}}),
        "in the URL, by GET": ("GET", f"{_TOKEN}?{query}", {}),
        "its type in the URL": ("POST", f"{_TOKEN}?client_assertion_type={TYPE}", {"data": body}),
        "the URL, in other letters": ("POST", f"{_TOKEN}?client%5Fassertion={assertion}", {"data": body}),
    }
    for name, (method, target, options) in attempts.items():
        response = await here.request(method, target, **options)
        assert response.status in (400, 405), (name, response)
        assert json.loads(response.body)["error"] == "invalid_request"
    assert (await attacker.token_request(form)).status == 200  # nothing of all that used it up
    page.note("attacks", "an assertion beside another proof, twice, or in the URL", len(attempts), "400, 405")


async def test_an_assertion_is_not_good_again_anywhere(attacker: Attacker, stack: Deployment) -> None:
    own, here, there = attacker.keyed, attacker.here, attacker.there
    used = own.form()
    given = await asyncio.gather(*(attacker.token_request(used, app) for app in (here, there) * 10))
    assert sorted(response.status for response in given) == [200, *[401] * 19]
    about = {**used, "token": "x"}
    given += [await app.request("POST", path, data=about) for app in (here, there) for path in (_REVOKE, _INTROSPECT)]
    # The same claims again: signed anew, for the other audience, and a second longer.
    claims = jwt.decode(used["client_assertion"], options={"verify_signature": False})
    for changed in ({}, {"aud": GATEWAY}, {"exp": claims["exp"] + 1}):
        given.append(await attacker.token_request(own.form(own.assertion(**claims | changed)), there))
    refused = [response for response in given if response.status != 200]
    assert len(refused) == len(given) - 1
    lines = [line for app in (here, there) for line in app.host.audited(*refused)]
    assert {line["kind"] for line in lines} == {"assertion-replayed"}
    assert len(lines) == len(refused)
    (row,) = await stack.table(ASSERTIONS).partition(own.client_id)
    assert set(row) - {"Timestamp"} == {"PartitionKey", "RowKey", "Expires"}
    page.note("attacks", "an assertion sent again, at once and later, to two instances", len(given), "one token")


async def test_nobody_learns_of_anothers_token_or_ends_it(attacker: Attacker, stack: Deployment) -> None:
    """A client of the same hospital asks about tokens of others, and about what was never one."""
    own, here, there = attacker.keyed, attacker.here, attacker.there
    neighbour = await stack.client(own.tenant)
    theirs = str(json.loads((await here.request_token(own.tenant, neighbour)).body)["access_token"])
    ended = str(json.loads((await here.request_token(own.tenant, neighbour)).body)["access_token"])
    mine = str(json.loads((await attacker.token_request(own.form())).body)["access_token"])
    assert (await about(here, neighbour, _REVOKE, ended)).status == 200
    head, claims, mark = theirs.split(".")
    decoded = jwt.decode(theirs, options={"verify_signature": False})
    taken_over = {**decoded, "sub": own.client_id, "client_id": own.client_id}
    guesses = {
        "live": theirs,
        "ended": ended,
        "cut": theirs[:-4],
        "longer": f"{theirs}AAAA",
        "without its signature": f"{head}.{claims}.",
        "its id": decoded["jti"],
        "made up": str(uuid.uuid4()),
        "taken over": f"{head}.{encoded(taken_over)}.{mark}",
        "signed by a key of its own": jwt.encode(taken_over, P256, "ES256", {"typ": "at+jwt", "kid": "one"}),
        "not signed": f"{encoded({'alg': 'none', 'typ': 'at+jwt'})}.{encoded(taken_over)}.",
        "huge": "x" * 9000,
        "an assertion": own.assertion(),
        "a path": "../../x",
    }
    told: dict[str, set[tuple[int, bytes]]] = {_REVOKE: set(), _INTROSPECT: set()}
    asked: list[HttpResponse] = []
    for path, answers in told.items():
        for guess in guesses.values():
            asked.append(await here.request("POST", path, data={**own.form(), "token": guess}))
            answers.add((asked[-1].status, asked[-1].body))
    assert told == {_REVOKE: {(200, b"")}, _INTROSPECT: {(200, b'{"active":false}')}}
    assert {(line["client"], line["tenant"], line["kind"]) for line in here.host.audited(*asked)} == {
        (own.client_id, "", "")
    }
    for app in (here, there):
        assert json.loads((await about(app, neighbour, _INTROSPECT, theirs)).body)["active"]
        assert json.loads((await app.request("POST", _INTROSPECT, data={**own.form(), "token": mine})).body)["active"]
    page.note("attacks", "another client's tokens, and guesses, revoked and introspected", len(asked), "one response")


async def about(app: App, who: Credentials, path: str, token: str) -> HttpResponse:
    """Revokes or introspects a token, by a secret."""
    return await app.request("POST", path, data={"token": token}, headers={"Authorization": who.basic()})


async def test_no_spelling_of_resource_leads_to_anothers_tenant(attacker: Attacker) -> None:
    own, mine, theirs = attacker.keyed, attacker.keyed.tenant, attacker.stranger.tenant
    tried = 0
    for foreign in (theirs, theirs.upper(), str(uuid.uuid4())):
        urn, url = f"urn:uuid:{foreign}", f"{GATEWAY}/tenant/{foreign}"
        resources = {
            *(urn, f" {urn} ", urn.upper(), f"urn:uuid:{{{foreign}}}", f"urn:oid:{foreign}", f"{urn} urn:uuid:{mine}"),
            *(url, f"{url}/", f"{url}//", url.upper(), f"{url}?x", f"{url}#x", f"{url}/r4", f"{url},{mine}", foreign),
            *(f"{GATEWAY}:443/tenant/{foreign}", f"{GATEWAY}//tenant/{foreign}", f"/tenant/{foreign}"),
            *(f"https://x@gateway.example/tenant/{foreign}", f"https://elsewhere.example/tenant/{foreign}"),
            *(f"{GATEWAY}/tenant/{mine}/../{foreign}", f"{GATEWAY}/tenant/%7B{foreign}%7D"),
        }
        for scope in ("", mine, foreign, f"{mine} {foreign}", "system/*.rs"):
            given = await asyncio.gather(
                *(attacker.token_request(own.form(resource=resource, scope=scope)) for resource in resources),
            )
            tried += len(given)
            assert {response.status for response in given} == {400}
            errors = [json.loads(response.body) for response in given]
            assert {error["error"] for error in errors} <= {"invalid_target", "invalid_scope"}
            assert not any(theirs in response.body.decode().lower() for response in given)
    # Neither of two is taken, and a foreign hospital is told as one that there is not.
    two = [*own.form().items(), ("resource", f"urn:uuid:{mine}"), ("resource", f"urn:uuid:{theirs}")]
    assert (await attacker.here.request("POST", _TOKEN, data=two)).status == 400
    given = [
        await attacker.token_request(own.form(**named))
        for guid in (theirs, str(uuid.uuid4()))
        for named in ({"scope": guid}, {"scope": "", "resource": f"urn:uuid:{guid}"})
    ]
    assert [response.body for response in given[:2]] == [response.body for response in given[2:]]
    lines = attacker.here.host.audited(*given)
    assert [(line["client"], line["kind"]) for line in lines] == [(own.client_id, "tenant-refused")] * 4
    page.note("attacks", "another hospital, in every spelling of resource and scope", tried, "400; no token")
