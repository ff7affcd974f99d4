"""What runs in Azure can be installed there. Run by `make check`: it asks the package registry."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.infra.bicep import ROOT
from tests.supply.locks import LOCK, pins

VERSIONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")


def wheels(requirements: Path, version: str) -> dict[str, str]:
    """The wheels for Linux x86-64 that pip would install for a version of Python, by canonical name."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--target", "unused"]
    only = ["--only-binary=:all:", "--implementation", "cp", "--python-version", version]
    for platform in PLATFORMS:
        only += ["--platform", platform]
    done = subprocess.run(
        [*pip, *only, "--report", "-", "-r", str(requirements)], capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(done.stdout)["install"]
    files = [item["download_info"]["url"].rpartition("/")[2] for item in found]
    return {canonicalize_name(item["metadata"]["name"]): file for item, file in zip(found, files, strict=True)}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_lock_alone_is_installed_from_wheels_for_linux(version: str) -> None:
    found = wheels(ROOT / "requirements.txt", version)
    assert {name: str(parse_wheel_filename(file)[1]) for name, file in found.items()} == {
        name: pin.version for name, pin in pins(LOCK).items()
    }


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    """Of idna, by hash; of the lock's last package, as one that is not in it."""
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    lock = LOCK.read_text()
    other = re.sub("|".join(pins(LOCK)["idna"].hashes), "0" * 64, lock)
    without = "".join(re.split(r"^(?=\S)", lock, flags=re.MULTILINE)[:-1])
    for changed, said in ((other, "DO NOT MATCH THE HASHES"), (without, "In --require-hashes mode")):
        (tmp_path / "requirements.lock").write_text(changed)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            wheels(tmp_path / "requirements.txt", VERSIONS[0])
        assert said in refused.value.stderr
