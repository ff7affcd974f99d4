"""The scripts for the Tab key, in the shells that are there."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.admin.command_line import CommandLine

TAB = {
    "bash": """
        source "$1"
        COMP_WORDS=(gateway-admin tenant set 72f988bf-86f1-41af-91ab-2d7cd011db47 st) COMP_CWORD=4
        _gateway_admin_completion gateway-admin
        echo "${COMPREPLY[@]}"
        """,
    "fish": """
        source $argv[1]
        complete --do-complete "gateway-admin tenant set 72f988bf-86f1-41af-91ab-2d7cd011db47 st"
        """,
}


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(str(request.param)) is None:
        pytest.skip(f"there is no {request.param} on this machine")
    return str(request.param)


async def script(shell: str, folder: Path) -> Path:
    answer = await CommandLine(folder)("completion", shell)
    assert (answer.code, answer.stderr) == (0, "")
    path = folder / f"script.{shell}"
    path.write_text(answer.stdout)
    return path


async def output_of(*command: str | Path, folder: Path) -> bytes:
    done = await asyncio.to_thread(subprocess.run, command, cwd=folder, check=True, capture_output=True)
    return bytes(done.stdout)


async def test_a_shell_can_read_the_script(shell: str, tmp_path: Path) -> None:
    assert await output_of(shell, "-n", await script(shell, tmp_path), folder=tmp_path) == b""


async def test_the_name_stands_for_the_command_line_in_any_folder(shell: str, tmp_path: Path) -> None:
    first = "autoload -U compinit; compinit -D; " if shell == "zsh" else ""
    line = f"{first}source {await script(shell, tmp_path)}; gateway-admin tenant set --help"
    assert b"--base-url URL" in await output_of(shell, "-c", line, folder=tmp_path)


@pytest.mark.parametrize("name", TAB)
async def test_the_tab_key_completes_a_word(name: str, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name} on this machine")
    arguments: list[str | Path] = [await script(name, tmp_path)]
    arguments[:0] = ["bash"] if name == "bash" else []
    assert await output_of(name, "-c", TAB[name], *arguments, folder=tmp_path) == b"stu3\n"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
async def test_no_script_leaves_the_command_to_a_function_that_env_does_not_know(name: str, tmp_path: Path) -> None:
    text = (await script(name, tmp_path)).read_text()
    (asking,) = [line for line in text.splitlines() if f"_GATEWAY_ADMIN_COMPLETE={name}_complete" in line]
    assert " -m admin)" in asking
    assert "$+commands[" not in text
