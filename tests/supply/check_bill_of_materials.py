"""The bill of materials can be made, is that of the lock, and has allowed licences alone. Run by `make check`."""

import json
import re

import pytest
from packaging.utils import canonicalize_name

from tests.supply.bill_of_materials import PAGE, Bill, licence, make, table, written_table
from tests.supply.locks import LOCK, Pin, pins

# No copyleft beyond the library's own files, which MPL-2.0 has.
ALLOWED = {
    "Apache-2.0",
    "BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Python-2.0",
}


@pytest.fixture(scope="module")
def made() -> Bill:
    """The bill as `make sbom` writes it."""
    return make()


def differences(bill: Bill, locked: dict[str, Pin]) -> set[str]:
    """Packages whose version or hashes are not in both the bill and the lock."""
    listed = {
        (canonicalize_name(item["name"]), item["version"], tuple(value["content"] for value in item["hashes"]))
        for item in bill["components"]
    }
    return {name for name, *_ in listed ^ {(pin.name, pin.version, pin.hashes) for pin in locked.values()}}


def refused(bill: Bill) -> list[str]:
    """Packages without a licence, or with one that nobody allowed; of a choice, each must be allowed."""
    return [
        f"{item['name']}: {licence(item)}"
        for item in bill["components"]
        if not set(re.split(r" AND | OR |[()]+", licence(item))) - {""} <= ALLOWED or not licence(item)
    ]


def test_the_bill_of_materials_is_that_of_the_lock(made: Bill) -> None:
    assert differences(made, pins(LOCK)) == set()


def test_every_licence_is_allowed(made: Bill) -> None:
    assert refused(made) == []


def test_the_page_has_the_bills_table(made: Bill) -> None:
    assert written_table(PAGE.read_text()) == table(made), "make sbom writes it anew"


def test_the_bill_holds_nothing_of_a_time_or_a_machine(made: Bill) -> None:
    assert not {"serialNumber", "timestamp"} & (made.keys() | made["metadata"].keys())
    assert not re.findall(r"https?://(?!cyclonedx\.org/schema/)[^\s\"]+|file:|/home/|/tmp/", json.dumps(made))
