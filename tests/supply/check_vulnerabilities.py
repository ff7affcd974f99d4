"""No known vulnerability in what is deployed, as pip-audit says. Run by `make check`, which installs it.

The data is PyPI's or that of osv.dev. Where neither can be reached, such as behind a mirror that only has packages, the
check is skipped and says so.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.supply.locks import LOCK, ROOT

PIP_AUDIT = ROOT / ".supply" / "bin" / "pip-audit"
OPTIONS = ["--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "30"]


def findings(lock: Path) -> list[str]:
    """Each vulnerability in what a lock pins, and each package that the source does not know.

    Skips the test where no source has data. pip-audit takes a registry without data for one that lacks the packages,
    and ends as if all were well.
    """
    reasons = []
    for source in ("pypi", "osv"):
        command = [PIP_AUDIT, "--requirement", lock, "--vulnerability-service", source, *OPTIONS]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        packages = json.loads(done.stdout)["dependencies"] if done.stdout else []
        if any("skip_reason" not in package for package in packages):
            unknown = [package["skip_reason"] for package in packages if "skip_reason" in package]
            return unknown + [
                f"{package['name']} {package['version']}: {found['id']}, mended in {found['fix_versions']}"
                for package in packages
                for found in package.get("vulns", ())
            ]
        reasons += [source, packages[0]["skip_reason"] if packages else done.stderr.strip().rpartition("\n")[2][:200]]
    pytest.skip(f"the data on vulnerabilities can't be reached: {reasons}")


def test_no_vulnerability_is_known_of_what_is_deployed() -> None:
    assert findings(LOCK) == []


def test_a_vulnerability_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text(f"jinja2==2.10 --hash=sha256:{'0' * 64}\n")
    assert findings(tmp_path / "requirements.lock")
