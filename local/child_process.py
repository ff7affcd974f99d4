"""Child processes that never outlive their parent.

`python -m local.child_process SIGTERM COMMAND...` runs a command that lasts no longer than its own standard input: a
pipe from the parent, which ends when the parent closes it and when the parent dies, however that happens.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]
_CHUNK = 65_536
_TAIL_BYTES = 4_000
_TAIL_LINES = 20
_SIGNALLED_SECONDS = 10.0
_STOP_SECONDS = 15.0  # longer than the command has after its signal


class ChildProcess:
    """A command that runs in the project's folder until it is stopped, in a session of its own.

    A Ctrl-C in the terminal is for the parent: it stops each child when nothing needs it any more.
    """

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process
        self._tail = b""
        self._wrote = asyncio.Event()
        self._shown = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> "ChildProcess":
        """Starts the command; `name` is for people."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local.child_process", stop_signal.name, *command),
            cwd=_PROJECT,
            env=environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        return cls(name, process)

    def show(self) -> None:
        """From now on, the output goes to this process's standard output as well."""
        self._shown = True

    async def printed(self, text: bytes) -> bool:
        """Waits for `text` in the output; False if the process ends without it."""
        assert self._process.stdout is not None  # noqa: S101 (opened as a pipe)
        while text not in self._tail and not self._process.stdout.at_eof():
            self._wrote.clear()
            await self._wrote.wait()
        return text in self._tail

    async def ended(self) -> str:
        """Waits for the end, and returns the last lines of the output."""
        await self._process.wait()
        await asyncio.wait({self._reading}, timeout=1)
        return "\n".join(self._tail.decode(errors="replace").splitlines()[-_TAIL_LINES:]).strip()

    async def stop(self) -> None:
        """Asks the process to end, and kills it and its own children after 15 s. Nothing happens after its end."""
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
        while not self._process.stdout.at_eof():
            chunk = await self._process.stdout.read(_CHUNK)
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            self._wrote.set()
            if self._shown:
                with suppress(OSError):  # nobody may be reading it any more
                    sys.stdout.buffer.write(chunk)
                    sys.stdout.buffer.flush()


def main(stop_signal: signal.Signals, command: Sequence[str]) -> int:
    """The command's exit code, or 128 and the number of the signal that ended it, as shells have it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: process.send_signal(stop_signal))
    threading.Thread(target=_end_with_input, args=(process, stop_signal), daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _end_with_input(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    os.read(0, 1)
    process.send_signal(stop_signal)
    try:
        process.wait(_SIGNALLED_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(0, signal.SIGKILL)  # the whole session, with what the command may have started


if __name__ == "__main__":
    sys.exit(main(signal.Signals[sys.argv[1]], sys.argv[2:]))
