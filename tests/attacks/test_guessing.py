"""Guessing: made-up clients, secrets, tenants, tokens and handles get one answer each, and memory stays bounded."""

import asyncio
import json
import random
import statistics
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from secrets import token_urlsafe
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from shared.directory.client import new_client_secret
from shared.directory.client_registry import ClientRegistry
from shared.stores.tables import CLIENTS
from tests.deployment import Deployment
from tests.faults import page
from tests.faults.conftest import FULL
from tests.host import App, HttpResponse
from tests.oauth.keyed_app import P384, KeyedApp, jwk, key_set

_TRIES = 20_000 if FULL else 400
_AT_ONCE = 50
_REFUSAL_SECONDS = 0.2  # refusals are answered at whole steps of it, so another kind of time is half a step off
_GROWTH_BYTES = 150 * 1_048_576

pytestmark = pytest.mark.slow  # times and memory are compared: nothing else may run


async def test_made_up_clients_and_secrets_get_one_answer(stack: Deployment, own_app: App) -> None:
    tenant, own = str(uuid.uuid4()), own_app.client
    registry = ClientRegistry(stack.table(CLIENTS), stack.vault)
    keyed = KeyedApp(stack, await registry.create_with_keys("Bulk", "ada", "*", jwks=key_set(jwk(P384))), tenant)
    secrets = {
        "unknown clients": lambda: replace(own, client_id=str(uuid.uuid4()), client_secret=new_client_secret()),
        "wrong secrets of a known id": lambda: replace(own, client_secret=f"{own.secret_id}.{token_urlsafe(32)}"),
        "unknown secrets of a known client": lambda: replace(own, client_secret=new_client_secret()),
        "ids of Key Vault's other secrets": lambda: replace(own, client_id="token-signing", client_secret="key.x"),
    }
    other = ec.generate_private_key(ec.SECP384R1())
    kinds = {name: lambda make=make: make().form(tenant) for name, make in secrets.items()} | {
        "assertions of unknown clients": lambda: replace(keyed, client_id=str(uuid.uuid4())).form(),
        "assertions by an unknown key": lambda: keyed.form(keyed.assertion(head={"kid": uuid.uuid4().hex})),
        "assertions by another key of that name": lambda: keyed.form(keyed.assertion(key=other)),
    }
    before = own_app.host.memory()
    answers: dict[str, list[HttpResponse]] = {name: [] for name in kinds}
    for _ in range(_TRIES // _AT_ONCE):
        # Mixed, so that whatever else slows the machine down slows all kinds alike.
        asked = random.choices(list(kinds), k=_AT_ONCE)
        given = await asyncio.gather(*(own_app.request("POST", "/oauth2/token", data=kinds[name]()) for name in asked))
        for name, answer in zip(asked, given, strict=True):
            answers[name].append(answer)
    assert {answer.status for found in answers.values() for answer in found} == {401}
    assert len({answer.body for found in answers.values() for answer in found}) == 1
    medians = {name: statistics.median(answer.seconds for answer in found) for name, found in answers.items()}
    assert max(medians.values()) - min(medians.values()) < _REFUSAL_SECONDS / 2
    for name, found in answers.items():
        figure = f"401, one and the same body; median {medians[name] * 1000:.0f} ms"
        page.note("attacks", f"guessing: {name}", len(found), figure)
    assert own_app.host.memory() - before < _GROWTH_BYTES


def made_up() -> dict[str, str]:
    head = json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": uuid.uuid4().hex}).encode()
    parts = (urlsafe_b64encode(part).decode().rstrip("=") for part in (head, b"{}", b"s" * 64))
    return {"Authorization": f"Bearer {'.'.join(parts)}"}


def introspect(app: App, token: str) -> Awaitable[HttpResponse]:
    form = {"client_id": app.client.client_id, "client_secret": app.client.client_secret, "token": token}
    return app.request("POST", "/oauth2/introspect", data=form)


@pytest.mark.parametrize(
    ("guessed", "status", "ask"),
    [
        ("tenants", 400, lambda app, tenant: app.request_token(str(uuid.uuid4()))),
        ("tokens with made-up keys", 401, lambda app, tenant: app.request("GET", "/r4/Patient/1", headers=made_up())),
        ("tokens to introspect", 200, lambda app, tenant: introspect(app, made_up()["Authorization"].split()[1])),
        ("page handles", 404, lambda app, tenant: app.fhir(tenant, f"Patient?_page={token_urlsafe(24)}")),
    ],
)
async def test_what_is_made_up_gets_one_response_and_leaves_memory_as_it_is(
    guessed: str, status: int, ask: Callable[[App, str], Any], stack: Deployment, own_app: App, healthy_origin: str
) -> None:
    tenant = await stack.tenant(f"{healthy_origin}/guessed")
    await own_app.token(tenant)
    before = own_app.host.memory()
    responses: list[HttpResponse] = []
    for _ in range(_TRIES // _AT_ONCE):
        responses += await asyncio.gather(*(ask(own_app, tenant) for _ in range(_AT_ONCE)))
    assert {response.status for response in responses} == {status}
    assert len({response.body for response in responses}) == 1
    grown = own_app.host.memory() - before
    assert grown < _GROWTH_BYTES
    page.note("attacks", f"guessing: {guessed}", len(responses), f"{status}; memory {grown / 1_048_576:+.0f} MB")
