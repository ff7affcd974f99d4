"""The whole system on one machine: `python -m local run`, `services` or `demo`."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from local.azurite.installation import InstallationError
from local.azurite.table_service import TableServiceError
from local.demo_file import Demo
from local.local_settings import LocalSettingsError
from local.ports import PortTaken
from local.stack import DEMO_FILE, PROJECT, STATE, Host, StackError, running
from shared.settings import SettingError
from shared.stores.errors import StoreConflict, StoreUnavailable

_FAILURES = (
    *(StackError, PortTaken, LocalSettingsError, InstallationError, TableServiceError),
    *(SettingError, StoreUnavailable, StoreConflict, OSError),
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    folder = options.folder.resolve()
    if options.command == "demo":
        from local.demo import play

        return play(folder / DEMO_FILE, options.tenant, options.patient)
    host = Host(options.host) if options.command == "run" else None
    try:
        return asyncio.run(_until_signal(_serve(folder, options.port, host)))
    except _FAILURES as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.set_defaults(folder=STATE)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start everything, until Ctrl-C")
    services = commands.add_parser("services", help="start everything but the functions, for func start")
    demo = commands.add_parser("demo", help="play the app against what runs, and print the charts it gets")
    for command in (run, services):
        command.add_argument("--port", type=_port, default=7071, help="the functions' (7071); 0: any, for all parts")
    run.add_argument("--host", choices=[host.value for host in Host], default=Host.LOCAL.value, help="func: Core Tools")
    demo.add_argument("--tenant", metavar="NAME", help="only this hospital: a part of its name, or its FHIR version")
    demo.add_argument("--patient", nargs=2, metavar=("GIVEN", "FAMILY"), default=["Ruth", "Black"])
    for command in (run, services, demo):
        command.add_argument("--folder", type=Path, default=STATE, help="where the state is kept (.local)")
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number")
    return int(text)


async def _until_signal(work: Coroutine[Any, Any, None]) -> int:
    """0 when SIGINT or SIGTERM ended the work. A second signal changes nothing: all that stops has a time limit."""
    task = asyncio.create_task(work)

    def cancel() -> None:
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, cancel)
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    return 0


async def _serve(folder: Path, port: int, host: Host | None) -> None:
    began = time.monotonic()
    console = Console(highlight=False, markup=False, soft_wrap=True)

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:5.1f} s  {text}")

    try:
        async with running(folder, port, host, say) as stack:
            say(f"Ready\n{_what_to_try(stack.demo, host, folder)}")
            stack.show()
            raise await stack.broken()
    except asyncio.CancelledError:
        say("Stopped")
        raise


def _what_to_try(demo: Demo, host: Host | None, folder: Path) -> str:
    fields = f"-d grant_type=client_credentials -d client_id={demo.client_id} -d client_secret={demo.client_secret}"
    python = Path(sys.executable).relative_to(PROJECT) if Path(sys.executable).is_relative_to(PROJECT) else "python"
    lists = "./gateway tenant list --local"
    makes_demo = "make demo"
    if folder != STATE:  # where local.settings.json stands, too
        lists = f"cd {folder} && {PROJECT}/{lists[2:]}"
        makes_demo = f"{python} -m local demo --folder {folder}"
    start = "" if host else "\n  func start"
    portal = f"\n  Portal         {demo.portal_url}" if demo.portal_url else ""
    tenants = "\n".join(f"  {tenant.base:<28} {tenant.tenant_id}  {tenant.name}" for tenant in demo.tenants)
    return f"""
  Gateway        {demo.base_url}{portal}
  client_id      {demo.client_id}
  client_secret  {demo.client_secret}

{tenants}

Try:{start}
  {makes_demo}
  curl {demo.base_url}/oauth2/token {fields} -d scope={demo.tenants[0].tenant_id}
  {lists}

Ctrl-C stops it; what you changed stays.
"""


if __name__ == "__main__":
    sys.exit(main())
