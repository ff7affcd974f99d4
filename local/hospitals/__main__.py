"""Serves the three hospitals on this machine until it is interrupted."""

import argparse
import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from local.hospitals.credentials import Credential
from local.hospitals.hospital import HOSPITALS, Hospital
from local.hospitals.server import create_app


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.hospitals", description=__doc__)
    parser.add_argument("--ports", required=True, type=_ports, help="one for each hospital, such as 8101,8102,8103")
    parser.add_argument("--credentials", required=True, type=Path, help="a JSON file: an object for each hospital")
    options = parser.parse_args()
    try:
        credentials = _credentials(options.credentials)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{options.credentials}: not a credentials file: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(options.ports, credentials))
    except OSError as error:
        print(f"A hospital cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


def _ports(text: str) -> tuple[int, ...]:
    ports = tuple(int(port) for port in text.split(","))
    if len(ports) != len(HOSPITALS):
        raise argparse.ArgumentTypeError(f"{len(HOSPITALS)} ports are needed")
    return ports


def _credentials(file: Path) -> dict[str, Credential]:
    secrets = json.loads(file.read_text("utf-8"))
    return {hospital.key: hospital.credential(**secrets[hospital.key]) for hospital in HOSPITALS}


async def _serve(ports: tuple[int, ...], credentials: dict[str, Credential]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    # Not loop.add_signal_handler, which Windows lacks.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
    async with AsyncExitStack() as running:
        for hospital, port in zip(HOSPITALS, ports, strict=True):
            bound = await _listen(hospital, port, credentials[hospital.key], running)
            print(
                f"{hospital.name} ({hospital.version.name}): http://127.0.0.1:{bound}{hospital.base_path}", flush=True
            )
        await stopped.wait()


async def _listen(hospital: Hospital, port: int, credential: Credential, running: AsyncExitStack) -> int:
    """Serve until `running` ends, and return the port, which is a free one if it was 0."""
    # No access log: its lines would hold patients' ids and names.
    runner = web.AppRunner(create_app(hospital, credential), access_log=None)
    await runner.setup()
    running.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=2).start()
    bound: int = runner.addresses[0][1]
    return bound


if __name__ == "__main__":
    sys.exit(main())
