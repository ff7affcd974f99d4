"""The HTTP client on uvloop, on which Azure runs functions from Python 3.13 on."""

import os
import subprocess
import sys
from pathlib import Path

_FILES = ("test_http_client.py", "test_http_connection.py", "test_http_differential.py")


def test_the_http_client_is_the_same_on_azures_event_loop() -> None:
    tests = [str(Path(__file__).with_name(name)) for name in _FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment = {**own, "EVENT_LOOP": "uvloop"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout
