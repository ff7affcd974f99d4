"""A child process that never outlives its parent."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]
_CHUNK = 65_536
_TAIL_BYTES = 4_000
_TAIL_LINES = 20
_STOP_SECONDS = 15.0  # longer than the leash waits


class Child:
    """A command that runs in the project's folder until it is stopped, in a session of its own.

    A Ctrl-C in the terminal is for us: we stop each child when nothing needs it any more.
    """

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process
        self._tail = b""
        self._shown = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, name: str, command: Sequence[str], environment: Mapping[str, str]) -> "Child":
        """Starts the command; `name` is for people."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local.leash", *command),
            cwd=_PROJECT,
            env=environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        return cls(name, process)

    def show(self) -> None:
        """From now on, what it writes goes to our standard output as well."""
        self._shown = True

    async def ended(self) -> str:
        """Waits until it ends, and returns the last lines it wrote."""
        await self._process.wait()
        await asyncio.wait({self._reading}, timeout=1)
        return "\n".join(self._tail.decode(errors="replace").splitlines()[-_TAIL_LINES:])

    async def stop(self) -> None:
        """Asks it to end, and kills it and what it started after 15 s."""
        if self._process.stdin:
            self._process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.wait({self._reading})

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 (opened as a pipe)
        while chunk := await self._process.stdout.read(_CHUNK):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            if not self._shown:
                continue
            with suppress(OSError):  # nobody may be reading ours any more
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
