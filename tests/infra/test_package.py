"""What is published to Azure: only what runs there, and all of it."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from admin.package import chosen_python, compiled, let_through, published
from tests.infra.bicep import ROOT
from tests.supply.locks import needed, requirements


def running() -> list[str]:
    """What runs in Azure."""
    runs = re.compile(
        r"host\.json|requirements\.(txt|lock)|docs/app-guide\.md|[^/]+_fn/(__init__\.py|function\.json)|"
        r"shared/.+\.(py|css|js|html)"
    )
    folders = (".", "*_fn", "docs", "shared/**")
    files = [str(file.relative_to(ROOT)) for folder in folders for file in ROOT.glob(f"{folder}/*")]
    return sorted(file for file in files if runs.fullmatch(file))


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
    "requirements-dev.txt", "requirements-dev.lock", "dist/package.zip", "dist/package/host.json",
    "not_a_function/__init__.py", "token_fn/readme.txt", "shared/portal/templates/tenants.csv", "shared/audit.pyc",
]  # fmt: skip


def test_the_package_of_a_tree_full_of_keys_and_caches_holds_what_runs_and_nothing_else(tmp_path: Path) -> None:
    for file in [*running(), *STRAYS]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    shutil.copy(ROOT / ".funcignore", tmp_path)
    assert published(tmp_path) == running()
    assert {f"{path.parent.name}/__init__.py" for path in ROOT.glob("*/function.json")} < set(running())


@pytest.mark.parametrize(
    ("ignored", "file", "travels"),
    [
        ("infra/", "infra/.checkov.yaml", True),
        ("infra/", "infra/main.bicep", False),
        ("__pycache__/", "shared/__pycache__/x.pyc", True),
        ("*\n!host.json", "host.json", True),
        ("!host.json\n*", "hosts.json", False),
        ("*\n!shared/**", "shared/a/key.pem", True),
        ("/tests", "tests/x.py", False),
        ("# *", "key.pem", True),
    ],
)
def test_core_tools_rules(ignored: str, file: str, travels: bool) -> None:
    assert (let_through(ignored, [file]) == [file]) is travels


def test_the_package_holds_what_it_imports_and_is_small() -> None:
    files = published(ROOT)
    assert files == running()
    assert unresolved(ROOT, files) == []
    assert sum((ROOT / file).stat().st_size for file in files) < 2_000_000


@pytest.mark.parametrize(
    ("parameters", "version"),
    [
        (None, "3.13"),
        ("using 'main.bicep'\n\nparam portalClientId = 'x'\n", "3.13"),
        ("using 'main.bicep'\nparam pythonVersion = '3.12' // as the apps have it\n", "3.12"),
    ],
)
def test_the_package_is_built_for_the_python_of_the_parameter_file(
    parameters: str | None, version: str, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.bicepparam"
    if parameters is not None:
        file.write_text(parameters)
    assert chosen_python(file) == version


def test_the_packages_bytecode_is_what_runs_whatever_the_files_times_are(tmp_path: Path) -> None:
    made = []
    for name in ("built", "again"):
        folder = tmp_path / name
        shutil.copytree(ROOT / "shared", folder / "shared", ignore=shutil.ignore_patterns("__pycache__"))
        assert compiled(folder, "{}.{}".format(*sys.version_info))
        made.append({file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.pyc")})
        for source in folder.rglob("*.py"):
            source.write_text("raise ImportError('compiled anew')")
    assert made[0] == made[1]
    assert len(made[0]) == len([*(ROOT / "shared").rglob("*.py")])
    moved = (tmp_path / "built").rename(tmp_path / "elsewhere")
    ran = subprocess.run([sys.executable, "-c", "import shared.functions, shared.gateway"], cwd=moved)
    assert ran.returncode == 0


def test_nothing_is_compiled_without_a_python_of_that_version(tmp_path: Path) -> None:
    (tmp_path / "module.py").touch()
    assert not compiled(tmp_path, "3.0")
    assert [file.name for file in tmp_path.rglob("*")] == ["module.py"]
