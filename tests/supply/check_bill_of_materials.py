"""The bill of materials is that of the lock, and every licence in it may be used. Run by `make check`."""

import json
import re
from copy import deepcopy

from packaging.utils import canonicalize_name

from tests.supply.bill_of_materials import BILL, PAGE, Bill, licence, table, written_table
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


def read() -> Bill:
    bill: Bill = json.loads(BILL.read_text())
    return bill


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


def test_the_bill_of_materials_is_that_of_the_lock() -> None:
    assert differences(read(), pins(LOCK)) == set(), "make sbom writes it anew"


def test_every_licence_is_allowed() -> None:
    assert refused(read()) == []


def test_the_page_has_the_bills_table() -> None:
    assert written_table(PAGE.read_text()) == table(read()), "make sbom writes it anew"


def test_the_bill_holds_nothing_of_a_time_or_a_machine() -> None:
    bill = read()
    assert not {"serialNumber", "timestamp"} & (bill.keys() | bill["metadata"].keys())
    assert not re.findall(r"https?://(?!cyclonedx\.org/schema/)[^\s\"]+|file:|/home/|/tmp/", BILL.read_text())


def test_a_difference_would_be_noticed() -> None:
    locked = pins(LOCK)
    bill = read()
    bill["components"][0]["version"] = "0"
    assert differences(bill, locked) == {canonicalize_name(bill["components"][0]["name"])}
    bill = read()
    bill["components"][1]["hashes"].pop()
    assert differences(bill, locked) == {canonicalize_name(bill["components"][1]["name"])}
    del locked["idna"]
    assert differences(read(), locked) == {"idna"}
    assert table(bill) == table(read())
    bill["components"][1]["version"] = "0"
    assert table(bill) != table(read())


def test_a_licence_that_is_not_allowed_would_be_noticed() -> None:
    bill = read()
    package = bill["components"][0]
    for given in ({"license": {"id": "AGPL-3.0-only"}}, {"expression": "MIT AND (GPL-2.0-only OR ISC)"}):
        changed = deepcopy(bill)
        changed["components"][0]["licenses"] = [given]
        assert len(refused(changed)) == 1
    package["licenses"] = []
    assert refused(bill) == [f"{package['name']}: "]
