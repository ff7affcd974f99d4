"""Every command that a person is told of is one that `python -m admin` takes."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from admin.cli import cli
from tests.docs.pages import DOCS, blocks, commands, filled, named, resolved, spans

ROOT = DOCS.parent
START = "python -m admin"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
TEMPLATES = sorted((ROOT / "shared" / "portal" / "templates").glob("*.html"))
SOURCES = [file for folder in ("admin", "shared", "local") for file in sorted((ROOT / folder).rglob("*.py"))]


@pytest.fixture(autouse=True)
def named_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that commands read: the command line opens them as it parses."""
    monkeypatch.chdir(tmp_path)
    texts = [page.read_text("utf-8") for page in PAGES] + [line for _, line in examples(cli)]
    for name in re.findall(r"(?:--secret-value-from|tenant import) ([\w.-]+)", "\n".join(texts)):
        Path(name).touch()


def examples(command: click.Command, *path: str) -> Iterator[tuple[str, str]]:
    """The lines of the help texts that are commands, with the command that has them."""
    for line in f"{command.help}\n{command.epilog}".splitlines():
        if line.strip().startswith(START):
            yield " ".join(path), line.strip()
    for name, child in (command.commands if isinstance(command, click.Group) else {}).items():
        yield from examples(child, *path, name)


def arguments(line: str) -> list[str]:
    """The arguments of a command, up to where its input comes from or its output goes."""
    words = shlex.split(line)[3:]
    return words[: next((at for at, word in enumerate(words) if word[:1] in ("<", ">")), len(words))]


def texts(source: Path) -> Iterator[str]:
    """The texts in a program, with a gap in place of what is filled in."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "EXAMPLE" for part in node.values)


def in_text(text: str) -> list[str]:
    """The commands that a sentence names, up to what is no word of theirs."""
    return re.findall(rf"{START} ([a-z](?:[A-Za-z0-9_<>-]+ ?)+)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page: Path) -> None:
    in_blocks = [found for block in blocks(page) for found in commands(block)]
    in_sentences = [span for span in spans(page) if span.startswith(START)]
    assert page.read_text("utf-8").count(START) == len(in_blocks) + len(in_sentences)
    for found in in_blocks:
        resolved(cli, found)
    for span in in_sentences:
        if span.endswith("…"):
            assert named(span.removeprefix(START).rstrip(" …"))
        else:
            resolved(cli, arguments(span))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_in_words_exists(page: Path) -> None:
    for span in spans(page):
        words = span.removeprefix("admin ")
        if re.match(r"[a-z]+( [a-z]|$)", words):
            named(words)


@pytest.mark.parametrize(("path", "line"), list(examples(cli)), ids=lambda text: text.removeprefix(START).strip()[:40])
def test_every_example_of_the_help_is_one_that_the_command_line_takes(path: str, line: str) -> None:
    assert resolved(cli, arguments(line)).command_path.endswith(path) or not path


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.stem)
def test_every_command_of_the_portal_is_one_that_the_command_line_takes(template: Path) -> None:
    text = re.sub(
        r"\{\{ (?:\w+\.)*(\w+) \}\}",
        lambda found: {"tenant": "<tenant-id>", "value": "stu3"}.get(found[1], "x"),
        template.read_text("utf-8"),
    )
    for line in re.findall(rf"{START}[^<\n]*(?:<tenant-id>[^<\n]*)*", text):
        resolved(cli, arguments(filled(line)))


def test_every_command_that_a_message_names_exists() -> None:
    found = [words for source in SOURCES for text in texts(source) for words in in_text(text)]
    assert len(found) > 10
    for words in found:
        assert named(words) is not None, words


@pytest.mark.parametrize(
    "line",
    [
        "tenant sett",
        "tenant set 72f988bf-86f1-41af-91ab-2d7cd011db47 r5",
        "tenant set 72f988bf-86f1-41af-91ab-2d7cd011db47 r4 --base https://x",
        "keys retire example --now",
        "check",
    ],
)
def test_a_command_that_does_not_exist_or_has_a_wrong_option_would_be_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        resolved(cli, line.split())


@pytest.mark.parametrize("words", ["tenant sett", "client set --nam", "keys"])
def test_words_that_name_no_command_would_be_noticed(words: str) -> None:
    if words == "keys":
        assert named(words) is None
        return
    with pytest.raises(click.UsageError):
        named(words)
