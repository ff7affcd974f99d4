import asyncio
import json
import time
from typing import Any

import pytest
from markdown_it import MarkdownIt

from shared import app_guide
from shared.fhir.versions import FhirVersion, fhir_bases
from shared.message import Request
from shared.root import RootEndpoint

GATEWAY = "https://gateway.test"
endpoint = RootEndpoint(GATEWAY, FhirVersion.STU3)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/", "/favicon.ico"])
@pytest.mark.parametrize("accept", [None, "application/fhir+json", "text/html,*/*;q=0.8"])
async def test_whoever_comes_without_a_base_is_told_the_bases(method: str, path: str, accept: str | None) -> None:
    response = await endpoint(Request(method, path, "", {"accept": accept} if accept else {}))
    is_page = method != "POST" and accept is not None and "text/html" in accept
    assert response.status == (200 if is_page and path == "/" else 404)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"].startswith("text/html" if is_page else "application/fhir+json")
    if is_page:
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    if method == "HEAD":
        assert response.body == b""
        return
    text = response.body.decode() if is_page else json.loads(response.body)["issue"][0]["diagnostics"]
    assert all(f"{GATEWAY}/{base}" in text for base in fhir_bases(FhirVersion.STU3))


async def test_of_many_who_ask_first_one_has_the_guide_read(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, reading = MarkdownIt.parse, list[int]()

    def slowly(*arguments: Any) -> Any:
        reading.append(1)
        together.append(len(reading))
        time.sleep(0.05)
        reading.pop()
        return parse(*arguments)

    together: list[int] = []
    monkeypatch.setattr(MarkdownIt, "parse", slowly)
    for kept in (app_guide.blocks, app_guide.page):
        kept.cache_clear()
    responses = await asyncio.gather(*(endpoint(Request("GET", "/", "", {"accept": "text/html"})) for _ in range(4)))
    assert {response.status for response in responses} == {200}
    assert max(together) == 1
