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


def copied(folder: Path, lock: str) -> Path:
    """The requirements beside another lock."""
    (folder / "requirements.lock").write_text(lock)
    return Path(shutil.copy(ROOT / "requirements.txt", folder))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_lock_alone_is_installed_from_wheels_for_linux(version: str) -> None:
    found = wheels(ROOT / "requirements.txt", version)
    assert {name: str(parse_wheel_filename(file)[1]) for name, file in found.items()} == {
        name: pin.version for name, pin in pins(LOCK).items()
    }


def test_a_file_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    idna = pins(LOCK)["idna"].hashes
    lock = LOCK.read_text()
    for value in idna:
        lock = lock.replace(value, "0" * 64)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        wheels(copied(tmp_path, lock), VERSIONS[0])
    assert "DO NOT MATCH THE HASHES" in refused.value.stderr
    assert "idna" in refused.value.stderr


def test_a_package_that_is_not_locked_is_refused(tmp_path: Path) -> None:
    without = "".join(re.split(r"^(?=\S)", LOCK.read_text(), flags=re.MULTILINE)[:-1])
    with pytest.raises(subprocess.CalledProcessError) as refused:
        wheels(copied(tmp_path, without), VERSIONS[0])
    assert "In --require-hashes mode" in refused.value.stderr


def test_a_requirement_without_a_wheel_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pycrypto==2.6.1\n")
    with pytest.raises(subprocess.CalledProcessError):
        wheels(tmp_path / "requirements.txt", VERSIONS[0])
