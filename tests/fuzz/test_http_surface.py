"""The published HTTP surface (`docs/openapi.yaml`) under generated requests: no 5xx, no hang, no leak.

Processes beside this one generate the requests, and many are under way at a time. One that is answered wrongly is
printed; its token, and what `KNOWN` stands for, are those of a client of one's own.
"""

import asyncio
import json
import math
import multiprocessing
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor as Generators
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.deployment import Deployment
from tests.faults import page
from tests.faults.conftest import FULL
from tests.fuzz.generated import KNOWN, OPERATIONS, Generated, generate
from tests.host import App, Host

_CASES = math.ceil(int(os.environ.get("FUZZ_CASES", "100000" if FULL else "900")) / len(OPERATIONS))
_CHUNK = 1000  # cases that a process generates at a time; the more, the fewer of them are alike
_AT_ONCE = 64  # a refused token request takes a fifth of a second
_SECONDS = 60
_GROWTH_BYTES = 150 * 1_048_576
_SECRET = "s3cret-of-the-provider"
_OTHERS_MARK = "mark-of-another-tenant"


@dataclass(frozen=True)
class Target:
    """The instance, one of its tenants with all that `KNOWN` stands for, and what no answer may hold."""

    host: Host
    token: str
    known: Mapping[bytes, bytes]
    hidden: tuple[bytes, ...]


@dataclass
class Found:
    """What became of the requests of one operation; `wrong` are those that were not answered as they must be."""

    statuses: Counter[int] = field(default_factory=Counter)
    different: set[int] = field(default_factory=set)
    wrong: list[tuple[str, Generated]] = field(default_factory=list)


@pytest.fixture(scope="module")
async def target(stack: Deployment, host: Host, own_app: App, healthy_origin: str) -> AsyncIterator[Target]:
    """While it is used another tenant is served as well; afterwards nothing may be left of the requests."""
    secret = await stack.secret(_SECRET)
    columns = {"Access": "write", "Batch": "split", "Auth": "header", "AuthHeader": "X-Key", "AuthSecret": secret}
    tenant = await stack.tenant(f"{healthy_origin}/fuzzed", **columns)
    await stack.tenant(f"{healthy_origin}/fuzzed", "r4", tenant, **columns)
    other = await stack.tenant(f"{healthy_origin}/{_OTHERS_MARK}")
    bundle = json.loads((await own_app.fhir(tenant, "Patient?name=x")).body)
    handle = bundle["link"][0]["url"].rpartition("=")[2]
    known = zip(KNOWN, (own_app.client.client_id, own_app.client.client_secret, tenant, handle), strict=True)
    before, connections = host.memory(), len(host.functions.net_connections())
    beside = asyncio.create_task(serve_another(own_app, other))
    yield Target(
        host,
        await own_app.token(tenant),
        {name.encode(): value.encode() for name, value in known},
        (healthy_origin.split("//")[1].encode(), _SECRET.encode(), _OTHERS_MARK.encode()),
    )
    beside.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beside
    grown = host.memory() - before
    assert grown < _GROWTH_BYTES
    left = await until_closed(host, connections) if FULL else connections  # kept connections end within half a minute
    assert left <= connections
    assert host.unexpected() == []
    figure = f"memory {grown / 1_048_576:+.0f} MB{', no connection more than before' if FULL else ''}"
    page.note("fuzzing", "left in the instance afterwards", *("-",) * 5, figure)


@pytest.fixture(scope="module")
def generators() -> Iterator[Generators]:
    with Generators(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("label", OPERATIONS)
async def test_no_request_gets_a_5xx_hangs_or_leaks(label: str, target: Target, generators: Generators) -> None:
    found = await fuzz(label, target, generators)
    kinds = Counter({f"{status // 100}xx": 0 for status in (200, 400, 500)})
    for status, count in found.statuses.items():
        kinds["2xx" if status < 400 else f"{status // 100}xx"] += count
    cells = (found.statuses.total(), len(found.different), kinds["2xx"], kinds["4xx"], kinds["5xx"])
    page.note("fuzzing", f"`{label}`", *cells, len(found.wrong) or "nothing")
    shortest = sorted(found.wrong, key=lambda pair: len(pair[1].target) + len(pair[1].body))[:5]
    assert not found.wrong, "\n".join(f"{why}: {case}" for why, case in shortest)
    assert found.statuses.total() >= _CASES


async def fuzz(label: str, target: Target, generators: Generators) -> Found:
    """Sends the generated requests of one operation, and judges every answer."""
    documented = documented_statuses(label)
    found = Found()
    loop = asyncio.get_running_loop()
    chunks = [
        loop.run_in_executor(generators, generate, label, min(_CHUNK, _CASES - start), start)
        for start in range(0, _CASES, _CHUNK)
    ]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def judged(case: Generated) -> None:
        try:
            status, why = await answer_to(case, target, session, documented)
        finally:
            slots.release()
        found.statuses[status] += 1
        if why:
            found.wrong.append((why, case))

    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
        asyncio.TaskGroup() as under_way,
    ):
        for chunk in asyncio.as_completed(chunks):
            for case in await chunk:
                found.different.add(hash(case))
                await slots.acquire()
                under_way.create_task(judged(case))
    return found


async def answer_to(
    case: Generated, target: Target, session: aiohttp.ClientSession, documented: set[int]
) -> tuple[int, str]:
    """The status, and what is wrong with the answer: "" for nothing."""
    headers = dict(case.headers)
    if "/oauth2/" not in case.target:
        headers.setdefault("Authorization", f"Bearer {target.token}")
    body, path = case.body, case.target.encode()
    for name, value in target.known.items():
        body, path = body.replace(name, value), path.replace(name, value)
    url = URL(target.host.url + path.decode(), encoded=True)
    try:
        async with session.request(
            case.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            return answer.status, wrong(answer, await answer.read(), documented, target.hidden)
    except TimeoutError:
        return 0, f"no answer within {_SECONDS} s"
    except aiohttp.ClientError as error:
        return 0, f"no answer: {error!r}"


def wrong(answer: aiohttp.ClientResponse, body: bytes, documented: set[int], hidden: tuple[bytes, ...]) -> str:
    """What is wrong with an answer. An error is an OperationOutcome, OAuth's, or the host's own: empty or text."""
    status, headers = answer.status, answer.headers
    if status >= 500:
        return f"{status} {body[:300]!r}"
    # A path that is no route, such as an empty type, is the host's 404; a method in no route as well.
    if status not in documented | {400, 404, 405, 414} | ({204} if answer.method == "OPTIONS" else set()):
        return f"{status} is not documented"
    shown = body + repr(headers).encode()
    if held := [mark for mark in hidden if mark in shown]:
        return f"{status} holds {held}"
    media = headers.get("Content-Type", "")
    if status < 400 or not body or media.startswith("text/plain"):
        return ""
    if "xml" in media:
        return "" if b"<OperationOutcome" in body else f"{status} {body[:300]!r}"
    document = json.loads(body)
    oauth = {"error", "error_description", "error_uri"}
    right = document.get("resourceType") == "OperationOutcome" or set(document) == oauth
    return "" if right else f"{status} {body[:300]!r}"


def documented_statuses(label: str) -> set[int]:
    """Those of the operation's path: now and then a request has another method."""
    path = label.partition(" ")[2]
    operations = [operation for name, operation in OPERATIONS.items() if name.partition(" ")[2] == path]
    return {int(status) for operation in operations for status in operation.definition.raw["responses"]}


async def serve_another(app: App, tenant: str) -> None:
    while True:
        answer = await app.fhir(tenant, "Patient/1")
        assert (answer.status, _OTHERS_MARK.encode() in answer.body) == (200, True)
        await asyncio.sleep(0.5)


async def until_closed(host: Host, most: int) -> int:
    """The connections that are open once no more than `most` are, or after twice the time that idle ones are kept."""
    for _ in range(60):
        if len(host.functions.net_connections()) <= most:
            break
        await asyncio.sleep(0.5)
    return len(host.functions.net_connections())


def test_every_method_of_every_public_function_is_in_the_document() -> None:
    methods = {label.partition(" ")[0].lower() for label in OPERATIONS}
    for file in Path(__file__).parents[2].glob("*_fn/function.json"):
        trigger = json.loads(file.read_text())["bindings"][0]
        if file.parent.name in ("portal_fn", "upkeep_fn"):
            continue
        place = trigger["route"].split("/")[0]
        assert place.startswith(("{base:", "{first:")) or any(f"/{place}" in label for label in OPERATIONS), place
        assert set(trigger["methods"]) - methods <= {"head", "options"}
