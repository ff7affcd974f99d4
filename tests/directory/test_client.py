from datetime import UTC, datetime, timedelta

import pytest

from shared.directory.client import CLIENT_ID, SECRET_ID, Client, ClientSecret, parse_client, vault_name
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
        client_row(Name="App", Owner="ann@example.com", OwnerId="t/o", Tenants="*", Enabled=True),
        secret_row("s2", Label="test server"),
        {"PartitionKey": "c1", "RowKey": f"request-{GUID}", "By": "ann@example.com", "At": AT},
    ]
    assert parse_client(rows) == Client(
        id="c1",
        name="App",
        owner="ann@example.com",
        owner_id="t/o",
        tenants=None,
        enabled=True,
        secrets=(
            ClientSecret("s1", AT, AT + timedelta(days=1), "wxyz"),
            ClientSecret("s2", None, None, "", "test server"),
        ),
    )


def test_without_the_row_client_there_is_no_client() -> None:
    for rows in ([], [secret_row()], [{**client_row(), "RowKey": "Client"}]):
        assert parse_client(rows) is None


OTHER = "9188040d-6c67-4c5b-b112-36a304b66dad"
TIMES = [datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(seconds=1), datetime(2020, 1, 1)]


@pytest.mark.parametrize(
    ("column", "yes", "no"),
    [
        ("Tenants", ["*", " * ", GUID, f"{OTHER}, {{{GUID.upper()}}},"], [None, "", " , ", OTHER]),
        ("Enabled", [True, "true", "True"], [False, " FALSE "]),
        (
            "Expires",
            [None, "", TIMES[0], "2100-01-01T00:00:00Z", "2100-01-01"],
            [*TIMES[1:], " 2020-01-01T00:00:00+02:00 "],
        ),
    ],
)
def test_a_client_reaches_the_tenants_of_its_row_while_it_is_on_and_its_secret_lives(
    column: str, yes: list[object], no: list[object]
) -> None:
    for value in (*yes, *no):
        rows = [client_row(), secret_row()]
        rows[column == "Expires"][column] = value
        client = parse_client(rows)
        assert client is not None
        live = client.live_secret("s1") is not None
        assert {"Tenants": client.may_reach(GUID), "Enabled": client.enabled, "Expires": live}[column] is (value in yes)
        assert client.live_secret("s2") is None


@pytest.mark.parametrize(
    ("row", "column", "values"),
    [
        ("client", "Tenants", ["**", f"*,{GUID}", f"{GUID} {GUID}", "contoso"]),
        ("client", "Enabled", ["no way", "", 2]),
        ("client", "Enabeld", [False]),
        ("client", "enabled", [False]),  # beside Enabled
        ("secret-s1", "Expires", ["tomorrow", 0, True]),
        ("secret-s1", "Created", ["x"]),
        ("secret-s1", "Expire", [AT]),
    ],
)
def test_a_wrong_column_is_named(row: str, column: str, values: list[object]) -> None:
    for value in values:
        rows = {"client": client_row(), "secret-s1": secret_row()}
        if column == "enabled":
            rows["client"]["Enabled"] = True
        rows[row][column] = value
        with pytest.raises(RowError) as raised:
            parse_client([*rows.values()])
        assert str(raised.value).startswith(f"table Clients, row (c1, {row}), column {column}: ")
        assert "contoso" not in str(raised.value)


def test_no_two_pairs_of_ids_make_one_vault_name() -> None:
    assert vault_name("a-b", "c") == "client-a-b-c"
    for client_id in ("a", "0", "a-b", "a" * 64, GUID):
        assert CLIENT_ID.fullmatch(client_id)
        assert len(vault_name(client_id, "s" * 32)) <= 127
    for client_id in ("", "-a", "a-", "A", "a_b", "a/b", "a'b", "a" * 65, "a\n", "é", ".."):
        assert not CLIENT_ID.fullmatch(client_id)
    assert SECRET_ID.fullmatch("c")
    for secret_id in ("b-c", "-", "", "C", "c" * 33, "é", "c\n"):
        assert not SECRET_ID.fullmatch(secret_id)


def test_an_error_shows_no_character_that_would_steer_a_terminal() -> None:
    with pytest.raises(RowError) as raised:
        parse_client([{"PartitionKey": "a\x1b[31m", "RowKey": "client", "Na\nme" + "x" * 99: 1}])
    assert str(raised.value).startswith("table Clients, row (a?[31m, client), column Na?mexxx")
    assert len(raised.value.column) == 64
