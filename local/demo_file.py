"""`demo.json`: all that an app needs to use the local stack."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from local.vault import secret_file


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """A tenant as the app knows it: `base` is the FHIR base URL that a hospital's admin pastes into the app."""

    tenant_id: str
    name: str
    version: str
    base: str


@dataclass(frozen=True, slots=True)
class Demo:
    """The gateway, the demo client with its secret, and its tenants; `portal_url` is None without a portal."""

    base_url: str
    client_id: str
    client_secret: str = field(repr=False)
    tenants: tuple[DemoTenant, ...]
    portal_url: str | None


def read(file: Path) -> Demo | None:
    """What the file holds; None when it is missing or is something else."""
    try:
        content = json.loads(file.read_text())
        tenants = tuple(DemoTenant(**tenant) for tenant in content["tenants"])
        return Demo(**content | {"tenants": tenants})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(file: Path, demo: Demo) -> None:
    """Replaces the file; only its owner may read it."""
    secret_file.write(file, json.dumps(asdict(demo), indent=2).encode() + b"\n")
