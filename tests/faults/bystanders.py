"""Other tenants, who are served all the while: every answer must be theirs, complete, and right."""

import asyncio
import contextlib
import itertools
import json
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.deployment import Deployment
from tests.faults.provider_faults import FHIR
from tests.host import App, HttpResponse


@dataclass
class Bystanders:
    """`wrong` says what should not have been; `seconds` are how long each of their requests took."""

    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def begin(self) -> None:
        self.wrong.clear()
        self.seconds.clear()

    async def served(self, at_least: int, seconds: float = 60) -> None:
        """Waits until so many requests were served since `begin`."""
        for _ in range(int(seconds * 100)):
            if len(self.seconds) + len(self.wrong) >= at_least:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("other tenants are not served")

    def told(self) -> str:
        """What others saw, for the page."""
        return f"{len(self.seconds)} answers, all right"

    def note(self, what: str, answer: HttpResponse, mark: str, others: set[str]) -> None:
        found = {other for other in others if other.encode() in answer.body}
        if answer.status == 200 and mark.encode() in answer.body and not found - {mark}:
            self.seconds.append(answer.seconds)
        else:
            self.wrong.append(f"{what}: {answer.status} {answer.body[:200]!r}, marks {found}")


@asynccontextmanager
async def bystanders(stack: Deployment, app: App, origin: str, count: int) -> AsyncIterator[Bystanders]:
    """`count` tenants of the hospital at `origin`, each with requests of every kind one after the other."""
    found = Bystanders()
    named = [f"mark{uuid.uuid4().hex}" for _ in range(count)]
    batch = itertools.cycle(("native", "split"))
    marks = {await stack.tenant(f"{origin}/{mark}", Batch=next(batch)): mark for mark in named}

    async def live(tenant: str, mark: str) -> None:
        chance = random.Random(mark)
        while True:
            what, answer = await _ask(chance, app, tenant)
            found.note(what, answer, mark, set(marks.values()))
            await asyncio.sleep(chance.uniform(0.0, 0.05))

    tasks = [asyncio.create_task(live(tenant, mark)) for tenant, mark in marks.items()]
    try:
        await found.served(count)
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                task.result()


async def _ask(chance: random.Random, app: App, tenant: str) -> tuple[str, HttpResponse]:
    match chance.randrange(6):
        case 0:
            app.tokens.pop(tenant, None)  # an app may ask for a new token for every request
            return "token and read", await app.fhir(tenant, "Patient/1")
        case 1:
            return "search", await app.fhir(tenant, "Patient?name=x")
        case 2:
            return "post search", await app.fhir(tenant, "Patient/_search", "POST", data={"name": "x"})
        case 3:
            entries = [{"request": {"method": "GET", "url": f"Patient/{number}"}} for number in range(3)]
            batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
            return "batch", await app.fhir(tenant, "", "POST", data=json.dumps(batch), headers={"Content-Type": FHIR})
        case 4:
            answer = await app.fhir(tenant, "Patient?name=y")
            if answer.status != 200:
                return "first page", answer
            (link,) = json.loads(answer.body)["link"]
            return "next page", await app.fhir(tenant, link["url"].split("/stu3/", 1)[1])
    return "read", await app.fhir(tenant, f"Patient/{chance.randrange(1000)}")


@dataclass(frozen=True)
class Scene:
    """Who takes part: the stores, the app of the tenant with the fault, and other tenants."""

    stack: Deployment
    app: App
    others: Bystanders

    @asynccontextmanager
    async def meanwhile(self, tenant: str) -> AsyncIterator[None]:
        """While something happens to the tenant, which has its token, the others are served, and rightly."""
        await self.app.token(tenant)
        self.others.begin()
        yield
        await self.others.served(10)
        assert self.others.wrong == []
