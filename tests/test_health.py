import asyncio
import json

import pytest

from shared import health as module
from shared.health import HealthEndpoint
from shared.message import Request, Response
from shared.stores.errors import StoreUnavailable

GET = Request("GET", "/health")


class Store:
    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def check(self) -> None:
        self.asked += 1
        await self.open.wait()
        if self.error:
            raise self.error


def told(response: Response) -> tuple[int, object]:
    assert response.headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return response.status, json.loads(response.body)


async def test_it_is_ok_when_every_store_answers_and_only_read() -> None:
    endpoint = HealthEndpoint({"tables": Store().check, "key_vault": Store().check})
    assert told(await endpoint(GET)) == (200, {"status": "ok", "checks": {"tables": "ok", "key_vault": "ok"}})
    head = await endpoint(Request("HEAD", "/health"))
    assert (head.status, head.body) == (200, b"")
    post = await endpoint(Request("POST", "/health"))
    assert (post.status, post.headers["Allow"]) == (405, "GET, HEAD")


async def test_a_store_that_fails_is_named_without_the_reason() -> None:
    broken = Store()
    broken.error = StoreUnavailable("https://inner.example answered 403")
    endpoint = HealthEndpoint({"tables": Store().check, "key_vault": broken.check})
    expected = {"status": "unavailable", "checks": {"tables": "ok", "key_vault": "unavailable"}}
    assert told(await endpoint(GET)) == (503, expected)


async def test_a_store_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0.01)
    hanging = Store()
    hanging.open.clear()
    status, _ = told(await HealthEndpoint({"tables": hanging.check})(GET))
    assert status == 503


async def test_the_stores_are_asked_once_however_many_call(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    store.open.clear()
    endpoint = HealthEndpoint({"tables": store.check})
    asked = asyncio.gather(*(endpoint(GET) for _ in range(50)))
    await asyncio.sleep(0.01)
    store.open.set()
    assert {response.status for response in await asked} == {200}
    await endpoint(GET)
    assert store.asked == 1
    monkeypatch.setattr(module, "_REMEMBERED_SECONDS", {True: -1.0, False: -1.0})
    store.error = StoreUnavailable("down")
    assert (await endpoint(GET)).status == 503
    assert store.asked == 2
