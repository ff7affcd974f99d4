"""Azurite's table service, as a child process that never outlives its parent."""

import asyncio
import base64
import os
import secrets
import socket
from asyncio.subprocess import PIPE, STDOUT, Process
from dataclasses import dataclass
from pathlib import Path

from local.azurite.installation import AZURITE_TABLE, install
from local.vault.secret_file import read_or_create

_ACCOUNT = "devstoreaccount1"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0

# Azurite saves its data on SIGINT, not on SIGTERM. Its standard input ends when we close it and when we die, however
# that happens.
_SAVE_AND_EXIT_WHEN_INPUT_ENDS = 'process.stdin.resume().on("end", () => process.kill(process.pid, "SIGINT"))'


class TableServiceError(Exception):
    """Azurite did not start; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class TableService:
    """A running table service on 127.0.0.1; its data and its account key are in the folder it was started with."""

    port: int
    connection_string: str
    _process: Process

    @classmethod
    async def start(cls, folder: Path, port: int = 0) -> "TableService":
        """Starts Azurite on `port` (0: any free one), installing it first if need be, and waits until it answers.

        Raises InstallationError, or TableServiceError if it ends or does not answer within 20 s.
        """
        node = await asyncio.to_thread(install)
        key = _account_key(folder)
        port = port or _free_port()
        process = await asyncio.create_subprocess_exec(
            node.executable,
            *("--import", f"data:text/javascript,{_SAVE_AND_EXIT_WHEN_INPUT_ENDS}"),
            str(AZURITE_TABLE),
            *("--tableHost", "127.0.0.1", "--tablePort", str(port), "--location", str(folder)),
            *("--silent", "--disableTelemetry", "--skipApiVersionCheck"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            env=os.environ | {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{key}"},
            # A Ctrl-C in the terminal is for us, and we stop Azurite when nothing needs it any more.
            start_new_session=True,
        )
        service = cls(port, _connection_string(port, key), process)
        try:
            await asyncio.wait_for(service._started(), _START_SECONDS)
        except BaseException as error:
            await service.stop()
            if isinstance(error, TimeoutError):
                raise TableServiceError(f"Azurite did not answer within {_START_SECONDS:.0f} s") from None
            raise
        return service

    async def stop(self) -> None:
        """Lets Azurite save and end, and kills it after 10 s. Does nothing if it has ended already."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _started(self) -> None:
        """Reads Azurite's output up to the line that says it listens; `--silent` leaves next to none after it."""
        assert self._process.stdout is not None  # noqa: S101 (opened as a pipe)
        said = b""
        async for line in self._process.stdout:
            if b"successfully started" in line:
                return
            said += line
        raise TableServiceError(f"Azurite ended: {said.decode(errors='replace').strip()}")


def _account_key(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return read_or_create(folder / "account-key", lambda: base64.b64encode(secrets.token_bytes(64)).decode())


def _connection_string(port: int, key: str) -> str:
    endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};TableEndpoint={endpoint};"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
