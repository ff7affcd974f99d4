"""Checkov finds nothing in what is deployed that is not explained. Run by `make check`, which installs it.

It reads the kept snapshots as Azure's own templates: its parser of Bicep does not know user-defined types.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.infra.bicep import ROOT, SNAPSHOTS, resources

CHECKOV = ROOT / ".checkov" / "bin" / "checkov"

EXPLAINED = {
    "CKV_AZURE_17 Web/sites": "apps prove themselves by OAuth, people by Entra; a certificate keeps both out",
    "CKV_AZURE_206 Storage/storageAccounts": "a package can be published again; the directory's copies are a parameter",
    "CKV_AZURE_212 Web/sites": "the plan scales by itself, and from nothing where no instance is kept awake",
    "CKV_AZURE_213 Web/sites": "the plan has no health check; alerts.bicep asks from outside",
    "CKV_AZURE_222 Web/sites": "the gateway is for the internet, and the portal for whoever signs in with Entra",
    "CKV_AZURE_225 Web/serverfarms": "zone redundancy takes two instances that never sleep; the portal has none",
    # The others look for properties of App Service's `web` configuration in every other configuration of an app.
    "CKV_AZURE_13 Web/sites/config": "for the first version of sign-in; the portal has the second, the gateway tokens",
    "CKV_AZURE_63 Web/sites/config": "HTTP logs hold paths with patients' ids: the audit lines stand in for them",
    "CKV_AZURE_65 Web/sites/config": "error pages are written to a file system that these apps don't have",
    "CKV_AZURE_66 Web/sites/config": "failed request traces hold paths and headers",
    "CKV_AZURE_80 Web/sites/config": ".NET, where there is Python",
    "CKV_AZURE_88 Web/sites/config": "Azure Files, where nothing is kept in files",
    "CKV_AZURE_222 Web/sites/config": "a property of the site, not of this configuration",
}
SMALL = EXPLAINED | dict.fromkeys(
    [
        "CKV_AZURE_35 Storage/storageAccounts",
        "CKV_AZURE_59 Storage/storageAccounts",
        "CKV_AZURE_109 KeyVault/vaults",
        "CKV_AZURE_189 KeyVault/vaults",
    ],
    "privateNetwork is off: no firewall could tell the apps by address, and Entra alone stands before everything",
)
LARGE = EXPLAINED | {"CKV_AZURE_36 Storage/storageAccounts": "no other service of Microsoft's has anything to do there"}


def findings(snapshot: str, folder: Path) -> set[str]:
    """What Checkov finds, as `check type`."""
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": resources(snapshot),
    }
    (folder / "template.json").write_text(json.dumps(template))
    arguments = ["--framework", "arm", "--directory", ".", "--skip-download", "--output", "json"]
    done = subprocess.run([CHECKOV, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"]
    assert report["summary"]["parsing_errors"] == 0
    return {
        f"{check['check_id']} {check['resource'].partition('.')[2].rpartition('.')[0]}"
        for check in report["results"]["failed_checks"]
    }


@pytest.mark.parametrize(("size", "explained"), [("small", SMALL), ("large", LARGE)])
def test_checkov_finds_what_is_explained_and_nothing_else(size: str, explained: dict[str, str], tmp_path: Path) -> None:
    assert findings((SNAPSHOTS / f"{size}.json").read_text(), tmp_path) == explained.keys()
