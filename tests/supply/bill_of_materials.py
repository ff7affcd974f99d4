"""The bill of materials (CycloneDX 1.6) of what is deployed, and the table of licences that is drawn from it.

`make sbom` runs this: it installs the lock into an empty environment, where cyclonedx-py reads licences and who needs
whom. Hashes come from the lock. Nothing in it depends on the time or the machine.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.utils import canonicalize_name

from tests.supply.locks import LOCK, ROOT, Pin, pins, requirements

BILL = ROOT / "docs" / "sbom.cdx.json"
PAGE = ROOT / "docs" / "supply-chain.md"

_TOOLS = ROOT / ".supply" / "bin"
_TABLE = re.compile(r"(?<=<!-- packages -->\n).*(?=<!-- end -->)", re.DOTALL)
_CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}

Bill = dict[str, Any]


def make() -> Bill:
    """The bill of what the lock pins. It is installed for that, so a registry must be there."""
    with TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        _run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        _run("uv", "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "--requirement", str(LOCK))
        project = ("--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application")
        printed = _run(
            "cyclonedx-py", "environment", "--output-reproducible", "--spec-version", "1.6", *project, str(python)
        )
    direct: set[str] = {canonicalize_name(requirement.name) for requirement in requirements(ROOT / "requirements.txt")}
    return completed(json.loads(printed), pins(LOCK), direct)


def completed(bill: Bill, locked: dict[str, Pin], direct: set[str]) -> Bill:
    """The tool's bill with the hashes of all files of each package, what the gateway itself needs, and no links."""
    for component in bill["components"]:
        hashes = locked[canonicalize_name(component["name"])].hashes
        component["hashes"] = [{"alg": "SHA-256", "content": value} for value in hashes]
        component.pop("externalReferences", None)
    for tool in bill["metadata"]["tools"]["components"]:
        tool.pop("externalReferences", None)
    root = bill["metadata"]["component"]["bom-ref"]
    references = [item["bom-ref"] for item in bill["components"] if canonicalize_name(item["name"]) in direct]
    others = [item for item in bill["dependencies"] if item["ref"] != root]
    bill["dependencies"] = [{"ref": root, "dependsOn": references}, *others]
    return bill


def licence(component: dict[str, Any]) -> str:
    """A component's licence, as an SPDX expression where its author gave one."""
    found = []
    for item in component.get("licenses", ()):
        given = item.get("expression") or item["license"].get("id") or item["license"]["name"]
        found.append(_CLASSIFIERS.get(given, given))
    return " AND ".join(dict.fromkeys(found))


def table(bill: Bill) -> str:
    """The packages with version, licence and who needs them, as Markdown."""
    names: dict[str, str] = {item["bom-ref"]: canonicalize_name(item["name"]) for item in bill["components"]}
    names[bill["metadata"]["component"]["bom-ref"]] = "the gateway"
    needing: dict[str, list[str]] = {}
    for item in bill["dependencies"]:
        for reference in item.get("dependsOn", ()):
            needing.setdefault(reference, []).append(names[item["ref"]])
    rows = [("Package", "Version", "Licence", "Needed by"), ("---",) * 4]
    for item in sorted(bill["components"], key=lambda item: names[item["bom-ref"]]):
        rows.append((names[item["bom-ref"]], item["version"], licence(item), ", ".join(needing[item["bom-ref"]])))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def written_table(page: str) -> str:
    """The table that stands in the page between its marks."""
    found = _TABLE.search(page)
    assert found
    return found[0]


def _run(tool: str, *arguments: str) -> str:
    return subprocess.run([_TOOLS / tool, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    bill = make()
    BILL.write_text(json.dumps(bill, indent=2) + "\n")
    PAGE.write_text(_TABLE.sub(lambda _: table(bill), PAGE.read_text()))
