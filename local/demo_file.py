"""`demo.json`: all that an app needs to use the local stack."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from local import secret_file


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
    """The file's content; None when the file is missing or is something else."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Demo)
    except (OSError, msgspec.DecodeError):
        return None


def write(file: Path, demo: Demo) -> None:
    """Replaces the file; only its owner may read it."""
    secret_file.write(file, msgspec.json.format(msgspec.json.encode(demo)) + b"\n")
