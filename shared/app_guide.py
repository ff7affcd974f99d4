"""The guide for the developer of an app, docs/app-guide.md, on the gateway's pages: the same text and programs."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

GUIDE = Path(__file__).parents[1] / "docs" / "app-guide.md"
LANGUAGES = {"curl": "curl", "python": "Python", "javascript": "JavaScript", "c": "C#", "java": "Java"}
"""The programs' languages by the anchors of their headings."""

_one_reader = Lock()  # what markdown-it encodes URLs with is of no use to a second thread before the first is done
_FILES = {"sh": "In a shell", "python": "app.py", "javascript": "app.mjs", "csharp": "Program.cs", "java": "App.java"}

# Where a program reads a value of its environment, and where the shell is told of one.
_READ = re.compile(
    r'os\.environ\["(\w+)"\]|process\.env\.(\w+)|Environment\.GetEnvironmentVariable\("(\w+)"\)!|System\.getenv\("(\w+)"\)'
)
_EXPORT = re.compile(r"^export (\w+)=.*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the guide: `html`, or a program's `code` with a `name`.

    `language` is the one of LANGUAGES that it is about, or "".
    """

    language: str
    html: str
    code: str = ""
    name: str = ""

    def filled(self, values: Mapping[str, str]) -> str:
        """The code with `values` in place of the variables of the environment that they are named by."""

        def exported(found: re.Match[str]) -> str:
            return f"export {found[1]}={shlex.quote(values[found[1]])}" if found[1] in values else found[0]

        def literal(found: re.Match[str]) -> str:
            name = found[found.lastindex or 0]
            return json.dumps(values[name]) if name in values else found[0]

        return _READ.sub(literal, _EXPORT.sub(exported, self.code))


@cache
def blocks() -> tuple[Block, ...]:
    """The guide without its title; headings have the anchors that GitHub gives them, rows that of their OAuth error."""
    with _one_reader:
        return _blocks()


def _blocks() -> tuple[Block, ...]:
    # Imported for those who look at the guide: that and the reading take a tenth of a second.
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(GUIDE.read_text("utf-8"))[3:]
    _mark(tokens)
    starts = [at for at, token in enumerate(tokens) if token.type in ("heading_open", "fence")]
    found: list[Block] = []
    language = ""
    for begin, end in pairwise([0, *starts, len(tokens)]):
        first = tokens[begin]
        if first.type == "heading_open":
            language = anchor if (anchor := str(first.attrGet("id"))) in LANGUAGES else ""
        if first.type == "fence":
            found.append(Block(language, "", first.content.rstrip("\n"), _FILES[first.info]))
            begin += 1
        if html := str(markdown.renderer.render(tokens[begin:end], markdown.options, {})):
            found.append(Block(language, html))
    return tuple(found)


@cache
def page(base_url: str) -> str:
    """The whole guide as HTML, for a deployment's FHIR base."""
    filled = (block.html or f"<pre>{escape(block.filled({'BASE_URL': base_url}))}</pre>\n" for block in blocks())
    return "".join(filled)


def _mark(tokens: list["Token"]) -> None:
    """Gives the headings their anchors, and the tables' cells what screen readers and narrow screens tell rows by."""
    titles: list[str] = []
    for token, inline, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        match token.type:
            case "heading_open":
                token.attrSet("id", re.sub(r"[^\w -]", "", inline.content.lower()).replace(" ", "-"))
            case "thead_open":
                titles = []
            case "tr_open":
                column = 0
            case "th_open":
                titles.append(inline.content)
            case "td_open" if column == 0:
                token.tag = closing.tag = "th"
                token.attrSet("scope", "row")
                if re.fullmatch("`[a-z_]+`", inline.content):
                    token.attrSet("id", inline.content.strip("`"))
                column = 1
            case "td_open":
                token.attrSet("data-label", titles[column])
                column += 1
