"""The line that says how far an installation is."""

import subprocess
import sys
from pathlib import Path

from local.pip_install import Stage

ROOT = Path(__file__).parents[2]


def test_the_stages_are_those_of_pip() -> None:
    stage = Stage()
    assert str(stage) == "pip starts"
    for line, says in (
        ("Collecting aiohttp==3.12.15 (from -r requirements.lock (line 3))", "fetching aiohttp, library 1"),
        ("  Downloading aiohttp-3.12.15.whl.metadata (7.7 kB)", "fetching aiohttp, library 1"),
        ("Collecting zope.interface", "fetching zope.interface, library 2"),
        ("Installing collected packages: zope.interface, aiohttp", "installing: 0 of 2 libraries are there"),
    ):
        stage.read(line)
        assert str(stage) == says


def test_it_ends_as_pip_does_and_without_a_terminal_in_lines() -> None:
    for arguments, code, says in (("click", 0, "libraries are there"), ("no-such-library", 1, "pip failed")):
        line = [sys.executable, "-m", "local.pip_install", "--no-index", "--dry-run", arguments]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.splitlines()[-1].endswith(says)) == (code, True)
        assert "\r" not in done.stdout
