"""What is published to Azure: only what runs there, and all of it."""

import ast
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pathspec
from packaging.utils import canonicalize_name

from tests.infra.templates import ROOT
from tests.supply.locks import needed, requirements

FUNCTIONS = {path.parent.name for path in ROOT.glob("*/function.json")}


def package(root: Path) -> list[str]:
    """The files that `.funcignore` leaves, as `func azure functionapp publish` packs them."""
    ignored = pathspec.GitIgnoreSpec.from_lines((root / ".funcignore").read_text().splitlines())

    def walk(folder: str) -> Iterator[str]:
        for entry in sorted(os.scandir(root / folder), key=lambda entry: entry.name):
            path = f"{folder}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if not ignored.match_file(f"{path}/"):
                    yield from walk(f"{path}/")
            elif not ignored.match_file(path):
                yield path

    return list(walk(""))


def strays(files: list[str]) -> list[str]:
    """Files that do not run in Azure."""
    runs = re.compile(
        rf"host\.json|requirements\.(txt|lock)|shared/.+|({'|'.join(sorted(FUNCTIONS))})/(__init__\.py|function\.json)"
    )
    return [file for file in files if not runs.fullmatch(file)]


def unresolved(root: Path, files: list[str]) -> list[str]:
    """Imports that neither the package, the standard library nor the requirements hold."""
    modules = {
        file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in files if file.endswith(".py")
    }
    libraries = required_modules(root / "requirements.txt")
    return [
        f"{file}: {name}"
        for file in files
        if file.endswith(".py")
        for name in imported(root / file)
        if name not in modules
        and name.partition(".")[0] not in sys.stdlib_module_names
        and (name.partition(".")[0] not in libraries or name.startswith("shared"))
    ]


def imported(source: Path) -> Iterator[str]:
    """The modules that a file imports; of `from package import name`, the package."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def required_modules(file: Path) -> set[str]:
    """The top-level modules of what is required, and of what that requires."""
    wanted = needed(requirements(file))
    return {
        module
        for module, distributions in packages_distributions().items()
        if wanted & {canonicalize_name(distribution) for distribution in distributions}
    }


def test_the_package_holds_only_what_runs() -> None:
    files = package(ROOT)
    for file in files:
        print(f"{(ROOT / file).stat().st_size:>8}  {file}")
    print(f"{sum((ROOT / file).stat().st_size for file in files):>8}  {len(files)} files")
    assert strays(files) == []


def test_the_package_holds_all_that_runs() -> None:
    files = package(ROOT)
    assert {"host.json", "requirements.txt", "requirements.lock"} <= set(files)
    assert {f"{name}/{file}" for name in FUNCTIONS for file in ("function.json", "__init__.py")} <= set(files)
    assert unresolved(ROOT, files) == []


def is_small(root: Path) -> bool:
    return sum((root / file).stat().st_size for file in package(root)) < 2_000_000


def test_the_package_is_small() -> None:
    assert is_small(ROOT)


def test_a_large_file_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / ".funcignore").write_text("")
    (tmp_path / "recording.json").write_bytes(bytes(2_000_000))
    assert not is_small(tmp_path)


def test_a_file_too_many_or_a_missing_import_would_be_noticed(tmp_path: Path) -> None:
    for file in ("shared/gateway.py", "fhir_proxy_fn/__init__.py", "local/stack.py", "tests/test_gateway.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / "shared/gateway.py").write_text(
        "import click\nimport asyncio\nfrom shared.nowhere import x\nimport jwt\n"
    )
    (tmp_path / "fhir_proxy_fn/__init__.py").write_text("from shared.gateway import x\nfrom local import stack\n")
    (tmp_path / "tests/test_gateway.py").touch()
    (tmp_path / ".funcignore").write_text(".*\nlocal/\n")
    (tmp_path / "requirements.txt").write_text("pyjwt[crypto]\n")
    files = package(tmp_path)
    assert strays(files) == ["tests/test_gateway.py"]
    assert unresolved(tmp_path, files) == [
        "fhir_proxy_fn/__init__.py: local",
        "shared/gateway.py: click",
        "shared/gateway.py: shared.nowhere",
    ]
