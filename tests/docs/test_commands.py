"""Every command that a person is told of is one that `./gateway` takes as it is pasted."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from admin.cli import cli
from tests.docs.pages import DOCS, blocks, command_of, commands, filled, resolved, spans

ROOT = DOCS.parent
START = "./gateway"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
TEMPLATES = sorted((ROOT / "shared" / "portal" / "templates").glob("*.html"))
SOURCES = [file for folder in ("admin", "app", "shared", "local") for file in sorted((ROOT / folder).rglob("*.py"))]


@pytest.fixture(autouse=True)
def named_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that commands read: the command line opens them as it parses."""
    monkeypatch.chdir(tmp_path)
    texts = [page.read_text("utf-8") for page in PAGES] + [str(command.epilog) for command in below(cli)]
    for name in re.findall(r"(?:--secret-value-from|tenant import) (?:~/)?([\w.-]+)", "\n".join(texts)):
        Path(name).touch()


def below(command: click.Command) -> Iterator[click.Command]:
    """A command, and all of its subcommands."""
    yield command
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        yield from below(child)


def arguments(line: str) -> list[str]:
    """The arguments of a command, up to where its input comes from or its output goes."""
    words = shlex.split(line)[1:]
    return words[: next((at for at, word in enumerate(words) if word[:1] in ("<", ">")), len(words))]


def check_in_words(line: str) -> None:
    """A command in a sentence: with nothing after its name, or with "…", it stands for the command itself."""
    words = arguments(line)
    command, rest = command_of([word for word in words if word != "…"])
    taken = {name for option in command.params for name in option.opts}
    assert {word for word in rest if word.startswith("--")} <= taken, line
    if rest and "…" not in words:
        resolved(cli, words)


def texts(source: Path) -> Iterator[str]:
    """The texts in a program, with a gap in place of what is filled in."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "EXAMPLE" for part in node.values)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page: Path) -> None:
    in_blocks = [found for block in blocks(page) for found in commands(block)]
    in_sentences = [span for span in spans(page) if span.startswith(f"{START} ")]
    lone = spans(page).count(START)
    written = re.findall(rf"{re.escape(START)}\b(?!\.env)", page.read_text("utf-8"))
    assert len(written) == len(in_blocks) + len(in_sentences) + lone
    for found in in_blocks:
        resolved(cli, found)
    for span in in_sentences:
        check_in_words(span)


@pytest.mark.parametrize("command", list(below(cli)), ids=lambda command: command.name)
def test_every_example_of_the_help_is_one_that_the_command_line_takes(command: click.Command) -> None:
    for line in str(command.epilog).splitlines():
        if line.strip().startswith(START):
            assert resolved(cli, arguments(line)).command is command or command is cli


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.stem)
def test_every_command_of_the_portal_is_one_that_the_command_line_takes(template: Path) -> None:
    text = re.sub(
        r"\{\{ (?:\w+\.)*(\w+) \}\}",
        lambda found: {"tenant": "<tenant-id>", "value": "stu3"}.get(found[1], "x"),
        template.read_text("utf-8"),
    )
    for line in re.findall(rf"{re.escape(START)}[^<\n]*(?:<tenant-id>[^<\n]*)*", text):
        resolved(cli, arguments(filled(line)))


def test_every_command_that_a_message_names_exists() -> None:
    said = [text for source in SOURCES for text in texts(source)]
    found = [
        line for text in said for line in re.findall(r"\./gateway ([a-z][a-z-]*(?: [a-z-]+)?)((?: --[a-z-]+)*)", text)
    ]
    assert len(found) > 15
    for path, options in found:
        command, _ = command_of(path.split())
        assert set(options.split()) <= {name for option in command.params for name in option.opts}, path


def test_a_command_is_spelt_in_one_way_everywhere() -> None:
    """As `./gateway tenant set`: neither by its module, nor without the program."""
    names = [f"{group.name} {name}" for group in cli.commands.values() for name in getattr(group, "commands", ())]
    other = re.compile(rf"python3? -m admin|`(?:admin )?(?:{'|'.join(names)})\b|\badmin (?:{'|'.join(cli.commands)})\b")
    for file in (*PAGES, *TEMPLATES):
        assert not other.findall(file.read_text("utf-8")), file
    for command in below(cli):
        told = f"{command.help}\n{command.epilog}"
        assert not re.findall(rf"(?<!{re.escape(START)} )\b(?:{'|'.join(names)})\b|python3? -m", told), command.name
