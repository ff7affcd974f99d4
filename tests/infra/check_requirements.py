"""What runs in Azure can be installed there. Run by `make check`: it asks the package registry."""

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from admin.package import LIBRARIES, PLATFORMS, PYTHON_VERSIONS, published
from tests.infra.bicep import ROOT
from tests.supply.locks import LOCK, pins


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


@pytest.mark.parametrize("version", PYTHON_VERSIONS)
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
            wheels(tmp_path / "requirements.txt", PYTHON_VERSIONS[0])
        assert said in refused.value.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package as `make package` builds it, unpacked as Azure does, with what was printed beside it."""
    folder = tmp_path_factory.mktemp("built")
    build = ["./gateway", "azure", "package", "--output", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    (folder / "listing").write_text(done.stdout)
    with zipfile.ZipFile(folder / "package.zip") as archive:
        archive.extractall(folder / "app")
    return folder


def test_the_package_is_the_code_and_the_locked_libraries_for_linux(package: Path) -> None:
    app, listing = package / "app", (package / "listing").read_text()
    assert subprocess.run(["diff", "-r", app, package / "package"], check=False).returncode == 0
    outside = {str(file.relative_to(app)) for file in app.rglob("*") if file.is_file()}
    assert {file for file in outside if not file.startswith(LIBRARIES)} == set(published(ROOT))
    there = {canonicalize_name(found.name): found.version for found in distributions(path=[str(app / LIBRARIES)])}
    assert there == {name: pin.version for name, pin in pins(LOCK).items()}
    for line in [
        *published(ROOT),
        *(f"{found.name} {found.version}" for found in distributions(path=[str(app / LIBRARIES)])),
    ]:
        assert re.search(rf"^ *\d+  {re.escape(line)}$", listing, re.MULTILINE), line
    assert f"sha256:{hashlib.sha256((package / 'package.zip').read_bytes()).hexdigest()}" in listing
    native = [file for file in outside if file.endswith(".so")]
    assert native
    for file in native:
        assert re.search(r"\.(cpython-313-x86_64-linux-gnu|abi3)\.so$", file), file
        assert (app / file).read_bytes()[:20:18] == b"\x7f\x3e"  # ELF, for x86-64


def test_the_package_starts_on_the_python_of_the_apps(package: Path) -> None:
    found = [
        *filter(None, [shutil.which("python3.13")]),
        *glob.glob(os.path.expanduser("~/.pyenv/versions/3.13*/bin/python")),
    ]
    python = next(
        (name for name in found if subprocess.run([name, "-c", ""], capture_output=True).returncode == 0), None
    )
    if python is None:
        pytest.skip("no Python 3.13: whether the package starts on it was not tried")
    settings = {
        "PUBLIC_BASE_URL": "https://g.example",
        "KEY_VAULT_URL": "https://v.example",
        "TABLES_ENDPOINT": "https://t.example",
    }
    start = f"import sys; sys.path[:0] = ['.', '{LIBRARIES}']; import " + ", ".join(
        path.parent.name for path in ROOT.glob("*/function.json")
    )
    subprocess.run([python, "-I", "-S", "-B", "-c", start], cwd=package / "app", env=settings, check=True, timeout=60)
