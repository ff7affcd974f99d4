"""The command line as a person runs it: a process of its own, with a `local.settings.json` where it is run."""

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.reduction import DupFd
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from admin.__main__ import main

# Commands are forked off a process that has imported what they need: a new Python takes half a second to do so.
_FORKSERVER = get_context("forkserver")
_FORKSERVER.set_forkserver_preload(
    [
        *("admin.__main__", "admin.cli", "admin.table", "requests", "rich.progress", "shared.directory.tenant_csv"),
        *(
            "shared.onboarding.check",
            "shared.onboarding.probe",
            "shared.onboarding.hospital_state",
            "shared.stores.tables",
            "shared.stores.vault",
        ),
    ]
)


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its words."""
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, command


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output, all of it, as JSON."""
        return json.loads(self.stdout)

    @property
    def audit(self) -> list[dict[str, str]]:
        """The audit lines on standard error."""
        return [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]


class _Streams:
    """Three open files that another process gets: its standard input, output and error."""

    def __init__(self, *files: int) -> None:
        self.files = files

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, tuple(map(DupFd, self.files))


def _received(*files: Any) -> _Streams:
    return _Streams(*(file.detach() for file in files))


def _run(arguments: list[str], environment: dict[str, str], folder: Path, streams: _Streams) -> None:
    """Becomes the command, in the process that was forked for it."""
    os.setsid()  # a hidden question goes to the terminal the tests run on, if there is one
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(streams.files):
        os.dup2(file, number)
    sys.argv = ["gateway", *arguments]
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), *(os.fdopen(file, "w", encoding=encoding) for file in (1, 2))
    main()


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs `./gateway` in a folder. The first argument may be a line of several words."""

    folder: Path

    def configure(self, values: Mapping[str, str]) -> None:
        """Writes the folder's `local.settings.json`."""
        (self.folder / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": dict(values)}))

    async def __call__(
        self,
        line: str,
        *arguments: str,
        stdin: bytes = b"",
        terminal: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Runs a command, with `stdin` piped to it, or with a terminal on which `terminal` is typed."""
        with TemporaryFile() as given, TemporaryFile() as printed:
            given.write(stdin)
            given.seek(0)
            keyboard, screen = os.openpty() if terminal is not None else (-1, given.fileno())
            reading, writing = os.pipe()
            variables = {"PATH": os.environ["PATH"], "LOGNAME": "ada", **(environment or {})}
            process = _FORKSERVER.Process(
                target=_run,
                args=(
                    [*shlex.split(line), *arguments],
                    variables,
                    self.folder,
                    _Streams(screen, printed.fileno(), writing),
                ),
            )
            process.start()
            os.close(writing)
            with os.fdopen(reading, "rb") as errors:
                asked = await asyncio.to_thread(errors.read, 1) if terminal is not None else b""
                if asked and terminal is not None:
                    os.write(keyboard, terminal)  # not sooner: what is typed before a hidden question is thrown away
                stderr = asked + await asyncio.to_thread(errors.read)
            await asyncio.to_thread(process.join)
            if terminal is not None:
                os.close(keyboard)
                os.close(screen)
            printed.seek(0)
            stdout = printed.read()
        assert process.exitcode is not None
        assert b"Traceback" not in stderr, stderr.decode()
        return Result(process.exitcode, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    async def json(self, line: str, *arguments: str, stdin: bytes = b"") -> Any:
        """What a command prints with `--json`, on the folder's stack; it must end well."""
        result = await self(line, *arguments, "--local", "--json", stdin=stdin)
        assert (result.code, result.stderr) == (0, "")
        return result.json

    async def error(self, line: str, *arguments: str, stdin: bytes = b"", code: int = 1) -> str:
        """The one line that a command fails with, on the folder's stack; it prints and audits nothing."""
        result = await self(line, *arguments, "--local", stdin=stdin)
        assert (result.code, result.stdout) == (code, ""), result.stderr
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("Error: ").rstrip("\n")
