"""The operators' documents against the real thing: rows by the gateway's own reader, commands by the command line's."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from admin.cli import cli
from shared.directory.errors import RowError
from shared.directory.presets import PRESETS
from shared.directory.provider import AuthKind
from shared.directory.tenant_columns import ALL_COLUMNS, COLUMNS, KEY_COLUMNS
from shared.directory.tenant_row import parse_provider
from shared.upstream.credentials.client_credentials import signed_assertion
from tests.docs.pages import DOCS, TENANT, Cells, Fence, Table, blocks, broken_links, commands, resolved, tokens

ONBOARDING = DOCS / "onboarding.md"
INDEX = DOCS / "providers" / "README.md"
WAYS = DOCS / "providers" / "ways.md"
PROVIDERS = sorted(set((DOCS / "providers").glob("*.md")) - {INDEX})
SYSTEMS = [page for page in PROVIDERS if page != WAYS]
PAGES = [ONBOARDING, INDEX, *PROVIDERS]

SECTIONS = ["What to ask for", "The row", "The secret", "Check", "Quirks", "Not published"]
BARE_ROW = {"PartitionKey": TENANT, "RowKey": "stu3", "BaseUrl": "https://fhir.example.com/stu3"}


def table(page: Path, *header: str) -> list[Cells]:
    """The rows of the one table with this header."""
    found = [block for block in blocks(page) if isinstance(block, Table) and block.header == list(header)]
    assert len(found) == 1, f"{page.name} has {len(found)} tables of {header}"
    return found[0].rows


def row_tables(page: Path) -> list[dict[str, str]]:
    return [row for block in blocks(page) if (row := described_row(block)) is not None]


def described_row(block: Table | Fence) -> dict[str, str] | None:
    if not isinstance(block, Table) or block.header != ["Column", "Value"]:
        return None
    return dict(block.rows)


def written_row(arguments: list[str]) -> Mapping[str, object] | None:
    """The row that a `tenant set` would write to an empty table, None for another command."""
    context = resolved(cli, arguments)
    if context.command_path.split()[-2:] != ["tenant", "set"]:
        return None
    keys = {"PartitionKey": context.params["tenant"], "RowKey": context.params["version"].value}
    return keys | {column: context.params[column] for column in COLUMNS if context.params[column] is not None}


@pytest.fixture(autouse=True)
def named_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the documents keep credentials and rows in: the command line opens them as it parses."""
    monkeypatch.chdir(tmp_path)
    for page in PAGES:
        for name in re.findall(r"(?:--secret-value-from|tenant import) (?:~/)?(\S+)", page.read_text("utf-8")):
            Path(name).touch()


@pytest.mark.parametrize("page", PROVIDERS, ids=lambda page: page.stem)
def test_every_row_can_be_used_and_is_followed_by_the_command_that_writes_it(page: Path) -> None:
    found = list(blocks(page))
    assert row_tables(page)
    for block, following in zip(found, [*found[1:], Fence("", "")], strict=True):
        row = described_row(block)
        if row is not None:
            assert parse_provider(row, local=False).tenant == TENANT
            assert [written_row(arguments) for arguments in commands(following)] == [row]
        for arguments in commands(block):
            written = written_row(arguments)
            if written is not None and "BaseUrl" in written:
                assert ("AuthSecret" in written) == ("--secret-value-from" in arguments)


def test_the_portals_presets_are_the_pages_rows() -> None:
    """To the letter of their placeholders, in the pages' order."""
    for page in PROVIDERS:
        cells = re.findall(r"^\| (?:Column \| (Value)|(\w+) \| `(.*)`) \|$", page.read_text("utf-8"), re.MULTILINE)
        rows: list[dict[str, str]] = []
        for begins, column, value in cells:
            if begins:
                rows.append({})
            elif rows:
                rows[-1][column] = value
        written = [{"PartitionKey": "<tenant-id>", **preset.row} for preset in PRESETS if preset.page == page.name]
        assert written == rows, page.name


def test_every_way_to_authenticate_is_shown() -> None:
    shown = {row["Auth"] for page in PROVIDERS for row in row_tables(page)}
    assert shown == {kind.value for kind in AuthKind} | {"mtls"}


@pytest.mark.parametrize("page", SYSTEMS, ids=lambda page: page.stem)
def test_the_pages_of_systems_have_the_same_sections_in_the_same_order(page: Path) -> None:
    found = tokens(page)
    titles = [
        found[at + 1].content for at, token in enumerate(found) if token.type == "heading_open" and token.tag == "h2"
    ]
    assert titles == SECTIONS


def test_the_index_lists_every_page() -> None:
    linked = re.findall(r"\| \[([a-z-]+\.md)\]\(\1\) \|", INDEX.read_text("utf-8"))
    assert sorted(linked) == [page.name for page in PROVIDERS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    assert broken_links(page) == []


def test_the_table_of_columns_says_what_portal_and_command_line_say() -> None:
    rows = table(ONBOARDING, "Column", "Takes", "Default", "Example", "Meaning")
    said = [[column.name, column.takes, column.example, column.help] for column in ALL_COLUMNS]
    assert [[name, takes, example, meaning] for name, takes, _, example, meaning in rows] == said
    assert [row[2] for row, column in zip(rows, ALL_COLUMNS, strict=True) if column.default] == [
        column.default for column in ALL_COLUMNS if column.default
    ]


def test_the_examples_of_columns_are_values_that_the_columns_take() -> None:
    examples = {row[0]: row[3] for row in table(ONBOARDING, "Column", "Takes", "Default", "Example", "Meaning")}
    header = {"Auth": "header", **{column: examples[column] for column in ("AuthHeader", "AuthSecret")}}
    del examples["AuthHeader"]
    assert parse_provider(BARE_ROW | examples, local=False).name == "Riverside Hospital"
    assert parse_provider(BARE_ROW | header, local=False).auth.kind is AuthKind.HEADER


def test_the_defaults_of_columns_are_what_their_absence_means() -> None:
    defaults = {row[0]: row[2] for row in table(ONBOARDING, "Column", "Takes", "Default", "Example", "Meaning")}
    stated = {column: defaults[column] for column in ("Enabled", "Auth", "Batch", "Access", "MaxConcurrent")}
    assert parse_provider(BARE_ROW | stated, local=False) == parse_provider(BARE_ROW, local=False)


def test_what_is_said_to_be_tolerated_is_read_as_said() -> None:
    rows = table(ONBOARDING, "Column", "Typed", "Read as")
    assert {row[0] for row in rows} >= set(KEY_COLUMNS)
    for column, typed, meant in rows:
        assert typed != meant
        read = parse_provider(BARE_ROW | {column: typed}, local=False)
        assert read == parse_provider(BARE_ROW | {column: meant}, local=False)


def test_the_errors_of_rows_are_quoted_to_the_letter() -> None:
    rows = table(ONBOARDING, "Column", "Value", "Error")
    assert rows
    for column, value, problem in rows:
        with pytest.raises(RowError) as raised:
            parse_provider(BARE_ROW | {column: value}, local=False)
        assert raised.value.problem == problem


def test_the_key_set_made_as_documented_verifies_what_the_gateway_signs(tmp_path: Path) -> None:
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "private-key.pem").write_bytes(pem)
    [script] = [block.text for block in blocks(INDEX) if isinstance(block, Fence) and block.language == "python"]

    home = {**os.environ, "HOME": str(tmp_path)}
    printed = subprocess.run([sys.executable, "-c", script], env=home, check=True, capture_output=True).stdout

    key_set = jwt.PyJWKSet.from_dict(json.loads(printed))
    assertion = signed_assertion(pem.decode(), "gateway", "https://auth.example.com/token", "example")
    key = key_set[jwt.get_unverified_header(assertion)["kid"]]
    claims = jwt.decode(assertion, key, algorithms=["RS384"], audience="https://auth.example.com/token")
    assert claims["iss"] == "gateway"
    assert "d" not in json.loads(printed)["keys"][0]
