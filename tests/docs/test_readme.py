"""The README's tables say what the code and the requirements say."""

import re
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.docs.pages import broken_links

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def table_after(heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading, by their first cell."""
    lines = README.partition(f"# {heading}\n")[2].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| ---"))
    rows = {}
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first] = rest
    return rows


class Recorder(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked.add(key)
        return super().get(key, default)


def test_every_link_leads_to_a_file_and_a_heading_that_are_there() -> None:
    assert broken_links(ROOT / "README.md") == []


def test_every_setting_is_in_the_table_and_no_other() -> None:
    environment = Recorder(
        {"PUBLIC_BASE_URL": "https://g.example", "KEY_VAULT_URL": "https://127.0.0.1:1", "LOCAL_VAULT": "/tmp/v"}  # noqa: S108
    )
    environment["TABLES_ENDPOINT"] = "https://t.example"
    Settings.from_environment(environment)
    assert {name.strip("`") for name in table_after("Settings")} == environment.asked


@pytest.mark.parametrize("name", ["DEFAULT_FHIR_VERSION", "TOKEN_LIFETIME_SECONDS", "CACHE_SECONDS", "STALE_SECONDS"])
def test_defaults_are_those_of_the_table(name: str) -> None:
    values = {"PUBLIC_BASE_URL": "https://g.example", "KEY_VAULT_URL": "https://v.example"}
    values["TABLES_ENDPOINT"] = "https://t.example"
    default = table_after("Settings")[f"`{name}`"][0].strip("`")
    assert Settings.from_environment(values) == Settings.from_environment({**values, name: default})


def test_every_dependency_has_its_reason() -> None:
    required = set()
    own_environments = ("tests/conformance/requirements.txt", "bench/functions_worker/requirements.txt")
    for file in ("requirements.txt", "requirements-dev.txt", *own_environments):
        for line in (ROOT / file).read_text().splitlines():
            if found := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line):
                required.add(found[0].lower())
    required = {name for name in required if not name.startswith("types-")}
    given = {name.strip() for cell in table_after("Dependencies") for name in re.split(r",| with | and ", cell)}
    assert required <= given
    assert given - required <= {"cryptography", "the `types-` stubs"}
