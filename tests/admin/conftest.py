"""The command line on real stores."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from tests.admin.command_line import CommandLine, settings_of


@pytest.fixture(scope="session")
async def own_tables(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TableService]:
    """A table service with the tables of these tests alone: the command line's tables have fixed names."""
    service = await TableService.start(tmp_path_factory.mktemp("admin-tables"))
    yield service
    await service.stop()


@pytest.fixture(scope="session")
async def admin(
    own_tables: TableService, vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory
) -> CommandLine:
    """The command line on a stack that `init` has seen."""
    admin = CommandLine(tmp_path_factory.mktemp("admin"))
    admin.configure(settings_of(own_tables, vault_server))
    assert (await admin("--local", "init")).code == 0
    return admin


@pytest.fixture
async def new_stack(tmp_path: Path) -> AsyncIterator[CommandLine]:
    """The command line on a stack that has seen nothing yet."""
    tables = await TableService.start(tmp_path / "tables")
    vault = await VaultServer.start(tmp_path / "vault")
    admin = CommandLine(tmp_path)
    admin.configure(settings_of(tables, vault))
    yield admin
    await vault.stop()
    await tables.stop()
