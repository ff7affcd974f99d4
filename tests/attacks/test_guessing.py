"""Guessing: made-up clients, secrets, tenants, tokens and handles get one answer each, and memory stays bounded."""

import asyncio
import json
import random
import statistics
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from secrets import token_urlsafe

from shared.directory.client import new_client_secret
from tests.deployment import Deployment
from tests.faults import page
from tests.faults.conftest import FULL
from tests.host import App, HttpResponse

_TRIES = 20_000 if FULL else 400
_AT_ONCE = 50
_REFUSAL_SECONDS = 0.2  # refusals are answered at whole steps of it, so another kind of time is half a step off
_GROWTH_BYTES = 150 * 1_048_576


async def many(ask: Callable[[], object]) -> list[HttpResponse]:
    found: list[HttpResponse] = []
    for _ in range(_TRIES // _AT_ONCE):
        found += await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))  # type: ignore[call-overload]
    return found


async def test_made_up_clients_and_secrets_get_one_answer(stack: Deployment, own_app: App) -> None:
    tenant = str(uuid.uuid4())
    own = own_app.client

    def client_id() -> str:
        return str(uuid.uuid4())

    kinds = {
        "unknown clients": lambda: replace(own, client_id=client_id(), client_secret=new_client_secret()),
        "wrong secrets of a known id": lambda: replace(own, client_secret=f"{own.secret_id}.{token_urlsafe(32)}"),
        "unknown secrets of a known client": lambda: replace(own, client_secret=new_client_secret()),
        "ids of Key Vault's other secrets": lambda: replace(own, client_id="token-signing", client_secret="key.x"),
    }
    before = own_app.host.memory()
    answers: dict[str, list[HttpResponse]] = {name: [] for name in kinds}
    for _ in range(_TRIES // _AT_ONCE):
        # Mixed, so that whatever else slows the machine down slows all kinds alike.
        asked = random.choices(list(kinds), k=_AT_ONCE)
        for name, answer in zip(
            asked, await asyncio.gather(*(own_app.request_token(tenant, kinds[name]()) for name in asked)), strict=True
        ):
            answers[name].append(answer)
    assert {answer.status for found in answers.values() for answer in found} == {401}
    assert len({answer.body for found in answers.values() for answer in found}) == 1
    medians = {name: statistics.median(answer.seconds for answer in found) for name, found in answers.items()}
    assert max(medians.values()) - min(medians.values()) < _REFUSAL_SECONDS / 2
    for name, found in answers.items():
        figure = f"401, one and the same body; median {medians[name] * 1000:.0f} ms"
        page.note("attacks", f"guessing: {name}", len(found), figure)
    assert own_app.host.memory() - before < _GROWTH_BYTES


async def test_made_up_tenants_get_one_answer_and_leave_memory_as_it_is(own_app: App) -> None:
    before = own_app.host.memory()
    answers = await many(lambda: own_app.request_token(str(uuid.uuid4())))
    assert {answer.status for answer in answers} == {400}
    assert {json.loads(answer.body)["error"] for answer in answers} == {"invalid_scope"}
    assert own_app.host.memory() - before < _GROWTH_BYTES
    page.note("attacks", "guessing: tenants", len(answers), f"400; memory {_grown(own_app, before)}")


async def test_made_up_tokens_and_kids_get_one_answer_and_leave_memory_as_it_is(own_app: App) -> None:
    def token() -> str:
        head = {"alg": "ES256", "typ": "at+jwt", "kid": uuid.uuid4().hex}
        return ".".join(
            urlsafe_b64encode(part).decode().rstrip("=") for part in (json.dumps(head).encode(), b"{}", b"s" * 64)
        )

    before = own_app.host.memory()
    answers = await many(
        lambda: own_app.request("GET", "/stu3/Patient/1", headers={"Authorization": f"Bearer {token()}"})
    )
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert own_app.host.memory() - before < _GROWTH_BYTES
    page.note("attacks", "guessing: tokens with made-up keys", len(answers), f"401; memory {_grown(own_app, before)}")


async def test_made_up_handles_get_one_answer_and_leave_memory_as_it_is(
    stack: Deployment, own_app: App, healthy_origin: str
) -> None:
    tenant = await stack.tenant(f"{healthy_origin}/guessed")
    await own_app.token(tenant)
    before = own_app.host.memory()
    answers = await many(lambda: own_app.fhir(tenant, f"Patient?_page={token_urlsafe(24)}"))
    assert {answer.status for answer in answers} == {404}
    assert own_app.host.memory() - before < _GROWTH_BYTES
    page.note("attacks", "guessing: page handles", len(answers), f"404; memory {_grown(own_app, before)}")


def _grown(app: App, before: int) -> str:
    return f"{(app.host.memory() - before) / 1_048_576:+.0f} MB"
