"""`python -m bench.functions_worker --port 8080 --root DIR --worker-core 1`: serves an app folder in the real worker.

Needs an environment with what stands in requirements.txt beside this file.
"""

import argparse
import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from bench.cores import on_core
from bench.functions_worker.channel import WorkerChannel, WorkerError
from bench.functions_worker.protocol import services
from bench.functions_worker.worker import UNLIMITED
from local.functions_host.functions import Function, LoadError, apply_settings, find, read_object
from local.functions_host.logs import configure_logging
from local.functions_host.server import create_runner
from local.functions_host.timers import Timer, find_timers, scheduled
from local.serving import serving, stop_signal


def main() -> int:
    """Serves until SIGINT or SIGTERM, or until the worker ends; the exit code is 1 when a function can't be loaded."""
    options = _parser().parse_args()
    root = options.root.resolve()
    try:
        configure_logging(read_object(root / "host.json"))
        apply_settings(root)
        functions, timers = find(root, only=options.only), find_timers(root, only=options.only)
        asyncio.run(_serve(root, functions, timers, options.port, options.worker_core))
    except (LoadError, WorkerError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.functions_worker", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--root", type=Path, required=True, help="the app's folder, with host.json")
    parser.add_argument("--only", action="append", default=[], metavar="FUNCTION", help="serve this one (repeatable)")
    parser.add_argument("--worker-core", type=int, required=True, help="the core on which the worker runs alone")
    return parser


async def _serve(
    root: Path, functions: Sequence[Function], timers: Sequence[Timer], port: int, worker_core: int
) -> None:
    stopped = stop_signal()
    channel = WorkerChannel()
    async with _listening(channel) as address, _worker(root, address, worker_core) as worker:
        ended = asyncio.create_task(worker.wait())
        everything: tuple[Function | Timer, ...] = (*functions, *timers)
        for function in everything:
            await _unless_ended(ended, channel.load(function))
        async with serving(create_runner(functions, channel.invoke), port), scheduled(timers, channel.invoke_timer):
            await _unless_ended(ended, stopped.wait())


async def _unless_ended(ended: "asyncio.Task[int]", work: Coroutine[Any, Any, object]) -> None:
    """Waits for `work`; raises WorkerError when the worker ends before."""
    working = asyncio.create_task(work)
    await asyncio.wait({ended, working}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        working.cancel()
        raise WorkerError(f"the worker ended with {ended.result()}")
    working.result()


@asynccontextmanager
async def _listening(channel: WorkerChannel) -> AsyncIterator[str]:
    """The address at which the worker finds the channel: a socket, which takes no port of another server."""
    with TemporaryDirectory() as folder:
        server = grpc.aio.server(options=UNLIMITED)
        services.add_FunctionRpcServicer_to_server(channel, server)
        address = f"unix:{folder}/host"
        server.add_insecure_port(address)
        await server.start()
        try:
            yield address
        finally:
            await server.stop(grace=None)


@asynccontextmanager
async def _worker(root: Path, address: str, core: int) -> AsyncIterator[Process]:
    command = [sys.executable, "-m", "bench.functions_worker.worker", "--host", address, "--root", str(root)]
    process = await asyncio.create_subprocess_exec(*on_core(core, command), stdin=DEVNULL)
    try:
        yield process
    finally:
        # It does not end by itself when the stream does.
        if process.returncode is None:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    sys.exit(main())
