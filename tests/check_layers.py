"""The layers that pyproject.toml names hold: an import that runs up breaks its contract."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = ("shared", "app", "admin", "local", "bench", *(folder.name for folder in ROOT.glob("*_fn")))


@pytest.mark.parametrize(
    ("file", "imported", "contract"),
    [
        ("shared/stores/cache.py", "shared.directory.provider", "floors"),
        ("shared/stores/tables.py", "shared.directory.provider", "floors"),
        ("shared/directory/client_registry.py", "shared.oauth.endpoint", "floors"),
        ("shared/stores/table_rows.py", "shared.application", "floors"),
        ("shared/fhir/policy.py", "shared.settings", "floors"),
        ("shared/metadata.py", "shared.gateway", "floors"),
        ("local/demo.py", "admin.smoke", "surroundings"),
        ("admin/smoke.py", "local.demo_file", "surroundings"),
        ("app/client.py", "local.ports", "surroundings"),
        ("shared/gateway.py", "app.client", "surroundings"),
        ("token_fn/__init__.py", "shared.oauth.endpoint", "functions"),
    ],
)
def test_an_import_that_runs_up_breaks_its_contract(tmp_path: Path, file: str, imported: str, contract: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for tree in TREES:
        shutil.copytree(ROOT / tree, tmp_path / tree, ignore=lambda _, names: {"node_modules"} & set(names))
    with (tmp_path / file).open("a") as source:
        source.write(f"\nimport {imported}\n")
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--contract", contract]
    linted = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert linted.returncode == 1, linted.stdout
    assert f"{imported} (l." in linted.stdout, "another import broke it"
