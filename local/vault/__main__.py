"""Runs the Key Vault stand-in until it is interrupted: `python -m local.vault --port 8443 --folder .local/vault`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from local.vault.server import VaultServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.vault", description="A Key Vault stand-in on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--folder", type=Path, default=Path(".local/vault"))
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options.folder, options.port))
    except OSError as error:
        sys.exit(f"The Key Vault stand-in did not start: {error}")


async def _serve(folder: Path, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = await VaultServer.start(folder, port)
    print(f"Key Vault stand-in listening on {server.url}", flush=True)
    await stopped.wait()
    await server.stop()


if __name__ == "__main__":
    main()
