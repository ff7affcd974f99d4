"""`python -m tests.shapes.watched --port 0`: the functions, in a process that says what its event loop and memory did.

At the socket WATCH_SOCKET, `/begin` starts to measure and `/end` says what was since, on the same event loop.
"""

import argparse
import asyncio
import ctypes
import gc
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from local.functions_host.functions import LoadedFunction, apply_settings, load, read_object
from local.functions_host.logs import configure_logging
from local.functions_host.server import create_runner, invoke

_TICK_SECONDS = 0.002
_PROCESS = Path("/proc/self")


class Watch:
    """Wakes up every two milliseconds, and notes the longest that it could not: by the clock, and in processor time.

    The second is what the code did, also on a machine that has other work.
    """

    def __init__(self) -> None:
        self._ticked = self._worked = self._longest = self._longest_work = self._cpu = 0.0
        self._memory = 0

    def tick(self) -> None:
        self._note()
        asyncio.get_running_loop().call_later(_TICK_SECONDS, self.tick)

    def _note(self) -> None:
        now, worked = time.monotonic(), time.thread_time()
        if self._ticked:
            self._longest = max(self._longest, now - self._ticked - _TICK_SECONDS)
            self._longest_work = max(self._longest_work, worked - self._worked)
        self._ticked, self._worked = now, worked

    def watched(self, function: LoadedFunction) -> LoadedFunction:
        """The function, so that what this machine's HTTP server does just before and after it is not noted."""

        async def main(**call: Any) -> Any:
            self._ticked, self._worked = time.monotonic(), time.thread_time()
            try:
                return await function.main(**call)
            finally:
                self._note()
                self._ticked = 0.0

        return replace(function, main=main) if function.is_async else function

    async def begin(self, request: web.BaseRequest) -> web.Response:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        (_PROCESS / "clear_refs").write_text("5")  # the peak of memory is what is held now
        self._memory = _bytes("VmRSS")
        self._ticked = self._longest = self._longest_work = 0.0
        self._cpu = time.process_time()
        return web.json_response({})

    async def end(self, request: web.BaseRequest) -> web.Response:
        """Seconds, and bytes beyond those at the beginning."""
        cpu, memory = time.process_time() - self._cpu, _bytes("VmHWM") - self._memory
        return web.json_response({"hold": self._longest, "work": self._longest_work, "cpu": cpu, "memory": memory})


def _bytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", (_PROCESS / "status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def _serve(port: int) -> None:
    root = Path.cwd()
    configure_logging(read_object(root / "host.json"))
    apply_settings(root)
    watch = Watch()
    watch.tick()
    functions = [watch.watched(function) for function in load(root, without=["portal_fn"])]
    runner = create_runner(functions, invoke)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    watching = web.Application()
    watching.add_routes([web.get("/begin", watch.begin), web.get("/end", watch.end)])
    figures = web.AppRunner(watching, access_log=None)
    await figures.setup()
    await web.UnixSite(figures, os.environ["WATCH_SOCKET"]).start()
    print(f"Functions host listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_serve(parser.parse_known_args()[0].port))
