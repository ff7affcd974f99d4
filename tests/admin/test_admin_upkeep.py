"""The night's work, by `./gateway upkeep` and by the runs of a night, on tables and a vault of its own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import trustme

from local.hospitals.hospital import HILLCREST, LAKESIDE, NORTHGATE, RIVERSIDE, SEASIDE
from shared import upkeep
from shared.application import Application
from shared.directory.traffic import ALL, Traffic, client_subject, hour_key
from shared.onboarding.report import Verdict
from shared.settings import Settings
from shared.stores.tables import (
    ACTIVITY,
    ALL_TABLES,
    ASSERTIONS,
    CHECKS,
    CLIENTS,
    PAGES,
    REVOKED,
    TENANTS,
    TRAFFIC,
    USAGE,
    Row,
    Table,
)
from shared.stores.vault import Vault
from tests.admin.command_line import CommandLine
from tests.onboarding.conftest import Onboarding

NOW = datetime.now(UTC)
LONG_AGO, YESTERDAY = NOW - timedelta(days=91), NOW - timedelta(days=1)


@dataclass
class Stack:
    """A stack that has seen nothing yet, and hospitals for its rows."""

    admin: CommandLine
    application: Application
    onboarding: Onboarding

    def table(self, name: str) -> Table:
        return self.application._table(name)

    async def put(self, table: str, *rows: Row) -> None:
        for row in rows:
            await self.table(table).put(row)

    async def keys(self, table: str) -> set[str]:
        return {f"{row['PartitionKey']}/{row['RowKey']}" async for row in self.table(table).scan()}


@pytest.fixture
async def stack(new_stack: CommandLine, environment: dict[str, str], vault: Vault) -> AsyncIterator[Stack]:
    settings = Settings.from_environment(environment)
    application = Application(settings)
    async with AsyncExitStack() as running:
        running.push_async_callback(application.close)
        for name in ALL_TABLES:
            await application._table(name).create()
        yield Stack(new_stack, application, Onboarding(vault, settings, running))


def key(partition: str, row: str, **columns: object) -> Row:
    return {"PartitionKey": partition, "RowKey": row, **columns}


async def test_hospitals_are_checked_and_what_was_not_is_said(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    well, ill = await stack.onboarding.row(RIVERSIDE), await stack.onboarding.row(LAKESIDE, secret="wrong")
    base = {"BaseUrl": "https://fhir.example/r4"}
    others = {
        "ours": {"Auth": "managed_identity", "AuthScope": "https://fhir.example/.default"},
        "off": {"Enabled": False},
    }
    others["odd"] = {"Acess": "write"}
    await stack.put(TENANTS, well, ill, *(key(str(uuid4()), "r4", **base, **more) for more in others.values()))
    found = await stack.admin.json("upkeep")
    numbers = ("checked", "not_loading", "managed_identity", "unusable", "unfinished", "not_run", "left", "failed")
    assert {name: found[name] for name in numbers} == {
        **dict.fromkeys(numbers, 0),
        "checked": 2,
        "not_loading": 1,
        "managed_identity": 1,
        "unusable": 1,
        "failed": [],
    }
    kept = {row[0]: check for row, check in (await stack.application.checks.all()).items()}
    assert {tenant: (check.verdict, check.by) for tenant, check in kept.items()} == {
        well["PartitionKey"]: (Verdict.LOADS, "ada"),
        ill["PartitionKey"]: (Verdict.DOES_NOT_LOAD, "ada"),
    }
    for_people = await stack.admin("upkeep --local")
    assert (for_people.code, for_people.stderr) == (0, "")
    assert for_people.stdout == (
        "2 hospitals are checked, 1 will not load, 0 took too long; not checked: 1 because the managed identity opens "
        "their servers, 1 because their row can't be used. 0 expired rows are deleted. "
        "0 secrets or certificates end within 30 days.\n"
    )
    assert (await stack.application.upkeep.nightly()).checked == 0  # checked an hour ago, by whomever
    monkeypatch.setattr(upkeep, "CHECK_SECONDS", 0)
    slow = await stack.application.upkeep.run("night", datetime.now(UTC))
    assert (slow.checked, slow.unfinished) == (2, 2)
    assert {check.verdict for check in (await stack.application.checks.all()).values()} == {None}


async def test_the_least_recently_checked_comes_first_and_the_next_run_goes_on(stack: Stack) -> None:
    hospitals = (RIVERSIDE, NORTHGATE, HILLCREST, SEASIDE)
    await stack.put(TENANTS, *[await stack.onboarding.row(hospital) for hospital in hospitals])
    recent = await stack.onboarding.row(LAKESIDE, PartitionKey="00000000-0000-4000-8000-000000000000")
    await stack.put(TENANTS, recent)
    report = await stack.onboarding(LAKESIDE)
    provider = await stack.application.tenants.provider(str(recent["PartitionKey"]), LAKESIDE.version)
    assert provider is not None
    await stack.application.checks.record(provider, report, "ada", stack.onboarding.vault)
    stack.onboarding.targets.clear()
    ended = await stack.application.upkeep.run("night", datetime.now(UTC), seconds=0)
    assert (ended.checked, ended.left, len(ended.failed), stack.onboarding.targets) == (0, 5, 3, [])
    went_on = await stack.application.upkeep.run("night", datetime.now(UTC))
    assert (went_on.checked, went_on.left, went_on.failed) == (5, 0, [])
    bases = [
        target.split()[1].removesuffix("/metadata") for target in stack.onboarding.targets if "/metadata" in target
    ]
    assert set(list(dict.fromkeys(bases))[:4]) == {hospital.base_path for hospital in hospitals}


async def test_what_has_expired_is_deleted_and_what_has_not_stays(stack: Stack) -> None:
    client = (await stack.admin.json("client create --name App --owner Ada --tenants *"))["client_id"]
    there, gone = await stack.onboarding.row(RIVERSIDE), str(uuid4())
    await stack.put(TENANTS, there, key(gone, "r4", BaseUrl="oops"))  # a row that can't be used is not gone
    activity = stack.application.activity
    for row in (there["PartitionKey"], gone, uuid4()):
        version = "dstu2" if row == there["PartitionKey"] else "r4"
        times = {"At": YESTERDAY, "Since": YESTERDAY, "By": "ada", "Verdict": "loads", "Binding": "", "Problem": ""}
        await stack.put(CHECKS, key(str(row), version, **times, Milliseconds=1, Ends="{}"))
    for table in (PAGES, REVOKED, ASSERTIONS):
        await stack.put(
            table, *(key("t", str(days), Expires=NOW + timedelta(days=days)) for days in (-30, -1.5, -0.5, 1))
        )
    for at in (LONG_AGO, YESTERDAY):
        traffic = Traffic(stack.table(TRAFFIC), at.timestamp)
        traffic.token_request(client, None)
        await traffic.close()
    await stack.put(ACTIVITY, key("all", f"{10**16 - int(LONG_AGO.timestamp() * 1_000_000)}.0a"))
    await activity.change(actor="ada", action="client.set", subject=client)
    orphan = str(uuid4())
    await stack.put(USAGE, *(key(id, "s1", LastUsed=YESTERDAY) for id in (client, orphan)))
    await stack.put(CLIENTS, *(key(id, f"request-{gone}", By="ada", At=NOW) for id in (client, orphan)))
    found = await stack.admin.json("upkeep")
    expected = dict.fromkeys(("activity", "checks", "usage", "requests"), 1)
    expected |= dict.fromkeys(("pages", "revoked", "assertions", "traffic"), 2)
    assert (found["deleted"], found["failed"]) == (expected, [])
    for table in (PAGES, REVOKED, ASSERTIONS):
        assert await stack.keys(table) == {"t/-0.5", "t/1"}
    assert {name[:-9] for name in await stack.keys(TRAFFIC)} == {
        f"{subject}/{hour_key(YESTERDAY.timestamp())}" for subject in (ALL, client_subject(client))
    }
    assert await stack.keys(USAGE) == {f"{client}/s1"}
    assert {name.partition("/")[0] for name in await stack.keys(CLIENTS)} == {client}
    assert f"{client}/request-{gone}" in await stack.keys(CLIENTS)
    assert await stack.keys(CHECKS) == {f"{there['PartitionKey']}/dstu2", f"{gone}/r4"}
    assert len(await stack.keys(ACTIVITY)) == 4  # of the client that was made, and of its change
    assert set((await stack.admin.json("upkeep"))["deleted"].values()) == {0}


async def test_secrets_and_certificates_that_end_soon_are_told_by_name(stack: Stack, vault: Vault) -> None:
    ids = {}
    for days in (10, 29, 40):
        made = await stack.admin.json(f"client create --name App --owner Ada --tenants * --expires {days}d")
        ids[days] = made["client_id"], f"secret {made['secret_id']}"
    await stack.admin.json("client disable", ids[29][0])
    authority = trustme.CA()
    soon = authority.issue_cert("gateway", not_after=NOW + timedelta(days=5)).private_key_and_cert_chain_pem.bytes()
    await vault.set("riverside-certificate", soon.decode())
    await vault.set("riverside", "gateway:p", expires=NOW + timedelta(days=3, hours=1))
    tenant, more = str(uuid4()), {"BaseUrl": "http://127.0.0.1:9/r4", "TimeoutSeconds": 1, "Auth": "basic"}
    await stack.put(TENANTS, key(tenant, "r4", **more, AuthSecret="Riverside", AuthCertificate="riverside-certificate"))
    found = await stack.admin("upkeep --local --json -v")
    told = [(item["subject"], item["name"]) for item in found.json["expiring"]]
    assert told == [ids[10], (f"{tenant}/r4", "Riverside"), (f"{tenant}/r4", "riverside-certificate")]
    *lines, last = found.audit
    assert [(line["event"], line["subject"]) for line in lines] == [("expiry", subject) for subject, _ in told]
    days = [f"{NOW + timedelta(days=days):%Y-%m-%d}" for days in (10, 3, 5)]
    assert [line["detail"] for line in lines] == [
        f"{name} ends {day}" for (_, name), day in zip(told, days, strict=True)
    ]
    assert (last["event"], last["expiring"]) == ("upkeep", 3)
    assert "BEGIN" not in found.stdout + found.stderr
    table = (await stack.admin("upkeep --local")).stdout
    assert all(name in table and subject in table for subject, name in told)


async def test_a_part_that_fails_does_not_end_the_others(stack: Stack, environment: dict[str, str]) -> None:
    await stack.put(PAGES, key("t", "old", Expires=LONG_AGO))
    await stack.put(TENANTS, await stack.onboarding.row(RIVERSIDE))
    stack.admin.configure(environment | {"KEY_VAULT_URL": "https://127.0.0.1:9"})
    found = await stack.admin("upkeep --local --json")
    assert (found.code, found.json["failed"], found.json["not_run"]) == (2, ["expiries"], 1)
    assert await stack.keys(PAGES) == set()
    assert found.stderr.splitlines()[-1] == "Error: failed: expiries; the rest is done, run the same again"
