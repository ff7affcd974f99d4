"""The completion scripts, in the shells they are for."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A start-up file with the script ($1), then the Tab key after a line ($2). zsh completes only at a terminal.
TAB = {
    "bash": """
        source "$1"; gateway tenant --help; cd "$3"
        COMP_WORDS=($2) COMP_CWORD=4
        _gateway_completion $2
        echo "${COMPREPLY[@]}"
        """,
    "zsh": """
        autoload -U compinit; compinit -D; source "$1"; gateway tenant --help; cd "$3"
        zmodload zsh/zpty
        zpty -b line zsh -f -i
        zpty -w line "autoload -U compinit; compinit -D; source ${(q)1}; echo rea''dy"
        zpty -r line shown '*ready*'
        zpty -w -n line "$2"$'\\t'
        zpty -r line shown '*stu3*' && echo stu3
        """,
    "fish": """
        source $argv[1]; gateway tenant --help; cd $argv[3]
        complete --do-complete $argv[2]
        """,
}


@pytest.mark.parametrize("program", ["gateway", "./gateway"])
@pytest.mark.parametrize("shell", TAB)
def test_the_tab_key_completes_the_command_in_any_folder(shell: str, program: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} on this machine")
    script = tmp_path / "script"
    script.write_text(subprocess.check_output([ROOT / "gateway", "completion", shell], cwd=tmp_path, text=True))
    line = f"{program} tenant set 72f988bf-86f1-41af-91ab-2d7cd011db47 st"
    before = ["--no-config"] if shell == "fish" else [] if shell == "bash" else ["-f"]
    name = [] if shell == "fish" else ["shell"]
    done = subprocess.run(
        [shell, *before, "-c", TAB[shell], *name, script, line, ROOT], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.startswith("Usage: ./gateway tenant ")
    assert (done.stdout.splitlines()[-1], done.stderr) == ("stu3", "")
