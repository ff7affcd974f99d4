"""A week of a gateway at work, for its pages to show: hospitals in every state, clients, requests, checks."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from local.demo_file import Demo
from shared.audit import AuditLog
from shared.directory.access_requests import AccessRequests
from shared.directory.activity import ActivityLog
from shared.directory.client_registry import ClientRegistry
from shared.directory.provider import Provider
from shared.directory.tenant_registry import TenantRegistry
from shared.directory.traffic import Traffic, hospital_subject
from shared.error_kind import ErrorKind
from shared.fhir.versions import FhirVersion
from shared.settings import Settings
from shared.stores.tables import ACTIVITY, CHECKS, CLIENTS, TENANTS, TRAFFIC, Table, table_service
from shared.stores.vault import Vault

DAYS = 7
SLOT = timedelta(minutes=5)
LONG = "Klinikum der Johannes-Gutenberg-Stiftung an der Donau, Abteilung für Onkologie und Palliativmedizin"
TOWNS = (
    "Aldersgate",
    "Bellmore",
    "Cedar Ridge",
    "Dunmore",
    "Eastfield",
    "Fairhaven",
    "Glenbrook",
    "Harborview",
    "Ironwood",
)
KINDS = ("General Hospital", "Infirmary", "Children's Hospital", "Medical Center", "Clinic", "Heart Institute")
NAMES = (*(f"{town} {kind}" for kind in KINDS for town in TOWNS), LONG)


@dataclass(frozen=True)
class Story:
    """What happens at a hospital: its usual milliseconds and requests in five minutes, and what fails since when."""

    milliseconds: float
    requests: float
    kind: ErrorKind | None = None
    failing_hours: float = 0


STORIES = (
    Story(84, 9),
    Story(130, 6),
    Story(210, 5, ErrorKind.CREDENTIAL_REFUSED, 3.2),
    Story(2900, 3),
    Story(60, 4, ErrorKind.UNREACHABLE, 26),
    Story(150, 3),
    Story(95, 2),
)


@dataclass(frozen=True)
class Week:
    """Where to look: the paths of a hospital that answers and of one that fails, and the ids of two clients."""

    answers: str
    fails: str
    client: str
    expiring: str


def _id(number: int) -> str:
    return str(UUID(int=random.Random(number).getrandbits(128), version=4))


async def fill(folder: Path, demo: Demo) -> Week:
    """Writes the week that ends now into the stores of a running stack, whose settings are in `folder`."""
    values = msgspec.json.decode((folder / "local.settings.json").read_bytes())["Values"]
    settings, now = Settings.from_environment(values), datetime.now(UTC)
    vault = Vault(settings)
    async with table_service(settings) as service:
        tenants = TenantRegistry(Table(service, TENANTS), local=True)
        for number, name in enumerate(NAMES):
            host = "".join(letter for letter in name.lower()[:16] if "a" <= letter <= "z")
            columns = {"Name": name, "BaseUrl": f"https://fhir.{host}.example/api/r4", "Enabled": str(number != 16)}
            await tenants.set(_id(number), FhirVersion.R4, columns)
            if number != 13:
                provider = await tenants.get(_id(number), FhirVersion.R4)
                assert provider is not None
                ends = {"gateway-certificate": now + timedelta(days=16)} if number in (4, 8) else {}
                await Table(service, CHECKS).put(_check(provider, now - timedelta(hours=number + 2), ends))
        clients = ClientRegistry(Table(service, CLIENTS), vault)
        soon, later = now + timedelta(days=9), now + timedelta(days=170)
        reaching = [_id(number) for number in range(4)]
        first = await clients.create("Ward round app", "ada@example.com", reaching, expires=soon, label="production")
        await clients.add_secret(first.client_id, later, "staging")
        second = await clients.create("Discharge letters", "linus@example.com", reaching[:1], expires=later)
        for client, number in ((first, 9), (second, 3), (second, 14)):
            await AccessRequests(Table(service, CLIENTS)).ask(client.client_id, _id(number), "ada@example.com")
        activity = ActivityLog(Table(service, ACTIVITY), AuditLog())
        changed = (
            ("set-secret", f"{_id(2)}/r4", "cedar-ridge"),
            ("verify", f"{_id(0)}/r4", "loads"),
            ("set", f"{_id(3)}/r4", "TimeoutSeconds"),
        )
        for action, subject, detail in changed:
            await activity.change(actor="grace@example.com", action=f"tenant.{action}", subject=subject, detail=detail)
        await activity.change(actor="ada@example.com", action="client.add-secret", subject=first.client_id)
        await _traffic(Table(service, TRAFFIC), now, [demo.client_id, first.client_id])
    await vault.close()
    return Week(f"/tenants/{_id(0)}/r4", f"/tenants/{_id(2)}/r4", second.client_id, first.client_id)


def _check(provider: Provider, at: datetime, ends: dict[str, datetime]) -> dict[str, object]:
    row = {"PartitionKey": provider.tenant, "RowKey": "r4", "Binding": provider.binding, "At": at, "Since": at}
    row |= {"By": "upkeep", "Verdict": "loads", "Problem": "", "Milliseconds": 240, "Report": b""}
    return {**row, "Ends": msgspec.json.encode(ends).decode()}


async def _traffic(table: Table, now: datetime, clients: list[str]) -> None:
    clock = now - timedelta(days=DAYS)
    traffic, chance = Traffic(table, lambda: clock.timestamp()), random.Random(16)
    while clock < now:
        for number, story in enumerate(STORIES):
            for kind in _requests(story, clock, now, chance):
                client = clients[number % 2]
                hops = {"auth": 0.4, "directory": 0.2, "gateway": 2.5, "credential": 0.1}
                hops["upstream"] = story.milliseconds * chance.lognormvariate(0, 0.5)
                status = 200 if kind is None else 404 if kind is ErrorKind.NOT_FOUND else 502
                subject = hospital_subject(_id(number), "r4")
                traffic.fhir_request(client, subject, status, kind, hops, answered=status != 502)
        if clock.minute < 5:
            traffic.token_request(clients[0], None)
            traffic.token_request(clients[1], ErrorKind.SECRET_WRONG if chance.random() < 0.1 else None)
            await traffic.flush()
        clock += SLOT
    await traffic.close()


def _requests(story: Story, at: datetime, now: datetime, chance: random.Random) -> Iterator[ErrorKind | None]:
    """The requests of five minutes, each by its error: more by day, few at the weekend."""
    busy = (1.1 - math.cos((at.hour + at.minute / 60) / 24 * 2 * math.pi)) * (0.4 if at.weekday() > 4 else 1)
    for _ in range(int(story.requests * busy * chance.uniform(0.7, 1.3))):
        failing = story.kind is not None and now - at < timedelta(hours=story.failing_hours)
        rare = ErrorKind.TIMED_OUT if now - at > timedelta(hours=1) else None
        yield story.kind if failing else chance.choices([None, ErrorKind.NOT_FOUND, rare], [97, 2, 1])[0]
