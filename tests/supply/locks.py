"""The requirements and their locks: what is wanted, what is pinned, by which hashes, and who needs it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
DEVELOPMENT_LOCK = ROOT / "requirements-dev.lock"


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of a package, and the SHA-256 of each of its files; `here` says whether its marker holds here."""

    name: str
    version: str
    hashes: tuple[str, ...]
    here: bool


def requirements(*files: Path) -> list[Requirement]:
    """The ranges of requirements files, without the files that these include."""
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [Requirement(line.partition(" #")[0]) for line in lines if line and not line.startswith(("#", "-r "))]


def pins(lock: Path) -> dict[str, Pin]:
    """What a lock pins, by canonical name. Raises ValueError for a line that is no pin."""
    found = dict[str, Pin]()
    for line in lock.read_text().replace("\\\n", "").splitlines():
        if line.startswith("#"):
            continue
        wanted, *hashes = re.split(r"\s+--hash=sha256:", line.rstrip())
        requirement = Requirement(wanted)
        versions = [item.version for item in requirement.specifier if item.operator == "=="]
        if len(versions) != 1:
            raise ValueError(f"{lock.name}: {wanted} is no pin")
        name = canonicalize_name(requirement.name)
        here = requirement.marker is None or requirement.marker.evaluate()
        found[name] = Pin(name, versions[0], tuple(hashes), here)
    return found


def needed(wanted: Iterable[Requirement]) -> set[str]:
    """The canonical names of what is wanted, and of what that requires here, as the installed packages say."""
    waiting = list(wanted)
    found = set[str]()
    seen = set[tuple[str, frozenset[str]]]()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = frozenset(requirement.extras)
        if (name, extras) not in seen:
            seen.add((name, extras))
            found.add(name)
            waiting += [
                other for other in map(Requirement, requires(name) or ()) if is_needed(other, extras or frozenset({""}))
            ]
    return found


def is_needed(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
