"""`python -m local.functions_host --port 7071`: serves an app folder on this machine."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from local.functions_host.app import create_runner
from local.functions_host.functions import LoadedFunction, LoadError, apply_settings, load, read_object
from local.functions_host.logs import configure_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; the exit code is 1 when the app can't be loaded or the port is taken."""
    options = _parser().parse_args(arguments)
    root = options.root.resolve()
    try:
        configure_logging(read_object(root / "host.json"))
        apply_settings(root)
        functions = load(root, only=options.only, without=options.without)
        asyncio.new_event_loop().run_until_complete(_serve(functions, options.port))
    except (LoadError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.functions_host", description=__doc__)
    parser.add_argument("--port", type=int, default=7071, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the app's folder, with host.json")
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument(
        "--only", action="append", default=[], metavar="FUNCTION", help="serve this one (repeatable)"
    )
    selection.add_argument("--without", action="append", default=[], metavar="FUNCTION", help="all but this one")
    return parser


async def _serve(functions: Sequence[LoadedFunction], port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = create_runner(functions)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        for function in functions:
            print(f"{function.name}: {','.join(function.methods)} /{function.route.template}")
        print(f"Functions host listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A sync main that does not return holds a thread that nothing can end: like the host, end the process.
    os._exit(code)
