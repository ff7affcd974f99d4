"""The Bicep compiler on `infra/`, and the kept snapshots of what it deploys.

`make snapshots` writes the snapshots anew: what changes in them changes in Azure.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = ("small", "large")

_beside = ROOT.parent / "shared" / "bin" / "bicep"
BICEP = str(_beside) if _beside.exists() else shutil.which("bicep")
MISSING = f"no Bicep compiler at {os.path.relpath(_beside, ROOT)} or on the PATH: templates not compiled"

# Whose deployment the snapshots show: every optional part that a parameter file offers is in them.
_ENVIRONMENT = {
    "PORTAL_CLIENT_ID": "11111111-1111-1111-1111-111111111111",
    "ADMIN_GROUP_ID": "22222222-2222-2222-2222-222222222222",
    "ALERT_EMAIL": "operator@example.com",
    "CUSTOM_DOMAIN": "gateway.example.com",
}
_PLACE = {
    "tenant-id": "33333333-3333-3333-3333-333333333333",
    "subscription-id": "44444444-4444-4444-4444-444444444444",
    "resource-group": "fhir-gateway",
    "location": "eastus",
    "deployment-name": "gateway",
}


class BicepError(Exception):
    """The compiler's errors and warnings."""


def bicep(*arguments: str | Path) -> str:
    """What the compiler prints. Raises BicepError for whatever it has to say against the files."""
    done = subprocess.run(
        [BICEP or "bicep", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | _ENVIRONMENT,
    )
    if done.returncode or done.stderr:
        raise BicepError(done.stderr or done.stdout)
    return done.stdout


def parameters() -> dict[str, dict[str, Any]]:
    """The parameters of the compiled template, by name."""
    found: dict[str, dict[str, Any]] = json.loads(bicep("build", "--stdout", INFRA / "main.bicep"))["parameters"]
    return found


def snapshot(file: Path) -> str:
    """All that the deployment of a parameter file makes, worked out offline. Raises BicepError."""
    kept = file.with_suffix(".snapshot.json")
    place = [part for name, value in _PLACE.items() for part in (f"--{name}", value)]
    try:
        bicep("snapshot", file, *place)
        return kept.read_text()
    finally:
        kept.unlink(missing_ok=True)


def copied(folder: Path) -> Path:
    """A copy of `infra/` in a folder: the compiler writes beside its sources."""
    return Path(shutil.copytree(INFRA, folder / "infra"))


def resources(snapshot: str) -> list[dict[str, Any]]:
    """The resources of a snapshot."""
    found: list[dict[str, Any]] = json.loads(snapshot)["predictedResources"]
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        infra = copied(Path(folder))
        SNAPSHOTS.mkdir(exist_ok=True)
        for size in SIZES:
            (SNAPSHOTS / f"{size}.json").write_text(snapshot(infra / f"main.{size}.bicepparam"))
