"""Every page of the portal with 10,000 hospitals, a check of each, and 90 days of traffic of 500.

Of the traffic those rows are written that a page may read: the partition `all`, with the digests of two days, and those
of one hospital and one client. Azurite looks through all rows for each query where Table Storage goes to a partition by
its key, so the million rows of the others would measure Azurite.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from urllib.parse import urlencode

from bench.comparison import FORM
from bench.deployment import Deployment
from bench.stand_ins import tenant_id
from shared.application import Application
from shared.directory.client_keys import parse_key_set
from shared.directory.traffic import ALL, HOPS, Traffic, client_subject, hospital_subject
from shared.error_kind import ErrorKind
from shared.message import Request
from shared.onboarding.report import Verdict
from shared.settings import Settings
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import ACTIVITY, CHECKS, CLIENTS, TENANTS, TRAFFIC, Row, Table, table_service

HOSPITALS = 10_000
_BUSY = 500
_DAYS = 90
_INSTANCES = 2
_CLIENTS = 200
_CHANGES = 500
_ROUNDS = 5
_ATTEMPTS = 5
_VARIANTS = ("/tenants?state=failing", "/tenants?sort=-requests&page=7", "/tenants?q=hospital+77", "{row}?days=7")
_NO_PAGES = ("static", "export", "env", "sign-in")


@dataclass(frozen=True, slots=True)
class PageTimes:
    """Milliseconds of a page: the first view, in the order of the list after a start, and the median of later ones."""

    first: float
    later: float


class _Kept(Table):
    """A table that keeps here what is written."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    async def put(self, row: Row) -> None:
        self.rows.append(row)


async def pages(deployment: Deployment) -> Mapping[str, PageTimes]:
    """Each page's times, by its path as the routes have it."""
    client = deployment.client
    async with table_service(deployment.settings) as service:
        for name, rows in (await _rows(client.client_id)).items():
            await _insert(Table(service, name), rows)
    known = {"tenant": tenant_id(0), "version": "stu3", "client": client.client_id, "secret": client.secret_id}
    key = parse_key_set(deployment.jwks)[0].id
    return await _measured(deployment.settings, {**known, "key": key, "preset": "microsoft"})


async def _measured(settings: Settings, parameters: Mapping[str, str]) -> Mapping[str, PageTimes]:
    application = Application(settings)
    headers = {"host": "127.0.0.1:7072", "content-type": FORM, "sec-fetch-site": "same-origin"}
    form = urlencode({"name": "grace@example.com", "role": "Gateway.Admin"}).encode()
    signed_in = await application.portal(Request("POST", "/portal/sign-in", "", headers, form))
    headers["cookie"] = signed_in.headers["Set-Cookie"].partition(";")[0]

    async def milliseconds(target: str) -> float:
        path, _, query = target.partition("?")
        began = time.perf_counter()
        response = await application.portal(Request("GET", f"/portal{path}".rstrip("/"), query, headers, b""))
        if response.status not in (200, 303):
            raise ValueError(f"{path}: {response.status}")
        return (time.perf_counter() - began) * 1000

    routes = [route.pattern for route in application.portal._routes if route.method == "GET"]
    row = "/tenants/{tenant}/{version}"
    targets = [each for each in (*routes, *_VARIANTS) if not any(part in each for part in _NO_PAGES)]
    found = {}
    try:
        for target in targets:
            page = target.replace("{row}", row)
            first, *later = [await milliseconds(page.format_map(parameters)) for _ in range(1 + _ROUNDS)]
            found[page] = PageTimes(first, median(later))
    finally:
        await application.close()
    return found


async def _rows(client_id: str) -> Mapping[str, list[Row]]:
    """The rows of each table, those of one partition side by side."""
    now, rows = datetime.now(UTC), {name: list[Row]() for name in (TENANTS, CHECKS, CLIENTS, ACTIVITY, TRAFFIC)}
    for number in range(HOSPITALS):
        key = {"PartitionKey": tenant_id(number), "RowKey": "stu3"}
        rows[TENANTS].append({**key, "BaseUrl": f"https://fhir{number}.example/stu3", "Name": f"Hospital {number}"})
        checked = {"At": now, "Since": now, "By": "upkeep", "Binding": "", "Problem": "", "Report": b"", "Ends": "{}"}
        rows[CHECKS].append({**key, **checked, "Verdict": Verdict.LOADS.value, "Milliseconds": 80})
    for number in range(_CLIENTS):
        row = {"PartitionKey": f"client-{number}", "Owner": "ada@example.com", "Tenants": "*", "Enabled": True}
        rows[CLIENTS].append({**row, "RowKey": "client", "Name": f"Client {number}"})
        rows[CLIENTS].append({"PartitionKey": f"client-{number}", "RowKey": "secret-a", "Expires": now + timedelta(9)})
    for subject in (ALL, hospital_subject(tenant_id(0), "stu3"), client_subject(client_id)):
        change = {
            "PartitionKey": subject,
            "At": now,
            "Actor": "grace",
            "Action": "tenant.set",
            "Subject": "",
            "Detail": "",
        }
        rows[ACTIVITY] += [{**change, "RowKey": f"{number:016d}.0"} for number in range(_CHANGES)]
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    hour = await _hour_of_traffic(client_id, this_hour)
    for subject in (ALL, hospital_subject(tenant_id(0), "stu3"), client_subject(client_id)):
        told = next(row for row in hour if row["PartitionKey"] == subject)
        for ago in range(_DAYS * 24):
            start = (this_hour - timedelta(hours=ago)).strftime("%Y%m%d%H")
            if ago == 2 * 24:
                told = {name: told[name] for name in ("PartitionKey", "Slots")}
            rows[TRAFFIC] += [{**told, "RowKey": f"{start}.{instance}"} for instance in range(_INSTANCES)]
    return rows


async def _hour_of_traffic(client_id: str, start: datetime) -> list[Row]:
    """The rows of an hour in which 500 hospitals had requests in each five minutes, one in twenty of them an error."""
    kept, at = _Kept(), start.timestamp()
    traffic = Traffic(kept, lambda: at)
    for minute in range(0, 60, 5):
        at = start.timestamp() + minute * 60
        for number in range(4 * _BUSY):
            kind = random.choice(list(ErrorKind)) if number % 20 == 0 else None
            hops = {hop: random.lognormvariate(4 if hop == "upstream" else 0, 1) for hop in HOPS}
            subject = hospital_subject(tenant_id(number % _BUSY), "stu3")
            traffic.fhir_request(client_id, subject, 500 if kind else 200, kind, hops, answered=kind is None)
    await traffic.close()
    return kept.rows


async def _insert(table: Table, rows: list[Row]) -> None:
    """Inserts the rows, twenty at once: as one change where they are of one partition.

    Azurite may write a change and be too busy to say so: what is there already is as it should be.
    """
    at_once = asyncio.Semaphore(4)

    async def insert(together: list[Row]) -> None:
        async with at_once:
            for left in reversed(range(_ATTEMPTS)):
                try:
                    await table.insert_together(*together)
                except StoreConflict:
                    return
                except StoreUnavailable:
                    if not left:
                        raise
                else:
                    return

    parts: list[list[Row]] = []
    for row in rows:
        if not parts or len(parts[-1]) == 20 or parts[-1][0]["PartitionKey"] != row["PartitionKey"]:
            parts.append([])
        parts[-1].append(row)
    await asyncio.gather(*map(insert, parts))
