"""What runs in Azure can be installed there. Run by `make check`: it asks the package registry."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.templates import INFRA, ROOT, parameters

VERSIONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")


def wheels(requirements: Path, version: str) -> dict[str, str]:
    """The wheels for Linux x86-64 that pip would install for a version of Python, by name."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--target", "unused"]
    only = ["--only-binary=:all:", "--implementation", "cp", "--python-version", version]
    for platform in PLATFORMS:
        only += ["--platform", platform]
    done = subprocess.run(
        [*pip, *only, "--report", "-", "-r", str(requirements)], capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(done.stdout)["install"]
    return {item["metadata"]["name"]: item["download_info"]["url"].rpartition("/")[2] for item in found}


@pytest.mark.parametrize("version", VERSIONS)
def test_requirements_resolve_to_wheels_for_linux(version: str) -> None:
    found = wheels(ROOT / "requirements.txt", version)
    assert {"azure-functions", "aiohttp", "cryptography"} <= found.keys()
    assert all(name.endswith(".whl") for name in found.values())


def test_a_requirement_without_a_wheel_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pycrypto==2.6.1\n")
    with pytest.raises(subprocess.CalledProcessError):
        wheels(tmp_path / "requirements.txt", VERSIONS[0])


def test_the_template_offers_the_versions_that_are_checked() -> None:
    assert parameters(INFRA / "main.bicep")["pythonVersion"].allowed == VERSIONS
