"""The load: prepared requests over keep-alive connections, by wrk or one after another."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cores import LOAD_CORE
from bench.process import Running, output

_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as it goes over the wire; to whom it goes is left open."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def wire(self, port: int) -> bytes:
        """Its bytes, for the server on `port` of 127.0.0.1."""
        headers = {"Host": f"127.0.0.1:{port}", **self.headers}
        if self.method == "POST":
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True)
class Load:
    """The figures of a run of wrk. Latencies are milliseconds, CPU microseconds of the server's per request."""

    per_second: float
    p50: float
    p99: float
    cpu: float
    requests: float


class UnexpectedResponse(Exception):
    """Not every request had the response that it should."""


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Callable[[Prepared], Awaitable[tuple[float, bytes]]]]:
    """A connection to 127.0.0.1, as a function that sends a request: milliseconds and head of the response.

    It raises UnexpectedResponse for any but a 200.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send(request: Prepared) -> tuple[float, bytes]:
        began = time.perf_counter()
        writer.write(request.wire(port))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise UnexpectedResponse(head.split(b"\r\n")[0].decode())
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        return (time.perf_counter() - began) * 1000, head

    try:
        yield send
    finally:
        writer.close()


async def load(server: Running, requests: Sequence[Prepared], folder: Path, *, connections: int, seconds: int) -> Load:
    """Sends `requests` in turn, over and over, for `seconds`; each of the `connections` waits for its response.

    Raises UnexpectedResponse for a connection that broke, any status of 400 and more, or no response at all.
    """
    file = folder / "requests"
    with file.open("wb") as prepared:
        for request in requests:
            wire = request.wire(server.port)
            prepared.write(b"%d\n%s" % (len(wire), wire))
    before = server.cpu_seconds()
    command = [
        *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
        *("--timeout", "20s", "--latency", "--script", str(_SCRIPT)),
        *(f"http://127.0.0.1:{server.port}/", "--", str(file)),
    ]
    written = await output(command, core=LOAD_CORE, seconds=seconds + 60)
    cpu = server.cpu_seconds() - before
    seen = json.loads(written.splitlines()[-1])
    if seen["broken"] or seen["refused"] or not seen["requests"]:
        raise UnexpectedResponse(f"of {seen['requests']} requests {seen['refused']} refused, {seen['broken']} broken")
    return Load(
        per_second=seen["requests"] / seen["microseconds"] * 1e6,
        p50=seen["p50"] / 1000,
        p99=seen["p99"] / 1000,
        cpu=cpu / (seen["requests"] + connections / 2) * 1e6,  # at the end as many are half done
        requests=seen["requests"],
    )
