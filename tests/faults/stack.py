"""A deployment of real processes on real stores, whose stores can be made to fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from local.azurite.table_service import TableService
from tests.deployment import Deployment, SwitchedVault


class Line:
    """A line to Table Storage that can be cut, slowed or tapped.

    `mode`: `pass`, `hang` (carries nothing), `refuse` (closes every connection), `slow` (two seconds a piece), or the
    status of the one answer that every request gets.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.mode: str | int = "pass"
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink, up in ((reader, there_writer, True), (there_reader, writer, False)):
            task = asyncio.create_task(self._carry(source, sink, writer, up))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, client: asyncio.StreamWriter, up: bool
    ) -> None:
        try:
            while data := await source.read(65_536):
                if self.mode == "hang":
                    continue
                if self.mode == "refuse":
                    return
                if isinstance(self.mode, int):
                    if up:
                        head = f"HTTP/1.1 {self.mode} No\r\nRetry-After: 600\r\nContent-Length: 0\r\nConnection: close"
                        client.write(head.encode() + b"\r\n\r\n")
                    return
                if self.mode == "slow" and up:
                    await asyncio.sleep(2)
                sink.write(data)
        except OSError:
            return
        finally:
            sink.close()
            client.close()


@asynccontextmanager
async def running(
    folder: Path, tables: TableService, **settings: str
) -> AsyncIterator[tuple[Deployment, SwitchedVault, Line]]:
    """Stores behind switches; the deployment's own way to the tables stays open. `settings` are every instance's."""
    async with AsyncExitStack() as parts:
        vault = SwitchedVault(folder / "vault", headers={"Retry-After": "600"})
        await parts.enter_async_context(vault.running())
        line = Line(tables.port)
        port = await parts.enter_async_context(line.running())
        deployment = await parts.enter_async_context(Deployment.on(vault, tables.connection_string, **settings))
        cut = tables.connection_string.replace(f":{tables.port}/", f":{port}/")
        deployment.hosts_environment = {"TABLES_CONNECTION_STRING": cut}
        yield deployment, vault, line
