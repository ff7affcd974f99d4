"""Azurite's table service, as a child process that never outlives its parent."""

import asyncio
import base64
import os
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path

from local.azurite.installation import AZURITE_TABLE, install
from local.child_process import ChildProcess
from local.ports import free_port
from local.secret_file import read_or_create

_ACCOUNT = "devstoreaccount1"
_START_SECONDS = 20.0


class TableServiceError(Exception):
    """Azurite did not start; the message holds its output."""


@dataclass(frozen=True, slots=True)
class TableService:
    """A running table service on 127.0.0.1; its data and its account key are in the folder it was started with."""

    port: int
    connection_string: str
    process: ChildProcess

    @classmethod
    async def start(cls, folder: Path, port: int = 0) -> "TableService":
        """Starts Azurite on `port` (0: any free one), installing it first if need be, and waits until it listens.

        Raises InstallationError, or TableServiceError if it ends or does not listen within 20 s.
        """
        node = await asyncio.to_thread(install)
        key = _account_key(folder)
        port = port or free_port()
        command = (
            *(node.executable, str(AZURITE_TABLE), "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
            *("--tableHost", "127.0.0.1", "--tablePort", str(port), "--location", str(folder)),
        )
        environment = os.environ | {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{key}"}
        # Azurite saves its data on SIGINT, not on SIGTERM.
        process = await ChildProcess.start("Azurite", command, environment, signal.SIGINT)
        try:
            async with asyncio.timeout(_START_SECONDS):
                if not await process.printed(b"successfully started"):
                    raise TableServiceError(f"Azurite ended: {await process.ended()}")
        except BaseException as error:
            await process.stop()
            if isinstance(error, TimeoutError):
                raise TableServiceError(f"Azurite did not listen within {_START_SECONDS:.0f} s") from None
            raise
        return cls(port, _connection_string(port, key), process)

    async def stop(self) -> None:
        """Lets Azurite save and end, and kills it after 10 s. Does nothing if it has ended already."""
        await self.process.stop()


def _account_key(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return read_or_create(folder / "account-key", lambda: base64.b64encode(secrets.token_bytes(64)).decode())


def _connection_string(port: int, key: str) -> str:
    endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};TableEndpoint={endpoint};"
