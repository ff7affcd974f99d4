"""The Bicep command line's own verdict, where it is installed. Run by `make check`."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.conftest import Break
from tests.infra.templates import INFRA

pytestmark = pytest.mark.skipif(shutil.which("bicep") is None, reason="the Bicep command line is not installed")

FILES = ["main.bicep", "main.small.bicepparam", "main.large.bicepparam"]


def verdict(file: Path, command: str, output: Path) -> str:
    """What the command line says of a file; nothing if all is well."""
    if file.suffix == ".bicepparam":
        command += "-params"
    arguments = [] if command == "lint" else ["--outfile", str(output)]
    environment = {
        "PORTAL_CLIENT_ID": "72f988bf-86f1-41af-91ab-2d7cd011db47",
        "PATH": "/usr/bin:/bin",
        "HOME": str(output.parent),
    }
    done = subprocess.run(
        [shutil.which("bicep") or "", command, str(file), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return done.stderr or ("" if done.returncode == 0 else done.stdout)


@pytest.mark.parametrize("file", FILES)
def test_it_builds_without_a_warning(file: str, tmp_path: Path) -> None:
    assert verdict(INFRA / file, "build", tmp_path / "out.json") == ""


def test_it_has_no_lint(tmp_path: Path) -> None:
    assert verdict(INFRA / "main.bicep", "lint", tmp_path / "out.json") == ""


def test_a_type_error_would_be_noticed(broken: Break, tmp_path: Path) -> None:
    infra = broken("main.bicep", "    retentionDays: logRetentionDays\n", "    retentionDays: name\n")
    assert verdict(infra / "main.bicep", "build", tmp_path / "out.json")
