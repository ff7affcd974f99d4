"""Processes that are measured: pinned to a core, and ended with the benchmark however that ends."""

import asyncio
import os
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from bench.cores import on_core

PROJECT = Path(__file__).resolve().parents[1]

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_CPUCLOCK_SCHED = 2


class ProcessEnded(Exception):
    """A process ended or did not get ready; the message has its command."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server on `port` of 127.0.0.1, and the process of it that is measured."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """The time it has been on a core so far, by its own clock (clock_getcpuclockid(3)): /proc counts in ticks."""
        return time.clock_gettime(~self.process.pid << 3 | _CPUCLOCK_SCHED)

    def age_seconds(self) -> float:
        """The time since it was started, in steps of a tick (10 ms)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Its memory (RSS)."""
        return int(self.process.memory_info().rss)


@asynccontextmanager
async def running(
    command: Sequence[str],
    port: int,
    *,
    core: int,
    environment: Mapping[str, str] | None = None,
    errors: int | IO[bytes] = DEVNULL,
) -> AsyncIterator[Running]:
    """Starts a command on a core, and yields when it accepts connections on `port`. Raises ProcessEnded.

    `errors` is where its standard error goes.
    """
    process = await asyncio.create_subprocess_exec(
        *on_core(core, command),
        cwd=PROJECT,
        env={**os.environ, **(environment or {})},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=errors,
    )
    try:
        await _accepts(process, command, port)
        yield Running(port, psutil.Process(process.pid))
    finally:
        await _stop(process)


@asynccontextmanager
async def crowded(core: int) -> AsyncIterator[None]:
    """Two processes take their share of a core: what else runs there gets a third of it."""
    command = on_core(core, ["sh", "-c", "while :; do :; done"])
    processes = [await asyncio.create_subprocess_exec(*command, stdin=DEVNULL) for _ in range(2)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            await process.wait()


async def output(command: Sequence[str], *, core: int, seconds: float) -> str:
    """The output of a command that ends by itself within `seconds`. Raises ProcessEnded."""
    process = await asyncio.create_subprocess_exec(*on_core(core, command), stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        written, error = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        await _stop(process)
    if process.returncode != 0:
        raise ProcessEnded(f"{command[0]}: {error.decode(errors='replace').strip()}")
    return written.decode()


async def _accepts(process: Process, command: Sequence[str], port: int) -> None:
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while process.returncode is None and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.002)
        else:
            writer.close()
            return
    raise ProcessEnded(f"{' '.join(command)}: did not start")


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
