import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

CREDENTIALS = {
    "riverside": {"username": "gateway", "password": "a"},
    "lakeside": {"client_id": "gateway", "client_secret": "b"},
    "northgate": {"key": "c"},
}


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "local.hospitals", *arguments]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_three_hospitals_are_served_until_the_signal(tmp_path: Path, stop: signal.Signals) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(CREDENTIALS))
    with started("--ports", "0,0,0", "--credentials", str(file)) as process:
        assert process.stdout is not None
        bases = [re.search(r"http://127\.0\.0\.1:\d+/\S+", process.stdout.readline()) for _ in range(3)]
        versions = []
        for base in bases:
            assert base is not None
            with urlopen(f"{base[0]}/metadata") as answer:
                versions.append(json.load(answer)["fhirVersion"])
        assert versions == ["1.0.2", "3.0.2", "4.0.1"]
        process.send_signal(stop)
        rest, errors = process.communicate(timeout=30)
        assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps(CREDENTIALS | {"northgate": {"token": "c"}})])
def test_a_bad_credentials_file_is_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)
    with started("--ports", "0,0,0", "--credentials", str(file)) as process:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 2
        assert errors.count("\n") == 1
