"""No known vulnerability in what is deployed, as pip-audit says. Run by `make check`, which installs it.

The data is PyPI's or that of osv.dev. Where neither can be reached, such as behind a mirror that only has packages, the
check is skipped and says so.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.supply.locks import LOCK, ROOT

PIP_AUDIT = ROOT / ".supply" / "bin" / "pip-audit"

Report = dict[str, Any]


class Unreachable(Exception):
    """There was no data; the message says what was tried."""


def audit(lock: Path) -> Report:
    """pip-audit's report on a lock, by the first source that has data."""
    reasons = []
    for source in ("pypi", "osv"):
        try:
            return reached(*asked(lock, source))
        except Unreachable as reason:
            reasons.append(f"{source}: {reason}")
    raise Unreachable("; ".join(reasons))


def asked(lock: Path, source: str) -> tuple[str, str]:
    """What pip-audit prints to its two outputs."""
    arguments = [
        "--require-hashes",
        "--disable-pip",
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--timeout",
        "30",
    ]
    done = subprocess.run(
        [PIP_AUDIT, "--requirement", lock, "--vulnerability-service", source, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.stdout, done.stderr


def reached(output: str, error: str) -> Report:
    """The report, if pip-audit could write one; Unreachable where it found no data at all.

    pip-audit takes a registry without data for one that lacks the packages, and ends as if all were well.
    """
    if not output:
        raise Unreachable(error.strip().rpartition("\n")[2][:200])
    report: Report = json.loads(output)
    if len(unaudited(report)) == len(report["dependencies"]):
        raise Unreachable(report["dependencies"][0]["skip_reason"])
    return report


def findings(report: Report) -> list[str]:
    """Each vulnerability: package, version, identifier, and the versions that are mended."""
    return [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for package in report["dependencies"]
        for found in package.get("vulns", ())
    ]


def unaudited(report: Report) -> list[str]:
    """Packages that the source does not know."""
    return [package["skip_reason"] for package in report["dependencies"] if "skip_reason" in package]


def audit_or_skip(lock: Path) -> Report:
    try:
        return audit(lock)
    except Unreachable as reason:
        pytest.skip(f"the data on vulnerabilities can't be reached: {reason}")


def test_no_vulnerability_is_known_of_what_is_deployed() -> None:
    report = audit_or_skip(LOCK)
    assert findings(report) == []
    assert unaudited(report) == []


def test_a_vulnerability_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text(f"jinja2==2.10 --hash=sha256:{'0' * 64}\n")
    assert findings(audit_or_skip(tmp_path / "requirements.lock"))


def test_a_finding_would_be_noticed() -> None:
    jinja2 = {"id": "PYSEC-2021-66", "fix_versions": ["2.11.3"], "aliases": ["CVE-2020-28493"], "description": "ReDoS"}
    packages = [
        {"name": "jinja2", "version": "2.10", "vulns": [jinja2]},
        {"name": "idna", "version": "3.20", "vulns": []},
        {"name": "six", "skip_reason": "not found"},
    ]
    report = reached(json.dumps({"dependencies": packages, "fixes": []}), "Found 1 known vulnerability in 1 package")
    assert findings(report) == ["jinja2 2.10: PYSEC-2021-66, mended in 2.11.3"]
    assert unaudited(report) == ["not found"]


def test_a_report_without_data_is_none() -> None:
    with pytest.raises(Unreachable, match="not found on PyPI"):
        reached('{"dependencies": [{"name": "six", "skip_reason": "not found on PyPI"}], "fixes": []}', "")
    with pytest.raises(Unreachable, match="NameResolutionError"):
        reached("", "Traceback\n  ...\nNameResolutionError: api.osv.dev")
