"""`azure package`: what runs in Azure as one zip file, with the libraries of `requirements.lock` built in.

A package that is built here can't be built again in Azure, where another version of Python was once taken for it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import click

from admin.command import examples
from admin.session import PROJECT

PYTHON_VERSIONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")
LIBRARIES = ".python_packages/lib/site-packages"  # where the Functions worker looks for them
PARAMETERS = PROJECT / "infra" / "gateway.bicepparam"

_SPECIAL = re.compile(r"[-\[\]/{}()+?.\\^$|]")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file knows: the same contents are the same bytes


@click.command(epilog=examples("azure package", "azure package --python-version 3.12"))
@click.option(
    "--python-version",
    type=click.Choice(PYTHON_VERSIONS),
    default=lambda: chosen_python(PARAMETERS),
    show_default="pythonVersion of infra/gateway.bicepparam, else 3.13",
    help="The Python of the apps.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=PROJECT / "dist", show_default="dist", help="Where to."
)
def package(python_version: str, output: Path) -> None:
    """Builds the package of both apps: a folder to publish from, and the same as a zip file.

    The libraries are wheels for Linux x86-64 whose hashes are those of requirements.lock. Prints every file of the
    project's own, every library, their sizes in bytes, and the SHA-256 of the zip file. Bytecode is made where there is
    a Python of that version.
    """
    folder = output / "package"
    shutil.rmtree(folder, ignore_errors=True)
    files = published(PROJECT)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / file, folder / file)
        click.echo(f"{(folder / file).stat().st_size:>9}  {file}")
    for name, size in _install(folder, python_version):
        click.echo(f"{size:>9}  {name}")
    if not compiled(folder, python_version):
        click.echo(
            f"There is no Python {python_version} here: nothing is compiled, and each start takes longer.", err=True
        )
    contents = sorted(path for path in folder.rglob("*") if path.is_file())
    archive = _zipped(contents, folder, output / "package.zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    click.echo(
        f"{sum(file.stat().st_size for file in contents):>9}  {len(contents)} files, for Python {python_version}"
    )
    click.echo(f"{archive.stat().st_size:>9}  {archive}  sha256:{digest}")


def chosen_python(parameters: Path) -> str:
    """The Python of a parameter file, or the templates' own choice."""
    text = parameters.read_text("utf-8") if parameters.exists() else ""
    found = re.search(r"^param pythonVersion = '(.+)'", text, re.MULTILINE)
    return found[1] if found else PYTHON_VERSIONS[-1]


def published(root: Path) -> list[str]:
    """The files below a folder that its `.funcignore` lets travel, links to folders aside."""
    below = [str((Path(folder) / name).relative_to(root)) for folder, _, names in os.walk(root) for name in names]
    return let_through((root / ".funcignore").read_text("utf-8"), sorted(below))


def let_through(ignored: str, files: list[str]) -> list[str]:
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


def _install(folder: Path, python_version: str) -> Iterator[tuple[str, int]]:
    """Puts the locked libraries into the package; gives each one's name with its version, and its size in bytes."""
    target = folder / LIBRARIES
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += ["--target", str(target), "--only-binary", ":all:", "--implementation", "cp"]
    pip += ["--python-version", python_version, *(part for name in PLATFORMS for part in ("--platform", name))]
    try:
        subprocess.run([*pip, "--require-hashes", "-r", str(folder / "requirements.lock")], check=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise click.ClickException("pip did not install what requirements.lock says: nothing was packed") from error
    shutil.rmtree(target / "bin", ignore_errors=True)  # scripts that name this machine's Python
    for library in sorted(distributions(path=[str(target)]), key=lambda found: found.name.lower()):
        sizes = [file.stat().st_size for name in library.files or () if (file := target / name).is_file()]
        yield f"{library.name} {library.version}", sum(sizes)


def compiled(folder: Path, python_version: str) -> bool:
    """Whether each module of a folder has its bytecode now: it takes a Python of that version.

    An instance gets the package read-only, so that without it each start would compile all that it imports. It is good
    whatever the files' times are, which are others on each instance; the same sources give the same bytes.
    """
    python = _python(python_version)
    if python is None:
        return False
    command = [python, "-P", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), str(folder)]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, check=True)  # noqa: S603
    return True


def _python(version: str) -> str | None:
    """A Python of this version, the one that runs if it is one."""
    tell = ["-c", "import sys; print('%s.%s' % sys.version_info[:2])"]
    for python in filter(None, (sys.executable, shutil.which(f"python{version}"))):
        told = subprocess.run([python, *tell], capture_output=True, text=True, check=False)  # noqa: S603
        if told.stdout.strip() == version:
            return python
    return None


def _zipped(contents: list[Path], folder: Path, archive: Path) -> Path:
    """A zip file of these files, the same bytes for the same contents."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        for file in contents:
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3  # Unix: the permissions hold
            package.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive
