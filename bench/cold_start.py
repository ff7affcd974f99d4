"""A cold start: from the start of a process to its first answer."""

import asyncio
import os
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import servers
from bench.cores import SERVER_CORE, on_core
from bench.process import PROJECT
from bench.wrk import Prepared
from local.ports import free_port

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Milliseconds from the start of the process to the first answer, and what the first and a later answer took."""

    total: float
    first: float
    later: float


async def cold_starts(
    requests: Mapping[str, tuple[Path, Prepared]], environment: Mapping[str, str], rounds: int
) -> dict[str, ColdStart]:
    """The median of `rounds` starts for each app and first request, in turn."""
    found: dict[str, list[ColdStart]] = {name: [] for name in requests}
    for _ in range(rounds):
        for name, (root, request) in requests.items():
            found[name].append(await _cold_start(root, request, environment))
    return {
        name: ColdStart(*(median(getattr(start, part) for start in starts) for part in ("total", "first", "later")))
        for name, starts in found.items()
    }


async def _cold_start(root: Path, request: Prepared, environment: Mapping[str, str]) -> ColdStart:
    port = free_port()
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *on_core(SERVER_CORE, servers.host_command(root, port)),
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        async with asyncio.timeout(_START_SECONDS):
            reader, writer = await _connect(port)
            asked = time.perf_counter()
            await _ask(reader, writer, request.wire(port))
            answered = time.perf_counter()
            later = []
            for _ in range(5):
                again = time.perf_counter()
                await _ask(reader, writer, request.wire(port))
                later.append(time.perf_counter() - again)
            writer.close()
    finally:
        process.terminate()
        await process.wait()
    return ColdStart((answered - began) * 1000, (answered - asked) * 1000, median(later) * 1000)


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.002)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: bytes) -> None:
    writer.write(wire)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(head.split(b"\r\n")[0].decode())
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
