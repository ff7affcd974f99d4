"""HTTP servers on 127.0.0.1, until a signal."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serving(runner: web.AppRunner, port: int = 0) -> AsyncIterator[int]:
    """Serves on `port` (0: any free one) and yields the port. Raises OSError if it is taken."""
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        bound: int = runner.addresses[0][1]
        yield bound
    finally:
        await runner.cleanup()


def stop_signal() -> asyncio.Event:
    """Set once this process gets SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped
