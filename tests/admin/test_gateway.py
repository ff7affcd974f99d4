"""The script `./gateway`: from any folder, through links, with its exit codes and signals."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what `./gateway` needs, in a folder with a name that a shell could split or take for something else."""
    folder = tmp_path / "-a b'$(x)*ü"
    folder.mkdir()
    shutil.copy(ROOT / "gateway", folder)
    for name in ("admin", "shared", "app", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(program: str | Path, *arguments: str, folder: Path) -> tuple[int, str, str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "elsewhere"}
    done = subprocess.run([program, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_it_runs_from_any_folder_and_through_links(checkout: Path, tmp_path: Path) -> None:
    """With nothing of that folder taken for a part of it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("admin", "shared", "click", "json"):
        (elsewhere / f"{name}.py").write_text("raise SystemExit(99)")
    (tmp_path / "link").symlink_to(os.path.relpath(checkout / "gateway", tmp_path))
    (elsewhere / "second").symlink_to("../link")
    relative = os.path.relpath(checkout / "gateway", elsewhere)
    for program in (checkout / "gateway", relative, "./second"):
        code, stdout, stderr = run(program, "tenant", "--help", folder=elsewhere)
        usage = "Usage: ./gateway tenant [OPTIONS] COMMAND [ARGS]..."
        assert (code, stdout.splitlines()[0], stderr) == (0, usage, "")
    assert run("./gateway", "keys", "retire", "a b", folder=checkout)[0] == 1
    assert run("./gateway", "keys", "retire", "a", "b", folder=checkout)[0] == 2


def test_without_the_environment_it_says_what_to_do(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv").unlink()
    says = f"gateway: it is not installed yet: run make install (or make run) in {checkout}\n"
    assert run(checkout / "gateway", "--help", folder=tmp_path) == (1, "", says)


def test_ctrl_c_ends_the_command_itself(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        url = f"http://127.0.0.1:{gateway.getsockname()[1]}"
        process = subprocess.Popen(
            [ROOT / "gateway", "smoke", "--base-url", url, "--client-id", "a", "--tenant", "b"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "GATEWAY_CLIENT_SECRET": "a.b"},
            stderr=subprocess.PIPE,
            text=True,
        )
        while not gateway.accept()[0].recv(4).startswith(b"GET"):
            pass  # another test's, which looks for a server that had this port before
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.strip()) == (-signal.SIGINT, "")


def test_the_script_for_windows_runs_the_same() -> None:
    text = (ROOT / "gateway.cmd").read_bytes().decode("ascii")
    assert text.count("\r\n") == text.count("\n") > 0
    assert '"%~dp0.venv\\Scripts\\python.exe" -P -m admin %*' in text
    assert 'set "PYTHONPATH=%~dp0"' in text
