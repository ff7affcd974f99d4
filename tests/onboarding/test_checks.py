"""The table `Checks`: the last check of each hospital, and since when its verdict holds."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from msgspec import structs

from local.hospitals.hospital import RIVERSIDE
from shared.directory.provider import Provider
from shared.directory.tenant_row import parse_provider
from shared.onboarding.checks import CheckLog
from shared.onboarding.report import Report, ResourceReport, Status, Verdict, to_json
from shared.stores.tables import Table, table_service
from tests.deployment import Deployment
from tests.onboarding.conftest import Onboarding


@pytest.fixture
async def table(deployment: Deployment) -> AsyncIterator[Table]:
    async with table_service(deployment.settings) as service:
        table = Table(service, f"T{uuid.uuid4().hex}")
        await table.create()
        yield table


async def test_the_last_check_is_kept_with_its_report_and_since_when_its_verdict_holds(
    table: Table, deployment: Deployment
) -> None:
    async with AsyncExitStack() as running:
        onboarding = Onboarding(deployment.vault, deployment.settings, running)
        provider = parse_provider(await onboarding.row(RIVERSIDE), local=True)
        report = await onboarding(RIVERSIDE)
    key, log = (provider.tenant, provider.version), CheckLog(table)
    assert (await log.latest(*key), dict(await log.all())) == (None, {})
    await log.record(provider, report, "ada", deployment.vault)
    first = await log.latest(*key)
    assert first is not None
    assert (first.by, first.verdict, first.problem, first.binding) == ("ada", Verdict.LOADS, "", provider.binding)
    assert (first.since, first.report) == (first.at, to_json(report))
    assert first.ends == {provider.auth.secret: None}
    assert await log.all() == {key: replace(first, report=None)}

    failing = replace(report, resources=(ResourceReport("Patient", Status.FAILED),))
    moved = structs.replace(provider, base_url="https://elsewhere.example")
    cases: list[tuple[Provider, Report | None, Verdict | None, bool]] = [
        (provider, report, Verdict.LOADS, True),
        (provider, failing, Verdict.DOES_NOT_LOAD, False),
        (provider, failing, Verdict.DOES_NOT_LOAD, True),
        (moved, failing, Verdict.DOES_NOT_LOAD, False),
        (moved, None, None, False),
    ]
    before = first
    for checked, found, verdict, goes_on in cases:
        await log.record(checked, found, "upkeep", deployment.vault)
        now = await log.latest(*key)
        assert now is not None
        assert (now.by, now.verdict, now.since == before.since) == ("upkeep", verdict, goes_on)
        before = now
    assert (before.problem, before.report) == ("the check was not through in time", None)
    await log.delete(*key)
    assert await log.latest(*key) is None


async def test_rows_of_another_form_are_passed_over(table: Table, deployment: Deployment) -> None:
    async with AsyncExitStack() as running:
        row = await Onboarding(deployment.vault, deployment.settings, running).row(RIVERSIDE)
    provider = parse_provider(row, local=True)
    await CheckLog(table).record(provider, None, "ada", deployment.vault)
    (good,) = [row async for row in table.scan()]
    for column, value in [
        *(("Verdict", "shines"), ("At", "yesterday"), ("RowKey", "r6")),
        *(("Ends", ends) for ends in ("soon", "[]", '{"a": "soon"}', '{"a": "2026-11-26T16:05:00"}')),
    ]:
        await table.put({**good, "PartitionKey": str(uuid.uuid4()), column: value})
    await table.put({**good, "PartitionKey": (no_report := str(uuid.uuid4())), "Report": b"no zlib"})
    assert {key[0] for key in await CheckLog(table).all()} == {provider.tenant, no_report}
    assert await CheckLog(table).latest(no_report, provider.version) is None


async def test_a_statement_of_a_million_formats_leaves_the_verdict(table: Table, deployment: Deployment) -> None:
    async with AsyncExitStack() as running:
        onboarding = Onboarding(deployment.vault, deployment.settings, running)
        provider = parse_provider(await onboarding.row(RIVERSIDE), local=True)
        report = await onboarding(RIVERSIDE)
    formats = tuple(uuid.uuid4().hex for _ in range(10_000))
    large = replace(report, statement=replace(report.statement, formats=formats))
    await CheckLog(table).record(provider, large, "ada", deployment.vault)
    kept = await CheckLog(table).latest(provider.tenant, provider.version)
    assert kept is not None
    assert (kept.verdict, kept.report) == (Verdict.LOADS, None)
