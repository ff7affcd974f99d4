"""`python -m local.functions_host --port 7071`: serves an app folder on this machine."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from local.functions_host.functions import LoadedFunction, LoadError, apply_settings, load, read_object
from local.functions_host.logs import configure_logging
from local.functions_host.server import create_runner, invoke
from local.functions_host.timers import LoadedTimer, invoke_timer, load_timers, scheduled
from local.serving import serving, stop_signal


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; the exit code is 1 when the app can't be loaded or the port is taken."""
    options = _parser().parse_args(arguments)
    root = options.root.resolve()
    try:
        configure_logging(read_object(root / "host.json"))
        apply_settings(root)
        functions = load(root, only=options.only, without=options.without)
        timers = load_timers(root, only=options.only, without=options.without)
        asyncio.new_event_loop().run_until_complete(_serve(functions, timers, options.port))
    except (LoadError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.functions_host", description=__doc__)
    parser.add_argument("--port", type=int, default=7071, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the app's folder, with host.json")
    selection = parser.add_mutually_exclusive_group()
    for option, help in (("--only", "serve this one (repeatable)"), ("--without", "all but this one (repeatable)")):
        selection.add_argument(option, action="append", default=[], metavar="FUNCTION", help=help)
    return parser


async def _serve(functions: Sequence[LoadedFunction], timers: Sequence[LoadedTimer], port: int) -> None:
    stopped = stop_signal()
    async with serving(create_runner(functions, invoke), port) as bound, scheduled(timers, invoke_timer):
        for function in functions:
            print(f"{function.name}: {','.join(function.methods)} /{function.route.template}")
        for timer in timers:
            print(f"{timer.name}: {timer.schedule} (UTC)")
        print(f"Functions host listening on http://127.0.0.1:{bound}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A sync main that does not return holds a thread that nothing can end: like the host, end the process.
    os._exit(code)
