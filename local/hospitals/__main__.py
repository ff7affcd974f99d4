"""Serves the demo hospitals on this machine until it is interrupted."""

import argparse
import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from local.hospitals.credentials import Credential
from local.hospitals.hospital import HOSPITALS
from local.hospitals.server import create_app
from local.serving import serving, stop_signal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.hospitals", description=__doc__)
    parser.add_argument(
        "--ports", required=True, type=_ports, help="one for each hospital, such as 8101,8102,8103,8104,8105"
    )
    parser.add_argument("--credentials", required=True, type=Path, help="a JSON file: an object for each hospital")
    options = parser.parse_args()
    try:
        secrets = json.loads(options.credentials.read_text("utf-8"))
        credentials = [hospital.credential(**secrets[hospital.key]) for hospital in HOSPITALS]
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


async def _serve(ports: tuple[int, ...], credentials: list[Credential]) -> None:
    stopped = stop_signal()
    async with AsyncExitStack() as servers:
        for hospital, port, credential in zip(HOSPITALS, ports, credentials, strict=True):
            # No access log: its lines would hold patients' ids and names.
            runner = web.AppRunner(create_app(hospital, credential), access_log=None, shutdown_timeout=2)
            bound = await servers.enter_async_context(serving(runner, port))
            url = f"http://127.0.0.1:{bound}{hospital.base_path}"
            print(f"{hospital.name} ({hospital.version.name}): {url}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
