"""`pip install .` gives the command line as `gateway`, with what it imports and no more. Run by `make check`."""

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from tests.supply.locks import ROOT, requirements


def test_pip_installs_the_command_line_as_gateway(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    subprocess.run([tmp_path / "bin" / "pip", "install", "--quiet", ROOT], check=True)
    modules = (
        "import admin.cli, admin.doctor_checks, admin.smoke_steps, shared.onboarding.probe, shared.directory.tenant_csv"
    )
    subprocess.run([tmp_path / "bin" / "python", "-c", modules], cwd=tmp_path, check=True)
    done = subprocess.run(
        [tmp_path / "bin" / "gateway", "tenant", "list"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: PUBLIC_BASE_URL is not set")


def test_the_command_lines_ranges_are_those_of_the_requirements() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pinned = requirements(ROOT / "requirements.txt", ROOT / "requirements-dev.txt")
    assert {str(Requirement(line)) for line in wanted} <= {str(requirement) for requirement in pinned}
