"""What the Bicep templates say, read from their syntax trees."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"

_PARSER = Parser(Language(tree_sitter_bicep.language()))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter with a default; `least` and `most` are its decorators' numbers."""

    default: str
    least: int | None
    most: int | None
    allowed: tuple[str, ...]


def templates(infra: Path) -> list[Path]:
    """Every template below a folder."""
    return sorted(infra.rglob("*.bicep"))


def tree(template: Path) -> Node:
    """A template's syntax tree."""
    return _PARSER.parse(template.read_bytes()).root_node


def nodes(root: Node) -> Iterator[Node]:
    """A node and all below it, in the order of the text."""
    yield root
    for child in root.children:
        yield from nodes(child)


def syntax_errors(template: Path) -> list[str]:
    """Where a template is no Bicep: file, line and text."""
    return [
        f"{template.name}:{node.start_point.row + 1}: {text(node)[:60]!r}"
        for node in nodes(tree(template))
        if node.is_error or node.is_missing
    ]


def text(node: Node) -> str:
    """A node's own text."""
    return (node.text or b"").decode()


def declaration(template: Path, name: str) -> Node:
    """The variable, module or resource of a name."""
    for node in tree(template).children:
        if node.type.endswith("_declaration") and text(node.named_children[0]) == name:
            return node
    raise LookupError(f"{template.name} declares no {name}")


def values(root: Node) -> dict[str, str]:
    """The properties of all objects in a node, outer and inner, by name; a string's value without its quotes."""
    found = {}
    for node in nodes(root):
        if node.type == "object_property" and len(node.named_children) == 2:
            key, value = node.named_children
            found[text(key).strip("'")] = text(value).strip("'")
    return found


def parameters(template: Path) -> dict[str, Parameter]:
    """The parameters that have a default, by name."""
    source = template.read_text()
    found = {}
    for match in re.finditer(r"((?:^@.*\n)*)^param (\w+) \w+ = (.+)$", source, re.MULTILINE):
        decorators, name, default = match.groups()
        allowed = re.search(r"@allowed\(\[(.*)\]\)", decorators)
        found[name] = Parameter(
            default.strip("'"),
            _number(r"@minValue\((\d+)\)", decorators),
            _number(r"@maxValue\((\d+)\)", decorators),
            tuple(item.strip(" '") for item in allowed[1].split(",")) if allowed else (),
        )
    return found


def _number(pattern: str, decorators: str) -> int | None:
    found = re.search(pattern, decorators)
    return int(found[1]) if found else None
