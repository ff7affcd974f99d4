"""An app with an HTTP cache in front, of two tenants: no patient of the one is handed to the other's token.

The tenant is in the Authorization header alone, so that both ask for the same URL; what their providers say of caching,
and their patients' versions, are the same.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import product
from pathlib import Path
from random import Random

import hishel
import hishel.httpx
import pytest
import requests
from aiohttp import web
from cachecontrol import CacheControl
from cachecontrol.heuristics import LastModified

from tests.deployment import Deployment
from tests.faults import page
from tests.faults.conftest import FULL
from tests.host import App

_DAY, _PAST = "Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"
_SAID: Mapping[str, tuple[str | None, ...]] = {
    "Cache-Control": (
        *(None, "max-age=3600", "public, max-age=3600", "private, max-age=3600", "public", ",,max-age=3600,x"),
        *("immutable, max-age=31536000", "s-maxage=3600, must-revalidate", "no-cache", "no-transform"),
        *("max-age=0, stale-while-revalidate=3600, stale-if-error=3600", 'no-cache="Authorization", max-age=3600'),
    ),
    "Expires": (None, _DAY, _PAST),
    "ETag": (None, 'W/"1"'),
    "Last-Modified": (None, _PAST),
    "Vary": (None, "Accept", "Authorization", "*", "Accept-Encoding"),
}
_ALL = [
    {name: value for name, value in zip(_SAID, said, strict=True) if value is not None}
    for said in product(*_SAID.values())
]
_TRIED = _ALL if FULL else Random(1).sample(_ALL, 60)

Get = Callable[[str, str], str]


@pytest.fixture(scope="module")
async def caching_provider() -> AsyncIterator[str]:
    """A server whose first path segment is a hospital; the patient's id is the number of what is said of caching."""

    async def answer(request: web.BaseRequest) -> web.Response:
        _, mark, _, id = request.path.split("/")
        headers = _TRIED[int(id)]
        if request.headers.get("If-None-Match") == headers.get("ETag", ""):
            return web.Response(status=304, headers=headers)
        patient = {"resourceType": "Patient", "id": id, "name": [{"family": mark}]}
        return web.json_response(patient, headers=headers, content_type="application/fhir+json")

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def _with_cachecontrol(**options: object) -> Get:
    session = CacheControl(requests.Session(), **options)
    return lambda url, token: session.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=30).text


def _with_hishel(folder: Path, *, shared: bool) -> Get:
    connection = sqlite3.connect(folder / "cache.db", check_same_thread=False)
    storage = hishel.SqliteStorage(connection=connection)
    client = hishel.httpx.CacheClient(storage=storage, rfc=hishel.CacheOptions(shared=shared), timeout=30)
    return lambda url, token: client.get(url, headers={"Authorization": f"Bearer {token}"}).text


_APPS: Mapping[str, Callable[[Path], Get]] = {
    "cachecontrol": lambda _: _with_cachecontrol(),
    "cachecontrol with a heuristic": lambda _: _with_cachecontrol(heuristic=LastModified()),
    "hishel": lambda folder: _with_hishel(folder, shared=False),
    "hishel as a shared cache": lambda folder: _with_hishel(folder, shared=True),
}


@pytest.mark.parametrize("name", _APPS)
async def test_no_http_cache_hands_a_patient_to_another_tenant(
    name: str, stack: Deployment, own_app: App, caching_provider: str, tmp_path: Path
) -> None:
    get = _APPS[name](tmp_path)
    tenants = {mark: await stack.tenant(f"{caching_provider}/{mark}") for mark in ("northern", "southern")}
    tokens = {mark: await own_app.token(tenant) for mark, tenant in tenants.items()}

    def crossed() -> list[str]:
        found = []
        for number, headers in enumerate(_TRIED):
            url = f"{own_app.host.url}/stu3/Patient/{number}"
            for mark in ("northern", "southern", "northern"):
                body = get(url, tokens[mark])
                if mark not in body:
                    found.append(f"{headers}: {mark} got {body[:200]}")
        return found

    assert await asyncio.to_thread(crossed) == []
    page.note("attacks", f"one URL by two tenants, through an app's HTTP cache: {name}", len(_TRIED), "no mark crossed")
