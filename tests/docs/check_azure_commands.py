"""Every `az` command of the guides exists and takes its options, as the Azure CLI itself says. Run by `make check`."""

import re
import shlex
import shutil
import subprocess
from functools import cache

import pytest

from tests.docs.pages import DOCS
from tests.docs.test_guides import WORKFLOW, lines

pytestmark = pytest.mark.skipif(shutil.which("az") is None, reason="the Azure command line is not installed")


def azure_commands() -> list[str]:
    """Each `az ...` of the runbook and of the workflow; the deployment guide is rehearsed instead."""
    sources = lines(DOCS / "runbook.md") + WORKFLOW.read_text().splitlines()
    return sorted(
        {found for line in sources for found in re.findall(r"\baz ([a-z].*?)(?:\)(?:\"|/|$)|; \}| > |$)", line)}
    )


@cache
def options(command: str) -> frozenset[str]:
    """The options of a command, by its help."""
    done = subprocess.run(["az", *command.split(), "--help"], capture_output=True, text=True, check=True, timeout=120)
    listed = re.findall(r"^ {4}(-.+?) +:", done.stdout, re.MULTILINE)
    return frozenset(option for line in listed for option in re.findall(r"--[a-z-]+", line))


def mistakes(line: str) -> set[str]:
    """Options that the command does not take."""
    words = shlex.split(line)
    command = " ".join(
        word for word in words[: next((n for n, word in enumerate(words) if word[0] == "-"), len(words))]
    )
    return {word for word in words if word.startswith("--")} - options(command)


@pytest.mark.parametrize("line", azure_commands())
def test_the_azure_command_line_takes_it(line: str) -> None:
    assert mistakes(line) == set()
