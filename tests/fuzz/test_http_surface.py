"""The published HTTP surface (`docs/openapi.yaml`) under generated requests: no 5xx, no hang, the promised shapes."""

import asyncio
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from tests.faults import page
from tests.faults.conftest import FULL
from tests.faults.stack import App, Host, Stack

_SCHEMA = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.yaml")
_OPERATIONS = {found.ok().label: found.ok() for found in _SCHEMA.get_all_operations() if isinstance(found, Ok)}
_CASES = int(os.environ.get("FUZZ_CASES", "100000" if FULL else "800"))
_TOKEN_CASES = _CASES // 50  # few: a failed authentication takes a fifth of a second
_SECONDS = 30


@pytest.mark.parametrize("label", _OPERATIONS)
async def test_no_generated_request_gets_a_5xx_or_hangs(
    label: str, stack: Stack, host: Host, own_app: App, healthy_origin: str
) -> None:
    tenant = await stack.tenant(f"{healthy_origin}/fuzzed", Access="write")
    token = await own_app.token(tenant)
    sent = await asyncio.to_thread(fuzz, label, host.url, {"Authorization": f"Bearer {token}"})
    assert host.unexpected() == []
    page.note("fuzzing", f"`{label}`", sent, 0, "nothing")


def fuzz(label: str, url: str, headers: dict[str, str]) -> int:
    """Sends requests of one operation, valid and not, and returns how many; fails with the smallest that is wrong."""
    operation = _OPERATIONS[label]
    tokens = label == "POST /oauth2/token"
    count = _TOKEN_CASES if tokens else math.ceil((_CASES - _TOKEN_CASES) / (len(_OPERATIONS) - 1))
    documented = {int(status) for status in operation.definition.raw["responses"]}
    cases = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )
    session = requests.Session()
    sent = 0

    @given(cases)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    def send(case: Any) -> None:
        nonlocal sent
        sent += 1
        own = headers if label.partition(" ")[2].startswith("/{base}") else {}
        answer = case.call(base_url=url, session=session, headers=own, timeout=_SECONDS, allow_redirects=False)
        assert answer.status_code < 500, (answer.status_code, answer.content[:300])
        # A path that is no route, such as an empty type, is the host's 404; a method in no route as well.
        assert answer.status_code in documented | {204, 400, 404, 405, 414}, answer.status_code
        check(answer.status_code, answer.content, dict(answer.headers))

    with session:
        send()
    return sent


def check(status: int, body: bytes, headers: dict[str, list[str]]) -> None:
    """Fails when an error is neither an OperationOutcome, nor OAuth's, nor the host's own: empty, or plain text."""
    media = "".join(value for name, values in headers.items() if name.lower() == "content-type" for value in values)
    if status < 400 or not body or media.startswith("text/plain"):
        return
    if "xml" in media:
        assert b"<OperationOutcome" in body
        return
    document = json.loads(body)
    assert document.get("resourceType") == "OperationOutcome" or set(document) == {"error", "error_description"}


def test_every_method_of_every_public_function_is_in_the_document() -> None:
    methods = {label.partition(" ")[0].lower() for label in _OPERATIONS}
    for file in Path(__file__).parents[2].glob("*_fn/function.json"):
        trigger = json.loads(file.read_text())["bindings"][0]
        if file.parent.name == "portal_fn":
            continue
        place = trigger["route"].split("/")[0]
        assert place.startswith("{base:") or any(f"/{place}" in label for label in _OPERATIONS), place
        assert set(trigger["methods"]) - methods <= {"head", "options"}
