"""The session of one command: settings, stores and output.

The Azure SDKs are imported when they are first used, so that `--help` needs no second.
"""

import getpass
import json
import os
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from admin.output import Output
from shared.audit import AuditLog
from shared.settings import SettingError, Settings

if TYPE_CHECKING:
    from shared.directory.activity import ActivityLog
    from shared.directory.client_registry import ClientRegistry
    from shared.directory.tenant_registry import TenantRegistry
    from shared.directory.traffic_history import TrafficHistory
    from shared.directory.usage import Usage
    from shared.onboarding.checks import CheckLog
    from shared.stores.tables import Table, TableAccount
    from shared.stores.vault import Vault

DEPLOYED_SETTINGS = "gateway.env"
_LOCAL_SETTINGS = "local.settings.json"
PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Session:
    """The stores, open for one command, and its output."""

    settings: Settings
    output: Output
    vault: "Vault"
    _tables: "TableAccount"

    @property
    def tables_url(self) -> str:
        """The URL of the table service."""
        return self._tables.url

    @cached_property
    def clients(self) -> "ClientRegistry":
        """The clients and their secrets."""
        from shared.directory.client_registry import ClientRegistry
        from shared.stores.tables import CLIENTS

        return ClientRegistry(self.table(CLIENTS), self.vault, local=self.settings.local)

    @cached_property
    def tenants(self) -> "TenantRegistry":
        """The tenants' rows."""
        from shared.directory.tenant_registry import TenantRegistry
        from shared.stores.tables import TENANTS

        return TenantRegistry(self.table(TENANTS), local=self.settings.local)

    @cached_property
    def usage(self) -> "Usage":
        """The hours at which secrets were last used."""
        from shared.directory.usage import Usage
        from shared.stores.tables import USAGE

        return Usage(self.table(USAGE))

    async def create_tables(self) -> tuple[str, ...]:
        """Makes the tables that are not there; returns the names of all."""
        from shared.stores.tables import ALL_TABLES

        missing = [name for name in ALL_TABLES if not await self.table(name).exists()]
        for name in missing:
            await self.table(name).create()
        for name in missing:
            await self.audit("table.create", name)
        return ALL_TABLES

    @cached_property
    def checks(self) -> "CheckLog":
        """The last check of each hospital."""
        from shared.onboarding.checks import CheckLog
        from shared.stores.tables import CHECKS

        return CheckLog(self.table(CHECKS))

    @cached_property
    def traffic(self) -> "TrafficHistory":
        """The requests of the last day."""
        from shared.directory.traffic_history import TrafficHistory
        from shared.stores.tables import TRAFFIC

        return TrafficHistory(self.table(TRAFFIC))

    @cached_property
    def activity(self) -> "ActivityLog":
        """The changes that were made."""
        from shared.directory.activity import ActivityLog
        from shared.stores.tables import ACTIVITY

        return ActivityLog(self.table(ACTIVITY), AuditLog())

    @cached_property
    def actor(self) -> str:
        """The name of the person who runs the command."""
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container's user may have no name
            return "unknown"

    async def audit(self, action: str, subject: str, detail: str = "", *, in_all: bool = True) -> None:
        """Notes a change that was made, by the person who runs the command."""
        await self.activity.change(actor=self.actor, action=action, subject=subject, detail=detail, in_all=in_all)

    def table(self, name: str) -> "Table":
        """One of the tables."""
        from shared.stores.tables import Table

        return Table(self._tables, name)


@asynccontextmanager
async def open_session(settings: Settings, output: Output) -> AsyncIterator[Session]:
    """A session with the stores that the settings name. Raises SettingError when they can't name any."""
    from shared.stores.tables import table_service
    from shared.stores.vault import Vault

    try:
        vault = Vault(settings)
    except OSError as error:
        raise SettingError(f"LOCAL_VAULT: no token to read in this folder ({error.strerror})") from error
    try:
        tables = table_service(settings, vault.credential)
    except ValueError as error:
        await vault.close()
        raise SettingError("TABLES_CONNECTION_STRING is malformed") from error
    try:
        yield Session(settings, output, vault, tables)
    finally:
        await tables.close()
        await vault.close()


def read_settings(*, local: bool) -> Settings:
    """The environment's settings; with `local`, those of `local.settings.json` before them. Raises SettingError.

    What is asked for this machine never reaches a vault that the environment names.
    """
    return Settings.from_environment(read_environment(local=local))


def read_environment(*, local: bool) -> Mapping[str, str]:
    """The environment before the deployment's `gateway.env`; with `local`, `local.settings.json` before it.

    Raises SettingError.
    """
    if not local:
        return {**_deployed_values(), **os.environ}
    environment = {**os.environ, **_local_values()}
    if not environment.get("LOCAL_VAULT", "").strip():
        raise SettingError(f"{_LOCAL_SETTINGS} has no LOCAL_VAULT: start the local stack with make run, which sets it")
    return environment


def _deployed_values() -> Mapping[str, str]:
    file = _nearest(DEPLOYED_SETTINGS)
    try:
        lines = shlex.split(file.read_text("utf-8"), comments=True) if file else []
    except (OSError, ValueError):
        raise SettingError(f"{file} can't be read as lines of NAME=value: ./gateway azure env writes it anew") from None
    return dict(line.partition("=")[::2] for line in lines)


def _nearest(name: str) -> Path | None:
    """A file of the folder that the person is in, or else of the project."""
    files = (folder / name for folder in (Path.cwd(), PROJECT))
    return next((file for file in files if file.is_file()), None)


def _local_values() -> Mapping[str, str]:
    file = _nearest(_LOCAL_SETTINGS)
    if file is None:
        raise SettingError(f"there is no {_LOCAL_SETTINGS}: start the local stack with make run, which writes it")
    try:
        values = json.loads(file.read_text("utf-8-sig"))["Values"]
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingError(f"{file} can't be read as JSON with an object Values") from None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise SettingError(f"{file}: Values must be an object of texts")
    return values
