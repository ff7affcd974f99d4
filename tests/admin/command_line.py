"""The command line as a person runs it: a process of its own, with a `local.settings.json` where it is run."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.azurite.table_service import TableService
from local.vault.server import VaultServer

_PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
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


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs `./gateway` in a folder."""

    folder: Path

    def configure(self, values: Mapping[str, str]) -> None:
        """Writes the folder's `local.settings.json`."""
        (self.folder / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": dict(values)}))

    async def __call__(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        terminal: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Answer:
        """Runs a command of `./gateway`, as `run` does."""
        return await self.run("-m", "admin", *arguments, stdin=stdin, terminal=terminal, environment=environment)

    async def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        terminal: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Answer:
        """Runs Python, with `stdin` piped to it, or with a terminal on which `terminal` is typed."""
        master, slave = os.openpty() if terminal is not None else (-1, -1)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *arguments),
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_PROJECT), "LOGNAME": "ada", **(environment or {})},
                stdin=slave if terminal is not None else DEVNULL if stdin is None else PIPE,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,  # a hidden question goes to the terminal the tests run on, if there is one
            )
            assert process.stderr is not None
            asked = await process.stderr.read(1) if terminal is not None else b""
            if asked and terminal is not None:
                os.write(master, terminal)  # not sooner: what is typed before a hidden question is thrown away
            stdout, stderr = await process.communicate(stdin)
            stderr = asked + stderr
        finally:
            if terminal is not None:
                os.close(master)
                os.close(slave)
        assert process.returncode is not None
        assert b"Traceback" not in stderr, stderr.decode()
        return Answer(process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


def settings_of(tables: TableService, vault: VaultServer) -> dict[str, str]:
    """The settings of a stack of these two."""
    return {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PUBLIC_BASE_URL": "http://127.0.0.1:7071",
        "KEY_VAULT_URL": vault.url,
        "LOCAL_VAULT": str(vault.folder),
        "TABLES_CONNECTION_STRING": tables.connection_string,
    }
