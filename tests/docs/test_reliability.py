"""docs/reliability.md names what there is: everything that a process remembers, and tests that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS

PROJECT = Path(__file__).parents[2]
_CACHES = frozenset({"Cache", "LRUCache", "TTLCache", "LFUCache", "WeakKeyDictionary", "WeakValueDictionary"})
_CACHING = frozenset({"cache", "lru_cache", "cached"})
_COLLECTIONS = frozenset({"dict", "set", "list", "Counter", "defaultdict", "deque", "OrderedDict"})
# Classes whose objects last as long as a request, a check or an answer, or whose collections hold nothing of requests.
_SHORT_LIVED = frozenset(
    {
        *("_Reader", "_Scope", "_Path", "ServerTiming", "Section", "FhirError", "OAuthError", "Cache"),
        *("EnvelopeNames", "Pages", "Renderer", "_RowReader", "HttpConnection", "HttpResponse"),
    }
)
_NOT_REMEMBERED = frozenset(
    {
        *("Usage._tasks", "UsedAssertions._tasks", "DocumentEndpoint._versions", "MemoryBudget._waiting"),
        "AuditLog._ended",
    }
)


def called(node: ast.expr | None) -> str:
    """The name of what an expression calls, or the name that it is."""
    function = node.func if isinstance(node, ast.Call) else node
    return function.id if isinstance(function, ast.Name) else ""


def remembered(tree: ast.Module) -> Iterator[str]:
    """What a module keeps: `Class._attribute` of caches and collections, and functions that cache or make a cache."""
    for scope in ast.walk(tree):
        for node in scope.body if isinstance(scope, ast.ClassDef | ast.Module) else ():
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            owner = f"{scope.name}." if isinstance(scope, ast.ClassDef) else ""
            if any(called(decorator) in _CACHING for decorator in node.decorator_list):
                yield owner + node.name
            for made in ast.walk(node):
                if isinstance(made, ast.Assign | ast.AnnAssign):
                    target = made.targets[0] if isinstance(made, ast.Assign) else made.target
                    collection = isinstance(made.value, ast.Dict | ast.DictComp | ast.Set | ast.List)
                    if isinstance(target, ast.Attribute):
                        if collection or called(made.value) in _CACHES | _COLLECTIONS:
                            yield owner + target.attr
                    elif called(made.value) in _CACHES:
                        yield owner + node.name


def section(title: str) -> str:
    return (DOCS / "reliability.md").read_text().partition(f"## {title}")[2].partition("\n## ")[0]


def test_each_thing_that_is_remembered_is_reviewed() -> None:
    found = {
        name
        for file in (PROJECT / "shared").rglob("*.py")
        for name in remembered(ast.parse(file.read_text()))
        if name.partition(".")[0] not in _SHORT_LIVED
    }
    rows = [row.split(" | ") for row in section("What a process remembers").splitlines() if row.startswith("| ")]
    reviewed = {name for row in rows for name in re.findall(r"`([\w.]+)`", row[1])}
    assert found - _NOT_REMEMBERED == reviewed


@pytest.mark.parametrize("page", ["reliability.md", "security-model.md"])
def test_tests_that_are_named_exist(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / page).read_text()))
    files = [*(PROJECT / "tests").rglob("test_*.py"), *(PROJECT / "tests").rglob("check_*.py")]
    there = {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    assert named <= there, named - there
    assert named


def test_each_lesson_names_its_tests() -> None:
    lessons = section("What other gateways got wrong").partition("| --- | --- |\n")[2].partition("<!--")[0].splitlines()
    assert len(lessons) > 20
    assert [lesson for lesson in lessons if not re.search(r"`test_\w+`", lesson)] == []
