"""`pip install` that says how far it is: `python -m local.pip_install ARGUMENTS`, with the Python to install into.

Needs nothing that is installed.
"""

import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from threading import Event, Thread

_PIP = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off")
_SECONDS_OF_A_LINE = 5
_LINE = 79


class Stage:
    """What pip is doing, by the lines it prints."""

    def __init__(self) -> None:
        self._collected = 0
        self._found = ""
        self._to_install = 0
        self._installed_before = _installed()

    def read(self, line: str) -> None:
        if found := re.match(r"Collecting ([\w.-]+)", line):
            self._collected += 1
            self._found = found[1]
        if line.startswith("Installing collected packages: "):
            self._to_install = line.count(",") + 1
            self._installed_before = _installed()

    def __str__(self) -> str:
        if self._to_install:
            return f"installing: {_installed() - self._installed_before} of {self._to_install} libraries are there"
        return f"fetching {self._found}, library {self._collected}" if self._collected else "pip starts"


def main() -> int:
    """Returns pip's exit code."""
    began, terminal, stage = time.monotonic(), sys.stdout.isatty(), Stage()

    def show(text: object, end: str) -> None:
        line = f"{time.monotonic() - began:5.0f} s  {text}"[:_LINE]
        print(f"\r{line:<{_LINE}}" if terminal else line, end=end, flush=True)

    ended = Event()

    def tick() -> None:
        while not ended.wait(0.5 if terminal else _SECONDS_OF_A_LINE):
            show(stage, "" if terminal else "\n")

    ticking = Thread(target=tick, daemon=True)
    ticking.start()
    with subprocess.Popen([*_PIP, *sys.argv[1:]], stdout=subprocess.PIPE, text=True) as pip:
        for line in pip.stdout or ():
            stage.read(line)
    ended.set()
    ticking.join()
    code = pip.returncode
    show("pip failed" if code else f"{_installed()} libraries are there", "\n")
    return code


def _installed() -> int:
    return len(list(Path(sysconfig.get_path("purelib")).glob("*.dist-info")))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # pip got it too, and has said so
        sys.exit(130)
