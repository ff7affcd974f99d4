from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.directory.client import (
    CLIENT_ID,
    SECRET_ID,
    Client,
    ClientSecret,
    parse_client,
    vault_name,
)
from shared.directory.errors import RowError

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
AT = datetime(2026, 1, 2, tzinfo=UTC)


def client_row(**columns: object) -> dict[str, object]:
    return {"PartitionKey": "c1", "RowKey": "client", **columns}


def secret_row(id: str = "s1", **columns: object) -> dict[str, object]:
    return {"PartitionKey": "c1", "RowKey": f"secret-{id}", **columns}


def test_a_client_and_its_secrets() -> None:
    rows = [
        secret_row(Created=AT, Expires=AT + timedelta(days=1), Hint="wxyz"),
        client_row(Name="App", Owner="ann@example.com", Tenants="*", Enabled=True),
        secret_row("s2"),
    ]
    assert parse_client(rows) == Client(
        id="c1",
        name="App",
        owner="ann@example.com",
        tenants=None,
        enabled=True,
        secrets=(ClientSecret("s1", AT, AT + timedelta(days=1), "wxyz"), ClientSecret("s2", None, None, "")),
    )


@pytest.mark.parametrize("rows", [[], [secret_row()], [{**client_row(), "RowKey": "Client"}]])
def test_without_the_row_client_there_is_no_client(rows: list[dict[str, object]]) -> None:
    assert parse_client(rows) is None


@pytest.mark.parametrize(
    ("tenants", "reached"),
    [
        (None, False),
        ("", False),
        (" , ", False),
        ("9188040d-6c67-4c5b-b112-36a304b66dad", False),
        ("*", True),
        (" * ", True),
        (GUID, True),
        (f"9188040d-6c67-4c5b-b112-36a304b66dad, {{{GUID.upper()}}},", True),
    ],
)
def test_a_client_reaches_the_tenants_of_its_row_and_none_without(tenants: str | None, reached: bool) -> None:
    client = parse_client([client_row(Tenants=tenants)])
    assert client is not None
    assert client.may_reach(GUID) is reached


@pytest.mark.parametrize(
    ("value", "enabled"), [(True, True), (False, False), ("true", True), (" FALSE ", False), ("True", True)]
)
def test_enabled(value: object, enabled: bool) -> None:
    client = parse_client([client_row(Enabled=value)])
    assert client is not None
    assert client.enabled is enabled


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"Tenants": "**"}, "Tenants"),
        ({"Tenants": f"*,{GUID}"}, "Tenants"),
        ({"Tenants": f"{GUID} {GUID}"}, "Tenants"),
        ({"Tenants": "contoso"}, "Tenants"),
        ({"Enabled": "no way"}, "Enabled"),
        ({"Enabled": ""}, "Enabled"),
        ({"Enabled": 2}, "Enabled"),
        ({"Enabeld": False}, "Enabeld"),
        ({"Enabled": True, "enabled": False}, "enabled"),
    ],
)
def test_a_wrong_column_of_the_client_is_named(columns: dict[str, Any], column: str) -> None:
    with pytest.raises(RowError) as raised:
        parse_client([client_row(**columns)])
    assert str(raised.value).startswith(f"table Clients, row (c1, client), column {column}: ")
    assert "contoso" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"Expires": "tomorrow"}, "Expires"),
        ({"Expires": 0}, "Expires"),
        ({"Expires": True}, "Expires"),
        ({"Created": "x"}, "Created"),
        ({"Expire": AT}, "Expire"),
    ],
)
def test_a_wrong_column_of_a_secret_is_named(columns: dict[str, Any], column: str) -> None:
    with pytest.raises(RowError) as raised:
        parse_client([client_row(), secret_row(**columns)])
    assert str(raised.value).startswith(f"table Clients, row (c1, secret-s1), column {column}: ")


@pytest.mark.parametrize(
    ("expires", "live"),
    [
        (None, True),
        ("", True),
        (datetime.now(UTC) + timedelta(hours=1), True),
        (datetime.now(UTC) - timedelta(seconds=1), False),
        ("2100-01-01T00:00:00Z", True),
        ("2100-01-01", True),
        (" 2020-01-01T00:00:00+02:00 ", False),
        (datetime(2020, 1, 1), False),
    ],
)
def test_a_secret_is_live_until_it_expires(expires: object, live: bool) -> None:
    client = parse_client([client_row(), secret_row(Expires=expires)])
    assert client is not None
    assert (client.live_secret("s1") is not None) is live
    assert client.live_secret("s2") is None


def test_no_two_pairs_of_ids_make_one_vault_name() -> None:
    assert vault_name("a-b", "c") == "client-a-b-c"
    assert CLIENT_ID.fullmatch("a")
    assert SECRET_ID.fullmatch("c")
    for secret_id in ("b-c", "-", "", "C", "c" * 33, "é", "c\n"):
        assert not SECRET_ID.fullmatch(secret_id)


@pytest.mark.parametrize("client_id", ["", "-a", "a-", "A", "a_b", "a/b", "a'b", "a" * 65, "a\n", "é", ".."])
def test_what_is_no_client_id(client_id: str) -> None:
    assert not CLIENT_ID.fullmatch(client_id)


@pytest.mark.parametrize("client_id", ["a", "0", "a-b", "a" * 64, GUID])
def test_what_is_a_client_id(client_id: str) -> None:
    assert CLIENT_ID.fullmatch(client_id)
    assert len(vault_name(client_id, "s" * 32)) <= 127


def test_an_error_shows_no_character_that_would_steer_a_terminal() -> None:
    with pytest.raises(RowError) as raised:
        parse_client([{"PartitionKey": "a\x1b[31m", "RowKey": "client", "Na\nme" + "x" * 99: 1}])
    assert str(raised.value).startswith("table Clients, row (a?[31m, client), column Na?mexxx")
    assert len(raised.value.column) == 64
