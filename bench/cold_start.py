"""A cold start: from the start of a process to its first response."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import servers
from bench.cores import SERVER_CORE
from bench.process import running
from bench.wrk import Prepared
from local.ports import free_port


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Milliseconds from the start of the process to the first response, and those of the first and a later request."""

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
    async with running(servers.host_command(root, port), port, core=SERVER_CORE, environment=environment):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = time.perf_counter()
        await _send(reader, writer, request.wire(port))
        received = time.perf_counter()
        later = []
        for _ in range(5):
            again = time.perf_counter()
            await _send(reader, writer, request.wire(port))
            later.append(time.perf_counter() - again)
        writer.close()
    return ColdStart((received - began) * 1000, (received - sent) * 1000, median(later) * 1000)


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: bytes) -> None:
    writer.write(wire)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(head.split(b"\r\n")[0].decode())
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
