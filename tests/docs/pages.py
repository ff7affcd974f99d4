"""Markdown documents as their readers take them: tables, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from markdown_it import MarkdownIt
from markdown_it.token import Token

from admin.cli import cli

DOCS = Path(__file__).parents[2] / "docs"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"

Cells = list[str]


@dataclass(frozen=True, slots=True)
class Table:
    header: Cells
    rows: list[Cells]


@dataclass(frozen=True, slots=True)
class Fence:
    language: str
    text: str


def blocks(page: Path, *, raw: bool = False) -> Iterator[Table | Fence]:
    """A page's tables and fenced blocks in their order, with placeholders filled in; `raw`: blocks as they are."""
    rows: list[Cells] = []
    for token in tokens(page):
        match token.type:
            case "table_open":
                rows = []
            case "tr_open":
                rows.append([])
            case "inline" if rows:
                children = token.children or []
                rows[-1].append(filled("".join(child.content for child in children)))
            case "table_close":
                yield Table(rows[0], rows[1:])
                rows = []
            case "fence":
                yield Fence(token.info, token.content if raw else filled(token.content))


def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))


def filled(text: str) -> str:
    text = text.replace("~/", "").replace("$PUBLIC_BASE_URL", "https://gateway.example.com")
    return re.sub(r"<[a-z][a-z-]*>", lambda found: TENANT if found[0] == "<tenant-id>" else "example", text)


def commands(block: Table | Fence) -> list[list[str]]:
    """The arguments of each `./gateway` in a shell block."""
    if not isinstance(block, Fence) or block.language != "sh":
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("./gateway")]


def spans(page: Path) -> list[str]:
    """What stands in a page's sentences and tables as code."""
    children = (child for token in tokens(page) for child in token.children or ())
    return [filled(child.content) for child in children if child.type == "code_inline"]


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words name, and the words after its name. Raises UsageError for one that there is not."""
    command: click.Command = cli
    for at, word in enumerate(words):
        if not isinstance(command, click.Group):
            return command, words[at:]
        _, command, _ = command.resolve_command(click.Context(command), [word])  # type: ignore[assignment]
    return command, []


def resolved(command: click.Command, arguments: list[str], parent: click.Context | None = None) -> click.Context:
    """The context in which the command line would run these arguments; a UsageError when it would not."""
    if not isinstance(command, click.Group):
        return command.make_context(command.name, list(arguments), parent=parent)
    context = click.Context(command, parent=parent, info_name=command.name)
    _, rest, _ = command.make_parser(context).parse_args(list(arguments))
    _, subcommand, rest = command.resolve_command(context, rest)
    assert subcommand is not None
    return resolved(subcommand, rest, context)


def broken_links(page: Path) -> list[str]:
    """Links that lead to no file or to no heading; those to other sites are not followed."""
    found = []
    for token in tokens(page):
        for link in (str(child.attrGet("href") or "") for child in token.children or ()):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if (
                link
                and not link.startswith("https://")
                and (not target.exists() or (anchor and anchor not in anchors(target)))
            ):
                found.append(link)
    return found


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found = tokens(page)
    titles = [found[at + 1].content for at, token in enumerate(found) if token.type == "heading_open"]
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
