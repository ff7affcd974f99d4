from datetime import UTC, datetime, timedelta

import pytest

from shared.directory.usage import Usage
from shared.stores.tables import Table, TableAccount


def this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


async def test_the_hour_of_each_secrets_use_is_kept_though_a_write_failed(
    service: TableAccount, table_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(service, table_name)  # not there yet
    usage = Usage(table)
    before = this_hour()

    async def use() -> None:
        for client, secret in (("c1", "s1"), ("c1", "s2"), ("c2", "s1")):
            usage.used(client, secret)
        await usage.close()

    await use()
    assert "usage not written" in caplog.text
    await table.create()
    await use()
    for client, secrets in (("c1", {"s1", "s2"}), ("c2", {"s1"}), ("c3", set())):
        found = await usage.last_used(client)
        assert set(found) == secrets
        assert all(before <= used <= this_hour() for used in found.values())


async def test_it_is_written_at_most_once_an_hour_by_an_instance(table: Table) -> None:
    usage = Usage(table)
    usage.used("c1", "s1")
    await usage.close()
    earlier = this_hour() - timedelta(days=1)
    await table.put({"PartitionKey": "c1", "RowKey": "s1", "LastUsed": earlier})
    usage.used("c1", "s1")
    await usage.close()
    assert await usage.last_used("c1") == {"s1": earlier}
    another = Usage(table)
    another.used("c1", "s1")
    await another.close()
    assert (await usage.last_used("c1"))["s1"] > earlier
