"""Checkov finds nothing in the templates that is not explained. Run by `make check`, which installs it."""

import json
import re
import subprocess
from pathlib import Path

from tests.infra.conftest import Break
from tests.infra.templates import INFRA, ROOT, templates

CHECKOV = ROOT / ".checkov" / "bin" / "checkov"


def findings(infra: Path) -> list[str]:
    """What Checkov finds, as `check resource`; a template that it can't parse is a finding too."""
    arguments = ["--directory", ".", "--config-file", ".checkov.yaml", "--skip-download", "--output", "json"]
    done = subprocess.run([CHECKOV, *arguments], cwd=infra, capture_output=True, text=True, check=False, timeout=300)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"]
    found = [f"{check['check_id']} {check['resource']}" for check in report["results"]["failed_checks"]]
    return found + ["not parsed"] * report["summary"]["parsing_errors"]


def unexplained(infra: Path) -> list[str]:
    """Skips without a reason beside them."""
    lines = (infra / ".checkov.yaml").read_text().splitlines()
    found = [line for line in lines if "CKV" in line and not re.search(r"CKV\w+ +# .{10}", line)]
    for template in templates(infra):
        lines = template.read_text().splitlines()
        found += [line for line in lines if "checkov:skip" in line and not re.search(r"skip=CKV\w+:.{10}", line)]
    return found


def test_checkov_finds_nothing() -> None:
    assert findings(INFRA) == []


def test_what_checkov_does_not_look_at_is_explained() -> None:
    assert unexplained(INFRA) == []


def test_a_finding_would_be_noticed(broken: Break) -> None:
    infra = broken("modules/directory.bicep", "supportsHttpsTrafficOnly: true", "supportsHttpsTrafficOnly: false")
    assert findings(infra) == ["CKV_AZURE_3 Microsoft.Storage/storageAccounts.account"]


def test_a_skip_without_a_reason_would_be_noticed(broken: Break) -> None:
    infra = broken("modules/vault.bicep", "checkov:skip=CKV_AZURE_109:", "checkov:skip=CKV_AZURE_109 ")
    assert len(unexplained(infra)) == 1
