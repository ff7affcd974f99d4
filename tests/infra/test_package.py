"""What is published to Azure: only what runs there, and all of it."""

import ast
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.infra.bicep import ROOT
from tests.supply.locks import needed, requirements

_SPECIAL = re.compile(r"[-\[\]/{}()+?.\\^$|]")


def packed(ignored: str, files: list[str]) -> list[str]:
    """The files that `func azure functionapp publish` packs, by Core Tools' own reading of a `.funcignore`.

    As in its GitIgnoreParser: all patterns together are one regular expression, matched from the root on, that has to
    end at a word's end; what a pattern after `!` matches is packed whatever else matches it.
    """
    lines = [line.strip() for line in ignored.splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    kept = _expression([line[1:] for line in patterns if line.startswith("!")])
    left_out = _expression([line for line in patterns if not line.startswith("!")])
    never = {".funcignore", ".gitignore", "local.settings.json", "project.lock.json"}
    return [
        file
        for file in files
        if not {".git", ".vscode"} & set(file.split("/")[:-1])
        and file.rpartition("/")[2] not in never
        and (kept.match(file) or not left_out.match(file))
    ]


def _expression(patterns: list[str]) -> re.Pattern[str]:
    escaped = [_SPECIAL.sub(r"\\\g<0>", pattern.removeprefix("/")) for pattern in sorted(patterns)]
    expressions = [pattern.replace("**", "(.+)").replace("*", "([^\\/]+)") for pattern in escaped]
    return re.compile(rf"((?:{')|(?:'.join(expressions)}))\b" if patterns else "$^", re.ASCII)


def files_below(root: Path) -> list[str]:
    """Every file below a folder, links to folders aside."""
    return sorted(str((Path(folder) / name).relative_to(root)) for folder, _, names in os.walk(root) for name in names)


def package(root: Path) -> list[str]:
    return packed((root / ".funcignore").read_text(), files_below(root))


def running() -> list[str]:
    """What runs in Azure."""
    runs = re.compile(
        r"host\.json|requirements\.(txt|lock)|[^/]+_fn/(__init__\.py|function\.json)|shared/.+\.(py|css|js|html)"
    )
    return [file for file in files_below(ROOT) if runs.fullmatch(file)]


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


SECRETS = [
    "private-key.pem", "client-secret.txt", "tenants.csv", "credential.json", "app-roles.json", "gateway.env", ".env",
    "key.pfx", "new-password.txt", "local.settings.json", "clients.json", "gateway.bicepparam", "app.zip", "notes.md",
]  # fmt: skip
STRAYS = [
    *(f"{folder}{name}" for folder in ("", "shared/", "shared/portal/", "shared/portal/static/", "token_fn/", "docs/",
      ".azure/gateway/") for name in SECRETS),
    *(f"{folder}lib/python3.13/site-packages/idna/core.py" for folder in (".venv/", "venv/", "env/", "shared/.venv/")),
    ".venv/bin/activate", "node_modules/azurite/main.js", ".python_packages/lib/site-packages/idna/core.py",
    "__pycache__/x.cpython-313.pyc", "shared/__pycache__/audit.cpython-313.pyc",
    "shared/oauth/__pycache__/endpoint.cpython-313.pyc", "token_fn/__pycache__/__init__.cpython-313.pyc",
    ".mypy_cache/3.13/shared/audit.data.json", ".pytest_cache/v/cache/nodeids", ".hypothesis/unicode_data/x",
    ".ruff_cache/0.8/1", ".local/demo.json", ".local/vault/keys.json", ".git/config", "shared/.git/config",
    ".vscode/settings.json", ".gitignore", ".funcignore", ".github/workflows/deploy.yml", "infra/.checkov.yaml",
    "infra/main.bicep", "admin/cli.py", "app/client.py", "bench/servers.py", "local/stack.py", "tests/conftest.py",
    "Makefile", "README.md", "pyproject.toml", "gateway", "gateway.cmd", "azure.yaml",
    "requirements-dev.txt", "requirements-dev.lock",
    "not_a_function/__init__.py", "token_fn/readme.txt", "shared/portal/templates/tenants.csv", "shared/audit.pyc",
]  # fmt: skip


def test_the_package_holds_what_runs_and_nothing_else() -> None:
    files = package(ROOT)
    assert files == running()
    assert {f"{path.parent.name}/__init__.py" for path in ROOT.glob("*/function.json")} < set(files)


@pytest.mark.parametrize("stray", STRAYS)
def test_a_key_a_cache_or_an_environment_never_travels(stray: str) -> None:
    assert packed((ROOT / ".funcignore").read_text(), [stray]) == []


def test_the_package_holds_what_it_imports() -> None:
    files = package(ROOT)
    assert unresolved(ROOT, files) == []


def test_the_package_is_small() -> None:
    assert sum((ROOT / file).stat().st_size for file in package(ROOT)) < 2_000_000
