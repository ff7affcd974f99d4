"""The table `Activity`: changes by subject and all together, the latest first."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.audit import AuditLog
from shared.directory.activity import ActivityLog
from shared.directory.traffic import client_subject, hospital_subject
from shared.stores.tables import Table, TableAccount

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
HOSPITAL = hospital_subject(TENANT, "stu3")


@pytest.fixture
def activity(table: Table) -> ActivityLog:
    return ActivityLog(table, AuditLog())


async def actions(activity: ActivityLog, *of: object) -> list[str]:
    return [change.action for change in await activity.latest(*of)]  # type: ignore[arg-type]


async def test_a_change_stands_under_its_subject_and_among_all_the_latest_first(activity: ActivityLog) -> None:
    for action, subject in (
        *(("tenant.set", f"{TENANT}/stu3"), ("client.create", "ward-app")),
        *(("keys.rotate", "k1"), ("tenant.disable", f"{TENANT}/stu3"), ("tenant.set", f"{TENANT}/r4")),
    ):
        await activity.change(actor="ada", action=action, subject=subject, detail="BaseUrl")
    await activity.change(actor="ada", action="tenant.import", subject=f"{TENANT}/stu3", in_all=False)
    await activity.change(actor="ada", action="tenant.import", subject="", detail="1 rows")
    everything = ["tenant.import", "tenant.set", "tenant.disable", "keys.rotate", "client.create", "tenant.set"]
    assert await actions(activity) == everything
    assert await actions(activity, "all", 2) == everything[:2]
    assert await actions(activity, HOSPITAL) == ["tenant.import", "tenant.disable", "tenant.set"]
    assert await actions(activity, client_subject("ward-app")) == ["client.create"]
    assert await actions(activity, "keys") == ["keys.rotate"]
    (change,) = await activity.latest("keys")
    assert (change.actor, change.subject, change.detail) == ("ada", "k1", "BaseUrl")
    assert datetime.now(UTC) - change.at < timedelta(minutes=5)


async def test_what_is_older_is_deleted(activity: ActivityLog) -> None:
    for number in range(70):
        await activity.change(actor="ada", action="client.set", subject=f"client-{number}")
    assert await activity.delete_before(datetime.now(UTC) - timedelta(days=1)) == 0
    assert await activity.delete_before(datetime.now(UTC) + timedelta(seconds=1)) == 140
    assert await activity.latest() == ()


async def test_a_store_that_fails_leaves_the_audit_line_and_never_fails_the_change(
    service: TableAccount, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    nowhere = ActivityLog(Table(service, "Nowhere"), AuditLog())
    await nowhere.change(actor="ada", action="client.set", subject="ward-app")
    assert [record.name for record in caplog.records] == ["gateway.audit", "shared.directory.activity"]
